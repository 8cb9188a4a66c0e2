"""Samples in files of every format, read in chunks: the same data, the same refusals, no damage taken for data."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import processes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_files import BARE, SAVE, saved
from shared import Cli, Model

from nmdeploy.errors import BadData, BadFile
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Input
from nmdeploy.recording.reader import read_recording
from nmdeploy.samples.source import Data, load_data, open_data

CODES = Input((2,), FixedPoint(bits=5, signed=False))
GRADED = Input((2,), FixedPoint(bits=5, frac=4, signed=False))
ARRAYS = {
    "inputs": np.random.default_rng(0).integers(0, 32, (23, 4, 2)),
    "labels": np.arange(23) % 9,
    "lengths": np.arange(23) % 4 + 1,
}


def joined(parts: list[Data]) -> Data:
    labels = (
        None if parts[0].labels is None else np.concatenate([part.labels for part in parts if part.labels is not None])
    )
    return Data(np.concatenate([p.codes for p in parts]), labels, np.concatenate([p.lengths for p in parts]))


def same(a: Data, b: Data) -> bool:
    pairs = ((a.codes, b.codes), (a.labels, b.labels), (a.lengths, b.lengths))
    return all(np.array_equal(x, y) for x, y in pairs)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", [1, 5, 23, 99])
@pytest.mark.parametrize("kind", SAVE)
def test_chunks_are_the_whole(kind: str, size: int, order: Any, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, **ARRAYS | {"inputs": np.asarray(ARRAYS["inputs"], order=order)})
    source = open_data(path, CODES, classes=9)
    assert (source.samples, source.steps) == (23, 4)
    for _ in range(2):
        parts = list(source.chunks(size))
        assert [part.samples for part in parts] == [size] * (23 // size) + [23 % size] * (23 % size > 0)
        assert np.array_equal(joined(parts).codes, ARRAYS["inputs"]) and joined(parts).codes.dtype == np.uint8
        assert all(part.codes.flags.c_contiguous for part in parts)
    whole = load_data(path, CODES, classes=9)
    assert same(whole, joined(parts)) and same(whole.first(7), source.first(7)) and same(whole, source.first(None))
    assert same(whole, joined(list(whole.chunks(size))))
    assert (whole.labels is None) == (kind in BARE)
    assert whole.lengths.tolist() == ([4] * 23 if kind in BARE else ARRAYS["lengths"].tolist())


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(SAVE)),
    dtype=st.sampled_from(["?", "u1", "i1", "<i2", ">i4", "i8", "u8", "f2", "<f4", ">f8"]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.just(2)),
    size=st.integers(1, 10),
)
def test_every_type(kind: str, dtype: str, shape: tuple[int, ...], size: int, tmp_path_factory: Any) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    path = saved(tmp_path_factory.mktemp("x"), kind, inputs=values)
    codes = joined(list(open_data(path, GRADED).chunks(size))).codes
    assert np.array_equal(codes, values * np.ones((), np.uint8) * 16)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "late value": ({"inputs": np.where(np.arange(46).reshape(23, 1, 2) == 45, 32, ARRAYS["inputs"])}, "holds 32"),
    "late NaN": ({"inputs": np.where(np.arange(46).reshape(23, 1, 2) == 45, np.nan, 1.0) * np.ones((23, 4, 2))}, "NaN"),
    "channels": ({"inputs": np.zeros((23, 4, 3), int)}, "check the number of channels"),
    "scalar": ({"inputs": 3}, r"shape \(\)"),
    "complex": ({"inputs": np.zeros((23, 4, 2), complex)}, "integers or floats"),
    "no samples": ({"inputs": np.zeros((0, 4, 2), int)}, "at least one"),
    "labels": ({"labels": np.arange(23)}, "allowed is 0 to 8"),
    "label shape": ({"labels": np.zeros((23, 1), int)}, r"'labels' has shape \(23, 1\)"),
    "lengths": ({"lengths": np.zeros(23)}, "'lengths' has shape"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", SAVE)
def test_refused(kind: str, name: str, tmp_path: Path) -> None:
    changed, message = BAD[name]
    if (kind in BARE and "inputs" not in changed) or (kind == "packed h5" and name in ("scalar", "no samples")):
        pytest.skip("cannot be said in this format")
    path = saved(tmp_path, kind, **ARRAYS | changed)
    with pytest.raises(BadData, match=message) as found:
        list(open_data(path, CODES, classes=9).chunks(5))
    assert str(path) in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("kind", SAVE)
def test_flipped_bits_in_chunks(kind: str, tmp_path: Path) -> None:
    """What has checksums gives the samples that were saved, or an error; the rest gives samples or an error."""
    path = saved(tmp_path, kind, **ARRAYS)
    content, good = path.read_bytes(), load_data(path, CODES, classes=9)
    for bit in np.random.default_rng(0).integers(0, 8 * len(content), 400):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << int(bit) % 8
        path.write_bytes(changed)
        try:
            found = joined(list(open_data(path, CODES, classes=9).chunks(4)))
            assert "npz" not in kind or same(found, good), f"bit {bit}"
        except (BadFile, BadData) as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("kind", SAVE)
def test_truncated(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, **ARRAYS)
    content = path.read_bytes()
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        with pytest.raises(BadFile, match=r"damaged or not an (\.npz|\.npy|HDF5) file|never loaded|not a PyTorch file"):
            list(open_data(path, CODES, classes=9).chunks(4))


def test_a_damaged_value_is_damage(tmp_path: Path) -> None:
    """Not a value that the model cannot take."""
    path = saved(tmp_path, "npz", **ARRAYS)
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 400] = 255
    path.write_bytes(content)
    with pytest.raises(BadFile, match="damaged"):
        list(open_data(path, CODES).chunks(4))


def test_more_than_its_header_says(tmp_path: Path) -> None:
    path = saved(tmp_path, "npy", **ARRAYS)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadFile, match="promises 1472 bytes, 1473 are there"):
        open_data(path, CODES)
    values = np.ones((3, 4, 2), bool)
    np.save(path, values)
    path.write_bytes(path.read_bytes()[:-1] + b"\2")
    with pytest.raises(BadFile, match="neither 0 nor 1"):
        load_data(path, CODES)


def test_names_and_kinds(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(BadFile, match="never loaded"):
        open_data(tmp_path / "a.npy", CODES)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(BadData, match="no array 'inputs'"):
        open_data(tmp_path / "a.h5", CODES)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("inputs")
    with pytest.raises(BadFile, match="'inputs' is a group, not an array"):
        open_data(tmp_path / "a.h5", CODES)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inputs"] = [["text", "of"], ["any", "length"]]
    with pytest.raises(BadData, match="object: give integers or floats"):
        open_data(tmp_path / "a.h5", CODES)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\3\0" + bytes(99))
    with pytest.raises(BadFile, match=r"format 3\.0 is not for numbers"):
        open_data(tmp_path / "a.npz", CODES)


@pytest.mark.parametrize("kind", SAVE)
def test_every_file_runs_alike(kind: str, cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    with np.load(lif_model.data) as arrays:
        path = saved(tmp_path, kind, **arrays)
    for data, out in ((path, "a.rec.h5"), (lif_model.data, "b.rec.h5")):
        assert cli("simulate", lif_model.path, "--data", data, "--trace", "states", "-o", tmp_path / out).exit_code == 0
    assert read_recording(tmp_path / "a.rec.h5") == read_recording(tmp_path / "b.rec.h5")
    reports = [cli("report", lif_model.path, "--data", data).stdout for data in (path, lif_model.data)]
    assert kind in BARE or reports[0] == reports[1]


@pytest.mark.parametrize("kind", SAVE)
@pytest.mark.parametrize("existing", [False, True])
def test_a_bad_value_in_a_late_chunk_leaves_nothing(
    kind: str, existing: bool, cli: Cli, lif_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmdeploy.running.CHUNK_SAMPLES", 3)
    with np.load(lif_model.data) as arrays:
        inputs = np.array(arrays["inputs"])
    inputs[-1, -1, -1] = 99
    path = saved(tmp_path, kind, inputs=inputs)
    if existing:
        (tmp_path / "out.h5").write_text("kept")
    before = processes.files(tmp_path)
    outcome = cli("simulate", lif_model.path, "--data", path, "-o", tmp_path / "out.h5")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr.count("\n")) == (2, "", 1)
    assert str(path) in outcome.stderr and "'inputs' holds 99" in outcome.stderr
    assert processes.files(tmp_path) == before


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


PT: dict[str, tuple[Any, str]] = {
    "object": (Evil(), "it holds a getattr, which only unpickling could make"),
    "object in a dict": ({"inputs": Evil()}, "only unpickling could make"),
    "module": (torch.nn.Linear(2, 2), r"it holds a torch\.nn\.modules\.linear\.Linear"),
    "dataset": (
        torch.utils.data.TensorDataset(torch.ones(1, 2, 2)),
        r"it holds a torch\.utils\S+TensorDataset,",
    ),
    "tuple": ((torch.ones(1, 2, 2), torch.ones(1)), "holds an object of type tuple, not tensors: save samples with"),
    "number": (3.5, "holds an object of type float, not tensors"),
    "list": ({"inputs": [1, 2]}, "'inputs' is an object of type list, not a tensor that NumPy can hold"),
    "state dict": ({"fc.weight": torch.ones(2, 2)}, "holds no array 'inputs' or 'codes', only 'fc.weight'"),
    "both": ({"inputs": torch.ones(1, 2, 2), "codes": torch.ones(1, 2, 2)}, "holds 'inputs' and 'codes'"),
    "checkpoint": ({"config": "", "sha256": "", "state_dict": {}}, "is a checkpoint, not samples"),
}


@pytest.mark.parametrize("name", PT)
def test_what_a_pt_file_is_that_holds_no_samples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = PT[name]
    torch.save(content, "a.pt")
    with pytest.raises((BadFile, BadData), match=message) as found:
        open_data("a.pt", CODES)
    assert str(found.value).startswith("a.pt: ") and "\n" not in str(found.value)
    assert not Path("unpickled").exists()


def test_other_pt_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"inputs": torch.ones(1, 4, 2), "seed": 3, "note": "x"}, tmp_path / "a.pt")
    assert open_data(tmp_path / "a.pt", CODES).others == ("seed", "note")
    torch.save(torch.ones(1, 4, 2, dtype=torch.bfloat16, requires_grad=True), tmp_path / "b.pth")
    assert load_data(tmp_path / "b.pth", CODES).codes.tolist() == np.ones((1, 4, 2)).tolist()
    torch.save(torch.ones(1, 4, 2), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(BadFile, match="not a PyTorch file, or is damaged"):
        open_data(tmp_path / "old.pt", CODES)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps([1]))
    with pytest.raises(BadFile, match="not a PyTorch file, or is damaged"):
        open_data(tmp_path / "plain.pt", CODES)
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"")
    with pytest.raises(BadFile, match="is a TorchScript program"):
        open_data(tmp_path / "script.pt", CODES)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BadFile, match=r"pip install torch, or save as \.npz"):
        open_data(tmp_path / "a.pt", CODES)


def test_inspect_of_pt_files(cli: Cli, tmp_path: Path) -> None:
    path = saved(tmp_path, "pt", **ARRAYS)
    assert "23x4x2" in cli("inspect", path).stdout
    torch.save({"w": torch.ones(2)}, tmp_path / "x.pt")
    assert "is not an nmdeploy checkpoint" in cli("inspect", tmp_path / "x.pt").stderr
