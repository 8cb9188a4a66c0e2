"""State-space neuron with diagonal complex A, Heaviside spikes, a reset and a refractory period.

Float, per neuron, with synaptic sum a and states x (complex, N a neuron):

    x <- A x + B a
    y  = Re(C x) + D a + bias          (the factor 2 of conjugate pairs is contained in C)
    s  = H(y - v_threshold), strict, unless silenced by the refractory period
    x <- x | r | x - r  where s        (reset none | hard | soft)

Integers: docs/arithmetic.md, ``state_space``.

Source: Gu et al., On the Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022 (S4D); the
fixed-point step of one state with per-product rounding is lava-nc 0.10.0's ``lava.proc.rf``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.neurons.base import Drive, FloatArray, FloatState, Formats, IntArray, Neuron, QuantizedNeuron, power_below
from nmdeploy.neurons.state_space_integer import MODES, RESETS, QuantizedStateSpace

ComplexArray = npt.NDArray[np.complex128]
FREE = 1000  # an exponent that nothing limits
NEVER = (1 << 31) - 1  # a threshold that y cannot reach: the proof keeps y under 2**31


@dataclass(frozen=True, eq=False)
class StateSpace(Neuron):
    """Float state-space population.

    Parameters
    ----------
    a, b, c : (H, N) complex
        Discrete diagonal transition, input and output coefficients.
    d, bias, v_threshold : (H,) float
    reset_action : {"none", "hard", "soft"}
    r : (H, N) complex
        The value that a spike sets the state to (hard), or that it subtracts (soft).
    refractory_steps : int
        Silent steps after a spike.
    refractory_mode : {"hold", "mask"}
    """

    a: ComplexArray
    b: ComplexArray
    c: ComplexArray
    d: FloatArray
    v_threshold: FloatArray
    bias: FloatArray = 0.0  # type: ignore[assignment]
    reset_action: str = "none"
    r: ComplexArray = 0.0  # type: ignore[assignment]
    refractory_steps: int = 0
    refractory_mode: str = "hold"

    kind: ClassVar[str] = "state_space"
    membrane_name: ClassVar[str] = "y"
    row_gain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("a", "b", "c", "r"):
            self._freeze(name, getattr(self, name), np.complex128, np.shape(self.a))
        for name in ("d", "bias", "v_threshold"):
            self._freeze(name, getattr(self, name), np.float64, (np.shape(self.a)[0],))
        if self.reset_action not in RESETS:
            raise BadOption(f"state_space: reset {self.reset_action!r} is unknown: choose one of {RESETS}")
        if self.refractory_mode not in MODES:
            raise BadOption(f"state_space: refractory mode {self.refractory_mode!r} is unknown: choose one of {MODES}")

    @property
    def size(self) -> int:
        return int(self.a.shape[0])

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        x = np.zeros((samples, *self.a.shape), np.result_type(dtype, np.complex64))
        y = np.zeros((samples, self.size), dtype)
        return {"x": x, "peak": x, "y": y, "refractory": np.zeros((samples, self.size), np.int64)}

    def step(self, state: FloatState, a: npt.NDArray[Any]) -> tuple[FloatState, npt.NDArray[Any]]:
        x, counter = state["x"], state["refractory"]
        silent = counter > 0
        kind = x.dtype
        moved = self.a.astype(kind) * x + self.b.astype(kind) * a[..., None]
        if self.refractory_steps and self.refractory_mode == "hold":
            moved = np.where(silent[..., None], x, moved)
        y = (self.c.astype(kind) * moved).real.sum(-1) + (self.d * a + self.bias).astype(a.dtype)
        s = (y > self.v_threshold) & ~silent
        counter = np.where(s, self.refractory_steps, np.maximum(counter - 1, 0))
        x = self._after_spike(moved, s[..., None])
        return {"x": x, "peak": moved, "y": y, "refractory": counter}, s

    def _after_spike(self, x: npt.NDArray[Any], s: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.reset_action == "none":
            return x
        return np.where(s, self.r if self.reset_action == "hard" else x - self.r, x).astype(x.dtype)

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        normal = np.stack([state["peak"], state["x"]]) / self._unit_input()
        extent = np.maximum(np.abs(normal.real), np.abs(normal.imag))
        return {"x": extent.max((0, 1)).astype(np.float64)}

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        if (np.abs(self.a) >= 1).any() or self.reset_action == "soft":
            raise BadOption(
                f"node {name!r}: an unstable or soft-reset state has no static bound: give calibration data (--data)"
            )
        floor = np.abs(self.r / self._unit_input()) if self.reset_action == "hard" else 0.0
        return {"x": np.maximum(a_max[:, None] / (1 - np.abs(self.a)), floor)}

    def membrane(self, state: FloatState) -> FloatArray:
        return state["y"]

    def _unit_input(self) -> ComplexArray:
        """B, with 1 where it is zero: states are quantized as x / B, so that the input enters by a shift."""
        return np.where(self.b == 0, 1.0, self.b)

    def quantize(self, name: str, drive: Drive, formats: Formats) -> tuple[QuantizedNeuron, Sequence[str]]:
        return quantize_state_space(name, self, self._unit_input(), drive, formats)


def quantize_state_space(
    name: str, neuron: StateSpace, unit: ComplexArray, drive: Drive, formats: Formats
) -> tuple[QuantizedStateSpace, list[str]]:
    """Integer registers of a state-space population.

    A diagonal system keeps its output when each state is divided by its B (C multiplied by it): the input then enters
    by a power of two. Every state gets the scale ``2**frac_x`` that uses its width on the calibration data, with one
    bit of headroom; every neuron the scale ``2**frac_y`` that uses the width of the coefficients C.
    """
    m, frac_a = formats.coefficient_bits, formats.coefficient_frac
    limit = (1 << (m - 1)) - 1
    reset = np.zeros_like(neuron.r) if neuron.reset_action == "none" else neuron.r / unit
    frac_x = _state_scales(drive, formats, np.abs(reset))
    frac_in = min(max(drive.frac, int(frac_x.max()) - (m - 2)), drive.frac_max, int(frac_x.min()) + frac_a)
    frac_b = max(0, int((frac_in - frac_x).max()))
    a_codes, notes = quantize_poles(name, neuron.a, frac_a, limit)
    enters = neuron.b != 0
    b_codes = np.where(enters, np.ldexp(1.0, frac_x - frac_in + frac_b), 0.0)
    gain = drive.gain[:, None]
    c = np.ldexp(1.0, -frac_x) * neuron.c * unit / gain
    d = np.ldexp(neuron.d / drive.gain, -frac_in)
    frac_c = m - 1
    frac_y, frac_d = _output_scales(c, d, neuron.bias, limit, frac_c)
    r = np.ldexp(1.0, frac_x) * reset * gain
    quantized = QuantizedStateSpace(
        rounding=formats.state_rounding,
        state_bits=formats.state_bits,
        coefficient_bits=m,
        frac_a=frac_a,
        frac_b=frac_b,
        frac_c=frac_c,
        frac_d=frac_d,
        frac_in=frac_in,
        frac_x=frac_x,
        frac_y=frac_y,
        gain=drive.gain,
        a_re=_codes(a_codes.real),
        a_im=_codes(a_codes.imag),
        b_re=_codes(b_codes),
        b_im=np.zeros_like(frac_x),
        **_output_codes(c, d, neuron, frac_c, frac_d, frac_y),
        reset_action=neuron.reset_action,
        r_re=_codes(r.real),
        r_im=_codes(r.imag),
        refractory_steps=neuron.refractory_steps,
        refractory_mode=neuron.refractory_mode,
    )
    silent = int((np.abs(quantized.vth) == NEVER).sum())
    if silent:
        notes.append(f"node {name!r}: the thresholds of {silent} neurons lie beyond all that y can reach")
    return quantized, notes


def _output_codes(
    c: ComplexArray, d: FloatArray, neuron: StateSpace, frac_c: int, frac_d: int, frac_y: IntArray
) -> dict[str, IntArray]:
    scaled = c * np.ldexp(1.0, frac_c + frac_y)[:, None]
    return {
        "c_re": _codes(scaled.real),
        "c_im": _codes(scaled.imag),
        "d": _codes(np.ldexp(d, frac_d + frac_y)),
        "bias": _codes(np.ldexp(neuron.bias, frac_y)),
        "vth": _codes(np.clip(np.ldexp(neuron.v_threshold, frac_y), -NEVER, NEVER)),
    }


def _codes(values: FloatArray) -> IntArray:
    # What exceeds 32 bits is refused by the integer population; beyond 2**62 the cast itself would wrap.
    return np.rint(np.clip(values, -(2.0**62), 2.0**62)).astype(np.int64)


def _state_scales(drive: Drive, formats: Formats, reset: FloatArray) -> IntArray:
    """Fraction bits of each state: half of its width at the calibrated magnitude, input coefficients within theirs.

    What a reset sets or subtracts counts as a magnitude, whether or not a spike occurred in the calibration.
    """
    extent = np.maximum(drive.extremes["x"], reset) * drive.gain[:, None]
    peak = np.maximum(extent, np.ldexp(1.0, -drive.frac))
    frac = np.floor(np.log2(((1 << (formats.state_bits - 2)) - 1) / peak)).astype(np.int64)
    return np.minimum(frac, min(int(frac.min()), drive.frac_max) + formats.coefficient_bits - 2)


def _output_scales(c: ComplexArray, d: FloatArray, bias: FloatArray, limit: int, frac_c: int) -> tuple[IntArray, int]:
    """Fraction bits of each neuron's y, and those of D.

    The largest coefficient C of a neuron fills its width, unless its D would then exceed its own even without fraction,
    or its bias 30 bits.
    """
    largest = np.maximum(np.abs(c.real), np.abs(c.imag)).max(1)
    frac_y = np.minimum(_exponents(limit, largest) - frac_c, _exponents(limit, np.abs(d)))
    frac_y = np.minimum(frac_y, _exponents(1 << 30, np.abs(bias)))
    frac_y = np.where(frac_y > FREE // 2, 0, frac_y)
    frac_d = power_below(limit, float(np.abs(np.ldexp(d, frac_y)).max(initial=0.0)), default=frac_c)
    return frac_y, min(frac_c, frac_d)


def _exponents(limit: int, magnitudes: FloatArray) -> IntArray:
    """The largest e with ``magnitude * 2**e <= limit``, element by element; `FREE` for a magnitude of 0."""
    exponents = np.floor(np.log2(limit / np.where(magnitudes > 0, magnitudes, 1.0)))
    return np.where(magnitudes > 0, exponents, FREE).astype(np.int64)


def quantize_poles(name: str, a: ComplexArray, frac: int, limit: int) -> tuple[ComplexArray, list[str]]:
    """Integer codes of A that keep every stable eigenvalue inside the unit circle.

    A code whose magnitude reaches ``2**frac`` although ``abs(a) < 1`` is replaced by the nearest code inside.

    Returns
    -------
    codes : (H, N) complex, integer parts
    notes : list of str
        One line that says how many poles were moved inside, and the largest error that this made.
    """
    codes = np.rint(a.real * 2.0**frac) + 1j * np.rint(a.imag * 2.0**frac)
    extent = np.maximum(np.abs(codes.real), np.abs(codes.imag)).max(initial=0)
    if extent > limit:
        raise UnsupportedParameter(
            f"node {name!r}: a transition coefficient of {extent / 2.0**frac:g} exceeds its format, limit "
            f"{limit / 2.0**frac:g}: lower the fraction bits (--coefficient-frac) or rescale A"
        )
    radius = 1 << (2 * frac)
    outside = (np.abs(a) < 1) & (codes.real**2 + codes.imag**2 >= radius)
    if not outside.any():
        return codes, []
    fixed = codes.copy()
    fixed[outside] = [_nearest_inside(value, frac) for value in a[outside]]
    error = float(np.abs(fixed / 2.0**frac - a)[outside].max())
    return fixed, [
        f"node {name!r}: rounding moved {int(outside.sum())} of {a.size} stable poles onto or out of the unit circle; "
        f"the nearest codes inside were taken (largest error {error:.2g})"
    ]


def _nearest_inside(value: complex, frac: int) -> complex:
    scaled = value * 2.0**frac
    base_re, base_im = int(np.floor(scaled.real)), int(np.floor(scaled.imag))
    candidates = [
        complex(re, im)
        for re in range(base_re - 1, base_re + 3)
        for im in range(base_im - 1, base_im + 3)
        if re * re + im * im < 1 << (2 * frac)
    ]
    return min(candidates, key=lambda code: (abs(code - scaled), code.real, code.imag))
