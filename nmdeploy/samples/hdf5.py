"""Samples in HDF5: datasets ``inputs`` or ``codes``, ``labels`` and ``lengths`` at the top of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy._util.open_file import open_hdf5
from nmdeploy.errors import BadFile
from nmdeploy.samples.stored import MOST_NAMES, VECTORS, Array, Stored, name_of_samples

REMEDY = "save it again with h5py"
CACHE_BYTES, MOST_CACHE_BYTES = 1 << 20, 1 << 26


def open_samples(path: Path) -> Stored | tuple[str, ...]:
    """Open the arrays of an HDF5 file; return their names if none holds samples.

    Texts are never read: libhdf5 does not return from a damaged heap of them.
    """
    with open_hdf5(path, remedy=REMEDY) as file:
        name = name_of_samples(path, file)
        if name is None:
            return _names(file)
        inputs = _dataset(path, file, name)
        shape, dtype = tuple(inputs.shape), inputs.dtype
        vectors = {each: _vector(_dataset(path, file, each), shape[:1]) for each in VECTORS if each in file}
        cache = _cache_bytes(inputs)
        others = tuple(other for other in file if other not in (name, *VECTORS))
    return Stored(name, shape, dtype, vectors, lambda samples: _blocks(path, name, samples, cache), others=others)


def _names(file: Any) -> tuple[str, ...]:
    """Return the names of arrays at every depth, or the first of them."""
    import h5py

    found: list[str] = []

    def look(name: str, node: Any) -> bool | None:
        found.extend([name] if isinstance(node, h5py.Dataset) else [])
        return True if len(found) > MOST_NAMES else None

    file.visititems(look)
    return tuple(found)


def _dataset(path: Path, file: Any, name: str) -> Any:
    import h5py

    held = file[name]
    if not isinstance(held, h5py.Dataset) or held.shape is None:
        what = "an empty dataset" if isinstance(held, h5py.Dataset) else "a group"
        raise BadFile(f"{path}: {name!r} is {what}, not an array: save one under this name")
    return held


def _vector(held: Any, shape: tuple[int, ...]) -> Array:
    """Read one integer per sample; of anything else only shape and type, by which it is refused."""
    if held.shape == shape and held.dtype.kind in "iu":
        return np.asarray(held[()])
    return np.broadcast_to(np.zeros((), held.dtype), held.shape)


def _cache_bytes(inputs: Any) -> int:
    """Return so many bytes that a chunk is unpacked once, although several blocks are read of it."""
    if inputs.chunks is None:
        return CACHE_BYTES
    across = math.prod(
        -(-size // chunk) * chunk for size, chunk in zip(inputs.shape[1:], inputs.chunks[1:], strict=True)
    )
    return int(min(max(CACHE_BYTES, inputs.chunks[0] * across * inputs.dtype.itemsize), MOST_CACHE_BYTES))


def _blocks(path: Path, name: str, samples: int, cache: int) -> Iterator[Array]:
    with open_hdf5(path, remedy=REMEDY, cache_bytes=cache) as file:
        inputs = _dataset(path, file, name)
        for first in range(0, len(inputs), samples):
            yield np.asarray(inputs[first : first + samples])
