"""One array of a recording's file, which is written chunk by chunk: whole samples, or steps of one sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.recording.narrow import WIDEST, element, narrowed, planes_of

CHUNK_BYTES, CHUNK_SAMPLES = 1 << 20, 1024
BITS = "bits"
"""Attribute of an array of codes that is narrower than 64 bits."""
Array = npt.NDArray[Any]


class Column:
    """One array of the file, and what does not fill a chunk yet.

    Parameters
    ----------
    file : h5py.File
    name : str
        Path of the array in the file.
    shape : tuple of int
        Shape of a sample.
    dtype : type of the values
    samples : int or None
        How many there will be in all, if that is known.
    width : int
        Bits in which codes are stored.
    """

    def __init__(
        self,
        file: Any,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        samples: int | None,
        width: int = WIDEST,
    ) -> None:
        self.width = width if dtype.kind == "i" else WIDEST
        stored = dtype if self.width == WIDEST else element(self.width)
        self.chunk = _chunk(shape, stored.itemsize, samples)
        self.dataset = _dataset(file, name, shape, stored, samples, self.chunk, planes_of(self.width))
        if self.width < WIDEST:
            self.dataset.attrs[BITS] = self.width
        self.steps = shape[0] if shape else 0
        self.held: list[list[Array]] = []
        self.waiting = self.done = self.row = 0

    def append(self, values: Array) -> None:
        """Take samples, and write what fills whole chunks."""
        self._hold(self._narrowed(values), 0, self.chunk[0], self._write_samples)

    def append_rows(self, values: Array) -> None:
        """Take the next steps of one sample, (1, rows, ...), whose memory may change later; write whole chunks."""
        planes = [plane.copy() if np.may_share_memory(plane, values) else plane for plane in self._narrowed(values)]
        self._hold(planes, 1, self.chunk[1], self._write_rows)
        if self.row + self.waiting == self.steps:
            self._flush(1, self._write_rows)
            self.row, self.done = 0, self.done + 1

    def flush(self) -> None:
        """Write the rest."""
        self._flush(0, self._write_samples)

    def _hold(self, planes: list[Array], axis: int, size: int, write: Any) -> None:
        self.held.append(planes)
        self.waiting += planes[0].shape[axis]
        if self.waiting >= size:
            ready = self.waiting - self.waiting % size
            whole = self._joined(axis)
            write([plane[_along(axis, slice(ready))] for plane in whole])
            self.held, self.waiting = (
                [[plane[_along(axis, slice(ready, None))].copy() for plane in whole]],
                self.waiting - ready,
            )

    def _narrowed(self, values: Array) -> list[Array]:
        return [values] if self.width == WIDEST else narrowed(values, self.width)

    def _joined(self, axis: int) -> list[Array]:
        return [
            np.concatenate(planes, axis) if len(planes) > 1 else planes[0] for planes in zip(*self.held, strict=True)
        ]

    def _flush(self, axis: int, write: Any) -> None:
        if self.waiting:
            write(self._joined(axis))
        self.held, self.waiting = [], 0

    def _write_samples(self, planes: list[Array]) -> None:
        end = self.done + len(planes[0])
        self._grow(end)
        self._put((slice(self.done, end),), planes)
        self.done = end

    def _write_rows(self, planes: list[Array]) -> None:
        end = self.row + planes[0].shape[1]
        self._grow(self.done + 1)
        self._put((slice(self.done, self.done + 1), slice(self.row, end)), planes)
        self.row = end

    def _grow(self, samples: int) -> None:
        if samples > len(self.dataset):
            self.dataset.resize(samples, 0)

    def _put(self, place: tuple[slice, ...], planes: list[Array]) -> None:
        for index, plane in enumerate(planes):
            self.dataset[(*place, ..., index) if len(planes) > 1 else place] = plane


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, part)


def _chunk(shape: tuple[int, ...], itemsize: int, samples: int | None) -> tuple[int, ...]:
    """Return the shape of a chunk: whole samples, or if one is large, some of its steps."""
    each = int(np.prod(shape)) * itemsize or 1
    rows = min(max(1, CHUNK_BYTES // each), CHUNK_SAMPLES)
    if each <= CHUNK_BYTES or len(shape) < 2:
        return (rows if samples is None else min(rows, samples), *shape)
    return (1, max(1, CHUNK_BYTES * shape[0] // each), *shape[1:])


def _dataset(
    file: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    samples: int | None,
    chunk: tuple[int, ...],
    planes: int,
) -> Any:
    """Create a dataset; integers are packed to as many bits as the chunk needs, five times as fast as gzip.

    A checksum follows. h5py itself refuses one after this filter, because with floats it would be lossy. What is small
    and of a known number is stored as it is. Planes are the last axis, each in chunks of its own.
    """
    from h5py import Dataset, h5d, h5p, h5s, h5t, h5z

    axis = () if planes == 1 else (planes,)
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)  # the same run makes the same file
    if 0 not in shape and (shape or samples is None):
        settings.set_chunk((*chunk, *(1 for _ in axis)))
        if dtype.kind in "iu":
            settings.set_scaleoffset(h5z.SO_INT, 0)
        settings.set_fletcher32()
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    most = h5s.UNLIMITED if samples is None else samples
    space = h5s.create_simple((samples or 0, *shape, *axis), (most, *shape, *axis))
    return Dataset(h5d.create(file.id, name.encode(), h5t.py_create(dtype), space, settings, links))
