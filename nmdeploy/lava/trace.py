"""Recording of every step into .npy files, by the ProcessModel itself.

A Lava Monitor moves every value through channels one by one (24 us per value). ProcessModels run in forked processes,
so a memory-mapped file is the fast way out of them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Trace:
    """Recorder of named arrays in every step, with one .npy file (rows, *shape) of int64 per name.

    Parameters
    ----------
    prefix : str
        The file of the array `name` is ``<prefix>.<name>.npy``.
    names : tuple of str
        The arrays to keep. Other arrays of the ProcessModel are ignored.
    start : int
        Lava time step of row 0. Steps before it and after the last row are not recorded.
    rows : int
        Number of steps to record.
    output_latency : int
        Steps by which ``spikes`` are later than the other arrays.
    """

    def __init__(self, prefix: str, names: tuple[str, ...], start: int, rows: int, output_latency: int = 0) -> None:
        self.prefix = prefix
        self.names = names
        self.start = start
        self.rows = rows
        self.output_latency = output_latency
        self._files: dict[str, NDArray[np.int64]] = {}

    def path(self, name: str) -> Path:
        """Return the file of the array `name`."""
        return Path(f"{self.prefix}.{name}.npy")

    def write(self, time_step: int, **values: NDArray[np.generic]) -> None:
        """Store the arrays of one step."""
        for name in self.names:
            row = time_step - self.start - (self.output_latency if name == "spikes" else 0)
            if not 0 <= row < self.rows:
                continue
            if name not in self._files:
                shape = (self.rows, *values[name].shape)
                self._files[name] = np.lib.format.open_memmap(self.path(name), "w+", np.dtype(np.int64), shape)
            self._files[name][row] = values[name]
