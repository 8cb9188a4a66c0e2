"""An interpreter of a population's statements, on arrays of NumPy, and the reference's step on the same sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nmdeploy.engine.llvm.compilation import lower_population
from nmdeploy.engine.llvm.rows import sum_bound
from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.layout import Form, at_rest
from nmdeploy.engine.lower.slots import slots_of
from nmdeploy.engine.lower.statements import Index, Lowered, Memory
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron, StepTime

TYPES: dict[Lane, Any] = {
    Lane.F64: np.float64,
    Lane.F32: np.float32,
    Lane.I64: np.int64,
    Lane.I32: np.int32,
    Lane.MASK: np.bool_,
}
OPERATIONS: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "rem": np.fmod,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "trunc": np.trunc,
    "floor": np.floor,
    "ceil": np.ceil,
    "tanh": np.tanh,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.logical_not,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "select": np.where,
}
"""Operations that are functions of NumPy on arrays of the lane's type."""


class Run(NamedTuple):
    """Outputs (steps, H, outputs), recorded states (steps, H, elements), and counts by counter."""

    outputs: Any
    states: dict[str, Any]
    counts: dict[str, int]


def mul_rz(x: Any, y: Any) -> Any:
    """Return the float32 product rounded towards zero; the float64 product of two float32 is exact."""
    exact = x.astype(np.float64) * y.astype(np.float64)
    nearest = exact.astype(np.float32)
    return np.where(np.abs(nearest.astype(np.float64)) > np.abs(exact), np.nextafter(nearest, np.float32(0)), nearest)


class Interpreter:
    """Memory of one block, each value an array (1, lanes), or (1, 1) for all neurons of the block."""

    def __init__(self, lowered: Lowered, form: Form, neurons: int, block: int) -> None:
        self.lowered, self.form, layout = lowered, form, lowered.layout
        self.blocks, lanes, self.first = 1, form.lanes, block * form.lanes
        self.neurons = min(neurons - self.first, lanes)
        self.memory = {
            Memory.OWN: layout.own[block : block + 1],
            Memory.STATE: at_rest(layout, len(layout.own), lanes)[block : block + 1],
            Memory.SCRATCH: np.zeros((1, max(layout.scratch_slots, 1), lanes), np.int32),
        }
        self.held: dict[int, Any] = {}
        self.values: dict[int, Any] = {}
        self.counts = dict.fromkeys(layout.counters, 0)
        self.values[st.VALID.number] = np.arange(lanes)[None] < self.neurons

    def run(self, sums: Mapping[str, Any], steps: int) -> Run:
        """Run a sample on sums (steps, H, inputs) of each synapse."""
        form, layout = self.form, self.lowered.layout
        width = self.blocks * form.lanes
        self.sums = {}
        for name, given in sums.items():
            rows = np.zeros((steps + form.output_latency, given.shape[-1], width), np.int64)
            rows[: len(given), :, : self.neurons] = given[:, self.first : self.first + self.neurons].transpose(0, 2, 1)
            self.sums[name] = rows.reshape(*rows.shape[:2], self.blocks, form.lanes)
        self.traces = {
            name: np.zeros((steps, int(np.prod(sizes)), self.blocks, form.lanes), np.int64)
            for name, sizes, _ in layout.traces
        }
        self.sent: list[Any] = []
        for number, (slot, lane) in enumerate(self.lowered.held):
            self.held[number] = self._slots(Memory.STATE, slot, lane)
        self._all(self.lowered.block)
        for step in range(steps + form.output_latency):
            self.values |= {st.STEP_NUMBER.number: np.array([[step]]), st.STEP_COUNT.number: np.array([[steps]])}
            self.step = step
            self._all(self.lowered.step)
        outputs = np.array(self.sent).transpose(0, 2, 3, 1).reshape(steps, width, -1)[:, : self.neurons]
        states = {
            name: kept.reshape(steps, kept.shape[1], width).transpose(0, 2, 1)[:, : self.neurons]
            for name, kept in self.traces.items()
        }
        return Run(outputs, states, self.counts)

    def _all(self, statements: Sequence[st.Statement]) -> None:
        for statement in statements:
            found = getattr(self, f"_{type(statement).__name__.lower()}")(statement)
            if found is not None:
                result = statement.result  # type: ignore[union-attr]
                assert found.dtype == TYPES[result.lane], statement
                assert found.shape[-1] == (1 if result.uniform else self.form.lanes), statement
                self.values[result.number] = found

    def _value(self, operand: st.Operand, uniform: bool = False) -> Any:
        if isinstance(operand, st.Value):
            return self.values[operand.number]
        number = TYPES[operand.lane](operand.value)
        assert number == operand.value, "a literal that its lane does not hold"
        return np.full((self.blocks, 1 if uniform or operand.uniform else self.form.lanes), number)

    def _index(self, index: Index) -> int:
        if isinstance(index, int):
            return index
        return index.start + sum(int(self.values[each.number].flat[0]) * factor for each, factor in index.factors)

    def _slots(self, memory: Memory, slot: int, lane: Lane) -> Any:
        """Return a vector of each block; a condition takes 64 bits."""
        kind = np.int64 if lane == Lane.MASK else TYPES[lane]
        words = np.ascontiguousarray(self.memory[memory][:, slot : slot + slots_of(lane)])
        found = words.reshape(self.blocks, -1).view(kind)
        return found != 0 if lane == Lane.MASK else found

    def _shared(self, slot: int, lane: Lane) -> Any:
        word = self.lowered.layout.shared[slot : slot + 1].view(np.uint8)
        return np.full((self.blocks, 1), word[: TYPES[lane]().itemsize].view(TYPES[lane])[0])

    def _load(self, s: st.Load) -> Any:
        lane, element = s.result.lane, self._index(s.element)
        if s.memory is Memory.HELD:
            return self.held[s.place]  # type: ignore[index]
        if s.memory is Memory.SUMS:
            return self.sums[s.place][self.step, element].astype(TYPES[lane])  # type: ignore[index]
        assert isinstance(s.place, int)
        if s.memory is Memory.SHARED:
            return self._shared(s.place + element, lane)
        return self._slots(s.memory, s.place + element * slots_of(lane), lane)

    def _store(self, s: st.Store) -> None:
        if s.only is not None and not self._value(s.only).all():
            return
        value, element = self._value(s.value), self._index(s.element)
        if s.memory is Memory.HELD:
            self.held[s.place] = value  # type: ignore[index]
        elif s.memory is Memory.TRACE:
            self.traces[s.place][self.step, element] = value  # type: ignore[index]
        else:
            lane = s.value.lane
            assert isinstance(s.place, int)
            slot = s.place + element * slots_of(lane)
            kept = np.ascontiguousarray(value.astype(np.int64) if lane == Lane.MASK else value)
            words = kept.view(np.int32).reshape(self.blocks, slots_of(lane), self.form.lanes)
            self.memory[s.memory][:, slot : slot + slots_of(lane)] = words

    def _lookup(self, s: st.LookUp) -> Any:
        index, lane = self._value(s.index), s.result.lane
        index = index if s.entries is None else index & (s.entries - 1)
        found = np.zeros(index.shape, TYPES[lane])
        for element in np.unique(index):
            found = np.where(index == element, self._shared(s.place + int(element), lane), found)
        return found

    def _choice(self, s: st.Choice) -> None:
        self._all(s.large if self._value(s.condition).any() else s.small)

    def _apply(self, s: st.Apply) -> Any:
        args = [self._value(arg, s.result.uniform) for arg in s.args]
        kind = TYPES[s.result.lane]
        with np.errstate(all="ignore"):
            if s.op == "convert":
                whole = np.trunc(args[0]) if s.args[0].lane in FLOATS and s.result.lane not in FLOATS else args[0]
                return whole.astype(kind)
            if s.op == "ldexp":
                return np.ldexp(args[0].astype(np.float64), args[1])
            if s.op == "splat":
                return np.broadcast_to(args[0], (self.blocks, self.form.lanes)).astype(kind)
            if s.op == "mul_rz":
                return mul_rz(*args)
            return np.asarray(OPERATIONS[s.op](*args))

    def _beyond(self, s: st.Beyond) -> Any:
        value = self._value(s.value)
        low = value < s.low.value if s.low else False
        return np.any(low | (value > s.high.value if s.high else False), -1, keepdims=True)

    def _clip(self, s: st.Clip) -> Any:
        value = limited = self._value(s.value)
        limited = np.minimum(limited, value.dtype.type(s.high.value)) if s.high else limited
        limited = np.maximum(limited, value.dtype.type(s.low.value)) if s.low else limited
        return np.where(self._value(s.beyond), limited, value)

    def _loop(self, s: st.Loop) -> None:
        for index in range(s.size):
            self.values[s.index.number] = np.array([[index]])
            self._all(s.body)

    def _count(self, s: st.Count) -> None:
        mask = self._value(s.mask)
        if s.seldom is not None:
            assert not (mask & ~self._value(s.seldom).any(-1, keepdims=True)).any(), "a condition that misses a lane"
        if s.only is None or self._value(s.only).all():
            self.counts[s.counter] += int(mask.sum())

    def _send(self, s: st.Send) -> None:
        row = self.step - self.form.output_latency
        if row < 0:
            return
        sent = np.array([self._value(value) for value in s.values])
        self.sent.append(sent)
        self.counts["events"] += int(np.count_nonzero(sent))
        self.counts["events_sent"] += int(np.count_nonzero(sent)) * (row % self.form.send_steps == 0)


def interpreted(lowered: Lowered, form: Form, neurons: int, sums: Mapping[str, Any], steps: int) -> Run:
    """Return the run of all blocks; each takes a form of the step by its own sums, as in the kernel."""
    runs = [Interpreter(lowered, form, neurons, block).run(sums, steps) for block in range(-(-neurons // form.lanes))]
    states = {name: np.concatenate([each.states[name] for each in runs], 1) for name in runs[0].states}
    counts = {name: sum(each.counts[name] for each in runs) for name in runs[0].counts}
    return Run(np.concatenate([each.outputs for each in runs], 1), states, counts)


def random_sums(network: QuantizedNetwork, synapse: str, neurons: int, steps: int, rng: np.random.Generator) -> Any:
    """Return sums (steps, H, inputs) within their bounds: ends, zeros, and numbers between."""
    low, high = (end.astype(np.int64) for end in sum_bound(network, synapse))
    drawn = rng.integers(np.minimum(low, 0), np.maximum(high, 0) + 1, (steps, low.size))
    scale = rng.random((steps, 1)) ** 3
    between = (drawn * scale).astype(np.int64)
    kind = rng.integers(0, 6, (steps, low.size))
    sums = np.select([kind == 0, kind == 1, kind == 2], [low, high, 0 * low], between)
    return sums.reshape(steps, neurons, -1)


def reference_run(
    neuron: QuantizedNeuron, synapses: Mapping[str, Any], sums: Mapping[str, Any], steps: int, send_steps: int
) -> Run:
    """Return the reference's run of a population on sums."""
    registers, sent, latency = neuron.start(1), [], neuron.output_latency
    states: dict[str, list[Any]] = {}
    counts = dict.fromkeys(("events", "events_sent", "active", *neuron.flags), 0)
    for step in range(steps + latency):
        a = np.zeros((1, neuron.input_size), np.int64)
        if step < steps:
            a = a + sum(synapses[name].finish(each[step].reshape(1, -1)) for name, each in sums.items())
        registers, output, flags = neuron.advance(registers, a, StepTime(step, steps))
        if step < steps:
            for name, value in neuron.recorded_states(registers).items():
                states.setdefault(name, []).append(np.asarray(value)[0].reshape(neuron.size, -1))
            for name, flag in zip(neuron.flags, flags, strict=True):
                counts[name] += int(np.sum(flag))
            met = [a, output] if neuron.feeds_synapses else [a]
            active = [np.asarray(each).reshape(neuron.size, -1).any(-1) for each in met]
            counts["active"] += int(np.logical_or.reduce(active).sum())
        if step >= latency:
            sent.append(np.asarray(output)[0].reshape(neuron.size, -1))
            events = int(np.count_nonzero(output))
            counts["events"] += events
            counts["events_sent"] += events * ((step - latency) % send_steps == 0)
    return Run(np.array(sent), {name: np.array(each) for name, each in states.items()}, counts)


def interpreted_differences(network: QuantizedNetwork, name: str, steps: int, seed: int) -> list[str]:
    """Return the values in which a population's interpreted statements differ from the reference's step."""
    neuron, rng = network.populations[name], np.random.default_rng(seed)
    _, form, lowered = lower_population(network, name, "states")
    synapses = {edge.source: network.synapses[edge.source] for edge in network.incoming[name]}
    sums = {each: random_sums(network, each, neuron.size, steps, rng) for each in synapses}
    actual = interpreted(lowered, form, neuron.size, sums, steps)
    expected = reference_run(neuron, synapses, sums, steps, form.send_steps)
    found = ["outputs"] if not np.array_equal(expected.outputs, actual.outputs) else []
    found += [each for each, value in expected.states.items() if not np.array_equal(value, actual.states[each])]
    return found + [each for each, count in expected.counts.items() if count != actual.counts[each]]
