"""The model file: any change is refused in one line, and a failed write leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from nir_networks import small_network

from nmdeploy import nir_io
from nmdeploy.errors import BadFile
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io.file import BLOCK, seal
from nmdeploy.nir_io.model import digest


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[QuantizedNetwork, Path]:
    """A small network of every family and its file."""
    q, path = small_network(), tmp_path_factory.mktemp("nir") / "small.nir"
    nir_io.write(q, path)
    return q, path


def refused(path: Path, content: bytes) -> str:
    """The one line with which a changed file is refused."""
    path.write_bytes(content)
    with pytest.raises(BadFile) as error:
        nir_io.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_flipped_bit_is_refused(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    content = small[1].read_bytes()
    for place in [*range(BLOCK), *range(BLOCK, len(content), 41)]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        refused(tmp_path / "flipped.nir", bytes(changed))
        with pytest.raises(BadFile):
            nir_io.describe(tmp_path / "flipped.nir")


def test_truncated_and_foreign_bytes_are_refused(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    content = small[1].read_bytes()
    for length in (0, 1, 15, 100, 511, 512, 520, 2000, len(content) // 2, len(content) - 1):
        refused(tmp_path / "short.nir", content[:length])
    refused(tmp_path / "long.nir", content + b"\0")
    refused(tmp_path / "text.nir", b"[project]\nname = 'x'\n" * 99)
    refused(tmp_path / "bare.nir", content[BLOCK:])
    for missing in (tmp_path / "none.nir", tmp_path, tmp_path / "none" / "x.nir"):
        with pytest.raises(BadFile, match=str(missing)):
            nir_io.read(missing)


def resealed(path: Path, change: Any) -> bytes:
    """The file with `change` made to its HDF5 tree, and a seal that fits."""
    work = path.with_suffix(".work")
    work.write_bytes(path.read_bytes())
    with h5py.File(work, "r+") as file:
        change(file)
    return seal(work.read_bytes())


def test_a_changed_primitive_is_refused_by_name(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    def weight(file: Any) -> None:
        file["node/nodes/s1/weight"][0, 0] += 2**-7

    def negative_zero(file: Any) -> None:
        file["node/nodes/lif/v_reset"][0] = -0.0

    def extra(file: Any) -> None:
        file["node/nodes/ghost/type"] = "Linear"

    def gone(file: Any) -> None:
        del file["node/nodes/s2"]

    def field(file: Any) -> None:
        file["node/nodes/lif/noise"] = 1.0

    def edge(file: Any) -> None:
        file["node/edges"][0] = ("lif", "s1")

    def text(file: Any) -> None:
        file["node/metadata/nmdeploy"][()] = file["node/metadata/nmdeploy"][()].replace(b'"dv":[', b'"dv":[1', 1)

    named = {weight: "s1", negative_zero: "v_reset", extra: "ghost", gone: "s2", field: "noise", edge: "edges"}
    for change, word in (named | {text: "SHA-256"}).items():
        assert word in refused(tmp_path / "tampered.nir", resealed(small[1], change)), change.__name__


@pytest.mark.parametrize(
    "change",
    [
        {"dt": "soon"},
        {"dt": 0.0},
        {"dt": None},
        {"version": 1},
        {"version": 3},
        {"edges": [["input"]]},
        {"edges": 7},
        {"nodes": []},
        {"nodes": {"lif": 3}},
        {"output": "nobody"},
        {"readout": "guess"},
        {"notes": 5},
        {"colour": "red"},
        {"notes": None, "gone": True},
    ],
)
def test_json_with_a_good_digest_is_still_checked(
    small: tuple[QuantizedNetwork, Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    def rewrite(file: Any) -> None:
        values = json.loads(file["node/metadata/nmdeploy"][()]) | change
        del values["sha256"]
        text = json.dumps({k: v for k, v in values.items() if v is not None}, separators=(",", ":"))
        file["node/metadata/nmdeploy"][()] = f'{text[:-1]},"sha256":"{digest(text)}"}}'

    (tmp_path / "crafted.nir").write_bytes(resealed(small[1], rewrite))
    with pytest.raises(BadFile, match="crafted"):
        nir_io.read(tmp_path / "crafted.nir")


@pytest.mark.parametrize(
    ("key", "value"), [("frac_in", "x"), ("vth", [1]), ("kind", "quantum"), ("du", None), ("dv", {})]
)
def test_nodes_that_are_none_are_refused(
    small: tuple[QuantizedNetwork, Path], tmp_path: Path, key: str, value: Any
) -> None:
    def rewrite(file: Any) -> None:
        values = json.loads(file["node/metadata/nmdeploy"][()])
        del values["sha256"]
        values["nodes"]["lif"][key] = value
        text = json.dumps(values, separators=(",", ":"))
        file["node/metadata/nmdeploy"][()] = f'{text[:-1]},"sha256":"{digest(text)}"}}'

    (tmp_path / "crafted.nir").write_bytes(resealed(small[1], rewrite))
    with pytest.raises(BadFile):
        nir_io.read(tmp_path / "crafted.nir")


def test_float_graphs_and_rewritten_files_are_refused(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    nir.write(tmp_path / "float.nir", nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3)))))
    with pytest.raises(BadFile, match="nmdeploy export"):
        nir_io.read(tmp_path / "float.nir")
    nir.write(tmp_path / "rewritten.nir", nir.read(small[1]))
    with pytest.raises(BadFile, match="rewritten by another program"):
        nir_io.read(tmp_path / "rewritten.nir")
    with pytest.raises(BadFile, match="rewritten by another program"):
        nir_io.describe(tmp_path / "rewritten.nir")


def test_a_failed_write_leaves_nothing(
    small: tuple[QuantizedNetwork, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, _ = small
    for path in (tmp_path / "none" / "x.nir", tmp_path):
        with pytest.raises(BadFile, match=str(path)):
            nir_io.write(q, path)
    (tmp_path / "old.nir").write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadFile, match="No space left"):
        nir_io.write(q, tmp_path / "old.nir")
    assert [path.name for path in tmp_path.iterdir()] == ["old.nir"]
    assert (tmp_path / "old.nir").read_text() == "old"
