"""One way to open HDF5 for reading, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nmdeploy._util.open_file import open_hdf5
from nmdeploy.errors import BadFile
from nmdeploy.nir_io.file import read_tree
from nmdeploy.recording.reader import is_recording, open_recording
from nmdeploy.samples.hdf5 import open_samples


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file that ends too early."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["inputs"] = np.ones((4, 500, 3))
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def recording(path: Path) -> None:
    with open_recording(path):
        pass


@pytest.mark.parametrize(
    ("read", "kind", "remedy"),
    [
        (open_samples, "HDF5 file", "save it again with h5py"),
        (is_recording, "HDF5 file", "copy or make it again"),
        (recording, "recording", "run nmdeploy simulate again"),
        (lambda path: read_tree(path, path.read_bytes()), "NIR file", "copy or export it again"),
    ],
)
def test_every_reader_says_it_in_the_same_line(damaged: Path, read: Any, kind: str, remedy: str) -> None:
    with pytest.raises(BadFile, match=rf"^.*x\.h5: is damaged or not an? {kind} \(truncated file.*\): {remedy}$"):
        read(damaged)


def test_the_bytes_of_a_file_read_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(5)
    with open_hdf5(path) as one, open_hdf5("bytes", path.read_bytes(), holds_texts=True) as two:
        assert one["a"][:].tolist() == two["a"][:].tolist() == [0, 1, 2, 3, 4]


def test_what_the_reader_finds_inside_is_damage_too(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with (
        pytest.raises(BadFile, match=r"x\.h5: is damaged or not an HDF5 file \(.*\): copy or make it again$"),
        open_hdf5(path) as file,
    ):
        file["b"]
