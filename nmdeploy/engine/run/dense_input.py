"""Which synapses of the input are multiplied by a library, and their sums: measured on the samples of the job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower.program import Program, Rows
from nmdeploy.engine.run import products
from nmdeploy.neurons.base import IntArray

# Below this share of inputs that are not zero, events were never slower (`python benchmarks/crossover.py`).
DENSE_SHARE = 0.08
# Before events have taken so long, no library is tried: to begin takes a small part of it (the same command).
TRIAL_AFTER_SECONDS = 0.5
TRIAL_VALUES = 1 << 22
TRIAL_RUNS = 2
BYTE_RANGE = (-128, 255)


SynapseRun = Callable[[Program, str, Any], Callable[[], None]]


class DenseInput:
    """Decides by the time that both ways take on some samples, once events have taken long enough.

    Parameters
    ----------
    program : Program
    alone : callable
        ``alone(program, synapse, codes)`` returns what runs the input's events through one synapse, and nothing else.
    """

    def __init__(self, program: Program, alone: SynapseRun) -> None:
        self.program, self.alone = program, alone
        self.chosen: dict[str, str | None] = {}
        self.spent: dict[str, tuple[float, float]] = {}  # seconds of a sample's events, and of all samples until now
        self.candidates = {name: rows for name, rows in program.synapses.items() if self._is_candidate(name, rows)}

    def _is_candidate(self, name: str, rows: Rows) -> bool:
        """A synapse that the input alone feeds, with weights of a byte, outside of feedback loops."""
        network = self.program.network
        (edge, *more) = network.incoming[name]
        plain = not more and edge.source == network.input_name and edge.delay == 0
        loops = {each for names, loop in self.program.groups if loop for each in names}
        target = network.target[name]
        # Given sums have a row for each step of the sample, none for steps before or behind it.
        in_time = not network.timing.start_offset[name] and not network.timing.output_latency[target]
        return plain and in_time and rows.form.row_bits == 8 and name not in loops

    def choose(self, codes: npt.NDArray[Any]) -> dict[str, str]:
        """The library for each synapse that is to be multiplied."""
        if not self.candidates or not self._may_pay(codes):
            return {}
        for name, rows in self.candidates.items():
            if name not in self.chosen:
                self._decide(name, rows, codes)
        return {name: library for name, library in self.chosen.items() if library is not None}

    def _may_pay(self, codes: npt.NDArray[Any]) -> bool:
        """Whether the input is dense, of bytes, and much."""
        if len(self.chosen) == len(self.candidates) and not any(self.chosen.values()):
            return False  # decided
        some = codes.reshape(-1)[:TRIAL_VALUES]
        low, high = BYTE_RANGE
        dense = np.count_nonzero(some) > DENSE_SHARE * some.size
        fits = codes.dtype.itemsize == 1 or (codes.min(initial=0) >= low and codes.max(initial=0) <= high)
        signed = codes.dtype.itemsize > 1 and codes.min(initial=0) < 0 and codes.max(initial=0) > 127
        return bool(dense and fits and not signed)

    def _decide(self, name: str, rows: Rows, codes: npt.NDArray[Any]) -> None:
        """Choose for good where no library may, or where its start would have paid by now: jobs come in chunks."""
        library = products.library()
        if library is None:
            self.chosen[name] = None
            return
        some = codes[: max(1, TRIAL_VALUES // max(codes[0].size, 1))]
        if name not in self.spent:
            self.spent[name] = self._events(name, some) / len(some), 0.0
        each, before = self.spent[name]
        self.spent[name] = each, before + each * len(codes)
        if before + each * len(codes) >= TRIAL_AFTER_SECONDS:
            self.chosen[name] = library if self._product(rows, some, library) < self._events(name, some) else None

    def _events(self, name: str, some: npt.NDArray[Any]) -> float:
        return seconds_of(self.alone(self.program, name, some))

    def _product(self, rows: Rows, some: npt.NDArray[Any], library: str) -> float:
        def multiply() -> None:
            product(some, rows, library)
            count_events(some, rows, np.full(len(some), some.shape[1], np.int64))

        return seconds_of(multiply)


def seconds_of(run: Callable[[], object]) -> float:
    """Return the least time of a few runs."""
    times = []
    for _ in range(TRIAL_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def product(codes: npt.NDArray[Any], rows: Rows, library: str) -> npt.NDArray[Any]:
    """(samples, steps, columns) sums, as wide as the kernels take them."""
    samples, steps, channels = codes.shape
    weights = np.ascontiguousarray(rows.weights[:channels])
    found = products.sums(codes.reshape(-1, channels), weights, library)
    return found.astype(f"i{rows.form.sum_bits // 8}", copy=False).reshape(samples, steps, -1)


def count_events(codes: npt.NDArray[Any], rows: Rows, lengths: IntArray) -> IntArray:
    """The counters that the synapse's kernel would have written."""
    valid = np.arange(codes.shape[1])[:, None] < lengths[:, None, None]
    events = ((codes != 0) & valid).sum(1)
    fan_out = rows.fan_out[: codes.shape[2]] if rows.form.counted else np.ones(codes.shape[2], np.int64)
    operations = events @ fan_out
    return np.stack([events.sum(1), operations, events.sum(1), operations], 1)
