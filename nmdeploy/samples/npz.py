"""Samples in NumPy's formats, .npz and .npy, read in blocks: neither is ever held as a whole."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile
from nmdeploy.samples.stored import INPUTS, VECTORS, Array, ObjectArray, Stored, describe_damage, name_of_samples

DIRECTORY_ENTRY = b"PK\x01\x02"
ZIP, NPY, PICKLE = b"PK", b"\x93NUMPY", b"\x80"
PIECE = 1 << 20
NPZ_KIND, NPY_KIND = (".npz", "numpy.savez"), (".npy", "numpy.save")


def open_npz(path: Path) -> Stored | tuple[str, ...]:
    """Open the arrays of an .npz; return their names if none holds samples.

    Every member's name, and every checksum except that of the samples, is checked now; that one after the last block.
    """
    with describe_damage(path, *NPZ_KIND), path.open("rb") as file:
        _require_zip(path, file)
        with zipfile.ZipFile(file) as archive:
            found = name_of_samples(path, [name for name in INPUTS if _member(archive, name)])
            member = None if found is None else _member(archive, found)
            _check_members(archive, but=member)
            names = tuple(held.removesuffix(".npy") for held in archive.namelist())
            vectors = {name: _whole(archive, held) for name in VECTORS if (held := _member(archive, name))}
            if found is None or member is None:
                return names
            with archive.open(member) as content:
                shape, _, dtype = _header(content, found)
                _require_size(shape, dtype, archive.getinfo(member).file_size - content.tell(), exactly=False)
    others = tuple(name for name in names if name not in (found, *VECTORS))
    blocks = partial(_npz_blocks, path, found)
    return Stored(found, shape, dtype, vectors, blocks, sealed_at_end=True, others=others)


def open_npy(path: Path) -> Stored:
    """Open the array of an .npy as inputs."""
    with describe_damage(path, *NPY_KIND), path.open("rb") as file:
        shape, _, dtype = _header(file)
        _require_size(shape, dtype, path.stat().st_size - file.tell(), exactly=True)
    return Stored("inputs", shape, dtype, {}, partial(_npy_blocks, path))


def _npz_blocks(path: Path, name: str, samples: int) -> Iterator[Array]:
    with describe_damage(path, *NPZ_KIND), zipfile.ZipFile(path) as archive:
        member = _member(archive, name)
        if member is None:
            raise ValueError("it has changed")
        with archive.open(member) as file:
            shape, fortran, dtype = _header(file)
            if fortran:
                yield from _slices(_whole(archive, member), samples)
            else:
                yield from _read(file, shape, dtype, samples)


def _npy_blocks(path: Path, samples: int) -> Iterator[Array]:
    with describe_damage(path, *NPY_KIND), path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        if fortran:
            yield from _slices(np.memmap(file, dtype, "r", file.tell(), shape, "F"), samples)
        else:
            yield from _read(file, shape, dtype, samples)


def _read(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], samples: int) -> Iterator[Array]:
    """Yield blocks of an array in C order, then read the rest of the file, so that its checksum is checked."""
    each = math.prod(shape[1:]) * dtype.itemsize
    for first in range(0, shape[0], samples):
        number = min(samples, shape[0] - first)
        content = np.empty(number * each, np.uint8)
        _fill(file, content)
        if dtype.kind == "b" and content.max(initial=0) > 1:
            raise ValueError("a truth value is neither 0 nor 1")
        yield content.view(dtype).reshape(number, *shape[1:])
    while file.read(PIECE):
        pass


def _fill(file: IO[bytes], place: npt.NDArray[np.uint8]) -> None:
    done = 0
    while done < len(place):
        part = file.read(min(PIECE, len(place) - done))
        if not part:
            raise EOFError("it ends too early")
        place[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)


def _slices(whole: Array, samples: int) -> Iterator[Array]:
    """Yield blocks of an array in Fortran order, in which no sample lies in one piece."""
    for first in range(0, len(whole), samples):
        yield np.array(whole[first : first + samples], order="C")


def _header(file: IO[bytes], name: str | None = None) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, True for Fortran order, and type of an array; `ObjectArray` names what holds objects."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"array format {version[0]}.{version[1]} is not for numbers")
    if dtype.hasobject:
        raise ObjectArray(f"holds an object array{'' if name is None else f' {name!r}'}")
    return shape, fortran, dtype


def _require_size(shape: tuple[int, ...], dtype: np.dtype[Any], held: int, exactly: bool) -> None:
    promised = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or promised > held or (exactly and promised != held):
        raise ValueError(f"its header promises {promised} bytes, {held} are there")


def _require_zip(path: Path, file: IO[bytes]) -> None:
    start = file.read(len(NPY))
    file.seek(0)
    if start == NPY:
        _header(file)
        raise BadFile(f"{path}: is a single array: end its name in .npy, or save it as 'inputs' with numpy.savez")
    if start.startswith(PICKLE):
        raise ObjectArray("is a pickle")
    if not start.startswith(ZIP) and path.suffix != ".npz":
        raise BadFile(
            f"{path}: samples are not read from files of type {path.suffix!r}: give an .npz, .npy, .h5 or .pt file"
        )
    if not start.startswith(ZIP):
        raise ValueError("File is not a zip file")


def _member(archive: zipfile.ZipFile, name: str) -> str | None:
    """Return the member that holds an array, as `numpy.load` finds it."""
    return next((held for held in (f"{name}.npy", name) if held in archive.NameToInfo), None)


def _whole(archive: zipfile.ZipFile, member: str) -> Array:
    with archive.open(member) as file:
        _header(file, member.removesuffix(".npy"))
    with archive.open(member) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        while file.read(PIECE):
            pass
    return array


def _check_members(archive: zipfile.ZipFile, but: str | None) -> None:
    """Check every member's name and checksum, and that none is hidden: no array may vanish by damage."""
    for info in archive.infolist():
        if DIRECTORY_ENTRY in info.comment + info.extra:
            raise zipfile.BadZipFile("an entry of its directory hides another")
        with archive.open(info.filename) as file:
            while info.filename != but and file.read(PIECE):
                pass
