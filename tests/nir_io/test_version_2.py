"""Model files that an earlier nmdeploy wrote: they read, and run as they did; Lava's reader reads them too.

The files were written at commit 47c41a5, with the spikes and counts of its reference beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from lava_reader import lava_reader

from nmdeploy import nir_io
from nmdeploy.backends.reference import run
from nmdeploy.errors import BadFile
from nmdeploy.nir_io.file import seal

read_model = lava_reader().read_model
FILES = sorted(Path(__file__).with_name("version_2").glob("*.nir"))


def test_there_are_files_of_every_family() -> None:
    assert len(FILES) == 6


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_gives_the_same_spikes_and_counts(path: Path) -> None:
    q = nir_io.read(path)
    with np.load(path.with_suffix(".npz")) as held:
        recording = run(q, held["inputs"], trace="spikes")
        assert np.array_equal(recording.output, held["output"]) and np.any(recording.output)
        for key in held.files:
            layer, _, what = key.rpartition("|")
            if what == "sent":
                assert np.array_equal(recording.layers[layer].spikes, held[key])
            elif layer:
                assert np.array_equal(recording.layers[layer].counts[what], held[key]), key


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_its_primitives_are_those_of_today(path: Path) -> None:
    nir_io.check_primitives(path)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_written_again_it_is_the_same_network(path: Path, tmp_path: Path) -> None:
    q = nir_io.read(path)
    nir_io.write(q, tmp_path / "again.nir")
    assert nir_io.read(tmp_path / "again.nir") == q
    assert nir_io.model_sha256(path) == nir_io.model_sha256(tmp_path / "again.nir")
    old, new = (read_model(file)["nodes"] for file in (path, tmp_path / "again.nir"))
    assert list(old) == list(new)
    for name in old:
        given = _flat(old[name])
        assert given.keys() <= _flat(new[name]).keys()  # a part has fields that version 2 left out
        assert all(np.array_equal(value, _flat(new[name])[key]) for key, value in given.items())


def _flat(node: dict[str, Any]) -> dict[str, Any]:
    """The fields of a node, those of its parts by "part.name"; without those that are None."""
    parts = {name: value for name, value in node.items() if isinstance(value, dict)}
    inner = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
    return {key: value for key, value in {**node, **inner}.items() if value is not None and key not in parts}


def test_a_changed_text_is_refused(tmp_path: Path) -> None:
    work = tmp_path / "changed.nir"
    work.write_bytes(FILES[0].read_bytes())
    with h5py.File(work, "r+") as file:
        place = file["node/metadata/nmdeploy"]
        place[()] = place[()].replace(b'"frac_in":', b'"frac_in": ', 1)
    work.write_bytes(seal(work.read_bytes()))
    with pytest.raises(BadFile, match="SHA-256"):
        nir_io.read(work)
    with pytest.raises(ValueError, match="SHA-256"):
        read_model(work)
