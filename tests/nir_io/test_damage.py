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
from nmdeploy.nir_io.model import PLACE, digest


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


def test_a_changed_primitive_is_named_by_the_check(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
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

    nir_io.check_primitives(small[1])
    named = {weight: "s1", negative_zero: "v_reset", extra: "ghost", gone: "s2", field: "noise", edge: "edges"}
    for change, word in named.items():
        path = tmp_path / "tampered.nir"
        path.write_bytes(resealed(small[1], change))
        assert nir_io.read(path) == small[0], "the integers are as they were"
        with pytest.raises(BadFile, match=f"tampered.*{word}"):
            nir_io.check_primitives(path)


def test_changed_integers_are_refused(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    def text(file: Any) -> None:
        file[f"{PLACE}/model"][()] = file[f"{PLACE}/model"][()].replace(b'"frac_in":', b'"frac_in": ', 1)

    def value(file: Any) -> None:
        file[f"{PLACE}/nodes/lif/dv"][0] ^= 1

    def gone(file: Any) -> None:
        del file[f"{PLACE}/nodes/lif/dv"]

    def extra(file: Any) -> None:
        file[f"{PLACE}/nodes/lif/more"] = np.zeros(3, np.int8)

    def wider(file: Any) -> None:
        held = file[f"{PLACE}/nodes/lif/dv"][()]
        del file[f"{PLACE}/nodes/lif/dv"]
        file[f"{PLACE}/nodes/lif/dv"] = held.astype(np.int64)

    for change in (text, value, gone, extra, wider):
        assert "SHA-256" in refused(tmp_path / "tampered.nir", resealed(small[1], change)), change.__name__


def crafted(path: Path, change: Any, to: Path) -> Path:
    """The file with `change` made to its values and arrays, digest and seal that fit."""

    def rewrite(file: Any) -> None:
        values = json.loads(file[f"{PLACE}/model"][()])
        arrays = {name: {key: a[()] for key, a in node.items()} for name, node in file[f"{PLACE}/nodes"].items()}
        change(values, arrays)
        del values["sha256"], file[PLACE]
        text = json.dumps(values, separators=(",", ":"))
        file[f"{PLACE}/model"] = f'{text[:-1]},"sha256":"{digest(text, arrays)}"}}'
        file.create_group(f"{PLACE}/nodes")
        for name, node in arrays.items():
            for key, array in node.items():
                file[f"{PLACE}/nodes/{name}/{key}"] = array

    to.write_bytes(resealed(path, rewrite))
    return to


@pytest.mark.parametrize(
    "change",
    [
        {"dt": "soon"},
        {"dt": 0.0},
        {"dt": None},
        {"version": 1},
        {"version": 4},
        {"edges": [["input"]]},
        {"edges": 7},
        {"nodes": []},
        {"nodes": {"lif": 3}},
        {"output": "nobody"},
        {"readout": "guess"},
        {"notes": 5},
        {"colour": "red"},
    ],
)
def test_json_with_a_good_digest_is_still_checked(
    small: tuple[QuantizedNetwork, Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    path = crafted(small[1], lambda values, _: values.update(change), tmp_path / "crafted.nir")
    with pytest.raises(BadFile, match="crafted"):
        nir_io.read(path)
    with pytest.raises(BadFile, match="crafted"):
        nir_io.describe(path)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("frac_in", "x", "an integer"),
        ("frac_in", 1.0, "an integer"),
        ("frac_in", True, "an integer"),
        ("vth", [1], "an array of integers"),
        ("kind", "quantum", "unknown here"),
        ("du", None, "an array of integers"),
        ("dv", {}, "an array of integers"),
        ("colour", 7, "'colour' is unknown"),
    ],
)
def test_fields_of_another_type_are_refused(
    small: tuple[QuantizedNetwork, Path], tmp_path: Path, key: str, value: Any, word: str
) -> None:
    def change(values: Any, arrays: Any) -> None:
        arrays["lif"].pop(key, None)
        values["nodes"]["lif"][key] = value

    with pytest.raises(BadFile, match=rf"crafted.*'lif'.*{word}"):
        nir_io.read(crafted(small[1], change, tmp_path / "crafted.nir"))


@pytest.mark.parametrize("array", [np.array([0.5] * 5), np.array([b"a"] * 5), np.zeros((5, 5), np.int8)])
def test_arrays_of_another_type_are_refused(small: tuple[QuantizedNetwork, Path], tmp_path: Path, array: Any) -> None:
    path = crafted(small[1], lambda _, arrays: arrays["lif"].update(dv=array), tmp_path / "crafted.nir")
    with pytest.raises(BadFile, match="crafted"):
        nir_io.read(path)


def test_what_is_missing_has_its_default(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    """A later version may add fields: a file without them reads."""

    def change(values: Any, arrays: Any) -> None:
        del values["notes"], values["nodes"]["lif"]["refractory_steps"]

    found = nir_io.read(crafted(small[1], change, tmp_path / "crafted.nir"))
    assert found.notes == () and found.populations["lif"].refractory_steps == 0  # type: ignore[attr-defined]

    def needed(values: Any, arrays: Any) -> None:
        del arrays["lif"]["dv"]

    with pytest.raises(BadFile, match=r"crafted.*'lif'.*'dv' is missing"):
        nir_io.read(crafted(small[1], needed, tmp_path / "crafted.nir"))


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
