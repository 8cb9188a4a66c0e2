"""The neuron updates of docs/arithmetic.md as calibration loops, lane by lane and as vectors.

A compiled engine whose loop was not vectorized cannot be faster than the first. Both work on 32-bit registers in the
first-level cache and compute in 64 bits. ``f(n, u, v, a, p0, p1, p2, s)`` makes one step of n lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.bounds import Measure
from benchmarks.loops import aligned, compiled, rate
from nmdeploy._util.system import processors

HELD, UPDATES, LANES = 1024, 1 << 19, 8
STATE_CODES = ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im")


class _Body:
    """LLVM source of one step on scalars (lanes = 1) or vectors."""

    def __init__(self, lanes: int) -> None:
        self.wide = "i64" if lanes == 1 else f"<{lanes} x i64>"
        self.narrow = "i32" if lanes == 1 else f"<{lanes} x i32>"
        self.flag = "i1" if lanes == 1 else f"<{lanes} x i1>"
        self.lanes, self.lines, self.count = lanes, [""], 0

    def name(self, text: str) -> str:
        """Assign to a new name."""
        self.count += 1
        self.lines.append(f"  %t{self.count} = {text}")
        return f"%t{self.count}"

    def constant(self, value: int) -> str:
        """Return the number in each lane."""
        return str(value) if self.lanes == 1 else f"splat (i64 {value})"

    def load(self, array: str) -> str:
        """Load lanes i of an array, in 64 bits."""
        place = self.name(f"getelementptr i32, ptr %{array}, i64 %at")
        return self.name(f"sext {self.narrow} {self.name(f'load {self.narrow}, ptr {place}')} to {self.wide}")

    def store(self, array: str, value: str) -> None:
        """Set lanes i of an array."""
        place = self.name(f"getelementptr i32, ptr %{array}, i64 %at")
        cut = self.name(f"trunc {self.wide} {value} to {self.narrow}")
        self.lines.append(f"  store {self.narrow} {cut}, ptr {place}")

    def op(self, name: str, left: str, right: str | int) -> str:
        """Write a binary operation."""
        right = self.constant(right) if isinstance(right, int) else right
        return self.name(f"{name} {self.wide} {left}, {right}")

    def rz(self, left: str, right: str, bits: int) -> str:
        """Write a product of two, divided by a power of two towards zero."""
        return self.op("sdiv", self.op("mul", left, right), 1 << bits)

    def choose(self, predicate: str, left: str, right: str | int, yes: str, no: str) -> str:
        """Write `yes` where left compares with right, else `no`."""
        right = self.constant(right) if isinstance(right, int) else right
        found = self.name(f"icmp {predicate} {self.wide} {left}, {right}")
        return self.name(f"select {self.flag} {found}, {self.wide} {yes}, {self.wide} {no}")

    def saturated(self, value: str) -> str:
        """Clip into 24 bits."""
        most = (1 << 23) - 1
        low = self.choose("slt", value, -most, self.constant(-most), value)
        return self.choose("sgt", low, most, self.constant(most), low)

    def function(self, arrays: tuple[str, ...]) -> str:
        """Return the loop around the body."""
        pointers = ", ".join(f"ptr %{name}" for name in arrays)
        return f"""
define void @f(i64 %n, {pointers}) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %at = and i64 %i, {HELD - 1}{chr(10).join(self.lines)}
  %next = add i64 %i, {self.lanes}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""


LIF_ARRAYS = ("u", "v", "a", "du", "dv", "vth", "s")
STATE_ARRAYS = ("re", "im", "a", *STATE_CODES, "y")


def lif(lanes: int) -> str:
    """Write `lif`: du and dv hold the factors 4095 - du and 4096 - dv, vth the threshold times 64."""
    b = _Body(lanes)
    u = b.op("add", b.rz(b.load("u"), b.load("du"), 12), b.op("shl", b.load("a"), 6))
    down, up = b.op("sub", u, 1 << 24), b.op("add", u, 1 << 24)
    u = b.choose("sgt", u, 1 << 23, down, b.choose("sle", u, -(1 << 23), up, u))
    v = b.saturated(b.op("add", b.rz(b.load("v"), b.load("dv"), 12), u))
    vth = b.load("vth")
    b.store("s", b.choose("sgt", v, vth, b.constant(1), b.constant(0)))
    b.store("u", u)
    b.store("v", b.choose("sgt", v, vth, b.constant(0), v))
    return b.function(LIF_ARRAYS)


def state_space(lanes: int) -> str:
    """Write `state_space`, per-product: the update of one state per lane, and its part of y."""
    b = _Body(lanes)
    re, im, a, a_re, a_im = (b.load(name) for name in ("re", "im", "a", "a_re", "a_im"))
    new_re = b.op("sub", b.rz(a_re, re, 15), b.rz(a_im, im, 15))
    new_im = b.op("add", b.rz(a_im, re, 15), b.rz(a_re, im, 15))
    new_re = b.saturated(b.op("add", new_re, b.rz(b.load("b_re"), a, 12)))
    new_im = b.saturated(b.op("add", new_im, b.rz(b.load("b_im"), a, 12)))
    b.store("re", new_re)
    b.store("im", new_im)
    part = b.op("sub", b.rz(b.load("c_re"), new_re, 15), b.rz(b.load("c_im"), new_im, 15))
    b.store("y", b.op("add", b.load("y"), part))
    return b.function(STATE_ARRAYS)


KINDS = {"lif": (lif, LIF_ARRAYS, (12, 12, 30)), "state_space": (state_space, STATE_ARRAYS, (14,) * 6)}


def update_loop(kind: str, lanes: int) -> Measure:
    """Return a measure of the updates per second of all cores: of neurons, or of complex states."""
    make, arrays, bits = KINDS[kind]
    loop = compiled(make(lanes), 1 + len(arrays))
    rng = np.random.default_rng(0)
    sizes = (20, 20, 8, *bits, 20)
    kept = [[aligned(_codes(rng, size)) for size in sizes] for _ in range(processors())]

    def measure() -> float:
        return rate(loop.call, [(UPDATES, *[array.ctypes.data for array in arrays]) for arrays in kept], UPDATES)

    return measure


def _codes(rng: np.random.Generator, bits: int) -> Any:
    return rng.integers(0, 1 << bits, HELD).astype(np.int32)
