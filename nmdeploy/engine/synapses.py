"""Writes the kernels of synapses, and of the input: events, and the rows of weights that they add.

``void kernel(int64 *args, int64 first, int64 last, int64 steps)``, as a population's. A step's events are listed
without branches, eight channels at a time from a table; then their rows of weights (one for each input, [in][out]) are
added, four at a time. The list ends with the row behind the last one, which is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.code import (
    F64,
    I1,
    I8,
    I32,
    I64,
    POINTER,
    at,
    call,
    i64,
    load,
    loop,
    splat,
    store,
    variable,
    vector,
)

ARGS = ("weights", "out", "counts", "events", "codes", "table", "fan_out", "width", "inputs", "lag", "rows")
SOURCE = ("address", "delay", "stride")
COUNTERS = ("input_events", "synaptic_operations", "computed_events", "synaptic_operations_computed")
CHUNK = 512
UNROLL = 4
SIDE = 8


@dataclass(frozen=True)
class RowsForm:
    """What a synapse's kernel is written for.

    Parameters
    ----------
    sources : tuple of str
        ``bits`` or ``codes``, each source's outputs; one source of bits needs no multiplication.
    row_bits, sum_bits : int
        Widths of a weight in memory (8, 16, 32) and of a sum (16, 32).
    tail : int
        Columns of the last chunk of `CHUNK` columns, 0 if it is a whole one.
    chunks : bool
        Whether there are whole chunks.
    counted : bool
        Whether rows have different numbers of synapses, which are added up one by one.
    window : int
        Steps over which the sum is constant.
    """

    sources: tuple[str, ...]
    row_bits: int
    sum_bits: int
    tail: int
    chunks: bool
    counted: bool
    window: int

    @property
    def binary(self) -> bool:
        """Whether events are 0 or 1."""
        return self.sources == ("bits",)


def offsets() -> Any:
    """(256, 8) bytes: positions of the set bits of a byte, lowest first."""
    table = np.zeros((256, SIDE), np.uint8)
    for byte in range(256):
        places = [bit for bit in range(SIDE) if byte >> bit & 1]
        table[byte, : len(places)] = places
    return table


def write_rows(module: ir.Module, name: str, form: RowsForm) -> None:
    """Write the kernel `name` into a module."""
    _Rows(module, name, form).write()


class _Rows:
    def __init__(self, module: ir.Module, name: str, form: RowsForm) -> None:
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
        self.function = ir.Function(module, kind, name)
        self.form = form
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.weight = ir.IntType(form.row_bits)
        self.sum = ir.IntType(form.sum_bits)

    def write(self) -> None:
        b = self.b
        args, first, last, steps = self.function.args
        values = [load(b, at(b, args, i, I64), POINTER if i < 7 else I64) for i in range(len(ARGS))]
        self.given = dict(zip(ARGS, values, strict=True))
        self.sources = [
            [load(b, at(b, args, len(ARGS) + s * len(SOURCE) + i, I64), POINTER if i == 0 else I64) for i in range(3)]
            for s in range(len(self.form.sources))
        ]
        lag = self.given["lag"]
        base = b.sub(first, lag)
        start = b.select(b.icmp_signed(">", base, i64(0)), base, i64(0))
        stop = b.sub(last, lag)
        stop = b.select(b.icmp_signed("<", stop, steps), stop, steps)
        self.totals = {name: variable(b, I64, i64(0)) for name in COUNTERS}
        with loop(b, start, stop, "t") as t:
            count = self._listed(t)
            self._count(t, count)
            self._add_rows(b.sub(t, base), count)
        for index, name in enumerate(COUNTERS):
            place = at(b, self.given["counts"], index, I64)
            store(b, b.add(load(b, place, I64), b.load(self.totals[name])), place)
        b.ret_void()

    # -- events

    def _listed(self, t: Any) -> Any:
        """Write the step's list of events, padded to a multiple of `UNROLL`; returns how many there are."""
        b = self.b
        count = variable(b, I64, i64(0))
        if self.form.binary:
            pointer, delay, stride = self.sources[0]
            row = b.sub(t, delay)
            with b.if_then(b.icmp_signed(">=", row, i64(0))):
                line = at(b, pointer, b.mul(row, stride), I8)
                with loop(b, i64(0), b.lshr(self.given["inputs"], i64(3)), "byte") as index:
                    self._list_byte(load(b, at(b, line, index, I8), I8), index, count)
        else:
            self._sum_codes(t)
            with loop(b, i64(0), b.lshr(self.given["inputs"], i64(3)), "byte") as index:
                eight = load(b, at(b, self.given["codes"], b.shl(index, i64(3)), I32), vector(I32, SIDE))
                mask = b.icmp_signed("!=", eight, ir.Constant(eight.type, [0] * SIDE))
                self._list_byte(b.bitcast(mask, I8), index, count)
        found = b.load(count)
        nothing = splat(b, b.trunc(self.given["rows"], I32), SIDE)
        store(b, nothing, at(b, self.given["events"], found, I32))
        return found

    def _list_byte(self, byte: Any, index: Any, count: Any) -> None:
        b = self.b
        places = load(b, at(b, self.given["table"], b.shl(b.zext(byte, I64), i64(3)), I8), vector(I8, SIDE))
        numbers = b.add(b.zext(places, vector(I32, SIDE)), splat(b, b.trunc(b.shl(index, i64(3)), I32), SIDE))
        found = b.load(count)
        store(b, numbers, at(b, self.given["events"], found, I32))
        b.store(b.add(found, b.zext(call(b, "llvm.ctpop", [byte]), I64)), count)

    def _sum_codes(self, t: Any) -> None:
        """The sum of the sources' outputs, as 32-bit codes."""
        b = self.b
        for number, (kind, (pointer, delay, stride)) in enumerate(zip(self.form.sources, self.sources, strict=True)):
            row = b.sub(t, delay)
            there = b.icmp_signed(">=", row, i64(0))
            line = at(b, pointer, b.mul(b.select(there, row, i64(0)), stride), I8)
            with loop(b, i64(0), b.lshr(self.given["inputs"], i64(3)), "eight") as index:
                place = at(b, self.given["codes"], b.shl(index, i64(3)), I32)
                if kind == "bits":
                    byte = load(b, at(b, line, index, I8), I8)
                    code = b.zext(b.bitcast(byte, vector(I1, SIDE)), vector(I32, SIDE))
                else:
                    code = load(b, at(b, line, b.shl(index, i64(3)), I32), vector(I32, SIDE))
                code = b.select(there, code, ir.Constant(code.type, [0] * SIDE))
                store(b, b.add(code, load(b, place, code.type)) if number else code, place)

    def _count(self, t: Any, count: Any) -> None:
        b = self.b
        operations = count
        if self.form.counted:
            total = variable(b, I64, i64(0))
            with loop(b, i64(0), count, "event") as i:
                row = b.zext(load(b, at(b, self.given["events"], i, I32), I32), I64)
                b.store(b.add(b.load(total), load(b, at(b, self.given["fan_out"], row, I64), I64)), total)
            operations = b.load(total)
        self._plus("input_events", count)
        self._plus("synaptic_operations", operations)
        if self.form.window > 1:
            computed = b.icmp_signed("==", b.srem(t, i64(self.form.window)), i64(0))
            count, operations = (b.select(computed, amount, i64(0)) for amount in (count, operations))
        self._plus("computed_events", count)
        self._plus("synaptic_operations_computed", operations)

    def _plus(self, name: str, amount: Any) -> None:
        self.b.store(self.b.add(self.b.load(self.totals[name]), amount), self.totals[name])

    # -- rows

    def _add_rows(self, row: Any, count: Any) -> None:
        b = self.b
        line = b.mul(row, self.given["width"])
        if self.form.chunks:
            with loop(b, i64(0), b.sdiv(self.given["width"], i64(CHUNK)), "chunk") as chunk:
                self._chunk(line, b.mul(chunk, i64(CHUNK)), CHUNK, count)
        if self.form.tail:
            column = b.sub(self.given["width"], i64(self.form.tail))
            self._chunk(line, column, self.form.tail, count)

    def _chunk(self, line: Any, column: Any, columns: int, count: Any) -> None:
        b = self.b
        wide = vector(self.sum, columns)
        total = variable(b, wide, ir.Constant(wide, [0] * columns))
        quads = b.udiv(b.add(count, i64(UNROLL - 1)), i64(UNROLL))
        with loop(b, i64(0), quads, "events") as quad:
            rows = list(self._rows(b.mul(quad, i64(UNROLL)), column, columns))
            pairs = [b.add(one, two) for one, two in zip(rows[::2], rows[1::2], strict=True)]
            b.store(b.add(b.load(total), b.add(*pairs)), total)
        store(b, b.load(total), at(b, self.given["out"], b.add(line, column), self.sum))

    def _rows(self, first: Any, column: Any, columns: int) -> Iterator[Any]:
        b = self.b
        for k in range(UNROLL):
            event = b.zext(load(b, at(b, self.given["events"], b.add(first, i64(k)), I32), I32), I64)
            place = b.add(b.mul(event, self.given["width"]), column)
            weights = load(b, at(b, self.given["weights"], place, self.weight), vector(self.weight, columns))
            if self.form.row_bits < self.form.sum_bits:
                weights = b.sext(weights, vector(self.sum, columns))
            if not self.form.binary:
                code = load(b, at(b, self.given["codes"], event, I32), I32)
                if self.form.sum_bits < 32:
                    code = b.trunc(code, self.sum)
                weights = b.mul(weights, splat(b, code, columns))
            yield weights


INPUT_ARGS = ("codes", "out", "channels", "stride")


def write_input(module: ir.Module, name: str, bits: int, signed: bool, binary: bool) -> None:
    """Write the kernel that turns a sample's input codes of `bits` bits into bits, or into 32-bit codes.

    Rows of codes follow each other; rows of the output are `stride` bytes apart, a multiple of 8 entries each.
    """
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
    function = ir.Function(module, kind, name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    args, first, last, steps = function.args
    codes, out = (load(b, at(b, args, i, I64), POINTER) for i in range(2))
    channels, stride = (load(b, at(b, args, i, I64), I64) for i in (2, 3))
    last = b.select(b.icmp_signed("<", last, steps), last, steps)
    code = ir.IntType(bits)
    with loop(b, first, last, "t") as t:
        source = at(b, codes, b.mul(t, channels), code)
        target = at(b, out, b.mul(t, stride), I8)
        whole, most = b.lshr(channels, i64(3)), i64(0)
        if binary:
            words = b.lshr(channels, i64(6))
            most = b.shl(words, i64(3))
            with loop(b, i64(0), words, "word") as index:
                many = load(b, at(b, source, b.shl(index, i64(6)), code), vector(code, 64))
                mask = b.icmp_signed("!=", many, ir.Constant(many.type, [0] * 64))
                store(b, b.bitcast(mask, I64), at(b, target, b.shl(index, i64(3)), I8))
        with loop(b, most, whole, "eight") as index:
            eight = load(b, at(b, source, b.shl(index, i64(3)), code), vector(code, SIDE))
            if binary:
                mask = b.icmp_signed("!=", eight, ir.Constant(eight.type, [0] * SIDE))
                store(b, b.bitcast(mask, I8), at(b, target, index, I8))
            else:
                store(b, _code32(b, eight, bits, signed), at(b, target, b.shl(index, i64(5)), I8))
        rest = variable(b, I8, ir.Constant(I8, 0))
        with loop(b, b.shl(whole, i64(3)), channels, "channel") as channel:
            one = load(b, at(b, source, channel, code), code)
            if binary:
                bit = b.zext(b.icmp_signed("!=", one, ir.Constant(code, 0)), I8)
                b.store(b.or_(b.load(rest), b.shl(bit, b.trunc(b.and_(channel, i64(7)), I8))), rest)
            else:
                store(b, _code32(b, one, bits, signed), at(b, target, b.shl(channel, i64(2)), I8))
        if binary:
            with b.if_then(b.icmp_signed("!=", b.and_(channels, i64(7)), i64(0))):
                store(b, b.load(rest), at(b, target, whole, I8))
    b.ret_void()


def _code32(b: ir.IRBuilder, value: Any, bits: int, signed: bool) -> Any:
    wide = vector(I32, SIDE) if isinstance(value.type, ir.VectorType) else I32
    if bits == 32:
        return value
    if bits > 32:
        return b.trunc(value, wide)
    return b.sext(value, wide) if signed else b.zext(value, wide)


__all__ = ["ARGS", "COUNTERS", "F64", "INPUT_ARGS", "SOURCE", "RowsForm", "offsets", "write_input", "write_rows"]
