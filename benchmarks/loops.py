"""Calibration loops in LLVM's own language, so that what is measured is what is written: no compiler may slow them.

Each loop is made in several variants (width of the vectors, number of accumulators); the fastest one counts.
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


@dataclass(frozen=True)
class Loop:
    """A compiled function, and its assembly."""

    call: Callable[..., None]
    assembly: str
    engine: Any

    @property
    def registers(self) -> str:
        """Widest registers that the loop uses."""
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
    """The function ``f`` of LLVM source, taking that many pointers or 64-bit integers."""
    module = llvm.parse_assembly(text)
    module.verify()
    assembly = _target().emit_assembly(module)
    engine = llvm.create_mcjit_compiler(module, _target())
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)
    return Loop(kind(engine.get_function_address("f")), assembly, engine)


def rate(call: Callable[..., None], each: Sequence[tuple[Any, ...]], work: float) -> float:
    """Work a second over all threads; thread i calls with the arguments ``each[i]``."""
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
    """The template for k = 0 to count - 1, one line each."""
    return "\n".join(template.replace("{k}", str(k)) for k in range(count))


def fma(lanes: int, accumulators: int, bits: int = 64) -> str:
    """f(n, out): n rounds of one multiply-add of floats of 32 or 64 bits on each accumulator."""
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
    """f(events, index, table, out): add the rows of `width` integers of `bits` that index names to 16-bit sums."""
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


def _stored(vector: str, size: int, count: int, name: str, label: str) -> str:
    place = f"  %{label}{{k}} = getelementptr i8, ptr %out, i64 OFFSET\n"
    place += f"  store {vector} %{name}{{k}}, ptr %{label}{{k}}"
    return "\n".join(place.replace("{k}", str(k)).replace("OFFSET", str(k * size)) for k in range(count))


def aligned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that starts at a cache line, as whole vectors demand."""
    room = np.empty(values.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy
