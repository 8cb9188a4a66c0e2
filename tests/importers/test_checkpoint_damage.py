"""Every way in which a checkpoint file can be bad ends in `BadFile`, in one line."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from nmdeploy.errors import BadFile
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint import SUFFIXES, load
from nmdeploy.importers.checkpoint_content import digest
from nmdeploy.models import create
from nmdeploy.models.checkpoint import save

GRADED = FixedPoint(bits=5, frac=4, signed=False)


def write(path: Path) -> Path:
    save(create("binary-s4d", inputs=1, channels=4, states=2, layers=2, outputs=3), path, input_format=GRADED)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "small.safetensors")


def contents(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["nmdeploy"]), safetensors.numpy.load(data)


def rewrite(path: Path, config: Any, tensors: dict[str, np.ndarray]) -> Path:
    """A file with a right SHA-256 over wrong content."""
    text = config if isinstance(config, str) else json.dumps(config)
    safetensors.numpy.save_file(tensors, path, {"nmdeploy": text, "sha256": digest(text, tensors)})
    return path


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BadFile) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    assert all(word in message for word in words), message


def test_every_flipped_bit_is_found(small: Path) -> None:
    data = small.read_bytes()
    for bit in range(0, 8 * len(data), 47):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        small.write_bytes(damaged)
        refused(small)


def test_a_flipped_bit_of_a_pt_file_never_changes_the_network(tmp_path: Path) -> None:
    path = write(tmp_path / "small.pt")
    data, network = path.read_bytes(), load(path)
    for bit in range(0, 8 * len(data), 499):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert load(path) == network  # a bit of the archive's padding
        except BadFile as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}")
    data = path.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:length])
        refused(path)
    path.write_bytes(data + b"\0")
    if suffix == ".safetensors":
        refused(path)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".other"])
def test_no_file(tmp_path: Path, suffix: str) -> None:
    refused(tmp_path / f"missing{suffix}", "No such file")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(tmp_path / f"folder{suffix}", "directory")
    (tmp_path / f"text{suffix}").write_text("hello, I am no checkpoint at all")
    refused(tmp_path / f"text{suffix}")


def test_foreign_safetensors(small: Path) -> None:
    for metadata in (None, {"format": "pt"}, {"nmdeploy": "{}"}):
        safetensors.numpy.save_file({"w": np.zeros(3, np.float32)}, small, metadata)
        refused(small, "without nmdeploy's metadata", "models.checkpoint.save")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, ["nmdeploy-checkpoint"]),
        ({"version": 3}, ["version 3", "update nmdeploy"]),
        ({"model": "s6"}, ["s6", "binary-s4d"]),
        ({"layers": 0}, ["layers = 0"]),
        ({"layers": 10**12}, ["layers"]),
        ({"channels": True}, ["channels = True"]),
        ({"channels": 5}, ["shape (4, 2)", "(5, 2)"]),
        ({"states": "2"}, ["states = '2'"]),
        ({"dt": -1.0}, ["dt = -1.0"]),
        ({"dt": "1"}, ["dt = '1'"]),
        ({"readout": []}, ["readout = []"]),
        ({"residual": 1}, ["residual = 1"]),
        ({"norm_eps": None}, ["norm_eps"]),
        ({"input_format": {"bits": 99}}, ["input_format"]),
        ({"input_format": {"bits": "5"}}, ["input_format"]),
        ({"input_format": 5}, ["input_format"]),
        ({"extra": 1}, ["extra"]),
    ],
)
def test_bad_configuration(small: Path, change: dict[str, Any], words: list[str]) -> None:
    config, tensors = contents(small)
    refused(rewrite(small, config | change, tensors), *words)


@pytest.mark.parametrize("text", ["", "no json", "[]", "null", "[" * 100_000, '{"format": "nmdeploy-checkpoint"}'])
def test_configuration_that_is_none(small: Path, text: str) -> None:
    refused(rewrite(small, text, contents(small)[1]))


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("readout.bias", None, ["'readout.bias' is missing"]),
        ("surplus", np.zeros(2, np.float32), ["'surplus' is unknown"]),
        ("readout.bias", np.zeros(4, np.float32), ["shape (4,)", "(3,)"]),
        ("readout.bias", np.zeros(3, np.int32), ["type int32"]),
        ("readout.weight", np.full((3, 4), np.nan, np.float32), ["12 NaN"]),
        ("blocks.1.neuron.d", np.full(4, -np.inf, np.float32), ["blocks.1.neuron.d", "infinite"]),
        ("blocks.0.norm.running_var", np.full(4, -1, np.float32), ["variance of -1"]),
        ("blocks.0.neuron.log_dt", np.full(4, 1e30, np.float32), ["'block0'", "not finite"]),
        ("blocks.0.neuron.log_a_real", np.full((4, 2), 1e4, np.float32), ["'block0'", "not finite"]),
    ],
)
def test_bad_tensors(small: Path, name: str, tensor: np.ndarray | None, words: list[str]) -> None:
    config, tensors = contents(small)
    tensors.pop(name, None)
    refused(rewrite(small, config, tensors if tensor is None else tensors | {name: tensor}), *words)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


@pytest.mark.parametrize("content", [Evil(), {"config": Evil(), "sha256": "", "state_dict": {}}])
def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "zip.pt")
    refused(Path("zip.pt"), "weights_only")
    torch.save(content, "legacy.pt", _use_new_zipfile_serialization=False)
    refused(Path("legacy.pt"))
    Path("plain.pt").write_bytes(pickle.dumps(content))
    refused(Path("plain.pt"))
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"w": torch.zeros(2)},
        [1, 2],
        {"config": 1, "sha256": "", "state_dict": {}},
        {"config": "{}", "sha256": "", "state_dict": []},
        {"config": "{}", "sha256": "", "state_dict": {"w": 3}},
        {"config": "{}", "sha256": "", "state_dict": {"w": torch.zeros(2, dtype=torch.bfloat16)}},
        {"config": "{}", "sha256": "", "state_dict": {"w": torch.zeros(2)}},
    ],
)
def test_foreign_pt(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    refused(tmp_path / "x.pt")


def test_pt_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.pt")
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(tmp_path / "x.pt", "pip install torch", ".safetensors")
