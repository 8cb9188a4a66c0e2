"""Integer windowed state-space population: docs/arithmetic.md, ``windowed_state_space``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, OverflowPossible
from nmdeploy.neurons.base import FloatArray, IntArray, Moment, QuantizedNeuron, Registers
from nmdeploy.neurons.ops import rz, saturate, select, take
from nmdeploy.neurons.state_space.diagonal_integer import QuantizedStateSpace

MEMORY = (
    *("rounding", "state_bits", "coefficient_bits", "frac_a", "frac_b", "frac_c", "frac_d", "a_re", "a_im"),
    *("b_re", "b_im", "c_re", "c_im", "d", "bias", "frac_in", "frac_x", "frac_y", "gain"),
)
U_BITS = 32
U_LIMIT = (1 << (U_BITS - 1)) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedWindowedStateSpace(QuantizedNeuron):
    """Integer population that decides once for each window of r steps.

    Parameters
    ----------
    rounding : {"per-product", "per-sum"}
    state_bits, coefficient_bits : int
        Widths of the states and of the coefficients, kernel included.
    frac_a, frac_b, frac_c, frac_d, frac_k : int
        Fraction bits of the coefficients and of the kernel.
    a_re, a_im : (H, N) int;  b_re, b_im : (H, N, 1) int;  c_re, c_im : (H, 1, N) int;  d : (H, 1, 1) int
    bias : (H, 1) int
        In units of y.
    window : int
        Steps r of a window.
    kernel : (H, r) int
        Weight of each step's y in the window's sum u.
    vth : (H,) int
        Threshold of u, which is in units of ``2**-frac_u``.
    send_once : bool
        Whether the output is 0 in all steps of a window but the first: the approximate form.
    frac_in : int;  frac_x : (H, N) int;  frac_y : (H, 1) int;  frac_u : (H,) int
        Fraction bits of synaptic sum, states, y and u: what one code is worth.
    gain : (H,) float
        Units of the exported synaptic sum in one unit of the float network's.
    """

    rounding: str
    state_bits: int
    coefficient_bits: int
    frac_a: int
    frac_b: int
    frac_c: int
    frac_d: int
    a_re: IntArray
    a_im: IntArray
    b_re: IntArray
    b_im: IntArray
    c_re: IntArray
    c_im: IntArray
    d: IntArray
    window: int
    kernel: IntArray
    frac_k: int
    vth: IntArray
    bias: IntArray = 0  # type: ignore[assignment]
    send_once: bool = False
    frac_in: int = 0
    frac_x: IntArray = 0  # type: ignore[assignment]
    frac_y: IntArray = 0  # type: ignore[assignment]
    frac_u: IntArray = 0  # type: ignore[assignment]
    gain: FloatArray = 1.0  # type: ignore[assignment]

    kind: ClassVar[str] = "windowed_state_space"
    blocks: ClassVar[tuple[str, ...]] = ("re", "im")
    registers: ClassVar[tuple[str, ...]] = ("y", "u", "decided", "latch")
    recorded: ClassVar[tuple[str, ...]] = ("re", "im", "y", "u")
    flags: ClassVar[tuple[str, ...]] = ("re_saturations", "im_saturations", "u_saturations")
    per_state: ClassVar[bool] = True

    def __post_init__(self) -> None:
        memory = self.memory
        for name in MEMORY:
            object.__setattr__(self, name, getattr(memory, name))
        if not 1 <= self.window <= 1 << 16:
            raise BadOption(f"{self.kind}: window = {self.window}: choose 1 to {1 << 16} steps")
        if memory.inputs != 1 or memory.outputs != 1:
            raise BadOption(
                f"{self.kind}: {memory.inputs} inputs and {memory.outputs} outputs a neuron: give one of each"
            )
        self._freeze("kernel", self.kernel, np.int64, (memory.size, self.window))
        self._freeze("vth", self.vth, np.int64, (memory.size,))
        self._freeze("frac_u", self.frac_u, np.int64, (memory.size,))
        if not 0 <= self.frac_k <= 31:
            raise BadOption(f"{self.kind}: frac_k = {self.frac_k} lies outside of 0 to 31: rescale the kernel")
        most = (1 << (self.coefficient_bits - 1)) - 1
        for name, limit in (("kernel", most), ("vth", U_LIMIT)):
            worst = int(np.abs(getattr(self, name)).max(initial=0))
            if worst > limit:
                raise BadOption(f"{self.kind}: {name} = {worst} exceeds its limit {limit}: lower the scale of u")

    @cached_property
    def memory(self) -> QuantizedStateSpace:
        """The population's memory by itself, without spikes."""
        return QuantizedStateSpace(vth=np.array(U_LIMIT), **{name: getattr(self, name) for name in MEMORY})

    @property
    def size(self) -> int:
        return int(self.a_re.shape[0])

    @property
    def states(self) -> int:
        return int(self.a_re.shape[1])

    @property
    def inputs(self) -> int:
        """Inputs of a neuron."""
        return 1

    @property
    def outputs(self) -> int:
        """Outputs of a neuron."""
        return 1

    @property
    def real_states(self) -> int:
        return 2 * self.states + 1

    @property
    def unstable(self) -> bool:
        """Whether the code of a pole lies outside of the unit circle."""
        return self.memory.unstable

    @property
    def lookahead(self) -> int:
        return self.window - 1

    def constant_over(self, arriving: int) -> int:
        return 1 if self.send_once else self.window

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        block, _ = self.memory.start(samples, dtype)
        zero, off = np.zeros((samples, self.size), dtype), np.zeros((samples, self.size), bool)
        return block, (zero, zero, off, off)

    def advance(self, registers: Registers, a: Any, now: Moment) -> tuple[Registers, Any, list[Any]]:
        block, (y, u, decided, latch) = registers
        runs, at = select(now.step < now.steps, True, False), now.step % self.window
        full = at == self.window - 1  # then, too, the first step of the window that is sent
        block, moved, flags = self.memory.remember(block, a[..., None], ~runs[..., None])
        y = select(runs, moved[..., 0], y)
        total, clipped = saturate(select(at == 0, 0, u) + rz(take(self.kernel, at) * y, self.frac_k), U_LIMIT)
        u = select(runs, total, u)
        decided = select(runs & (full | (now.step == now.steps - 1)), u > self.vth, decided)
        latch = select(full, decided, latch)
        output = select(full, latch, False) if self.send_once else latch
        return (block, (y, u, decided, latch)), output, [*flags, clipped & runs]

    def prove(self, name: str, a_max: IntArray) -> None:
        self.memory.prove(name, a_max)
        # The memory's proof keeps y under 2**31.
        wide = int(np.abs(self.kernel).max(initial=0)) << 31
        if wide >= 1 << 62:
            raise OverflowPossible(f"node {name!r}: kernel * y can reach {wide}, limit 2**62: use fewer bits")

    def real(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        if state == "u":
            return np.ldexp(np.asarray(values, np.float64), -self.frac_u)
        return self.memory.real(state, values)

    @property
    def footprint_bits(self) -> int:
        # Beside u, the decision of the running window and the one that is sent.
        return self.memory.footprint_bits + self.size * (self.window * self.coefficient_bits + U_BITS + 2)
