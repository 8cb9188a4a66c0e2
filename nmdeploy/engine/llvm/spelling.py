"""LLVM's text of a population's statements: each kind of statement is written in one way."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from llvmlite import ir

from nmdeploy.engine.llvm.code import (
    F32,
    F64,
    I1,
    I8,
    I16,
    I32,
    I64,
    at,
    bits,
    call,
    each_lane,
    fold_halves,
    i64,
    load,
    loop,
    popcount,
    splat,
    store,
    towards_zero,
    variable,
    vector,
)
from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.layout import Form
from nmdeploy.engine.lower.positions import Index, affine
from nmdeploy.engine.lower.slots import slots_of
from nmdeploy.engine.lower.statements import STEP_NUMBER, Memory

SCALAR = {Lane.F64: F64, Lane.F32: F32, Lane.I64: I64, Lane.I32: I32, Lane.MASK: I1}
SUMS = {16: I16, 32: I32, 64: F64}
SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "min": "<", "max": ">"}
FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
CALLED = {"abs": "llvm.fabs", "trunc": "llvm.trunc", "floor": "llvm.floor", "ceil": "llvm.ceil"}
INTEGER = {"shr": "ashr", "and": "and_", "or": "or_", "not": "not_", "rem": "srem"}
FUSED = ("contract",)
MAGIC, MAGIC_BITS = 1.5 * 2.0**52, 0x4338 << 48
VECTOR_BITS = 512
STEP = STEP_NUMBER.number


class Speller:
    """Writer of the statements of one block of neurons at a builder's position.

    Who makes it sets what the block needs: `memory` and `pointer` are addresses, `named` the address and the elements
    per neuron of sums and traces, `totals` the variables of the counters, `width` the neurons of all blocks, `first`
    the first one of the block, and `row` the step's row in the sums.
    """

    memory: Mapping[Memory, Any]
    pointer: Mapping[str, Any]
    named: Mapping[tuple[Memory, Any], tuple[Any, int]]
    totals: Mapping[str, Any]
    width: Any
    first: Any
    row: Any

    def __init__(self, b: ir.IRBuilder, form: Form) -> None:
        self.b, self.form = b, form
        self.known: dict[int, Any] = {}
        self.loops: dict[int, Any] = {}
        self.variables: dict[int, Any] = {}

    def spell(self, statements: Sequence[st.Statement]) -> None:
        """Write statements."""
        for statement in statements:
            written = SPELLINGS[type(statement)](self, statement)
            if written is not None:
                self.known[statement.result.number] = written  # type: ignore[union-attr]

    def value(self, operand: st.Operand, uniform: bool = False) -> Any:
        """Return an operand, which is a number if `uniform`, else a vector."""
        if isinstance(operand, st.Value):
            return self.known[operand.number]
        kind = SCALAR[operand.lane]
        if uniform or operand.uniform:
            return ir.Constant(kind, operand.value)
        return ir.Constant(vector(kind, self.form.lanes), [operand.value] * self.form.lanes)

    def index(self, index: Index) -> Any:
        """Return an element's number."""
        if isinstance(index, int):
            return i64(index)
        b, start = self.b, [i64(index.start)] if index.start else []
        terms = [b.mul(self.loops[n], i64(factor)) if factor > 1 else self.loops[n] for n, factor in index.factors]
        return functools.reduce(b.add, terms + start)

    # -- memory

    def _slot(self, memory: Memory, slot: int, element: Index, lane: Lane) -> Any:
        """Return the address of a vector in a block's memory."""
        number = affine(slot * self.form.lanes, (element, slots_of(lane) * self.form.lanes))
        return at(self.b, self.memory[memory], self.index(number), I32)

    def load_slot(self, memory: Memory, slot: int, element: Index, lane: Lane) -> Any:
        """Load a vector from a block's memory, where a condition takes 64 bits."""
        kind = vector(I64 if lane == Lane.MASK else SCALAR[lane], self.form.lanes)
        value = load(self.b, self._slot(memory, slot, element, lane), kind)
        return self.b.icmp_signed("!=", value, zero(value)) if lane == Lane.MASK else value

    def store_slot(self, memory: Memory, slot: int, element: Index, value: Any, lane: Lane) -> None:
        """Store a vector into a block's memory."""
        value = self.b.zext(value, vector(I64, self.form.lanes)) if lane == Lane.MASK else value
        store(self.b, value, self._slot(memory, slot, element, lane))

    def _load(self, s: st.Load) -> Any:
        b, lane = self.b, s.result.lane
        if isinstance(s.place, str):
            return self._load_sum(s.place, s.element)
        if s.memory is Memory.HELD:
            return b.load(self.variables[s.place])
        if s.memory is Memory.SHARED:
            return load(b, at(b, self.memory[s.memory], self.index(affine(s.place, (s.element, 1))), I64), SCALAR[lane])
        return self.load_slot(s.memory, s.place, s.element, lane)

    def _load_sum(self, name: str, element: Index) -> Any:
        """Load sums; their rows are (inputs of a neuron, neurons)."""
        b, kind, (address, size) = self.b, SUMS[self.form.sums[name]], self.named[Memory.SUMS, name]
        line = b.mul(self.row, b.mul(self.width, i64(size)))
        line = b.add(b.add(line, b.mul(self.width, self.index(element))), self.first)
        found = load(b, at(b, address, line, kind), vector(kind, self.form.lanes))
        return b.sext(found, vector(I32, self.form.lanes)) if kind == I16 else found

    def _store(self, s: st.Store) -> None:
        b, value = self.b, self.value(s.value)
        with nullcontext() if s.only is None else b.if_then(self.value(s.only)):
            if isinstance(s.place, str):
                address, size = self.named[s.memory, s.place]
                line = b.add(b.mul(self.known[STEP], i64(size)), self.index(s.element))
                place = b.add(b.mul(line, self.width), self.first)
                store(b, value, at(b, address, place, value.type.element))
            elif s.memory is not Memory.HELD:
                self.store_slot(s.memory, s.place, s.element, value, s.value.lane)
            elif s.place in self.variables:
                b.store(value, self.variables[s.place])
            else:
                self.variables[s.place] = variable(b, value.type, value)

    def _look_up(self, s: st.LookUp) -> Any:
        b, lanes, kind = self.b, self.form.lanes, SCALAR[s.result.lane]
        own, where = s.memory is Memory.OWN, self.memory[s.memory]
        base = at(b, where, s.place * lanes, I32) if own else at(b, where, s.place, I64)
        index = self.value(s.index)
        if s.index.uniform:
            if own:
                return load(b, at(b, base, b.mul(index, i64(lanes)), kind), vector(kind, lanes))
            return load(b, at(b, base, index, kind), kind)
        found = ir.Constant(vector(kind, lanes), ir.Undefined)
        for lane in range(lanes):
            element = b.extract_element(index, ir.Constant(I32, lane))
            if own:
                element = b.add(b.mul(element, i64(lanes)), i64(lane))
            found = b.insert_element(found, load(b, at(b, base, element, kind), kind), ir.Constant(I32, lane))
        return found

    # -- values

    def _apply(self, s: st.Apply) -> Any:
        b, lane, uniform = self.b, s.args[0].lane, s.result.uniform
        args = [self.value(arg, uniform) for arg in s.args]
        if s.op == "splat":
            return splat(b, args[0], self.form.lanes)
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
            return towards_zero(self.b, "fmul", *args)
        if op == "tanh":
            return each_lane(self.b, op, *args)
        if op in CALLED:
            return call(self.b, CALLED[op], args)
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
        b, lane, kind = self.b, result.lane, SCALAR[result.lane]
        kind = kind if result.uniform else vector(kind, self.form.lanes)
        if own == Lane.MASK:
            return b.zext(value, kind)
        if own in FLOATS and lane in FLOATS:
            return b.fpext(value, kind) if lane == Lane.F64 else b.fptrunc(value, kind)
        if own in FLOATS:
            return b.fptosi(value, kind)
        if lane in FLOATS:
            return b.sitofp(value, kind)
        return b.trunc(value, kind) if lane == Lane.I32 else b.sext(value, kind)

    def _ldexp(self, integers: Any, shift: int) -> Any:
        """Return 32-bit integers times ``2**shift`` as float64.

        They are added to the bits of a float64 whose last place is worth 2**shift. This takes two operations on ports
        that are idle. The processor's own conversion takes more operations, on busy ports.
        """
        b, lanes = self.b, vector(I64, self.form.lanes)
        magic = ir.Constant(lanes, [MAGIC_BITS + (shift << 52)] * lanes.count)
        base = ir.Constant(vector(F64, lanes.count), [math.ldexp(MAGIC, shift)] * lanes.count)
        return b.fsub(b.bitcast(b.add(b.sext(integers, lanes), magic), base.type), base)

    def _beyond(self, s: st.Beyond) -> Any:
        """Return 1 if any lane is beyond an end.

        The lanes are folded to one vector, so that one comparison remains.
        """
        b, x = self.b, self.value(s.value)
        ends = [(end.value, sign) for end, sign in ((s.low, "<"), (s.high, ">")) if end is not None]
        if len(ends) == 2 and ends[0][0] == -ends[1][0]:
            x, ends = call(b, "llvm.fabs", [x]), ends[1:]
        return functools.reduce(b.or_, [any_lane_beyond(b, x, end, sign) for end, sign in ends])

    def _clip(self, s: st.Clip) -> Any:
        b, value = self.b, self.value(s.value)
        before, limited = b.block, value
        with b.if_then(self.value(s.beyond), likely=False):
            for end, sign in ((s.high, ">"), (s.low, "<")):
                if end is not None:
                    limit = self.value(end)
                    limited = b.select(b.fcmp_ordered(sign, limited, limit), limit, limited)
            inside = b.block
        merged = b.phi(value.type)
        merged.add_incoming(value, before)
        merged.add_incoming(limited, inside)
        return merged

    # -- loops, counts and outputs

    def _loop(self, s: st.Loop) -> None:
        with loop(self.b, i64(0), i64(s.size), "n") as self.loops[s.number]:
            self.spell(s.body)

    def _count(self, s: st.Count) -> None:
        if s.seldom is None:
            self._add_set_lanes(s)
            return
        condition = self.value(s.seldom)
        if not s.seldom.uniform:
            set_lanes = self.b.bitcast(condition, ir.IntType(self.form.lanes))
            condition = self.b.icmp_unsigned("!=", set_lanes, ir.Constant(set_lanes.type, 0))
        with self.b.if_then(condition, likely=False):
            self._add_set_lanes(s)

    def _add_set_lanes(self, s: st.Count) -> None:
        found = popcount(self.b, self.value(s.mask))
        self._add(s.counter, found if s.only is None else self.b.select(self.value(s.only), found, i64(0)))

    def _add(self, counter: str, amount: Any) -> None:
        total = self.totals[counter]
        self.b.store(self.b.add(self.b.load(total), amount), total)

    def _send(self, s: st.Send) -> None:
        b, form, late = self.b, self.form, self.form.output_latency
        parts, row, events = [self.value(value) for value in s.values], self.known[STEP], i64(0)
        row = b.sub(row, i64(late)) if late else row
        with b.if_then(b.icmp_signed(">=", row, i64(0))) if late else nullcontext():
            for k, part in enumerate(parts):
                line = b.add(b.mul(b.add(b.mul(row, i64(len(parts))), i64(k)), self.width), self.first)
                if form.real:
                    store(b, part, at(b, self.pointer["out"], line, F64))
                else:
                    events = b.add(events, popcount(b, self._send_part(line, part)))
            if not form.real:
                self._add("events", events)
                if form.send_steps > 1:
                    sends = b.icmp_signed("==", b.srem(row, i64(form.send_steps)), i64(0))
                    events = b.select(sends, events, i64(0))
                self._add("events_sent", events)

    def _send_part(self, line: Any, part: Any) -> Any:
        """Store outputs as codes or bits, and return a mask of those that are not 0."""
        b, form, pointer = self.b, self.form, self.pointer
        if form.coded:
            store(b, part, at(b, pointer["out"], line, I32))
            return b.icmp_signed("!=", part, zero(part))
        store(b, b.bitcast(part, ir.IntType(form.lanes)), at(b, pointer["out"], b.lshr(line, i64(3)), I8))
        if form.recorded:
            store(b, b.zext(part, vector(I8, form.lanes)), at(b, pointer["record"], line, I8))
        return part


SPELLINGS: dict[type, Callable[[Speller, Any], Any]] = {
    st.Apply: Speller._apply,
    st.Load: Speller._load,
    st.Store: Speller._store,
    st.LookUp: Speller._look_up,
    st.Beyond: Speller._beyond,
    st.Clip: Speller._clip,
    st.Loop: Speller._loop,
    st.Count: Speller._count,
    st.Send: Speller._send,
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
    size = bits(x.type.element)
    compare: Callable[[str, Any, Any], Any] = b.fcmp_ordered
    if end >= 0 if sign == ">" else end < 0:
        x = b.bitcast(x, vector(ir.IntType(size), x.type.count))
        compare, sign = b.icmp_signed if sign == ">" else b.icmp_unsigned, ">"
    most = fold_halves(b, x, lambda one, two: b.select(compare(sign, one, two), one, two), VECTOR_BITS // size)
    limit = ir.Constant(vector(F32 if size == 32 else F64, most.type.count), [end] * most.type.count)
    mask = compare(sign, most, b.bitcast(limit, most.type))
    met = b.bitcast(mask, ir.IntType(most.type.count))
    return b.icmp_unsigned("!=", met, ir.Constant(met.type, 0))
