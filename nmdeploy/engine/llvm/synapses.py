"""Writer of the kernels of synapses, which list events and add their rows of weights.

``void kernel(int64 *args, int64 first, int64 last, int64 steps)`` is called like a population's. A step's events are
listed without branches, eight channels at a time from a table. Then their rows of weights (one per input, [in][out])
are added, four at a time. The list ends with the row after the last one, which is zero.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from nmdeploy.engine.llvm.code import (
    I1,
    I8,
    I16,
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
from nmdeploy.engine.lower.layout import (
    ROWS_TOGETHER,
    SIDE,
    SOURCE_ARGS,
    SYNAPSE_ARGS,
    SYNAPSE_COUNTERS,
    SYNAPSE_POINTERS,
    RowsForm,
)

CHUNK = 512
WORD, HALF = 64, 32


def write_rows(module: ir.Module, name: str, form: RowsForm) -> None:
    """Write the kernel `name` into a module."""
    RowsKernel(module, name, form).write()


class RowsKernel:
    """A kernel under construction: events are listed, then the rows of weights that they meet are added."""

    def __init__(self, module: ir.Module, name: str, form: RowsForm) -> None:
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
        self.function = ir.Function(module, kind, name)
        self.form = form
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.weight = ir.IntType(form.row_bits)
        self.sum = ir.IntType(form.sum_bits)
        self.event = ir.IntType(form.event_bits)

    def write(self) -> None:
        b = self.b
        args, first, last, steps = self.function.args
        values = [
            load(b, at(b, args, i, I64), POINTER if i < SYNAPSE_POINTERS else I64) for i in range(len(SYNAPSE_ARGS))
        ]
        self.given = dict(zip(SYNAPSE_ARGS, values, strict=True))
        self.sources = [
            [
                load(b, at(b, args, len(SYNAPSE_ARGS) + s * len(SOURCE_ARGS) + i, I64), POINTER if i == 0 else I64)
                for i in range(3)
            ]
            for s in range(len(self.form.sources))
        ]
        start_offset = self.given["start_offset"]
        base = b.sub(first, start_offset)
        start = b.select(b.icmp_signed(">", base, i64(0)), base, i64(0))
        stop = b.sub(last, start_offset)
        stop = b.select(b.icmp_signed("<", stop, steps), stop, steps)
        self.totals = {name: variable(b, I64, i64(0)) for name in SYNAPSE_COUNTERS}
        if self.form.binary:  # first all lists: a value that was just stored cannot be loaded at once
            used = variable(b, I64, i64(0))
            with loop(b, start, stop, "t") as t:
                count = self._listed(t, b.load(used))
                store(b, count, at(b, self.given["found"], b.sub(t, base), I64))
                b.store(b.add(b.load(used), self._pad(count)), used)
        used = variable(b, I64, i64(0))
        with loop(b, start, stop, "t") as t:
            if self.form.binary:
                count, first = load(b, at(b, self.given["found"], b.sub(t, base), I64), I64), b.load(used)
                b.store(b.add(first, self._pad(count)), used)
            else:
                count, first = self._listed(t, i64(0)), i64(0)
            self._count(t, count, self._add_rows(b.sub(t, base), first, count))
        for index, name in enumerate(SYNAPSE_COUNTERS):
            place = at(b, self.given["counts"], index, I64)
            store(b, b.add(load(b, place, I64), b.load(self.totals[name])), place)
        b.ret_void()

    # -- events

    def _pad(self, count: Any) -> Any:
        return self.b.and_(self.b.add(count, i64(ROWS_TOGETHER - 1)), i64(-ROWS_TOGETHER))

    def _listed(self, t: Any, first: Any) -> Any:
        """Write the step's list of events from `first` on, and its padding; return the number of events."""
        b = self.b
        count = variable(b, I64, i64(0))
        self.list = at(b, self.given["events"], first, self.event)
        if self.form.binary:
            pointer, delay, stride = self.sources[0]
            row = b.sub(t, delay)
            with b.if_then(b.icmp_signed(">=", row, i64(0))):
                self._list_bits(at(b, pointer, b.mul(row, stride), I8), count)
        else:
            self._sum_codes(t)
            with loop(b, i64(0), b.lshr(self.given["inputs"], i64(3)), "byte") as index:
                eight = load(b, at(b, self.given["codes"], b.shl(index, i64(3)), I32), vector(I32, SIDE))
                mask = b.icmp_signed("!=", eight, ir.Constant(eight.type, [0] * SIDE))
                self._list_byte(b.bitcast(mask, I8), index, count)
        found = b.load(count)
        nothing = splat(b, self._number(self.given["rows"]), SIDE)
        store(b, nothing, at(b, self.list, found, self.event))
        return found

    def _number(self, value: Any) -> Any:
        """Return an event's number as in memory."""
        return self.b.trunc(value, self.event)

    def _list_bits(self, line: Any, count: Any) -> None:
        b, done = self.b, i64(0)
        if self.form.compress:
            words = b.lshr(self.given["inputs"], i64(6))
            with loop(b, i64(0), words, "word") as index:
                self._list_word(load(b, at(b, line, b.shl(index, i64(3)), I8), I64), index, count)
            done = b.shl(words, i64(3))
        with loop(b, done, b.lshr(self.given["inputs"], i64(3)), "byte") as index:
            self._list_byte(load(b, at(b, line, index, I8), I8), index, count)

    def _list_word(self, word: Any, index: Any, count: Any) -> None:
        b = self.b
        places = ir.Constant(vector(I8, WORD), list(range(WORD)))
        nowhere = ir.Constant(vector(I8, WORD), [0] * WORD)
        mask = b.bitcast(word, vector(I1, WORD))
        kept = call(b, "llvm.experimental.vector.compress", [places, mask, nowhere])
        self._append(self._widened(kept), b.shl(index, i64(6)), count)
        b.store(b.add(b.load(count), call(b, "llvm.ctpop", [word])), count)

    def _list_byte(self, byte: Any, index: Any, count: Any) -> None:
        b = self.b
        places = load(b, at(b, self.given["table"], b.shl(b.zext(byte, I64), i64(3)), I8), vector(I8, SIDE))
        self._append(self._widened(places), b.shl(index, i64(3)), count)
        b.store(b.add(b.load(count), b.zext(call(b, "llvm.ctpop", [byte]), I64)), count)

    def _widened(self, places: Any) -> Any:
        return places if self.event == I8 else self.b.zext(places, vector(self.event, places.type.count))

    def _append(self, places: Any, first: Any, count: Any) -> None:
        """Append events to the list; values written beyond them are overwritten later."""
        b = self.b
        numbers = b.add(places, splat(b, self._number(first), places.type.count))
        store(b, numbers, at(b, self.list, b.load(count), self.event))

    def _sum_codes(self, t: Any) -> None:
        """Store the sum of the sources' outputs as 32-bit codes."""
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

    def _count(self, t: Any, count: Any, operations: Any) -> None:
        b = self.b
        self._plus("input_events", count)
        self._plus("synaptic_operations", operations)
        if self.form.hold_steps > 1:
            computed = b.icmp_signed("==", b.srem(t, i64(self.form.hold_steps)), i64(0))
            count, operations = (b.select(computed, amount, i64(0)) for amount in (count, operations))
        self._plus("computed_events", count)
        self._plus("synaptic_operations_computed", operations)

    def _plus(self, name: str, amount: Any) -> None:
        self.b.store(self.b.add(self.b.load(self.totals[name]), amount), self.totals[name])

    # -- rows

    def _add_rows(self, row: Any, first: Any, count: Any) -> Any:
        """Store the step's sums; return the number of synapses that were met."""
        b = self.b
        line = b.mul(row, self.given["width"])
        self.list = at(b, self.given["events"], first, self.event)
        self.met = variable(b, I64, i64(0)) if self.form.counted else None
        if self.form.tail:
            column = b.sub(self.given["width"], i64(self.form.tail))
            self._chunk(line, column, self.form.tail, count, self.form.counted)
        if self.form.chunks:
            with loop(b, i64(0), b.sdiv(self.given["width"], i64(CHUNK)), "chunk") as chunk:
                first = b.icmp_signed("==", chunk, i64(0)) if self.form.counted and not self.form.tail else None
                self._chunk(line, b.mul(chunk, i64(CHUNK)), CHUNK, count, first)
        return b.load(self.met) if self.form.counted else count

    def _chunk(self, line: Any, column: Any, columns: int, count: Any, counts: Any) -> None:
        """Store the sums of some columns; with `counts`, also count synapses."""
        b = self.b
        size = HALF if self.form.paired else columns
        wide = vector(self.sum, size)
        totals = [variable(b, wide, ir.Constant(wide, [0] * size)) for _ in range(columns // size)]
        met = variable(b, I64, i64(0))
        quads = b.udiv(b.add(count, i64(ROWS_TOGETHER - 1)), i64(ROWS_TOGETHER))
        with loop(b, i64(0), quads, "events") as quad:
            events = [self._event(b.add(b.mul(quad, i64(ROWS_TOGETHER)), i64(k))) for k in range(ROWS_TOGETHER)]
            if self.form.paired:
                added = [half for first in range(0, columns, 2 * HALF) for half in self._pairs(events, column, first)]
            else:
                added = [_total(b, [self._row(event, column, columns) for event in events])]
            for total, more in zip(totals, added, strict=True):
                b.store(b.add(b.load(total), more), total)
            if counts:
                fans = [load(b, at(b, self.given["fan_out"], event, I64), I64) for event in events]
                b.store(b.add(b.load(met), functools.reduce(b.add, fans)), met)
        for index, total in enumerate(totals):
            place = b.add(b.add(line, column), i64(size * index))
            store(b, b.load(total), at(b, self.given["out"], place, self.sum))
        if counts is True:
            b.store(b.load(met), self.met)
        elif counts:
            b.store(b.select(counts, b.load(met), b.load(self.met)), self.met)

    def _event(self, index: Any) -> Any:
        return self.b.zext(load(self.b, at(self.b, self.list, index, self.event), self.event), I64)

    def _pairs(self, events: Sequence[Any], column: Any, first: int) -> list[Any]:
        """Return the sums of 64 columns: rows are interleaved, and one instruction adds neighbours into 16 bits.

        Each 128 bits of two rows are interleaved by themselves. `order_columns` of the layout places the columns so
        that the sums come out in order.
        """
        b, sums = self.b, []
        kind, ones = vector(I8, 2 * HALF), ir.Constant(vector(I8, 2 * HALF), [1] * 2 * HALF)
        parts = []
        for event in events:
            place = b.add(b.add(b.mul(event, self.given["width"]), column), i64(first))
            parts.append(load(b, at(b, self.given["weights"], place, I8), kind))
        for start in (0, SIDE):
            order = [16 * lane + start + i + 2 * HALF * row for lane in range(4) for i in range(SIDE) for row in (0, 1)]
            numbers = ir.Constant(vector(I32, 2 * HALF), order)
            both = [b.shuffle_vector(*pair, numbers) for pair in zip(parts[::2], parts[1::2], strict=True)]
            result = vector(I16, HALF)
            name = "llvm.x86.avx512.pmaddubs.w.512"
            known = b.module.globals.get(name)
            function = known or ir.Function(b.module, ir.FunctionType(result, [kind, kind]), name)
            sums.append(_total(b, [b.call(function, [ones, each]) for each in both]))
        return sums

    def _row(self, event: Any, column: Any, columns: int) -> Any:
        b = self.b
        place = b.add(b.mul(event, self.given["width"]), column)
        weights = load(b, at(b, self.given["weights"], place, self.weight), vector(self.weight, columns))
        if self.form.row_bits < self.form.sum_bits:
            weights = b.sext(weights, vector(self.sum, columns))
        if self.form.binary:
            return weights
        code = load(b, at(b, self.given["codes"], event, I32), I32)
        if self.form.sum_bits < 32:
            code = b.trunc(code, self.sum)
        return b.mul(weights, splat(b, code, columns))


def _total(b: ir.IRBuilder, parts: list[Any]) -> Any:
    """Add the parts as a tree."""
    while len(parts) > 1:
        parts = [b.add(one, two) for one, two in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
