"""Writer of one step of a block of neurons: its loops, the values outside of them, counts, traces and outputs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.llvm.code import F64, I8, I16, I32, I64, at, i64, load, loop, popcount, store, variable, vector
from nmdeploy.engine.llvm.floats import guard_of
from nmdeploy.engine.llvm.values import Scope
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.layout import elements
from nmdeploy.engine.lower.schedule import Loop, loop_axes, loop_sizes
from nmdeploy.engine.lower.slots import slots_of
from nmdeploy.engine.trace.symbols import NotTraceable, Symbol

if TYPE_CHECKING:
    from nmdeploy.engine.llvm.population import Kernel
    from nmdeploy.engine.llvm.values import Values


class StepWriter:
    """Writer of one step of one block, in the places that a `Kernel` has prepared."""

    def __init__(self, kernel: Kernel, values: Values) -> None:
        self.k, self.b, self.values = kernel, kernel.b, values
        self.form, self.step = kernel.form, kernel.step
        self.counting: Any = None

    def prepare(self, t: Any) -> None:
        """Tell the places of step `t`: its time and its sums."""
        places = self.values.places
        places.step = t
        row = self.b.sub(t, self.k.base)
        for name, pointer in self.k.sums.items():
            lane = {16: I16, 32: I32, 64: F64}[self.form.sums[name]]
            places.sums[self.step.sums[name].node.value] = self._reader(pointer, lane, name, row)

    def any_set(self, conditions: Sequence[Symbol]) -> Any:
        """Return 1 if one of the conditions holds for a neuron of the block."""
        masks = [self.values.read(each, index, Lane.MASK) for each in conditions for index in elements(each.sizes)]
        met = self.b.bitcast(functools.reduce(self.b.or_, masks), ir.IntType(self.form.lanes))
        return self.b.icmp_unsigned("!=", met, ir.Constant(met.type, 0))

    def write(self, t: Any) -> None:
        """Write step `t`, whose places are prepared."""
        values, b = self.values, self.b
        values.stored = set()
        with values.scope() as scope:
            self.counting = b.icmp_signed("<", t, self.k.steps) if self.form.output_latency else None
            for each in self.k.schedule.loops:
                self._loop(each, scope)
            self._plain(t)
            scope.block = b.block

    def _reader(self, pointer: Any, lane: Any, name: str, row: Any) -> Any:
        width = int(np.prod(self.step.sums[name].node.dims))
        line = self.b.mul(row, self.b.mul(self.k.width, i64(width)))

        def address(element: Any) -> tuple[Any, Any]:
            # Rows of sums are (inputs of a neuron, neurons).
            inner = self.b.mul(self.k.width, i64(element) if isinstance(element, int) else element)
            return at(self.b, pointer, self.b.add(self.b.add(line, inner), self.k.first_neuron), lane), lane

        return address

    def _loop(self, each: Loop, scope: Scope) -> None:
        """Write one nest of loops: first every value of an iteration, then the stores."""
        values, b = self.values, self.b
        totals = []
        for node in each.reductions:
            lane, scale = values.lane(node), values.scales.get(node, 0)
            scale = scale if lane in FLOATS else 0
            lane = Lane.I32 if not scale and values.choice.adds_words(node) else lane
            for index in elements(node.dims):
                zero = values.literal(0, lane, 0)
                totals.append((node, index, lane, scale, variable(b, zero.type, zero)))
        scope.block = b.block
        self._nest(each, each.sizes, (), totals)
        scope.block = b.block
        for node, index, lane, scale, place in totals:
            total, own = b.load(place), values.lane(node)
            scope.known[node, index, own, scale] = total if lane == own else values.convert_lanes(total, lane, own)
            if scale:
                scope.known[node, index, own, 0] = values.times(total, own, -scale)
        values.stored |= set(each.stored)

    def _nest(self, each: Loop, sizes: tuple[int, ...], indices: tuple[Any, ...], totals: list[Any]) -> None:
        if sizes:
            with self.values.loop(sizes[0]) as i:
                self._nest(each, sizes[1:], (*indices, i), totals)
            return
        values, b = self.values, self.b
        later = []
        for node, index, lane, scale, place in totals:
            arg = node.args[0]
            gather = values.gather(node, lane)
            part = values.read(arg, (*index, indices[-1]), lane, scale)
            later.append((place, gather(b.load(place), part)))
        kept = [(n, i, values.element(n, i, values.lane(n))) for n in each.stored for i in self._over(n.dims, indices)]
        new = [(name, i, self._next(name, i)) for name in each.registers
               for i in self._over(self.k.registers[name].dims, indices)]  # fmt: skip
        for name in each.flags:
            for i in self._over(self.step.flags[name].sizes, indices):
                self._count_seldom(name, self.step.flags[name], i)
        for name in each.recorded:
            for i in self._over(self.step.recorded[name].sizes, indices):
                self._trace(name, i)
        for place, total in later:
            b.store(total, place)
        for node, index, value in kept:
            lane = values.lane(node)
            values.store(values.places.scratch, self._scratch(node, node.dims, lane), node.dims, index, value, lane)
        for name, index, value in new:
            self._store_register(name, index, value)

    def _over(self, dims: tuple[int, ...], indices: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """Return the indices of the written-out axes, with those of the loops."""
        at_loop = dict(zip(loop_axes(dims), indices, strict=True))
        ranges = [[at_loop[axis]] if axis in at_loop else range(size) for axis, size in enumerate(dims)]
        return itertools.product(*ranges)

    def _scratch(self, key: Any, dims: tuple[int, ...], lane: Lane) -> int:
        values = self.values
        if key not in values.scratch:
            values.scratch[key] = values.scratch_size
            values.scratch_size += int(np.prod(dims)) * slots_of(lane)
        return values.scratch[key]

    def _next(self, name: str, index: tuple[Any, ...]) -> Any:
        return self.values.read(self.step.registers[name].new, index, self.k.registers[name].lane)

    def _store_register(self, name: str, index: tuple[Any, ...], value: Any) -> None:
        held, places = self.k.registers[name], self.values.places
        if name in self.k.schedule.shadowed:
            slot = self._scratch(("shadow", name), held.dims, held.lane)
            self.values.store(places.scratch, slot, held.dims, index, value, held.lane)
        else:
            self.values.store(places.state, held.slot, held.dims, index, value, held.lane)

    # -- outside of loops

    def _plain(self, t: Any) -> None:
        values, step = self.values, self.step
        new = [
            (values.places.variables[name, element], values.read(register.new, index, held.lane))
            for name, register, held in self.k.in_registers()
            for element, index in enumerate(elements(held.dims))
        ]
        for name, flag in step.flags.items():
            if not loop_sizes(flag.sizes):
                for index in elements(flag.sizes):
                    self._count_seldom(name, flag, index)
        for index in elements(step.active.sizes):
            self._count_mask("active", step.active, index)
        for name in self.k.traces:
            if not loop_sizes(step.recorded[name].sizes):
                for index in elements(step.recorded[name].sizes):
                    self._trace(name, index)
        self._send(t)
        for place, value in new:
            self.b.store(value, place)
        for name in self.k.schedule.shadowed:
            self._copy(name)

    def _copy(self, name: str) -> None:
        held, values = self.k.registers[name], self.values
        source, b = self._scratch(("shadow", name), held.dims, held.lane), self.b
        with loop(b, i64(0), i64(int(np.prod(held.dims)) * slots_of(held.lane)), "copy") as i:
            line = b.mul(b.add(i, i64(source)), i64(self.form.lanes))
            value = load(b, at(b, values.places.scratch, line, I32), vector(I32, self.form.lanes))
            line = b.mul(b.add(i, i64(held.slot)), i64(self.form.lanes))
            store(b, value, at(b, values.places.state, line, I32))

    def _masked(self, mask: Any) -> Any:
        return mask if self.k.valid is None else self.b.and_(mask, self.k.valid)

    def _count(self, name: str, amount: Any) -> None:
        self.b.store(self.b.add(self.b.load(self.k.totals[name]), amount), self.k.totals[name])

    def _count_mask(self, name: str, symbol: Symbol, index: tuple[Any, ...]) -> None:
        if symbol.node.op == "const" and not symbol.node.value:
            return
        self._add(name, self._masked(self.values.read(symbol, index, Lane.MASK)))

    def _add(self, name: str, mask: Any) -> None:
        found = popcount(self.b, mask)
        self._count(name, found if self.counting is None else self.b.select(self.counting, found, i64(0)))

    def _count_seldom(self, name: str, symbol: Symbol, index: tuple[Any, ...]) -> None:
        """Count overflows, and skip the count if no lane has one."""
        if symbol.node.op == "const" and not symbol.node.value:
            return
        mask = self._masked(self.values.read(symbol, index, Lane.MASK))
        guard = guard_of(self.values, symbol, index)
        with self.values.unlikely(mask if guard is None else guard):
            self._add(name, mask)

    def _trace(self, name: str, index: tuple[Any, ...]) -> None:
        """Store a recorded state into (steps, elements, neurons) of 32 or 64 bits.

        Values after the sample's last step are not stored.
        """
        symbol, b, values = self.step.recorded[name], self.b, self.values
        scalar = F64 if self.form.real else I64 if self.k.trace_bits(name) == 64 else I32
        value = values.read(symbol, index, Lane.F64) if self.form.real else self._integer(symbol, index, scalar)
        element = values.linear(symbol.sizes, index)
        size = int(np.prod(symbol.sizes))
        line = b.add(b.mul(values.places.step, i64(size)), i64(element) if isinstance(element, int) else element)
        place = at(b, self.k.trace[name], b.add(b.mul(line, self.k.width), self.k.first_neuron), scalar)
        if self.counting is None:
            store(b, value, place)
            return
        with b.if_then(self.counting):
            store(b, value, place)
        values.scopes[-1].block = b.block

    def _integer(self, symbol: Symbol, index: tuple[Any, ...], scalar: Any) -> Any:
        """Return an element of a view as integers of a type."""
        own, value, lanes = self.values.lane(symbol.node), self.values.read(symbol, index), self.form.lanes
        if own == Lane.MASK:
            return self.b.zext(value, vector(scalar, lanes))
        if own in FLOATS:
            return self.b.fptosi(value, vector(scalar, lanes))
        return self.b.trunc(value, vector(I32, lanes)) if scalar == I32 else value

    # -- output

    def _send(self, t: Any) -> None:
        b, late = self.b, self.form.output_latency
        if self.step.output.sizes and loop_sizes(self.step.output.sizes):
            raise NotTraceable("more outputs per neuron than are written out")
        parts = [self._output(index) for index in elements(self.step.output.sizes)]
        if not late:
            self._store_outputs(t, parts)
            return
        row = b.sub(t, i64(late))
        with b.if_then(b.icmp_signed(">=", row, i64(0))):
            self._store_outputs(row, parts)

    def _output(self, index: tuple[int, ...]) -> Any:
        symbol, values = self.step.output, self.values
        if self.form.real:
            return values.read(symbol, index, Lane.F64)
        if symbol.node.boolean and not self.form.coded:
            return self._masked(values.read(symbol, index, Lane.MASK))
        lane = values.lane(symbol.node)
        low, high = values.bounds[symbol.node]
        if low.min() < -(2.0**31) or high.max() >= 2.0**31:
            raise NotTraceable("an output that can exceed 32 bits")
        lanes = vector(I32, self.form.lanes)
        value = values.read(symbol, index, None if lane != Lane.MASK else Lane.MASK)
        code = self.b.zext(value, lanes) if lane == Lane.MASK else None
        if code is None:
            code = self.b.fptosi(value, lanes) if lane in FLOATS else self.b.trunc(value, lanes)
        if self.k.valid is not None:
            code = self.b.select(self.k.valid, code, ir.Constant(lanes, [0] * self.form.lanes))
        return code

    def _store_outputs(self, row: Any, parts: list[Any]) -> None:
        b, lanes = self.b, self.form.lanes
        events = i64(0)
        for k, part in enumerate(parts):
            line = b.add(b.mul(b.add(b.mul(row, i64(len(parts))), i64(k)), self.k.width), self.k.first_neuron)
            mask = part
            if self.form.real:
                store(b, part, at(b, self.k.pointer["out"], line, F64))
                continue
            if self.form.coded:
                store(b, part, at(b, self.k.pointer["out"], line, I32))
                mask = b.icmp_signed("!=", part, ir.Constant(part.type, [0] * lanes))
            else:
                bits = b.bitcast(part, ir.IntType(lanes))
                store(b, bits, at(b, self.k.pointer["out"], b.lshr(line, i64(3)), I8))
                if self.form.recorded:
                    store(b, b.zext(part, vector(I8, lanes)), at(b, self.k.pointer["record"], line, I8))
            events = b.add(events, popcount(b, mask))
        if self.form.real:
            return
        self._count("events", events)
        if self.form.send_steps > 1:
            sends = b.icmp_signed("==", b.srem(row, i64(self.form.send_steps)), i64(0))
            self._count("events_sent", b.select(sends, events, i64(0)))
        else:
            self._count("events_sent", events)
