"""Run of a program on samples: the memory of each worker, and the threads that share the samples."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.system import processors
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.lower import layout
from nmdeploy.engine.lower.program import KERNEL, Population, Program, Rows, is_recorded
from nmdeploy.engine.run import plan_cache
from nmdeploy.engine.run.dense_input import DenseInput, count_events, product
from nmdeploy.engine.run.layer_pipeline import Pipeline, PipelineChoice, stages
from nmdeploy.engine.run.memory import NOT_AWAITED, WORD_BYTES, Spare, memory_lock, table, zeros
from nmdeploy.engine.run.rows_choice import RowsChoice
from nmdeploy.engine.run.thread_pool import run_tasks, split_samples
from nmdeploy.neurons.base import IntArray

CHUNK_STEPS = 32, 128
SUMS_BYTES = 1 << 15  # the sums of a chunk should still be in the first-level cache for the next kernel
TASK_SAMPLES = 32
WORKER_KINDS = 4  # of lengths, types and given sums, for which memory is kept
PRODUCT_BYTES = 1 << 24
WorkerKind = tuple[Program, int, str, frozenset[str]]
NOTHING: Mapping[str, Any] = {}
SAMPLES, LENGTHS, FIRST, LAST = (layout.DRIVER_FIELDS.index(name) for name in ("samples", "lengths", "first", "last"))
ENDLESS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, eq=False)
class Results:
    """Arrays that the kernels wrote, one row per sample.

    Outputs are (samples, steps, planes, width), states (samples, steps, elements, width). `counted` are the counters of
    all nodes (samples, columns).
    """

    program: Program
    outputs: Mapping[str, npt.NDArray[Any]]
    states: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    counted: IntArray

    def counters(self, name: str) -> IntArray:
        """Return the counters of a node, (samples, counters)."""
        return self.counted[:, self.program.counts.columns[name]]


def allocate_results(
    program: Program, lengths: IntArray, steps: int, spare: Spare, state_steps: int | None = None
) -> Results:
    """Allocate the memory for the results of samples; for the states of `state_steps` steps only, if that is given."""
    samples, rows = len(lengths), steps if state_steps is None else state_steps
    network = program.network
    outputs, states = {}, {}
    counted = np.zeros((samples, program.counts.width), np.int64)
    for name, made in program.populations.items():
        if is_recorded(network, name, program.trace):
            shape = (samples, steps, made.wires.planes, made.wires.width)
            outputs[name] = spare.zeros(shape, np.int32 if made.wires.coded else np.uint8, lengths)
        states[name] = {
            state: np.zeros((samples, rows, math.prod(sizes), made.wires.width), f"i{max(bits, 32) // 8}")
            for state, sizes, bits in made.layout.traces
        }
    return Results(program, outputs, states, counted)


def chunk_steps(program: Program) -> int:
    """Return the steps that each kernel runs before the next kernel does."""
    least, most = CHUNK_STEPS
    row = max((made.columns * made.form.sum_bits // 8 for made in program.synapses.values()), default=1)
    return max(least, min(most, SUMS_BYTES // row))


@dataclass
class Worker:
    """Memory of one thread: registers, sums, events, and the tables that the driver reads."""

    program: Program
    steps: int
    dtype: np.dtype[Any]
    given: frozenset[str] = frozenset()
    keep_alive: list[Any] = field(default_factory=list)
    args: dict[str, IntArray] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    out: dict[str, IntArray] = field(default_factory=dict)
    resets: list[int] = field(default_factory=list)
    tables: dict[str, IntArray] = field(default_factory=dict)
    job: IntArray | None = None
    pipelines: dict[int, Pipeline] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network = self.program.network
        # Given sums cover whole samples.
        most = self.steps + network.timing.drain_steps
        self.chunk = most if self.given else min(chunk_steps(self.program), most)
        self.kernels: list[int] = []
        self.reached = np.zeros(1, np.int64)
        for name in self.program.order:
            if name in self.program.populations:
                self._population(name, self.program.populations[name])
            elif name in self.program.synapses:
                self._rows(name, self.program.synapses[name])
            else:
                self._input(name)
        self.counters = [
            (
                name,
                (layout.ARGS if name in self.program.populations else layout.SYNAPSE_ARGS).index("counts"),
                WORD_BYTES * part.start,
            )
            for name, part in self.program.counts.columns.items()
            if name in self.args
        ]
        self.driver = machine.callable_at(machine.functions(plan_cache.driver_text(), [KERNEL])[0], ctypes.c_void_p)
        self.tables = {
            "ranges": table([value for row in self.program.ranges for value in row], 3),
            "kernels": table(self.kernels, 2),
            "resets": table(self.resets, 3),
        }

    def _memory(self, words: int) -> IntArray:
        memory = zeros(words)
        self.keep_alive.append(memory)
        return memory

    def _lanes(self, values: npt.NDArray[np.int32]) -> IntArray:
        """Copy to memory that starts at a cache line: a vector over two lines takes twice as long."""
        memory = self._memory(values.size // 2)
        memory[:] = values.reshape(-1).view(np.int64)
        return memory

    def _buffer(self, name: str) -> IntArray:
        """Return the memory of a node's outputs, one row per step."""
        if name not in self.out:  # a feedback needs it before its population does
            wires = self.program.wires[name]
            self.out[name] = self._memory(-(-wires.stride * self.steps // 8) + 8)
        return self.out[name]

    def _kernel(self, name: str, text: str, args: IntArray) -> None:
        self.args[name], self.places[name] = args, args.ctypes.data
        self.kernels += [machine.functions(text, [KERNEL])[0], self.places[name]]

    def _input(self, name: str) -> None:
        wires = self.program.wires[name]
        args = zeros(len(layout.INPUT_ARGS))
        args[1:] = self._buffer(name).ctypes.data, wires.size, wires.stride
        self._kernel(name, plan_cache.input_text(self.dtype, not wires.coded), args)

    def _population(self, name: str, made: Population) -> None:
        network, form = self.program.network, made.form
        shared = made.layout.shared
        own = self._lanes(made.layout.own)
        start = self._lanes(layout.at_rest(made.layout, made.blocks, made.form.lanes))
        state = self._memory(start.size)
        self.resets += [state.ctypes.data, start.ctypes.data, state.size]
        valid = np.zeros(made.wires.width, np.uint8)
        valid[: network.populations[name].size] = 1
        scratch = self._memory(max(made.layout.scratch_slots, 1) * form.lanes // 2)
        args = zeros(len(layout.ARGS) + len(form.sums) + len(made.layout.traces))
        args[layout.ARGS.index("blocks")] = made.blocks
        args[layout.ARGS.index("start_offset")] = network.timing.start_offset[name]
        places = {"own": own, "shared": shared, "state": state, "scratch": scratch, "valid": valid}
        everything: dict[str, Any] = places | {"out": self._buffer(name)}
        for key, memory in everything.items():
            args[layout.ARGS.index(key)] = memory.ctypes.data
            self.keep_alive.append(memory)
        for index, each in enumerate(form.sums):
            args[len(layout.ARGS) + index] = self._sums(each, made).ctypes.data
        self._kernel(name, made.text, args)

    def _sums(self, synapse: str, target: Population) -> IntArray:
        key = f"{synapse}|sums"
        if key not in self.out:
            rows = self.program.synapses[synapse]
            self.out[key] = self._memory(-(-rows.columns * self.chunk * rows.form.sum_bits // 64) + 8)
        return self.out[key]

    def _rows(self, name: str, made: Rows) -> None:
        network = self.program.network
        target = network.target[name]
        table = layout.offsets()
        weights = zeros(-(-made.weights.nbytes // 8)).view(made.weights.dtype)[: made.weights.size]
        weights[:] = layout.order_columns(made.form, made.weights).reshape(-1)
        memory = {
            "weights": weights,
            "out": self._sums(name, self.program.populations[target]),
            "counts": None,
            "events": self._memory((made.inputs + layout.ROWS_TOGETHER) * self.chunk * made.form.event_bits // 64 + 64),
            "found": self._memory(self.chunk),
            "codes": self._memory(made.inputs // 2 + 16),
            "table": table,
            "fan_out": made.fan_out,
        }
        numbers = {
            "width": made.columns,
            "inputs": made.inputs,
            "start_offset": network.timing.start_offset[name],
            "rows": made.inputs,
        }
        args = zeros(len(layout.SYNAPSE_ARGS) + len(layout.SOURCE_ARGS) * len(network.incoming[name]))
        for index, key in enumerate(layout.SYNAPSE_ARGS):
            if key in numbers:
                args[index] = numbers[key]
            elif memory[key] is not None:
                args[index] = memory[key].ctypes.data
        self.keep_alive += [weights, table, made.fan_out]
        for index, edge in enumerate(network.incoming[name]):
            at = len(layout.SYNAPSE_ARGS) + index * len(layout.SOURCE_ARGS)
            args[at : at + 3] = (
                self._buffer(edge.source).ctypes.data,
                edge.delay,
                self.program.wires[edge.source].stride,
            )
        self._kernel(name, made.text, args)

    def run(
        self,
        codes: Any,
        lengths: IntArray,
        first: int,
        last: int,
        results: Results,
        sums: Mapping[str, npt.NDArray[Any]] = NOTHING,
    ) -> None:
        """Run samples `first` to `last` (exclusive); `sums` (samples, steps, columns) replace those of kernels."""
        lengths = np.ascontiguousarray(lengths[first:last], np.int64)
        moves = self.place(codes, first, results, sums)
        if self.job is None:  # the strides of a worker's samples never change
            self.tables["moves"] = table(moves, 2)
            self.job = self.fields(lengths, self.tables)
        self.job[SAMPLES], self.job[LENGTHS] = len(lengths), lengths.ctypes.data
        self.driver(self.job.ctypes.data)

    def pipeline(self, most: int) -> Pipeline:
        """Return the program in at most `most` stages, each for a processor of its own."""
        if most not in self.pipelines:
            self.pipelines[most] = Pipeline(self, stages(self.program, most))
        return self.pipelines[most]

    def fields(self, lengths: IntArray, tables: Mapping[str, IntArray]) -> IntArray:
        """Return the driver's arguments for all steps of samples; the tables and `lengths` must outlive its call.

        `tables` may also hold the words that the driver awaits and writes.
        """
        drain_steps = self.program.network.timing.drain_steps
        samples = {"samples": len(lengths), "drain_steps": drain_steps}
        numbers = {**samples, "chunk": self.chunk, "first": 0, "last": ENDLESS}
        words = {"awaited": NOT_AWAITED, "reached": self.reached}
        addresses = {key: held.ctypes.data for key, held in {**words, **tables, "lengths": lengths}.items()}
        return np.array([{**numbers, **addresses}[key] for key in layout.DRIVER_FIELDS], np.int64)

    def rest(self) -> None:
        """Set the registers to their values before step 0, as the driver does if it is given the table of resets."""
        for target, start, size in zip(*(self.resets[column::3] for column in range(3)), strict=True):
            ctypes.memmove(target, start, size * WORD_BYTES)

    def place(self, codes: Any, first: int, results: Results, sums: Mapping[str, Any] = NOTHING) -> list[int]:
        """Point the kernels at the first sample's rows, and return each pointer's stride from sample to sample."""
        moves: list[int] = []

        def point(name: str, index: int, array: Any, start: int = first) -> None:
            row = array.nbytes // len(array)  # the stride of a single sample may be anything
            self._point(name, index, array.ctypes.data + start * row, row, moves)

        point(self.program.network.input_name, 0, codes)
        for name, given in sums.items():
            target = self.program.network.target[name]
            forms = [*self.program.populations[target].form.sums]
            point(target, len(layout.ARGS) + forms.index(name), given, 0)
        row = WORD_BYTES * results.counted.shape[1]
        counted = results.counted.ctypes.data + first * row
        for name, index, column in self.counters:
            self._point(name, index, counted + column, row, moves)
        for name, outputs in results.outputs.items():
            key = "out" if self.program.wires[name].coded else "record"
            point(name, layout.ARGS.index(key), outputs)
            if key == "out":
                self._follow(name, outputs, first, moves)
        for name, states in results.states.items():
            made = self.program.populations[name]
            for index, (state, _, _) in enumerate(made.layout.traces):
                point(name, len(layout.ARGS) + len(made.form.sums) + index, states[state])
        return moves

    def _point(self, name: str, index: int, address: int, stride: int, moves: list[int]) -> None:
        self.args[name][index] = address
        moves += (self.places[name] + WORD_BYTES * index, stride)

    def _follow(self, name: str, outputs: Any, first: int, moves: list[int]) -> None:
        """Point the synapses after a population at its recorded codes, since its kernel writes them only there."""
        network = self.program.network
        for synapse in network.synapses:
            for index, edge in enumerate(network.incoming[synapse]):
                if edge.source == name:
                    at = len(layout.SYNAPSE_ARGS) + index * len(layout.SOURCE_ARGS)
                    row = outputs.nbytes // len(outputs)
                    self._point(synapse, at, outputs.ctypes.data + first * row, row, moves)


def single_synapse_run(program: Program, synapse: str, codes: Any) -> Callable[[], None]:
    """Return a function that runs the events of the input through one synapse only, on one processor."""
    groups = (((program.network.input_name, synapse), False),)
    part = replace(program, groups=groups, order=groups[0][0], ranges=((0, len(groups[0][0]), False),))
    worker = Worker(part, codes.shape[1], codes.dtype)
    lengths = np.full(len(codes), codes.shape[1], np.int64)
    counts = Results(part, {}, {}, np.zeros((len(codes), part.counts.width), np.int64))
    return lambda: worker.run(codes, lengths, 0, len(codes), counts)


def program_run(program: Program, codes: Any) -> Callable[[], None]:
    """Runner of a whole program on samples, on one processor."""
    samples, steps = codes.shape[:2]
    lengths = np.full(samples, steps, np.int64)
    worker, results = Worker(program, steps, codes.dtype), allocate_results(program, lengths, steps, Spare())
    return lambda: worker.run(codes, lengths, 0, samples, results)


class Engine:
    """Program with its workers."""

    def __init__(self, program: Program, threads: int | None = None) -> None:
        self.threads = threads or processors()
        self.rows_choice = RowsChoice(program, program_run)
        self.use(program)
        self.spare = Spare()

    def use(self, program: Program) -> None:
        """Run this program from now on."""
        self.program = program
        self.dense_input = DenseInput(program, single_synapse_run)
        self.pipeline_choice = PipelineChoice(program)
        self.workers: dict[WorkerKind, list[Worker]] = {}

    def run(
        self,
        codes: Any,
        lengths: IntArray,
        threads: int | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> Results:
        """Run samples (samples, steps, channels) of any integer type, on at most `threads` threads."""
        threads = threads or self.threads
        codes = np.ascontiguousarray(codes.view(np.uint8) if codes.dtype == bool else codes)
        codes = codes.astype(codes.dtype.newbyteorder("="), copy=False)
        samples, steps = codes.shape[:2]
        better = self.rows_choice.choose(codes)
        if better is not None:
            self.use(better)
        program, chosen = self.program, self.dense_input.choose(codes)
        made = allocate_results(program, lengths, steps, self.spare)
        kind = program, steps, codes.dtype.str, frozenset(chosen)

        def task(part: slice) -> None:
            with self._worker(*kind) as worker:
                sums = {}
                for name, library in chosen.items():
                    rows = program.synapses[name]
                    sums[name] = product(codes[part], rows, library)
                    made.counters(name)[part] = count_events(codes[part], rows, lengths[part])
                worker.run(codes, lengths, part.start, part.stop, made, sums)

        def tasks() -> None:
            parts = split_samples(samples, _task_samples(program, steps, chosen), threads)
            run_tasks(parts, task, threads, on_progress)

        def layers() -> None:
            with self._worker(*kind) as worker:
                worker.pipeline(threads).run(codes, int(lengths[0]), made)
            if on_progress:
                on_progress(1)

        if samples == 1 and not chosen:
            self.pipeline_choice.run(int(lengths[0]), threads, tasks, layers)
        else:
            tasks()
        return made

    @contextmanager
    def _worker(self, program: Program, steps: int, dtype: str, given: frozenset[str]) -> Iterator[Worker]:
        """Lend a free worker, or a new one."""
        kind = program, steps, dtype, given
        with memory_lock:
            free = self.workers.pop(kind, [])
            self.workers = {**dict([*self.workers.items()][1 - WORKER_KINDS :]), kind: free}
            worker = free.pop() if free else None
        try:
            worker = worker or Worker(program.without(given) if given else program, steps, np.dtype(dtype), given)
            yield worker
        finally:
            if worker is not None:
                self.workers.setdefault(kind, []).append(worker)


def _task_samples(program: Program, steps: int, chosen: Mapping[str, str]) -> int:
    """Samples of a task at most: products have to fit in memory."""
    columns = sum(program.synapses[name].columns for name in chosen)
    return min(TASK_SAMPLES, PRODUCT_BYTES // (4 * steps * columns)) if columns else TASK_SAMPLES
