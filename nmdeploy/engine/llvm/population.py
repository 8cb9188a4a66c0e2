"""Writer of a population's kernel, which runs all steps of a block of neurons, block after block.

Each kind of statement is written in one way; nothing is decided here but how LLVM says it.

``void kernel(int64 *args, int64 first, int64 last, int64 steps)`` runs the population's own steps
``first - start_offset ... last - start_offset``, as far as a sample of `steps` has them. `args` holds the values that
`ARGS` names, then the address of each synapse's sums, then those of the traces.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.llvm import code as c
from nmdeploy.engine.llvm.machine import has
from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.layout import ARGS, POINTERS, Form
from nmdeploy.engine.lower.slots import slots_of
from nmdeploy.engine.lower.statements import STEP_COUNT, STEP_NUMBER, VALID, Index, Lowered, Memory, affine

SCALAR = {Lane.F64: c.F64, Lane.F32: c.F32, Lane.I64: c.I64, Lane.I32: c.I32, Lane.MASK: c.I1}
SUMS = {16: c.I16, 32: c.I32, 64: c.F64}
SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "min": "<", "max": ">"}
FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
CALLED = {"abs": "llvm.fabs", "trunc": "llvm.trunc", "floor": "llvm.floor", "ceil": "llvm.ceil"}
INTEGER = {"shr": "ashr", "and": "and_", "or": "or_", "not": "not_", "rem": "srem"}
FUSED = ("contract",)
MAGIC, MAGIC_BITS = 1.5 * 2.0**52, 0x4338 << 48
VECTOR_BITS = 512
PERMUTED, PERMUTE = 16, "llvm.x86.avx512.vpermi2var.ps.512"


class Kernel:
    """Kernel of a population: its arguments, each block's registers before and after its steps, and its statements."""

    def __init__(self, module: ir.Module, name: str, lowered: Lowered, form: Form) -> None:
        self.lowered, self.names = lowered, [((Memory.SUMS, each), size) for each, size in lowered.sums.items()]
        self.names += [((Memory.TRACE, each), int(np.prod(sizes))) for each, sizes, _ in lowered.layout.traces]
        kind = ir.FunctionType(ir.VoidType(), [c.POINTER, c.I64, c.I64, c.I64])
        self.outer = ir.Function(module, kind, name)
        pointers = len(POINTERS) + len(self.names)
        inner = ir.FunctionType(ir.VoidType(), [c.POINTER] * pointers + [c.I64] * 5)
        self.inner = ir.Function(module, inner, f"{name}.body")
        self.inner.linkage = "internal"
        for argument in self.inner.args[:pointers]:
            argument.add_attribute("noalias")
        self.b, self.form = ir.IRBuilder(self.inner.append_basic_block("entry")), form
        self.known: dict[int, Any] = {}
        self.variables: dict[int, Any] = {}

    def write(self) -> None:
        """Write the kernel."""
        b = self.b
        self._thunk()
        self._name_arguments()
        self.totals = {name: c.variable(b, c.I64, c.i64(0)) for name in self.lowered.layout.counters}
        with c.loop(b, c.i64(0), self.blocks, "block") as block:
            self._block(block)
        for index, total in enumerate(self.totals.values()):
            place = c.at(b, self.pointer["counts"], index, c.I64)
            c.store(b, b.add(c.load(b, place, c.I64), b.load(total)), place)
        b.ret_void()

    # -- arguments

    def _thunk(self) -> None:
        """Load the addresses and call the body.

        Separate arguments show LLVM that the addresses do not overlap.
        """
        b = ir.IRBuilder(self.outer.append_basic_block("entry"))
        args, first, last, steps = self.outer.args
        slots = [*range(len(POINTERS)), *range(len(ARGS), len(ARGS) + len(self.names))]
        pointers = [c.load(b, c.at(b, args, slot, c.I64), c.POINTER) for slot in slots]
        numbers = (ARGS.index(name) for name in ("blocks", "start_offset"))
        blocks, start_offset = (c.load(b, c.at(b, args, slot, c.I64), c.I64) for slot in numbers)
        b.call(self.inner, [*pointers, first, last, steps, blocks, start_offset])
        b.ret_void()

    def _name_arguments(self) -> None:
        b, given = self.b, list(self.inner.args)
        self.pointer = dict(zip(POINTERS, given, strict=False))
        named = zip(self.names, given[len(POINTERS) :], strict=False)
        self.named = {name: (address, size) for (name, size), address in named}
        first, last, steps, self.blocks, start_offset = given[-5:]
        self.start, stop = b.sub(first, start_offset), b.sub(last, start_offset)
        end = b.add(steps, c.i64(self.form.output_latency))
        self.first_step = b.select(b.icmp_signed(">", self.start, c.i64(0)), self.start, c.i64(0))
        self.last_step = b.select(b.icmp_signed("<", stop, end), stop, end)
        self.known[STEP_COUNT.number] = steps
        self.width = b.mul(self.blocks, c.i64(self.form.lanes))

    # -- one block of neurons

    def _block(self, block: Any) -> None:
        b, lowered, pointer = self.b, self.lowered, self.pointer
        self.first = b.mul(block, c.i64(self.form.lanes))
        # The number of slots of a block is known to the caller only: the first shared slot holds it.
        slots = c.load(b, c.at(b, pointer["shared"], 0, c.I64), c.I64)
        self.memory = {
            Memory.OWN: c.at(b, pointer["own"], b.mul(self.first, slots), c.I32),
            Memory.SHARED: pointer["shared"],
            Memory.STATE: c.at(b, pointer["state"], b.mul(self.first, c.i64(lowered.layout.state_slots)), c.I32),
            Memory.SCRATCH: pointer["scratch"],
        }
        for number, (slot, lane) in enumerate(lowered.held):
            value = self._load_slot(Memory.STATE, slot, 0, lane)
            self.variables[number] = c.variable(b, value.type, value)
        if self.form.ragged:
            flags = c.load(b, c.at(b, pointer["valid"], self.first, c.I8), c.vector(c.I8, self.form.lanes))
            self.known[VALID.number] = b.icmp_signed("!=", flags, zero(flags))
        self._spell(lowered.block)
        with c.loop(b, self.first_step, self.last_step, "t") as t:
            self.known[STEP_NUMBER.number], self.row = t, b.sub(t, self.start)
            self._spell(lowered.step)
        for number, (slot, lane) in enumerate(lowered.held):
            self._store_slot(Memory.STATE, slot, 0, b.load(self.variables[number]), lane)

    # -- statements

    def _spell(self, statements: Sequence[st.Statement]) -> None:
        """Write statements."""
        for statement in statements:
            written = SPELLINGS[type(statement)](self, statement)
            if written is not None:
                self.known[statement.result.number] = written  # type: ignore[union-attr]

    def _value(self, operand: st.Operand, uniform: bool = False) -> Any:
        """Return an operand, which is a number if `uniform`, else a vector."""
        if isinstance(operand, st.Value):
            return self.known[operand.number]
        kind = SCALAR[operand.lane]
        if uniform or operand.uniform:
            return ir.Constant(kind, operand.value)
        return ir.Constant(c.vector(kind, self.form.lanes), [operand.value] * self.form.lanes)

    def _index(self, index: Index) -> Any:
        """Return an element's number."""
        if isinstance(index, int):
            return c.i64(index)
        b, start = self.b, [c.i64(index.start)] if index.start else []
        terms = [(self.known[value.number], factor) for value, factor in index.factors]
        return functools.reduce(b.add, [b.mul(x, c.i64(factor)) if factor > 1 else x for x, factor in terms] + start)

    # -- memory

    def _slot(self, memory: Memory, slot: int, element: Index, lane: Lane) -> Any:
        """Return the address of a vector in a block's memory."""
        number = affine(slot * self.form.lanes, (element, slots_of(lane) * self.form.lanes))
        return c.at(self.b, self.memory[memory], self._index(number), c.I32)

    def _load_slot(self, memory: Memory, slot: int, element: Index, lane: Lane) -> Any:
        """Load a vector from a block's memory, where a condition takes 64 bits."""
        kind = c.vector(c.I64 if lane == Lane.MASK else SCALAR[lane], self.form.lanes)
        value = c.load(self.b, self._slot(memory, slot, element, lane), kind)
        return self.b.icmp_signed("!=", value, zero(value)) if lane == Lane.MASK else value

    def _store_slot(self, memory: Memory, slot: int, element: Index, value: Any, lane: Lane) -> None:
        """Store a vector into a block's memory."""
        value = self.b.zext(value, c.vector(c.I64, self.form.lanes)) if lane == Lane.MASK else value
        c.store(self.b, value, self._slot(memory, slot, element, lane))

    def _load(self, s: st.Load) -> Any:
        b, lane = self.b, s.result.lane
        if isinstance(s.place, str):
            return self._load_sum(s.place, s.element)
        if s.memory is Memory.HELD:
            return b.load(self.variables[s.place])
        if s.memory is Memory.SHARED:
            number = self._index(affine(s.place, (s.element, 1)))
            return c.load(b, c.at(b, self.memory[s.memory], number, c.I64), SCALAR[lane])
        return self._load_slot(s.memory, s.place, s.element, lane)

    def _load_sum(self, name: str, element: Index) -> Any:
        """Load sums; their rows are (inputs of a neuron, neurons)."""
        b, kind, (address, size) = self.b, SUMS[self.form.sums[name]], self.named[Memory.SUMS, name]
        line = b.mul(self.row, b.mul(self.width, c.i64(size)))
        line = b.add(b.add(line, b.mul(self.width, self._index(element))), self.first)
        found = c.load(b, c.at(b, address, line, kind), c.vector(kind, self.form.lanes))
        return b.sext(found, c.vector(c.I32, self.form.lanes)) if kind == c.I16 else found

    def _store(self, s: st.Store) -> None:
        b, value = self.b, self._value(s.value)
        with nullcontext() if s.only is None else b.if_then(self._value(s.only)):
            if isinstance(s.place, str):
                address, size = self.named[s.memory, s.place]
                line = b.add(b.mul(self.known[STEP_NUMBER.number], c.i64(size)), self._index(s.element))
                place = b.add(b.mul(line, self.width), self.first)
                c.store(b, value, c.at(b, address, place, value.type.element))
            elif s.memory is not Memory.HELD:
                self._store_slot(s.memory, s.place, s.element, value, s.value.lane)
            elif s.place in self.variables:
                b.store(value, self.variables[s.place])
            else:
                self.variables[s.place] = c.variable(b, value.type, value)

    def _look_up(self, s: st.LookUp) -> Any:
        b, kind, index, lanes = self.b, SCALAR[s.result.lane], self._value(s.index), self.form.lanes
        if s.entries == 4 * PERMUTED and lanes % PERMUTED == 0 and has("avx512f"):
            return self._permuted(index, s.place)
        if s.entries is not None:
            index = b.and_(index, ir.Constant(index.type, [s.entries - 1] * lanes))
        table = c.at(b, self.memory[Memory.SHARED], s.place, c.I64)
        found = ir.Constant(c.vector(kind, lanes), ir.Undefined)
        for lane in (ir.Constant(c.I32, lane) for lane in range(lanes)):
            place = c.at(b, table, b.extract_element(index, lane), c.I64)
            found = b.insert_element(found, c.load(b, place, kind), lane)
        return found

    def _permuted(self, index: Any, place: int) -> Any:
        """Look up in four vectors that hold a whole table.

        An instruction takes 16 of 32 values by the lower five bits of an index; bit 5 chooses between two of these.
        """
        b, found = self.b, []
        wide = c.load(b, c.at(b, self.memory[Memory.SHARED], place, c.I64), c.vector(c.I64, 4 * PERMUTED))
        values = b.bitcast(b.trunc(wide, c.vector(c.I32, 4 * PERMUTED)), c.vector(c.F32, 4 * PERMUTED))
        table = [c.part(b, values, start, PERMUTED) for start in range(0, 4 * PERMUTED, PERMUTED)]
        kind = ir.FunctionType(table[0].type, [table[0].type, c.vector(c.I32, PERMUTED), table[0].type])
        permute = b.module.globals.get(PERMUTE) or ir.Function(b.module, kind, PERMUTE)
        for start in range(0, self.form.lanes, PERMUTED):
            at = c.part(b, index, start, PERMUTED)
            low, high = (b.call(permute, [table[half], at, table[half + 1]]) for half in (0, 2))
            bit = b.and_(at, ir.Constant(at.type, [2 * PERMUTED] * PERMUTED))
            found.append(b.select(b.icmp_signed("!=", bit, zero(bit)), high, low))
        return c.joined(b, found)

    # -- values

    def _apply(self, s: st.Apply) -> Any:
        b, lane, uniform = self.b, s.args[0].lane, s.result.uniform
        args = [self._value(arg, uniform) for arg in s.args]
        if s.op == "splat":
            return c.splat(b, args[0], self.form.lanes)
        if s.op == "select":
            return b.select(*args)
        if s.op == "convert":
            return self._convert(args[0], lane, s.result)
        if s.op == "ldexp":
            return self._ldexp(args[0], int(s.args[1].value))  # type: ignore[union-attr]
        if s.op in ("min", "max"):
            return b.select(self._compare(s.op, lane, *args), *args)
        if s.op in SIGNS:
            return self._compare(s.op, lane, *args)
        return self._on_floats(s.op, args) if lane in FLOATS else self._on_integers(s.op, args)

    def _on_floats(self, op: str, args: list[Any]) -> Any:
        if op == "mul_rz":
            return c.towards_zero(self.b, "fmul", *args)
        if op == "tanh":
            return c.each_lane(self.b, op, *args)
        if op in CALLED:
            return c.call(self.b, CALLED[op], args)
        return getattr(self.b, FLOAT[op])(*args, flags=() if op == "div" else FUSED)

    def _on_integers(self, op: str, args: list[Any]) -> Any:
        if op == "abs":
            none = zero(args[0])
            return self.b.select(self.b.icmp_signed("<", args[0], none), self.b.sub(none, args[0]), args[0])
        return getattr(self.b, INTEGER.get(op, op))(*args)

    def _compare(self, op: str, lane: Lane, left: Any, right: Any) -> Any:
        if lane == Lane.MASK:
            return self.b.icmp_unsigned(SIGNS[op], left, right)
        if lane in FLOATS:
            return (self.b.fcmp_unordered if op == "ne" else self.b.fcmp_ordered)(SIGNS[op], left, right)
        return self.b.icmp_signed(SIGNS[op], left, right)

    def _convert(self, value: Any, own: Lane, result: st.Value) -> Any:
        kind = SCALAR[result.lane] if result.uniform else c.vector(SCALAR[result.lane], self.form.lanes)
        wider = result.lane in (Lane.F64, Lane.I64)
        if own == Lane.MASK:
            return self.b.zext(value, kind)
        if own in FLOATS and result.lane in FLOATS:
            return self.b.fpext(value, kind) if wider else self.b.fptrunc(value, kind)
        if own in FLOATS or result.lane in FLOATS:
            return (self.b.fptosi if own in FLOATS else self.b.sitofp)(value, kind)
        return self.b.sext(value, kind) if wider else self.b.trunc(value, kind)

    def _ldexp(self, integers: Any, shift: int) -> Any:
        """Return 32-bit integers times ``2**shift`` as float64.

        They are added to the bits of a float64 whose last place is worth 2**shift. This takes two operations on ports
        that are idle. The processor's own conversion takes more operations, on busy ports.
        """
        b, lanes = self.b, c.vector(c.I64, self.form.lanes)
        magic = ir.Constant(lanes, [MAGIC_BITS + (shift << 52)] * lanes.count)
        base = ir.Constant(c.vector(c.F64, lanes.count), [math.ldexp(MAGIC, shift)] * lanes.count)
        return b.fsub(b.bitcast(b.add(b.sext(integers, lanes), magic), base.type), base)

    def _beyond(self, s: st.Beyond) -> Any:
        """Return 1 if any lane is beyond an end.

        The lanes are folded to one vector, so that one comparison remains.
        """
        b, x = self.b, self._value(s.value)
        ends = [(end.value, sign) for end, sign in ((s.low, "<"), (s.high, ">")) if end is not None]
        if len(ends) == 2 and ends[0][0] == -ends[1][0]:
            x, ends = c.call(b, "llvm.fabs", [x]), ends[1:]
        return functools.reduce(b.or_, [any_lane_beyond(b, x, end, sign) for end, sign in ends])

    def _clip(self, s: st.Clip) -> Any:
        b, value = self.b, self._value(s.value)
        before, limited = b.block, value
        with b.if_then(self._value(s.beyond), likely=False):
            for end, sign in ((s.high, ">"), (s.low, "<")):
                if end is not None:
                    limit = self._value(end)
                    limited = b.select(b.fcmp_ordered(sign, limited, limit), limit, limited)
            inside = b.block
        merged = b.phi(value.type)
        merged.add_incoming(value, before)
        merged.add_incoming(limited, inside)
        return merged

    # -- loops, forms, counts and outputs

    def _any(self, condition: st.Operand) -> Any:
        """Return a condition, or 1 if any lane of a mask is set."""
        value = self._value(condition)
        if condition.uniform:
            return value
        set_lanes = self.b.bitcast(value, ir.IntType(self.form.lanes))
        return self.b.icmp_unsigned("!=", set_lanes, ir.Constant(set_lanes.type, 0))

    def _choice(self, s: st.Choice) -> None:
        with self.b.if_else(self._any(s.condition), likely=False) as (large, small):
            with large:
                self._spell(s.large)
            with small:
                self._spell(s.small)

    def _loop(self, s: st.Loop) -> None:
        with c.loop(self.b, c.i64(0), c.i64(s.size), "n") as self.known[s.index.number]:
            self._spell(s.body)

    def _count(self, s: st.Count) -> None:
        b, rare = self.b, None if s.seldom is None else self._any(s.seldom)
        with nullcontext() if rare is None else b.if_then(rare, likely=False):
            found = c.popcount(b, self._value(s.mask))
            self._add(s.counter, found if s.only is None else b.select(self._value(s.only), found, c.i64(0)))

    def _add(self, counter: str, amount: Any) -> None:
        total = self.totals[counter]
        self.b.store(self.b.add(self.b.load(total), amount), total)

    def _send(self, s: st.Send) -> None:
        b, form, late = self.b, self.form, self.form.output_latency
        parts, row, events = [self._value(value) for value in s.values], self.known[STEP_NUMBER.number], c.i64(0)
        row = b.sub(row, c.i64(late)) if late else row
        with b.if_then(b.icmp_signed(">=", row, c.i64(0))) if late else nullcontext():
            for k, part in enumerate(parts):
                line = b.add(b.mul(b.add(b.mul(row, c.i64(len(parts))), c.i64(k)), self.width), self.first)
                if form.coded or form.real:
                    c.store(b, part, c.at(b, self.pointer["out"], line, part.type.element))
                else:
                    self._send_bits(line, part)
                if not form.real:
                    mask = b.icmp_signed("!=", part, zero(part)) if form.coded else part
                    events = b.add(events, c.popcount(b, mask))
            if not form.real:
                self._add("events", events)
                if form.send_steps > 1:
                    sends = b.icmp_signed("==", b.srem(row, c.i64(form.send_steps)), c.i64(0))
                    events = b.select(sends, events, c.i64(0))
                self._add("events_sent", events)

    def _send_bits(self, line: Any, mask: Any) -> None:
        b, lanes = self.b, self.form.lanes
        c.store(b, b.bitcast(mask, ir.IntType(lanes)), c.at(b, self.pointer["out"], b.lshr(line, c.i64(3)), c.I8))
        if self.form.recorded:
            c.store(b, b.zext(mask, c.vector(c.I8, lanes)), c.at(b, self.pointer["record"], line, c.I8))


SPELLINGS: dict[type, Callable[[Kernel, Any], Any]] = {
    st.Apply: Kernel._apply,
    st.Load: Kernel._load,
    st.Store: Kernel._store,
    st.LookUp: Kernel._look_up,
    st.Beyond: Kernel._beyond,
    st.Clip: Kernel._clip,
    st.Loop: Kernel._loop,
    st.Choice: Kernel._choice,
    st.Count: Kernel._count,
    st.Send: Kernel._send,
}


def zero(like: Any) -> ir.Constant:
    """Return 0 of an integer type, or a vector of it."""
    return ir.Constant(like.type, [0] * like.type.count if isinstance(like.type, ir.VectorType) else 0)


def any_lane_beyond(b: ir.IRBuilder, x: Any, end: float, sign: str) -> Any:
    """Return 1 if any lane is beyond an end.

    Above an end of 0 or more, or below a negative end, the bits of the floats are compared as integers. Integer units
    are idle while float units are not. As signed integers, positive floats keep their order. As unsigned integers,
    negative floats exceed all others and are ordered by magnitude.
    """
    size = c.bits(x.type.element)
    compare: Callable[[str, Any, Any], Any] = b.fcmp_ordered
    if end >= 0 if sign == ">" else end < 0:
        x = b.bitcast(x, c.vector(ir.IntType(size), x.type.count))
        compare, sign = b.icmp_signed if sign == ">" else b.icmp_unsigned, ">"
    most = c.fold_halves(b, x, lambda one, two: b.select(compare(sign, one, two), one, two), VECTOR_BITS // size)
    limit = ir.Constant(c.vector(c.F32 if size == 32 else c.F64, most.type.count), [end] * most.type.count)
    mask = compare(sign, most, b.bitcast(limit, most.type))
    met = b.bitcast(mask, ir.IntType(most.type.count))
    return b.icmp_unsigned("!=", met, ir.Constant(met.type, 0))
