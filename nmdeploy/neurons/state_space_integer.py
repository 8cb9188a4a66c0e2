"""The integer step of the state-space neuron: docs/arithmetic.md, ``state_space``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, OverflowPossible
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizedNeuron
from nmdeploy.neurons.ops import rz, saturate, select

RESETS = ("none", "hard", "soft")
MODES = ("hold", "mask")
PER_STATE = ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im")


class BlockParams(NamedTuple):
    """Parameters of `integrate` and `reset`."""

    a_re: Any
    a_im: Any
    b_re: Any
    b_im: Any
    c_re: Any
    c_im: Any
    r_re: Any
    r_im: Any
    hold: Any
    frac_a: Any
    frac_b: Any
    frac_c: Any
    limit: Any


class NeuronParams(NamedTuple):
    """Parameters of `fire`."""

    d: Any
    bias: Any
    vth: Any
    refractory_steps: Any
    frac_c: Any
    frac_d: Any


def integrate_per_product(block: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
    """One state, each product rounded towards zero."""
    re, im = block
    new_re = rz(p.a_re * re, p.frac_a) - rz(p.a_im * im, p.frac_a) + rz(p.b_re * a, p.frac_b)
    new_im = rz(p.a_im * re, p.frac_a) + rz(p.a_re * im, p.frac_a) + rz(p.b_im * a, p.frac_b)
    block, flags = _settle(block, new_re, new_im, z, p)
    return block, (rz(p.c_re * block[0], p.frac_c) - rz(p.c_im * block[1], p.frac_c),), flags


def integrate_per_sum(block: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
    """One state, the products summed exactly and rounded once; the sum for y is rounded in `fire_per_sum`."""
    re, im = block
    up = p.frac_a - p.frac_b
    new_re = rz(p.a_re * re - p.a_im * im + ((p.b_re * a) << up), p.frac_a)
    new_im = rz(p.a_im * re + p.a_re * im + ((p.b_im * a) << up), p.frac_a)
    block, flags = _settle(block, new_re, new_im, z, p)
    return block, (p.c_re * block[0] - p.c_im * block[1],), flags


def _settle(block: Any, new_re: Any, new_im: Any, z: Any, p: Any) -> tuple[Any, Any]:
    held = (z[0] != 0) & p.hold
    re, clipped_re = saturate(new_re, p.limit)
    im, clipped_im = saturate(new_im, p.limit)
    return (select(held, block[0], re), select(held, block[1], im)), (clipped_re & ~held, clipped_im & ~held)


def fire_per_product(y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
    """Membrane and spike; the products of y were rounded one by one."""
    return _spike(y[0] + rz(p.d * a, p.frac_d) + p.bias, z, p)


def fire_per_sum(y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
    """Membrane and spike; y is rounded once."""
    return _spike(rz(y[0] + ((p.d * a) << (p.frac_c - p.frac_d)), p.frac_c) + p.bias, z, p)


def _spike(y: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
    counter = z[0]
    s = (y > p.vth) & (counter == 0)
    return s, s, (select(s, p.refractory_steps, counter - (counter != 0)), y)


def reset_none(block: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
    """The state runs on."""
    return block, ()


def reset_hard(block: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
    """Set the state to r."""
    return (select(condition, p.r_re, block[0]), select(condition, p.r_im, block[1])), ()


def reset_soft(block: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
    """Subtract r from the state."""
    re, clipped_re = saturate(block[0] - select(condition, p.r_re, 0), p.limit)
    im, clipped_im = saturate(block[1] - select(condition, p.r_im, 0), p.limit)
    return (re, im), (clipped_re, clipped_im)


INTEGRATE = {"per-product": integrate_per_product, "per-sum": integrate_per_sum}
FIRE = {"per-product": fire_per_product, "per-sum": fire_per_sum}
RESET = {"none": reset_none, "hard": reset_hard, "soft": reset_soft}


@dataclass(frozen=True, eq=False)
class QuantizedStateSpace(QuantizedNeuron):
    """Integer state-space population.

    Parameters
    ----------
    rounding : {"per-product", "per-sum"}
    state_bits, coefficient_bits : int
        Widths of the states and of the coefficients.
    frac_a, frac_b, frac_c, frac_d : int
        Fraction bits of the coefficients.
    a_re, a_im, b_re, b_im, c_re, c_im : (H, N) int
    d, bias, vth : (H,) int
        Feedthrough, bias and threshold; the last two in units of y.
    reset_action : {"none", "hard", "soft"};  r_re, r_im : (H, N) int
    refractory_steps : int;  refractory_mode : {"hold", "mask"}
    frac_in : int;  frac_x : (H, N) int;  frac_y : (H,) int
        Fraction bits of the synaptic sum, of the states and of y: what one code is worth.
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
    bias: IntArray
    vth: IntArray
    reset_action: str = "none"
    r_re: IntArray = 0  # type: ignore[assignment]
    r_im: IntArray = 0  # type: ignore[assignment]
    refractory_steps: int = 0
    refractory_mode: str = "hold"
    frac_in: int = 0
    frac_x: IntArray = 0  # type: ignore[assignment]
    frac_y: IntArray = 0  # type: ignore[assignment]
    gain: FloatArray = 1.0  # type: ignore[assignment]

    kind: ClassVar[str] = "state_space"
    blocks: ClassVar[tuple[str, ...]] = ("re", "im")
    registers: ClassVar[tuple[str, ...]] = ("refractory", "y")
    recorded: ClassVar[tuple[str, ...]] = ("re", "im", "y")
    per_state: ClassVar[bool] = True

    def __post_init__(self) -> None:
        shape = np.shape(self.a_re)
        for name in (*PER_STATE, "r_re", "r_im", "frac_x"):
            self._freeze(name, getattr(self, name), np.int64, shape)
        for name in ("d", "bias", "vth", "frac_y"):
            self._freeze(name, getattr(self, name), np.int64, shape[:1])
        self._freeze("gain", self.gain, np.float64, shape[:1])
        self._check()

    def _check(self) -> None:
        for value, known in ((self.rounding, INTEGRATE), (self.reset_action, RESET), (self.refractory_mode, MODES)):
            if value not in known:
                raise BadOption(f"state_space: {value!r} is unknown: choose one of {tuple(known)}")
        for name, low, high in (("state_bits", 2, 32), ("coefficient_bits", 2, 32), ("refractory_steps", 0, 1 << 20)):
            if not low <= getattr(self, name) <= high:
                raise BadOption(f"state_space: {name} = {getattr(self, name)}: choose {low} to {high}")
        if not all(0 <= getattr(self, name) <= 31 for name in ("frac_a", "frac_b", "frac_c", "frac_d")):
            raise BadOption("state_space: fraction bits of a coefficient lie outside of 0 to 31: rescale the states")
        if self.rounding == "per-sum" and (self.frac_b > self.frac_a or self.frac_d > self.frac_c):
            raise BadOption("state_space: per-sum rounding needs frac_b <= frac_a and frac_d <= frac_c")
        most = 1 << (self.coefficient_bits - 1)
        for name in (*PER_STATE, "d"):
            self._within(name, -most, most - 1, f"{self.coefficient_bits} bits: raise coefficient_bits")
        for name in ("r_re", "r_im"):
            self._within(name, -self.limit, self.limit, f"{self.state_bits} bits: raise state_bits or lower the scale")
        for name in ("vth", "bias"):
            self._within(name, 1 - (1 << 31), (1 << 31) - 1, "32 bits: lower the scale of y")

    def _within(self, name: str, low: int, high: int, reason: str) -> None:
        codes = getattr(self, name)
        outside = codes[(codes < low) | (codes > high)]
        if outside.size:
            raise BadOption(f"state_space: {name} = {int(outside.flat[0])} exceeds {reason}")

    @property
    def flags(self) -> tuple[str, ...]:  # type: ignore[override]
        resets = ("re_reset_saturations", "im_reset_saturations") if self.reset_action == "soft" else ()
        return ("re_saturations", "im_saturations", *resets)

    @property
    def size(self) -> int:
        return int(self.a_re.shape[0])

    @property
    def states(self) -> int:
        return int(self.a_re.shape[1])

    @property
    def limit(self) -> int:
        """Largest magnitude of a state code."""
        return (1 << (self.state_bits - 1)) - 1

    @property
    def block_params(self) -> BlockParams:
        values = {name: getattr(self, name) for name in BlockParams._fields if hasattr(self, name)}
        return BlockParams(hold=self.refractory_mode == "hold", **values)

    @property
    def neuron_params(self) -> NeuronParams:
        return NeuronParams(self.d, self.bias, self.vth, self.refractory_steps, self.frac_c, self.frac_d)

    def integrate(self, block: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
        return INTEGRATE[self.rounding](block, a, z, p)

    def fire(self, y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
        return FIRE[self.rounding](y, a, z, p, step)

    def reset(self, block: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
        return RESET[self.reset_action](block, s, condition, z, p)

    def prove(self, name: str, a_max: IntArray) -> None:
        exact = [np.abs(getattr(self, n).astype(object)) for n in (*PER_STATE, "d", "bias")]
        a_re, a_im, b_re, b_im, c_re, c_im, d, bias = exact
        a = a_max.astype(object)
        up_b = max(0, self.frac_a - self.frac_b)
        inner = (a_re + a_im) * self.limit + (np.maximum(b_re, b_im) * a[:, None] << up_b)
        outer = (c_re + c_im).sum(1) * self.limit + (d * a << max(0, self.frac_c - self.frac_d))
        wide = max(int(inner.max()), int(outer.max()))
        if wide >= 1 << 62:
            raise OverflowPossible(f"node {name!r}: a sum of products can reach {wide}, limit 2**62: use fewer bits")
        y = int(((outer >> self.frac_c) + bias).max()) + 2 * self.states + 1
        if y >= 1 << 31:
            raise OverflowPossible(
                f"node {name!r}: y can reach {y}, limit 2**31: lower --coefficient-bits or --state-bits"
            )

    def real(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        frac = self.frac_y if state == "y" else self.frac_x
        return np.ldexp(np.asarray(values, np.float64), -frac)

    @property
    def footprint_bits(self) -> int:
        per_state = 2 * self.state_bits + 6 * self.coefficient_bits
        return self.size * (self.states * per_state + self.coefficient_bits + 2 * 24)
