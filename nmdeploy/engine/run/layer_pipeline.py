"""One sample on several processors: a pipeline of layers over chunks of steps.

Each processor runs a stage, which is some nodes that follow each other. A stage runs a chunk once the stage before has
finished it. All stages use the memory of one worker: no two nodes write the same.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nmdeploy._util.signals import defer_signals
from nmdeploy.engine.lower import layout
from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.run.memory import ALIGNMENT, NO_ROWS, WORD_BYTES, table, zeros
from nmdeploy.engine.run.thread_pool import run_tasks

SYNAPSE_NS, STATE_NS, NEURON_NS = 5e-4, 0.08, 0.16
"""Nanoseconds of a step per weight, if a tenth of the inputs send, per real state, and per neuron without any."""
LEAST_SECONDS, SURE_SECONDS, TRIALS = 1e-4, 2e-2, 3
"""A shorter sample runs on one processor, a longer one on several; those between are tried both ways, so often each."""
CHUNKS, LEAST_CHUNK = 40, 8
CHUNK = layout.DRIVER_FIELDS.index("chunk")
Range = tuple[int, int, bool]


def node_cost(program: Program, name: str) -> float:
    """Return about how many nanoseconds a node takes per step."""
    if name in program.populations:
        neuron = program.network.populations[name]
        return float(neuron.size * max(STATE_NS * neuron.real_states, NEURON_NS))
    rows = program.synapses.get(name)
    return SYNAPSE_NS * rows.inputs * rows.columns if rows is not None else 0.0


def stages(program: Program, most: int) -> list[list[Range]]:
    """Return the ranges of each stage, at most `most` of them, so that the longest stage is as short as possible.

    A synapse is in the stage of its population, for its sums are kept for one chunk only.
    """
    layers: list[list[Range]] = [[]]
    open_synapses: set[str] = set()
    for low, high, loop in program.ranges:
        for part in [(low, high, loop)] if loop else [(at, at + 1, False) for at in range(low, high)]:
            if not open_synapses:
                layers.append([])
            layers[-1].append(part)
            names = program.order[part[0] : part[1]]
            open_synapses |= {name for name in names if name in program.synapses}
            open_synapses = {name for name in open_synapses if program.network.target[name] not in names}
    layers = [layer for layer in layers if layer]
    costs = [sum(node_cost(program, name) for low, high, _ in layer for name in program.order[low:high])
             for layer in layers]  # fmt: skip
    cuts = split(costs, most)
    ends = zip([0, *cuts], [*cuts, len(layers)], strict=True)
    return [[part for layer in layers[first:last] for part in layer] for first, last in ends]


def split(costs: Sequence[float], most: int) -> list[int]:
    """Return where to cut a sequence into at most `most` parts, so that the largest sum of a part is least.

    >>> split([1, 1, 1, 1], 2), split([5, 1, 1], 2), split([1, 2], 1), split([1, 9, 1, 9], 3)
    ([2], [1], [], [2])
    """
    ends = np.concatenate([[0.0], np.cumsum(costs)])
    best: list[tuple[float, list[int]]] = [(float(end), []) for end in ends]
    for _ in range(min(most, len(costs)) - 1):
        best = [
            min([best[last], *((max(best[cut][0], float(ends[last] - ends[cut])), [*best[cut][1], cut])
                               for cut in range(1, last))], key=lambda found: found[0])
            for last in range(len(ends))
        ]  # fmt: skip
    return best[-1][1]


class Pipeline:
    """Stages of a worker's program, with the drivers' arguments of each."""

    def __init__(self, worker: Any, parts: Sequence[Sequence[Range]]) -> None:
        self.worker = worker
        self.lengths = np.zeros(1, np.int64)
        self.words = [zeros(ALIGNMENT // WORD_BYTES) for _ in parts]  # a cache line each
        self.tables = [table([value for row in part for value in row], 3) for part in parts]
        self.jobs = [self._fields(stage) for stage in range(len(parts))]

    def _fields(self, stage: int) -> Any:
        awaited = {} if stage == 0 else {"awaited": self.words[stage - 1]}
        none = {"resets": NO_ROWS, "moves": NO_ROWS}
        tables = {**self.worker.tables, **none, "ranges": self.tables[stage], **awaited, "reached": self.words[stage]}
        fields = self.worker.fields(self.lengths, tables)
        steps = self.worker.steps + self.worker.program.network.timing.drain_steps
        fields[CHUNK] = min(self.worker.chunk, max(LEAST_CHUNK, -(-steps // CHUNKS)))
        return fields

    def run(self, codes: Any, length: int, results: Any) -> None:
        """Run the one sample of `codes`."""
        self.worker.place(codes, 0, results)
        self.worker.rest()
        self.lengths[0] = length
        for word in self.words:
            word[0] = 0
        each = [slice(stage, stage + 1) for stage in range(len(self.jobs))]
        with defer_signals():  # a stage that an exception kept from running would be awaited for ever
            run_tasks(each, lambda part: self.worker.driver(self.jobs[part.start].ctypes.data), len(each))


class PipelineChoice:
    """Choice between one processor and a pipeline for single samples, by the time per step that each took.

    Samples count together if their steps have as many binary digits.
    """

    def __init__(self, program: Program) -> None:
        self.step_seconds = 1e-9 * sum(node_cost(program, name) for name in program.order)
        self.seconds: dict[int, dict[bool, list[float]]] = defaultdict(lambda: {False: [], True: []})

    def run(self, steps: int, threads: int, alone: Callable[[], None], shared: Callable[[], None]) -> None:
        """Run one sample of that many steps, in one of two ways."""
        seconds = self.step_seconds * steps
        if threads < 2 or seconds < LEAST_SECONDS:
            alone()
        elif seconds > SURE_SECONDS:
            shared()
        else:
            self._timed(steps, alone, shared)

    def _timed(self, steps: int, alone: Callable[[], None], shared: Callable[[], None]) -> None:
        known = self.seconds[steps.bit_length()]
        fewest = min(known, key=lambda way: len(known[way]))
        if len(known[fewest]) > TRIALS:  # the first time of each way compiles, or starts threads
            (shared if min(known[True][1:]) < min(known[False][1:]) else alone)()
            return
        start = time.perf_counter()
        (shared if fewest else alone)()
        known[fewest].append((time.perf_counter() - start) / steps)
