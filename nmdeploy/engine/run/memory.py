"""Memory that kernels read and write: zeroed words, tables of the driver, and what earlier runs left over."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.locks import held_across_forks
from nmdeploy.neurons.base import IntArray

ALIGNMENT, WORD_BYTES = 64, 8
NO_ROWS = np.zeros(1, np.int64)
NOT_AWAITED = np.full(1, np.iinfo(np.int64).max)
SPARE_ARRAYS, SPARE_BYTES = 2, 1 << 26
# References to an array that only the list holds; the interpreter's own share of them depends on its version.
UNUSED_REFERENCES = next(sys.getrefcount(each) for each in [np.zeros(1)])
memory_lock = held_across_forks()


def zeros(words: int) -> IntArray:
    """Return zeroed words of 64 bits that start at a cache line."""
    raw = np.zeros(words + ALIGNMENT // 8, np.int64)
    first = (-raw.ctypes.data) % ALIGNMENT // 8
    return np.asarray(raw[first : first + max(words, 1)])


class Spare:
    """Memory of earlier outputs that nobody uses any more, since fresh pages cost more time than writing to them."""

    def __init__(self) -> None:
        self.arrays: list[npt.NDArray[np.uint8]] = []

    def zeros(self, shape: tuple[int, ...], dtype: Any, lengths: IntArray) -> npt.NDArray[Any]:
        """Return an array (samples, steps, ...) with 0 in the rows after each sample's end; kernels write the rest."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with memory_lock:
            raw = next(
                (each for each in self.arrays if each.size == size and sys.getrefcount(each) == UNUSED_REFERENCES), None
            )
            if raw is None:
                raw = np.zeros(size, np.uint8)
                if size <= SPARE_BYTES:
                    self.arrays = [*self.arrays[1 - SPARE_ARRAYS :], raw]
                return np.asarray(raw.view(dtype).reshape(shape))
        made: npt.NDArray[Any] = raw.view(dtype).reshape(shape)
        for sample in np.flatnonzero(lengths < shape[1]):
            made[sample, lengths[sample] :] = 0
        return made


def table(values: list[int], columns: int) -> npt.NDArray[np.int64]:
    """Return a table of the driver: its number of rows, then the rows."""
    return np.array([len(values) // columns, *values], np.int64)
