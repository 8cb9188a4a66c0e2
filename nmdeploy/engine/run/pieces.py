"""Run of one sample in pieces of steps, whose states share the memory of one piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nmdeploy.engine.lower.layout import ARGS
from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.run.memory import NO_ROWS, Spare
from nmdeploy.engine.run.runner import FIRST, LAST, Results, Worker, allocate_results
from nmdeploy.neurons.base import IntArray


def run_pieces(
    program: Program, codes: Any, lengths: IntArray, steps: int
) -> Iterator[tuple[Results, dict[str, slice]]]:
    """Run one sample (1, steps, channels), `steps` steps at a time.

    Each piece has the states of the rows that it yields, by population. Outputs and counts are complete after the last
    piece.
    """
    codes = np.ascontiguousarray(codes.view(np.uint8) if codes.dtype == bool else codes)
    codes = codes.astype(codes.dtype.newbyteorder("="), copy=False)
    timing, total = program.network.timing, codes.shape[1]
    worker = Worker(program, total, codes.dtype)
    made = allocate_results(program, lengths, total, Spare(), min(steps, total))
    worker.place(codes, 0, made)
    worker.rest()
    tables = {**worker.tables, "resets": NO_ROWS, "moves": NO_ROWS}
    job = worker.fields(lengths, tables)
    for first in range(0, total + timing.drain_steps, steps):
        rows = {name: timing.rows(name, first, first + steps, total) for name in program.populations}
        _point_to(worker, made, {name: each.start for name, each in rows.items()}, int(lengths[0]))
        job[FIRST], job[LAST] = first, first + steps
        worker.driver(job.ctypes.data)
        yield made, rows


def _point_to(worker: Worker, made: Results, starts: Mapping[str, int], length: int) -> None:
    """Let the first row of a population's states be that of its step `starts`."""
    for name, states in made.states.items():
        trace = len(ARGS) + len(worker.program.populations[name].form.sums)
        for index, values in enumerate(states.values(), trace):
            worker.args[name][index] = values.ctypes.data - starts[name] * values.strides[1]
            values[0, max(length - starts[name], 0) :] = 0  # the kernels leave what follows the sample's end
