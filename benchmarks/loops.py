"""Calibration loops in LLVM's own language, so that no compiler can slow them.

Each loop is made in several variants (width of the vectors, number of accumulators). The fastest one counts.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt

SECONDS, LINE = 0.06, 64
PAIR_SUMS = "llvm.x86.avx512.pmaddubs.w.512"


@dataclass(frozen=True)
class Loop:
    """Compiled function with its assembly."""

    call: Callable[..., None]
    assembly: str
    engine: Any

    @property
    def registers(self) -> str:
        """Name of the widest registers that the loop uses."""
        found = [name for name in ("zmm", "ymm", "xmm") if re.search(rf"%?{name}\d", self.assembly)]
        return found[0] if found else "scalar"


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)


@cache
def compiled(text: str, arguments: int) -> Loop:
    """Compile the function ``f`` of LLVM source, which takes `arguments` pointers or 64-bit integers."""
    module = llvm.parse_assembly(text)
    module.verify()
    assembly = _target().emit_assembly(module)
    engine = llvm.create_mcjit_compiler(module, _target())
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)
    return Loop(kind(engine.get_function_address("f")), assembly, engine)


def rate(call: Callable[..., None], each: Sequence[tuple[Any, ...]], work: float) -> float:
    """Return the work per second over all threads; thread i calls with the arguments ``each[i]``."""
    done, start = [0.0] * len(each), threading.Barrier(len(each))

    def run(index: int) -> None:
        call(*each[index])
        start.wait()
        began, calls = time.perf_counter(), 0
        while (now := time.perf_counter()) - began < SECONDS:
            call(*each[index])
            calls += 1
        done[index] = calls / (now - began)

    workers = [threading.Thread(target=run, args=(index,)) for index in range(len(each))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) * work


def lines(template: str, count: int) -> str:
    """Fill the template for k = 0 to count - 1, one line each."""
    return "\n".join(template.replace("{k}", str(k)) for k in range(count))


def fma(lanes: int, accumulators: int, bits: int = 64) -> str:
    """Write f(n, out): n rounds of one multiply-add of floats of 32 or 64 bits on each accumulator."""
    vector, name = f"<{lanes} x {'double' if bits == 64 else 'float'}>", f"llvm.fma.v{lanes}f{bits}"
    return f"""
declare {vector} @{name}({vector}, {vector}, {vector})
define void @f(i64 %n, ptr %out) {{
entry:
  %m = load {vector}, ptr %out
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
{lines(f"  %a{{k}} = phi {vector} [%m, %entry], [%b{{k}}, %loop]", accumulators)}
{lines(f"  %b{{k}} = call {vector} @{name}({vector} %a{{k}}, {vector} %m, {vector} %m)", accumulators)}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
{_stored(vector, lanes * bits // 8, accumulators, "b", "store")}
  ret void
}}"""


def rows(width: int, lanes: int, bits: int) -> str:
    """Write f(events, index, table, out), which adds rows of `width` integers of `bits` to 16-bit sums.

    The array index names the rows.
    """
    vector, parts = f"<{lanes} x i16>", width // lanes
    held = f"<{lanes} x i{bits}>"
    load = f"  %p{{k}} = getelementptr {held}, ptr %row, i64 {{k}}\n  %w{{k}} = load {held}, ptr %p{{k}}, align 16\n"
    load += f"  %x{{k}} = sext {held} %w{{k}} to {vector}" if bits < 16 else f"  %x{{k}} = freeze {vector} %w{{k}}"
    return f"""
define void @f(i64 %n, ptr %index, ptr %table, ptr %out) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
{lines(f"  %a{{k}} = phi {vector} [zeroinitializer, %entry], [%b{{k}}, %loop]", parts)}
  %at = getelementptr i32, ptr %index, i64 %i
  %event = load i32, ptr %at
  %wide = zext i32 %event to i64
  %offset = mul i64 %wide, {width * bits // 8}
  %row = getelementptr i8, ptr %table, i64 %offset
{lines(load, parts)}
{lines(f"  %b{{k}} = add {vector} %a{{k}}, %x{{k}}", parts)}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
{_stored(vector, lanes * 2, parts, "b", "store")}
  ret void
}}"""


def row_pairs(width: int, together: int) -> str:
    """Write f(events, index, table, out) as `rows` does, for bytes, `together` rows per iteration.

    One multiply-add adds two rows. It multiplies their interleaved bytes by 1 and adds neighbours, which 16 bits hold.
    It needs AVX-512 BW.
    """
    groups, half, kind, sums = range(width // 64), range(2), "<64 x i8>", "<32 x i16>"
    body, totals = [], {(g, h): f"%a{g}_{h}" for g in groups for h in half}
    for e in range(together):
        body += [
            f"%at{e} = add i64 %i, {e}",
            f"%place{e} = getelementptr i32, ptr %index, i64 %at{e}",
            f"%event{e} = load i32, ptr %place{e}",
            f"%wide{e} = zext i32 %event{e} to i64",
            f"%offset{e} = mul i64 %wide{e}, {width}",
            f"%row{e} = getelementptr i8, ptr %table, i64 %offset{e}",
        ]
        body += [f"%p{e}_{g} = getelementptr {kind}, ptr %row{e}, i64 {g}" for g in groups]
        body += [f"%w{e}_{g} = load {kind}, ptr %p{e}_{g}, align 64" for g in groups]
    for pair in range(0, together, 2):
        for g, h in totals:
            name, new = f"{pair}_{g}_{h}", f"%b{pair}_{g}_{h}"
            body += [
                f"%both{name} = shufflevector {kind} %w{pair}_{g}, {kind} %w{pair + 1}_{g}, <64 x i32> {_between(h)}",
                f"%sum{name} = call {sums} @{PAIR_SUMS}({kind} splat (i8 1), {kind} %both{name})",
                f"{new} = add {sums} {totals[g, h]}, %sum{name}",
            ]
            totals[g, h] = new
    starts = [f"%a{g}_{h} = phi {sums} [zeroinitializer, %entry], [{new}, %loop]" for (g, h), new in totals.items()]
    ends = [f"%r{k} = freeze {sums} {new}" for k, new in enumerate(totals.values())]
    return f"""
declare {sums} @{PAIR_SUMS}({kind}, {kind})
define void @f(i64 %n, ptr %index, ptr %table, ptr %out) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  {"".join(f"{line}{chr(10)}  " for line in starts + body)}%next = add i64 %i, {together}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  {"".join(f"{line}{chr(10)}  " for line in ends)}
{_stored(sums, 64, len(ends), "r", "store")}
  ret void
}}"""


def _between(half: int) -> str:
    """Return half of the bytes of two rows, interleaved within each 128 bits: one instruction."""
    order = [16 * lane + 8 * half + i + 64 * row for lane in range(4) for i in range(8) for row in (0, 1)]
    return f"<{', '.join(f'i32 {each}' for each in order)}>"


def _stored(vector: str, size: int, count: int, name: str, label: str) -> str:
    place = f"  %{label}{{k}} = getelementptr i8, ptr %out, i64 OFFSET\n"
    place += f"  store {vector} %{name}{{k}}, ptr %{label}{{k}}"
    return "\n".join(place.replace("{k}", str(k)).replace("OFFSET", str(k * size)) for k in range(count))


def aligned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy that starts at a cache line, as whole vectors require."""
    room = np.empty(values.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy
