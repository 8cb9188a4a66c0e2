"""Choice, measured on the job's samples, of the input synapses whose sums a library multiplies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower.program import Program, Rows
from nmdeploy.engine.run import products
from nmdeploy.neurons.base import IntArray

# Below this share of nonzero inputs, events were never slower (`python benchmarks/crossover.py`).
DENSE_SHARE = 0.08
# No library is tried before events have taken this long: a library starts in a small part of it (the same command).
TRIAL_AFTER_SECONDS = 0.5
TRIAL_VALUES = 1 << 22  # inputs of a trial, and sums
TRIAL_RUNS = 2
SUMS_MAX = 1 << 24  # sums of a sample: a library makes all of them before the first is used
BYTE_RANGE = (-128, 255)


SynapseRun = Callable[[Program, str, Any], Callable[[], None]]


class DenseInput:
    """Choice by the time that both ways take on some samples, made once events have taken long enough.

    Parameters
    ----------
    program : Program
        Program that runs the job.
    alone : callable
        ``alone(program, synapse, codes)`` returns a function that runs the input's events through this synapse only.
    """

    def __init__(self, program: Program, alone: SynapseRun) -> None:
        self.program, self.alone = program, alone
        self.chosen: dict[str, str | None] = {}
        self.spent: dict[str, tuple[float, float]] = {}  # seconds of events, per sample and so far
        self.candidates = {name: rows for name, rows in program.synapses.items() if self._is_candidate(name, rows)}

    def _is_candidate(self, name: str, rows: Rows) -> bool:
        """Return True for a synapse that only the input feeds, with weights of a byte, outside feedback loops."""
        network = self.program.network
        (edge, *more) = network.incoming[name]
        plain = not more and edge.source == network.input_name and edge.delay == 0
        loops = {each for names, loop in self.program.groups if loop for each in names}
        target = network.target[name]
        # Given sums have a row for each step of the sample, none for steps before or after it.
        in_time = not network.timing.start_offset[name] and not network.timing.output_latency[target]
        return plain and in_time and rows.form.row_bits == 8 and name not in loops

    def choose(self, codes: npt.NDArray[Any]) -> dict[str, str]:
        """Return the library for each synapse whose sums a library multiplies."""
        if not self.candidates or not self._may_pay(codes):
            return {}
        steps = codes.shape[1]
        small = {name: rows for name, rows in self.candidates.items() if steps * rows.columns <= SUMS_MAX}
        for name, rows in small.items():
            if name not in self.chosen:
                self._decide(name, rows, codes)
        chosen = {name: self.chosen.get(name) for name in small}
        return {name: library for name, library in chosen.items() if library is not None}

    def _may_pay(self, codes: npt.NDArray[Any]) -> bool:
        """Return True if the input is dense and fits bytes, and the choice is still open or fell on a library."""
        if len(self.chosen) == len(self.candidates) and not any(self.chosen.values()):
            return False  # all are decided for events
        some = codes.reshape(-1)[:TRIAL_VALUES]
        low, high = BYTE_RANGE
        dense = np.count_nonzero(some) > DENSE_SHARE * some.size
        fits = codes.dtype.itemsize == 1 or (codes.min(initial=0) >= low and codes.max(initial=0) <= high)
        signed = codes.dtype.itemsize > 1 and codes.min(initial=0) < 0 and codes.max(initial=0) > 127
        return bool(dense and fits and not signed)

    def _decide(self, name: str, rows: Rows, codes: npt.NDArray[Any]) -> None:
        """Choose finally, if there is no library or if events took long enough to pay for its start.

        Jobs come in chunks, so the time of events is summed over calls.
        """
        if name not in self.spent and products.library() is None:
            self.chosen[name] = None
            return
        each_sample = codes.shape[1] * max(codes.shape[2], rows.columns)
        some = codes[: max(1, TRIAL_VALUES // max(each_sample, 1))]
        if name not in self.spent:
            self.spent[name] = self._events(name, some) / len(some), 0.0
        each, before = self.spent[name]
        self.spent[name] = each, before + each * len(codes)
        if before + each * len(codes) >= TRIAL_AFTER_SECONDS:
            library = products.library()
            faster = library is not None and self._product(rows, some, library) < self._events(name, some)
            self.chosen[name] = library if faster else None

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
    """Return the sums (samples, steps, columns), in the width that the kernels read."""
    samples, steps, channels = codes.shape
    weights = np.ascontiguousarray(rows.weights[:channels])
    found = products.sums(codes.reshape(-1, channels), weights, library)
    return found.astype(f"i{rows.form.sum_bits // 8}", copy=False).reshape(samples, steps, -1)


def count_events(codes: npt.NDArray[Any], rows: Rows, lengths: IntArray) -> IntArray:
    """Return the counters that the synapse's kernel would have written."""
    valid = np.arange(codes.shape[1])[:, None] < lengths[:, None, None]
    events = ((codes != 0) & valid).sum(1)
    fan_out = rows.fan_out[: codes.shape[2]] if rows.form.counted else np.ones(codes.shape[2], np.int64)
    operations = events @ fan_out
    return np.stack([events.sum(1), operations, events.sum(1), operations], 1)
