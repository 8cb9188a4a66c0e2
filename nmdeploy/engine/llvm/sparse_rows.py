"""Writes the kernels of synapses with sparse rows: each event's entries are added to the step's sums one by one."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from nmdeploy.engine.llvm.code import I32, I64, at, i64, load, loop, store, variable, vector
from nmdeploy.engine.llvm.synapses import RowsKernel
from nmdeploy.engine.lower.layout import SIDE, RowsForm


def write_sparse_rows(module: ir.Module, name: str, form: RowsForm) -> None:
    """Write the kernel `name` into a module."""
    _SparseKernel(module, name, form).write()


class _SparseKernel(RowsKernel):
    """Lists events as the kernel of dense rows does; `fan_out` holds where each row's entries start."""

    def _add_rows(self, row: Any, first: Any, count: Any) -> Any:
        b = self.b
        line = at(b, self.given["out"], b.mul(row, self.given["width"]), self.sum)
        self._clear(line)
        self.list = at(b, self.given["events"], first, self.event)
        met = variable(b, I64, i64(0))
        with loop(b, i64(0), count, "event") as index:
            event = self._event(index)
            start, stop = (self._start(each) for each in (event, b.add(event, i64(1))))
            b.store(b.add(b.load(met), b.sub(stop, start)), met)
            code = None if self.form.binary else self._code(event)
            with loop(b, start, stop, "entry") as entry:
                self._add(line, entry, code)
        return b.load(met)

    def _clear(self, line: Any) -> None:
        """Zeros for all columns, whose number is a multiple of eight."""
        b, kind = self.b, vector(self.sum, SIDE)
        with loop(b, i64(0), b.lshr(self.given["width"], i64(3)), "eight") as eight:
            store(b, ir.Constant(kind, [0] * SIDE), at(b, line, b.shl(eight, i64(3)), self.sum))

    def _start(self, event: Any) -> Any:
        return self.b.zext(load(self.b, at(self.b, self.given["fan_out"], event, I32), I32), I64)

    def _code(self, event: Any) -> Any:
        code = load(self.b, at(self.b, self.given["codes"], event, I32), I32)
        return self.b.trunc(code, self.sum) if self.form.sum_bits < 32 else code

    def _add(self, line: Any, entry: Any, code: Any) -> None:
        b, half = self.b, self.form.row_bits // 2
        packed = load(b, at(b, self.given["weights"], entry, self.weight), self.weight)
        column = b.zext(b.trunc(packed, ir.IntType(half)), I64)
        weight = b.ashr(packed, ir.Constant(self.weight, half))
        if self.form.row_bits > self.form.sum_bits:
            weight = b.trunc(weight, self.sum)
        place = at(b, line, column, self.sum)
        store(b, b.add(load(b, place, self.sum), weight if code is None else b.mul(weight, code)), place)
