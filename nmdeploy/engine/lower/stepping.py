"""Statements of one step of a block of neurons: its loops, the values outside of them, counts, traces and outputs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.lanes import FLOATS, Lane, LaneChoice
from nmdeploy.engine.lower.layout import Form, Layout, RegisterPlace
from nmdeploy.engine.lower.schedule import Loop, loop_axes, loop_sizes, schedule
from nmdeploy.engine.lower.slots import slots_of
from nmdeploy.engine.lower.small_sums import SmallSums, small_sums
from nmdeploy.engine.lower.statements import VALID, Index, Indices, Lowered, Memory, literal
from nmdeploy.engine.lower.values import GATHER, Values, linear
from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol

Total = tuple[Node, Indices, Lane, int, int]
"""Element of a sum or `any` over a loop, its lane and scale, and the variable that holds it."""


class StepWriter:
    """Writer of the statements of one step; methods raise `NotTraceable` if there are none for it."""

    def __init__(self, step: Step, choice: LaneChoice, form: Form) -> None:
        self.step, self.form, self.values = step, form, Values(step, choice)
        self.schedule = schedule(step, form.traced)
        self.scratch: dict[Any, int] = {}
        self.scratch_slots = 0
        self.registers: dict[str, RegisterPlace] = {}
        self.held: list[tuple[int, Lane]] = []
        self.state_slots = 0
        for name in step.registers:
            self._place(name)
        self.traces = {name: self._trace_bits(symbol) for name, symbol in step.recorded.items() if form.traced}
        self.counted = {**step.flags, "active": step.active}
        self.counting: st.Operand | None = None

    def lower(self, blocks: int) -> Lowered:
        """Return the statements, and the memory layout for a number of blocks."""
        step, values = self.step, self.values
        small = None if self.form.real else small_sums(step, values.choice)
        if small is None:
            self._write()
        else:
            self._write_forms(small)
        layout = Layout(
            *values.slots.fill(step.neurons, blocks, self.form.lanes),
            tuple(self.registers.values()),
            max(self.state_slots, 1),
            self.scratch_slots,
            ("events", "events_sent", "active", *step.flags),
            tuple((name, step.recorded[name].sizes, bits) for name, bits in self.traces.items()),
        )
        sums = {name: int(np.prod(symbol.node.dims)) for name, symbol in step.sums.items()}
        block, inner = (tuple(scope.statements) for scope in values.scopes)
        return Lowered(block, inner, tuple(self.held), sums, layout)

    def _write(self) -> None:
        """Write the step."""
        if self.form.output_latency:
            self.counting = self.values.apply(Lane.MASK, "lt", st.STEP_NUMBER, st.STEP_COUNT, uniform=True)
        for each in self.schedule.loops:
            self._loop(each)
        self._plain()

    def _write_forms(self, small: SmallSums) -> None:
        """Write the step in two forms, and the condition that chooses between them."""
        values = self.values
        masks = [values.read(each, at, Lane.MASK) for each in small.beyond for at in _over(each.sizes)]
        condition = functools.reduce(lambda one, two: values.apply(Lane.MASK, "or", one, two), masks)
        forms = []
        for choice in (values.choice, small.choice):
            self.values, self.scratch = values.form(self.step, choice), {}
            self._write()
            forms.append(tuple(self.values.scopes[1].statements))
        values.put(st.Choice(condition, *forms))  # type: ignore[arg-type]

    def _place(self, name: str) -> None:
        """Give a register its slots; one without a loop is a variable while a block runs."""
        register, values = self.step.registers[name], self.values
        node = register.old.node
        lane, slot = values.lane(node), self.state_slots
        self.registers[name] = RegisterPlace(slot, node.dims, lane, register.start)
        values.state[node.value] = slot
        count = int(np.prod(node.dims))
        self.state_slots += count * slots_of(lane)
        if not loop_sizes(node.dims):
            for element in range(count):
                values.held[node.value, element] = next(values.variables)
                self.held.append((slot + element * slots_of(lane), lane))

    # -- loops

    def _loop(self, each: Loop) -> None:
        """Write one nest of loops: first every value of an iteration, then the stores."""
        values = self.values
        totals: list[Total] = []
        for node in each.reductions:
            lane = values.lane(node)
            scale = values.scales.get(node, 0) if lane in FLOATS else 0
            lane = Lane.I32 if not scale and values.choice.adds_words(node) else lane
            for index in _over(node.dims):
                totals.append((node, index, lane, scale, next(values.variables)))
                values.put(st.Store(Memory.HELD, totals[-1][-1], 0, literal(0, lane)))
        self._nest(each, each.sizes, (), totals)
        known = values.scopes[-1].known
        for node, at, lane, scale, variable in totals:
            own = values.lane(node)
            total = values.convert(values.load(lane, Memory.HELD, variable), own)
            known[node, at, own, scale] = total
            if scale:
                known[node, at, own, 0] = values.times(total, own, -scale)
        values.stored |= {node: self.scratch[node] for node in each.stored}

    def _nest(self, each: Loop, sizes: tuple[int, ...], at: Indices, totals: list[Total]) -> None:
        if sizes:
            with self.values.loop(sizes[0]) as i:
                self._nest(each, sizes[1:], (*at, i), totals)
            return
        values, later = self.values, []
        for node, outer, lane, scale, variable in totals:
            before = values.load(lane, Memory.HELD, variable)
            part = values.read(node.args[0], (*outer, at[-1]), lane, scale)
            later.append(st.Store(Memory.HELD, variable, 0, values.apply(lane, GATHER[node.op], before, part)))
        for node in each.stored:
            slot = self._scratch(node, node.dims, values.lane(node))
            for index in _over(node.dims, at):
                value = values.element(node, index, values.lane(node))
                later.append(st.Store(Memory.SCRATCH, slot, linear(node.dims, index), value))
        for store in later + self._effects(each, at):
            values.put(store)

    def _effects(self, each: Loop, at: Indices = ()) -> list[st.Store]:
        """Write counts and traces, and return the stores of the registers' next values."""
        step = self.step
        later = [self._next(name, index) for name in each.registers for index in _over(self.registers[name].dims, at)]
        for name in each.flags:
            for index in _over(self.counted[name].sizes, at):
                self._count(name, self.counted[name], index)
        for name in each.recorded:
            for index in _over(step.recorded[name].sizes, at):
                self._trace(name, step.recorded[name], index)
        return later

    def _scratch(self, key: Any, dims: tuple[int, ...], lane: Lane) -> int:
        if key not in self.scratch:
            self.scratch[key] = self.scratch_slots
            self.scratch_slots += int(np.prod(dims)) * slots_of(lane)
        return self.scratch[key]

    def _next(self, name: str, index: Indices) -> st.Store:
        """Return the store of a register's next value."""
        register, held = self.step.registers[name], self.registers[name]
        value, element = self.values.read(register.new, index, held.lane), linear(held.dims, index)
        if (register.old.node.value, element) in self.values.held:
            return st.Store(Memory.HELD, self.values.held[register.old.node.value, element], 0, value)
        if name in self.schedule.shadowed:
            return st.Store(Memory.SCRATCH, self._scratch(("shadow", name), held.dims, held.lane), element, value)
        return st.Store(Memory.STATE, held.slot, element, value)

    # -- outside of loops

    def _plain(self) -> None:
        values, step = self.values, self.step
        plain = Loop(
            stage=0,
            sizes=(),
            registers=[name for name, held in self.registers.items() if not loop_sizes(held.dims)],
            flags=[name for name, flag in self.counted.items() if not loop_sizes(flag.sizes)],
            recorded=[name for name in self.traces if not loop_sizes(step.recorded[name].sizes)],
        )
        later = self._effects(plain)
        if loop_sizes(step.output.sizes):
            raise NotTraceable("more outputs per neuron than are written out")
        values.put(st.Send(tuple(self._output(index) for index in _over(step.output.sizes))))
        for store in later:
            values.put(store)
        for name in self.schedule.shadowed:
            held = self.registers[name]
            source = self._scratch(("shadow", name), held.dims, held.lane)
            with values.loop(int(np.prod(held.dims))) as i:
                values.put(st.Store(Memory.STATE, held.slot, i, values.load(held.lane, Memory.SCRATCH, source, i)))

    def _masked(self, mask: st.Operand) -> st.Operand:
        return self.values.apply(Lane.MASK, "and", mask, VALID) if self.form.ragged else mask

    def _count(self, name: str, symbol: Symbol, index: Indices) -> None:
        """Count the neurons of a condition; overflows are rare."""
        if symbol.node.op == "const" and not symbol.node.value:
            return
        mask = self._masked(self.values.read(symbol, index, Lane.MASK))
        seldom = (self.values.beyond_of(symbol, index) or mask) if name in self.step.flags else None
        self.values.put(st.Count(name, mask, self.counting, seldom))

    def _trace(self, name: str, symbol: Symbol, index: Indices) -> None:
        """Store a recorded state; values after the sample's last step are not stored."""
        values = self.values
        lane = Lane.F64 if self.form.real else Lane.I64 if self.traces[name] == 64 else Lane.I32
        value = values.read(symbol, index, lane) if self.form.real else values.convert(values.read(symbol, index), lane)
        values.put(st.Store(Memory.TRACE, name, linear(symbol.sizes, index), value, self.counting))

    def _trace_bits(self, symbol: Symbol) -> int:
        """Return the width of a recorded state: 1 (a condition, in 32 bits of memory), 32 or 64."""
        if self.form.real or symbol.node.boolean:
            return 64 if self.form.real else 1
        return 32 if self.values.bounds[symbol.node].magnitude < 2.0**31 else 64

    def _output(self, index: Indices) -> st.Operand:
        symbol, values = self.step.output, self.values
        if self.form.real:
            return values.read(symbol, index, Lane.F64)
        if symbol.node.boolean and not self.form.coded:
            return self._masked(values.read(symbol, index, Lane.MASK))
        low, high = values.bounds[symbol.node]
        if low.min() < -(2.0**31) or high.max() >= 2.0**31:
            raise NotTraceable("an output that can exceed 32 bits")
        code = values.convert(values.read(symbol, index), Lane.I32)
        return values.apply(Lane.I32, "select", VALID, code, literal(0, Lane.I32)) if self.form.ragged else code


def _over(dims: tuple[int, ...], at: Indices = ()) -> Iterator[Indices]:
    """Return the indices of the written-out axes, with those of the loops."""
    at_loop: dict[int, Index] = dict(zip(loop_axes(dims), at, strict=True))
    return itertools.product(*([at_loop[axis]] if axis in at_loop else range(size) for axis, size in enumerate(dims)))
