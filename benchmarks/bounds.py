"""The bound of a network's time on this machine, from counts of work and measured rates.

It is the largest of three times for a sample: rows added / row additions per second, state operations / multiply-adds
per second, bytes in and out / bytes copied per second.

States of 24 bits are multiply-added as float32, twice as many per second as doubles. Neurons that sum products before
they round them (per-sum rounding) need doubles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nmdeploy._util.system import processors
from nmdeploy.engine.llvm.machine import has
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording

LIF_OPERATIONS, GATE_OPERATIONS = 2, 2
COMPLEX_STATE_OPERATIONS = 8
EVENTS, ROUNDS, COPIED, TRIES = 1 << 16, 50_000, 1 << 26, 4
PAIRED = 64  # columns that one multiply-add of bytes adds

Measure = Callable[[], float]
"""A function that measures a rate once."""


@dataclass(frozen=True)
class Rates:
    """Work that the machine does per second: row additions by width, multiply-adds by float bits, bytes copied.

    `rows_in_pairs` are also row additions, with two rows of bytes added by one multiply-add. It is empty if the
    processor lacks the instruction.
    """

    rows: Mapping[int, float]
    multiply_adds: Mapping[int, float]
    bytes_copied: float
    rows_in_pairs: Mapping[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the rates as plain values."""
        named = {key: _named(values) for key, values in vars(self).items() if key != "bytes_copied"}
        return {**asdict(self), **named}


@dataclass(frozen=True)
class Work:
    """Work of one sample: rows of a width to add, multiply-adds by the bits of a float, bytes in and out."""

    rows: Mapping[int, float]
    state_operations: Mapping[int, float]
    bytes_moved: float

    def to_json(self) -> dict[str, Any]:
        """Return the work as plain values."""
        return {**asdict(self), "rows": _named(self.rows), "state_operations": _named(self.state_operations)}


def _named(values: Mapping[int, float]) -> dict[str, float]:
    return {str(key): value for key, value in values.items()}


@dataclass(frozen=True)
class Bound:
    """Seconds of each resource for one sample."""

    rows: float
    states: float
    bytes: float

    @property
    def seconds(self) -> float:
        """Seconds of the resource that takes longest."""
        return max(self.rows, self.states, self.bytes)

    @property
    def limited_by(self) -> str:
        """Name of the resource that takes longest."""
        return max(asdict(self), key=lambda name: float(getattr(self, name)))


def bound(work: Work, rates: Rates) -> Bound:
    """Return the bound: per resource, work divided by its rate.

    >>> rates = Rates({128: 1e9}, {32: 1e11, 64: 5e10}, 1e10)
    >>> bound(Work({128: 4e4}, {64: 8e5}, 2e5), rates)
    Bound(rows=4e-05, states=1.6e-05, bytes=2e-05)
    """
    return Bound(
        rows=sum(count / rates.rows[width] for width, count in work.rows.items()),
        states=sum(count / rates.multiply_adds[bits] for bits, count in work.state_operations.items()),
        bytes=work.bytes_moved / rates.bytes_copied,
    )


def work_of(network: QuantizedNetwork, recording: Recording) -> Work:
    """Return the mean work per sample, from the events that a recording counted.

    A spike adds a row. An event that carries a value multiplies its row, at the rate of multiply-adds of float32.
    """
    rows: dict[int, float] = {}
    operations: dict[int, float] = {}
    for name, neuron in network.populations.items():
        events = float(np.mean(recording.layers[name].counts["input_events"]))
        if takes_values(network, name):
            operations[32] = operations.get(32, 0.0) + events * neuron.input_size
        else:
            rows[neuron.input_size] = rows.get(neuron.input_size, 0.0) + events
        bits, each = float_bits(neuron), operations_of(neuron)
        operations[bits] = operations.get(bits, 0.0) + float(neuron.size * recording.steps * each)
    channels = network.nodes["input"].size + recording.output.shape[2]  # type: ignore[union-attr]
    return Work(rows, operations, float(recording.steps * channels))


def takes_values(network: QuantizedNetwork, name: str) -> bool:
    """Return True if a population's events carry values: those of an input with several codes, or of a gate."""
    sources = [edge.source for synapse in network.incoming[name] for edge in network.incoming[synapse.source]]
    return any(
        (network.nodes[source] is network.input and network.input.format.max > 1)
        or (source in network.populations and network.populations[source].emits == "values")
        for source in sources
    )


def operations_of(neuron: Any) -> int:
    """Return the multiply-adds of a neuron's step.

    They are the decays of u and v, 8 per complex state (A 4, B 2, C 2) and one for a window's kernel, or the
    interpolation and the product of a gate.
    """
    fixed = {"lif": LIF_OPERATIONS, "gated_linear_unit": GATE_OPERATIONS}
    if neuron.kind in fixed:
        return fixed[neuron.kind]
    if neuron.kind == "windowed_state_space":
        return COMPLEX_STATE_OPERATIONS * int(neuron.dynamics.states_per_neuron) + 1
    return COMPLEX_STATE_OPERATIONS * int(neuron.states_per_neuron)


def float_bits(neuron: Any) -> int:
    """Return the bits of the floats in which a neuron's states can be computed."""
    return 64 if getattr(getattr(neuron, "dynamics", neuron), "rounding", "") == "per-sum" else 32


def row_loops(width: int) -> list[Measure]:
    """Return loops that measure row additions per second on all cores: rows of 8-bit weights to 16-bit sums.

    The rows are drawn from a square table, which is as large as a layer's weights. Variants: vectors of 256 and 512
    bits, rows of 8 bits and rows widened to 16 before, whole rows and rows in blocks.
    """
    from benchmarks.loops import aligned, compiled, rows

    rng, made = np.random.default_rng(0), []
    index = [rng.integers(0, width, EVENTS).astype(np.int32) for _ in range(processors())]
    for block in sorted({min(128, width), width}):
        for bits in (8, 16):
            table = rng.integers(-127, 128, (width, block)).astype(f"int{bits}")
            kept = [(each, aligned(table), aligned(np.zeros(block, np.int16))) for each in index]
            for lanes in (16, 32):
                made.append(_measure(compiled(rows(block, lanes, bits), 4), EVENTS, kept, EVENTS * block / width))
    return made


def pair_loops(width: int) -> list[Measure]:
    """Return loops as `row_loops` does, with rows of bytes added two at a time. The processor needs AVX-512 BW.

    Variants: two, four and eight rows per iteration, whole rows and rows in blocks.
    """
    from benchmarks.loops import aligned, compiled, row_pairs

    rng, made = np.random.default_rng(0), []
    index = [rng.integers(0, width, EVENTS).astype(np.int32) for _ in range(processors())]
    for block in sorted({min(128, width), width}):
        table = rng.integers(-127, 128, (width, block)).astype(np.int8)
        kept = [(each, aligned(table), aligned(np.zeros(block, np.int16))) for each in index]
        for together in (2, 4, 8):
            made.append(_measure(compiled(row_pairs(block, together), 4), EVENTS, kept, EVENTS * block / width))
    return made


def multiply_add_loops(bits: int) -> list[Measure]:
    """Return loops that measure fused multiply-adds per second, on registers of all cores, of floats of `bits` bits."""
    from benchmarks.loops import aligned, compiled, fma

    made = []
    for lanes in (256 // bits, 512 // bits):
        for accumulators in (10, 16):
            kept = [(aligned(np.full(lanes * accumulators, 1e-3, f"f{bits // 8}")),) for _ in range(processors())]
            loop = compiled(fma(lanes, accumulators, bits), 2)
            made.append(_measure(loop, ROUNDS, kept, ROUNDS * lanes * accumulators))
    return made


def _measure(loop: Any, count: int, kept: list[tuple[Any, ...]], work: float) -> Measure:
    """Return a measure that runs a loop on each thread's arrays and keeps the arrays alive."""
    from benchmarks.loops import rate

    return lambda: rate(loop.call, [(count, *[array.ctypes.data for array in arrays]) for arrays in kept], work)


def copies() -> Measure:
    """Measure bytes read and written per second while all cores copy arrays that are larger than the caches."""
    pairs = [(np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)) for _ in range(processors())]

    def measure() -> float:
        with ThreadPoolExecutor(len(pairs)) as pool:
            start = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))
            return 2 * COPIED * len(pairs) / (time.perf_counter() - start)

    measure()  # the first touch of memory takes longer
    return measure


@dataclass(frozen=True)
class Machine:
    """The fastest loop of each kind. Each call of `rates` measures again, because the machine's speed changes."""

    rows: Mapping[int, Measure]
    multiply_adds: Mapping[int, Measure]
    bytes_copied: Measure
    rows_in_pairs: Mapping[int, Measure] = field(default_factory=dict)

    def rates(self) -> Rates:
        """Measure the rates of this moment."""
        rows, pairs = _measured(self.rows), _measured(self.rows_in_pairs)
        return Rates(rows, _measured(self.multiply_adds), self.bytes_copied(), pairs)

    def only(self, work: Work) -> Machine:
        """Return the loops that matter to some work."""
        return Machine(
            _only(self.rows, work.rows),
            _only(self.multiply_adds, work.state_operations),
            self.bytes_copied,
            _only(self.rows_in_pairs, work.rows),
        )


def machine(widths: set[int]) -> Machine:
    """Find the fastest variant of each loop on this machine."""
    rows = {width: fastest(row_loops(width)) for width in sorted(widths)}
    paired = sorted(width for width in widths if has("avx512bw") and not width % PAIRED)
    return Machine(
        rows,
        {bits: fastest(multiply_add_loops(bits)) for bits in (32, 64)},
        copies(),
        {width: fastest(pair_loops(width)) for width in paired},
    )


def _measured(loops: Mapping[int, Measure]) -> dict[int, float]:
    return {key: measure() for key, measure in loops.items()}


def _only(loops: Mapping[int, Measure], needed: Iterable[int]) -> dict[int, Measure]:
    return {key: loops[key] for key in needed if key in loops}


def fastest(variants: list[Measure]) -> Measure:
    """Return the variant with the best of several tries."""
    best = [max(measure() for _ in range(TRIES)) for measure in variants]
    return variants[int(np.argmax(best))]


def faster(one: Rates, other: Rates) -> Rates:
    """Return the better of two measurements, rate by rate, of the rates in both: a disturbance can only slow a loop."""
    return Rates(
        rows=_most(one.rows, other.rows),
        multiply_adds=_most(one.multiply_adds, other.multiply_adds),
        bytes_copied=max(one.bytes_copied, other.bytes_copied),
        rows_in_pairs=_most(one.rows_in_pairs, other.rows_in_pairs),
    )


def _most(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    return {key: max(value, other.get(key, 0.0)) for key, value in one.items()}
