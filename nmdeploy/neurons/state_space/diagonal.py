"""Spiking state-space neuron with diagonal complex dynamics.

Float, per neuron, with synaptic sums a and states x (complex, N per neuron):

    x <- A x + B a
    y  = Re(C x) + D a + bias          (the factor 2 of conjugate pairs is contained in C)

`nmdeploy.neurons.state_space.float` has the rest of the step. Integers: docs/arithmetic.md, ``state_space``.

Source: Gu et al., On the Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022 (S4D). The
fixed-point step of one state with per-product rounding is that of lava-nc 0.10.0, ``lava.proc.rf``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, CalibrationNeeded, UnsupportedParameter
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, QuantizationConfig, QuantizationContext, QuantizedNeuron
from nmdeploy.neurons.rounded import HeldTensor
from nmdeploy.neurons.scales import Scales
from nmdeploy.neurons.state_space.float import Array, Spiking
from nmdeploy.neurons.state_space.integer import (
    Lanes,
    QuantizedSpiking,
    feedthrough,
    sum_feedback,
    sum_inputs,
    sum_last_axis,
)
from nmdeploy.neurons.state_space.mechanisms import REFRACTORY_MODES as MODES
from nmdeploy.neurons.state_space.restored import restored
from nmdeploy.neurons.state_space.rules import Fractions, Rounding, reset_hard, scale_state, update_register
from nmdeploy.neurons.state_space.scales import FACTOR, choose, codes, coefficient_limit, coefficients, mechanism_codes


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedStateSpace(QuantizedSpiking):
    """Integer population with N complex states per neuron, A diagonal.

    Parameters
    ----------
    a_re, a_im : (H, N) int
        Transition coefficients.
    b_re, b_im : (H, N, q) int;  c_re, c_im : (H, p, N) int
        Input and output coefficients; the factor 2 of conjugate pairs is contained in C.
    r_re, r_im : (H, N, p) int;  m_re, m_im : (H, N) int
        Target or amount, and factors (in 1/4096), of the reset.
    """

    a_re: IntArray
    a_im: IntArray
    b_re: IntArray
    b_im: IntArray
    c_re: IntArray
    c_im: IntArray
    r_re: IntArray = 0  # type: ignore[assignment]
    r_im: IntArray = 0  # type: ignore[assignment]
    m_re: IntArray = 0  # type: ignore[assignment]
    m_im: IntArray = 0  # type: ignore[assignment]

    kind: ClassVar[str] = "state_space"
    state_registers: ClassVar[tuple[str, ...]] = ("re", "im")
    coefficients: ClassVar[tuple[str, ...]] = ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im", "d")
    reset_codes: ClassVar[tuple[str, ...]] = ("r_re", "r_im")
    reset_factors: ClassVar[tuple[str, ...]] = ("m_re", "m_im")

    def __post_init__(self) -> None:
        h, n = np.shape(self.a_re)
        b, c = np.asarray(self.b_re), np.asarray(self.c_re)
        q, p = b.shape[2] if b.ndim == 3 else 1, c.shape[1] if c.ndim == 3 else 1
        shapes = {"a": (h, n), "b": (h, n, q), "c": (h, p, n), "r": (h, n, p), "m": (h, n)}
        for name, shape in shapes.items():
            for part in (f"{name}_re", f"{name}_im"):
                self._freeze(part, add_trailing_axis(getattr(self, part), name), np.int64, shape)
        self._freeze_common()
        self._check_common()

    @property
    def dims(self) -> tuple[int, int, int, int]:
        h, n, q = self.b_re.shape
        return h, n, q, self.c_re.shape[1]

    @property
    def unstable(self) -> bool:
        return bool((self.a_re.astype(float) ** 2 + self.a_im.astype(float) ** 2 > 4.0**self.frac_a).any())

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        pairs = ((getattr(self, f"{name}_re"), getattr(self, f"{name}_im")) for name in "abcrm")
        return restored(self, source, *(re + 1j * im for re, im in pairs))

    def update_dynamics(self, states: Lanes, a: Any, held: Any) -> tuple[Lanes, Any, list[Any]]:
        (re, im), f, rule = states, self.fractions, self.rule
        new_re, new_im = rotate(rule, f, self.a_re, self.a_im, re, im)
        new_re = rule.combine(new_re, sum_inputs(rule, f, self.b_re, a), f)
        new_im = rule.combine(new_im, sum_inputs(rule, f, self.b_im, a), f)
        re, clipped_re = update_register(held, re, new_re, self.limit)
        im, clipped_im = update_register(held, im, new_im, self.limit)
        lanes = rule.output_product(self.c_re, re[:, :, None], f) - rule.output_product(self.c_im, im[:, :, None], f)
        y = rule.output_sum(sum_last_axis(lanes), feedthrough(rule, f, self.d, a), f) + self.bias
        return (re, im), y, [clipped_re, clipped_im]

    def reset_dynamics(self, states: Lanes, acts: Any, f: Any) -> tuple[Lanes, list[Any]]:
        re, im = states
        if self.reset_action == "hard":
            return (reset_hard(re, acts, self.r_re[..., 0]), reset_hard(im, acts, self.r_im[..., 0])), []
        new_re, new_im = re, im
        if self.reset_action != "soft":
            m_im = self.m_im if self.reset_action == "linear" else 0
            new_re = scale_state(self.m_re, re) - scale_state(m_im, im)
            new_im = scale_state(m_im, re) + scale_state(self.m_re, im)
        if self.reset_action != "scale":
            new_re, new_im = new_re - sum_feedback(self.r_re, f), new_im - sum_feedback(self.r_im, f)
        re, clipped_re = self.saturate_reset(re, new_re, acts)
        im, clipped_im = self.saturate_reset(im, new_im, acts)
        return (re, im), [clipped_re, clipped_im]

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        a = self.arriving_max(name, a_max)
        exact = self._type_of_sums(int(a.max(initial=0)))
        a_re, a_im, b_re, b_im, c_re, c_im, d = (
            np.abs(getattr(self, code).astype(exact)) for code in self.coefficients
        )
        a = a.astype(exact)
        inner = (a_re + a_im) * self.limit + ((np.maximum(b_re, b_im) * a).sum(-1) << max(0, self.frac_a - self.frac_b))
        outer = (c_re + c_im).sum(-1) * self.limit + ((d * a).sum(-1) << max(0, self.frac_c - self.frac_d))
        self.check_common_overflow(name, inner.max(initial=0), outer.astype(object))

    def _type_of_sums(self, arriving: int) -> Any:
        """Return int64 if it holds every sum that `check_overflow` makes; else Python's integers, which are slow."""
        _, n, q, _ = self.dims
        largest = self._largest(*self.coefficients)
        shifted = largest * arriving * q << max(0, self.frac_a - self.frac_b, self.frac_c - self.frac_d)
        return np.int64 if 2 * n * largest * self.limit + shifted < 1 << 63 else object

    @property
    def footprint_bits(self) -> int:
        h, n, q, p = self.dims
        reset = {"none": 0, "scale": 1, "linear": 2 + 2 * p}.get(self.reset_action, 2 * p) * (not self.soma)
        per_state = (2 + reset) * self.state_bits + (2 + 2 * q + 2 * p) * self.coefficient_bits
        return h * (n * per_state + self.mechanism_bits)


def rotate(rule: Rounding, f: Fractions, a_re: Any, a_im: Any, re: Any, im: Any) -> tuple[Any, Any]:
    """Return ``A x`` of a complex state, under a rounding rule."""
    new_re = rule.coupling_product(a_re, re, f) - rule.coupling_product(a_im, im, f)
    return new_re, rule.coupling_product(a_im, re, f) + rule.coupling_product(a_re, im, f)


def add_trailing_axis(value: Any, name: str) -> Any:
    """Expand the short shapes of one input or output to full ones: b (H, N, 1), c (H, 1, N), r (H, N, 1)."""
    array = np.asarray(value)
    if array.ndim == 2 and name in "br":
        return array[..., None]
    return array[:, None] if array.ndim == 2 and name == "c" else array


ComplexArray = npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False, kw_only=True)
class StateSpace(Spiking):
    """Float population with N complex states per neuron, A diagonal.

    Parameters
    ----------
    a : (H, N) complex;  b : (H, N, q) complex;  c : (H, p, N) complex
        Discrete transition, input and output coefficients.
    r : (H, N, p) complex;  m : (H, N) complex
        Target or amount, and factors, of the reset; `scale` takes real factors.
    """

    a: ComplexArray
    b: ComplexArray
    c: ComplexArray
    r: ComplexArray = 0.0  # type: ignore[assignment]
    m: ComplexArray = 0.0  # type: ignore[assignment]

    kind: ClassVar[str] = "state_space"

    def __post_init__(self) -> None:
        h, n = np.shape(self.a)
        b, c = np.asarray(self.b), np.asarray(self.c)
        q, p = b.shape[2] if b.ndim == 3 else 1, c.shape[1] if c.ndim == 3 else 1
        shapes = {"a": (h, n), "b": (h, n, q), "c": (h, p, n), "r": (h, n, p), "m": (h, n)}
        for name, shape in shapes.items():
            self._freeze(name, add_trailing_axis(getattr(self, name), name), np.complex128, shape)
        self._freeze_common()
        if self.reset_action == "scale" and self.m.imag.any():
            raise BadOption("state_space: reset 'scale' takes real factors m: choose 'linear'")

    @property
    def dims(self) -> tuple[int, int, int, int]:
        h, n, q = self.b.shape
        return h, n, q, self.c.shape[1]

    def _state_type(self, dtype: Any) -> Any:
        return np.result_type(dtype, np.complex64)

    def _update(self, x: Array, a: Array) -> Array:
        kind = x.dtype
        moved: Array = self.a.astype(kind) * x + (self.b.astype(kind) * a[:, :, None, :]).sum(-1)
        return moved

    def _output(self, x: Array, a: Array) -> Array:
        states = (self.c.astype(x.dtype) * x[:, :, None]).real.sum(-1)
        y: Array = states + ((self.d * a[:, :, None, :]).sum(-1) + self.bias).astype(a.dtype)
        return y

    def _reset_dynamics(self, x: Array, acts: Array, f: Array) -> Array:
        back = (self.r * f[:, :, None, :]).sum(-1)
        after = {"hard": self.r[..., 0], "soft": x - back, "scale": self.m * x, "linear": self.m * x - back}
        return np.where(acts, after[self.reset_action], x).astype(x.dtype)

    def kept(self) -> Array:
        return np.asarray(np.abs(self.a))

    def grows(self) -> Array:
        return np.asarray(np.abs(self.a) > 1)

    def unit(self) -> Array:
        """Return the largest B of each state, 1 where all are 0: quantized as x / unit, the input enters by a shift.

        A spike or reset that reads Re and Im by themselves must not see the states rotated. Then the unit is the
        magnitude of that B.
        """
        largest = np.take_along_axis(self.b, np.abs(self.b).argmax(-1)[..., None], -1)[..., 0]
        turned = self.spike == "phase" or self.reset_condition == "magnitude"
        return np.where(largest == 0, 1.0, np.abs(largest) if turned else largest)

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        if (np.abs(self.a) >= 1).any() or self.soma or self.reset_action not in ("none", "hard"):
            raise CalibrationNeeded(
                f"node {name!r}: an unstable state, a soma or a reset with feedback has no static bound: "
                "give calibration data (--data)"
            )
        unit = np.abs(self.unit())
        floor = np.abs(self.r[..., 0]) / unit if self.reset_action == "hard" else 0.0
        most = a_max.reshape(self.size, 1, self.inputs) + np.abs(self.input_bias)[:, None]
        arriving = (np.abs(self.b) * most).sum(-1) / unit
        return {"x": np.maximum(arriving / (1 - np.abs(self.a)), floor)}

    def _reset_amounts(self) -> Array:
        """Return the value that a reset sets or subtracts, (H, N, p), in units of the states; 0 if it reads none."""
        return self.r / self.unit()[..., None] * (self.reset_action != "none" and not self.soma)

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        unit, reset = self.unit(), np.abs(self._reset_amounts()).max(-1)
        return choose(self, context, config, self.b / unit[..., None], self.c * unit[:, None], reset, shared=False)

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        unit = self.unit()
        scaled = coefficients(self, scales, self.b / unit[..., None], self.c * unit[:, None])
        a_codes, notes = quantize_poles(name, self.a, int(scales.fracs["frac_a"]), coefficient_limit(config))
        state_unit = np.ldexp(1.0, scales.fracs["frac_x"]) * scaled.scale
        r = self._reset_amounts() * state_unit[..., None]
        common, said = mechanism_codes(name, self, scales, scaled, state_unit / np.abs(unit), config)
        quantized = QuantizedStateSpace(
            **common,
            a_re=codes(a_codes.real),
            a_im=codes(a_codes.imag),
            b_re=codes(scaled.b.real),
            b_im=codes(scaled.b.imag),
            c_re=codes(scaled.c.real),
            c_im=codes(scaled.c.imag),
            r_re=codes(r.real),
            r_im=codes(r.imag),
            m_re=codes(FACTOR * self.m.real),
            m_im=codes(FACTOR * self.m.imag),
        )
        return quantized, [*notes, *said]


def quantize_poles(name: str, a: ComplexArray, frac: int, limit: int) -> tuple[ComplexArray, list[str]]:
    """Round A to integer codes that keep every stable eigenvalue inside the unit circle.

    A code whose magnitude reaches ``2**frac`` although ``abs(a) < 1`` is replaced by the nearest code inside.

    Returns
    -------
    codes : (H, N) complex
        Integer real and imaginary parts.
    notes : list of str
        One line with the number of poles that were moved inside, and the largest error that this made.
    """
    rounded = np.rint(a.real * 2.0**frac) + 1j * np.rint(a.imag * 2.0**frac)
    require_format(name, np.maximum(np.abs(rounded.real), np.abs(rounded.imag)), frac, limit)
    radius = 1 << (2 * frac)
    outside = (np.abs(a) < 1) & (rounded.real**2 + rounded.imag**2 >= radius)
    if not outside.any():
        return rounded, []
    fixed = rounded.copy()
    fixed[outside] = [_nearest_inside(value, frac) for value in a[outside]]
    error = float(np.abs(fixed / 2.0**frac - a)[outside].max())
    return fixed, [
        f"node {name!r}: rounding moved {int(outside.sum())} of {a.size} stable poles onto or out of the unit circle; "
        f"the nearest codes inside were taken (largest error {error:.2g})"
    ]


def require_format(name: str, magnitudes: FloatArray, frac: int, limit: int) -> None:
    """Refuse a code of A that its format cannot hold, with `UnsupportedParameter`."""
    extent = magnitudes.max(initial=0)
    if extent > limit:
        raise UnsupportedParameter(
            f"node {name!r}: a transition coefficient of {extent / 2.0**frac:g} exceeds its format, limit "
            f"{limit / 2.0**frac:g}: lower the fraction bits (--coefficient-frac) or rescale A"
        )


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


def examples(size: int) -> list[Neuron]:
    """Return live populations with each mechanism of the family, for contract tests."""
    rng, ones = np.random.default_rng(0), np.ones(size)
    c = rng.normal(size=(size, 3)) + 1j * rng.normal(size=(size, 3))
    a = np.exp(-0.1 * (0.5 + 1j * np.pi * np.arange(3))) * np.ones((size, 1))
    base: dict[str, Any] = {
        "a": a,
        "b": 0.1,
        "c": c,
        "d": rng.normal(size=size),
        "v_threshold": 0.4 * ones,
        "bias": 0.1,
    }
    hard: dict[str, Any] = {"reset_condition": "any", "reset_action": "hard"}
    soft: dict[str, Any] = {"reset_condition": "any", "reset_action": "soft", "r": 0.05 * c.conj()}
    soma: dict[str, Any] = base | {"soma": True, "leak": 0.9, "v_threshold": ones}
    inner: dict[str, Any] = {"reset_condition": "each", "reset_action": "soft", "soma_r": 1.0}
    both = np.stack([c, c[:, ::-1]], 1)
    changes: list[dict[str, Any]] = [
        *(base | how | {"refractory_steps": 3, "refractory_mode": mode} for how in ({}, hard, soft) for mode in MODES),
        *(base | how for how in ({}, hard, soft)),
        base | {"reset_condition": "magnitude", "reset_action": "scale", "m": 0.5, "reset_magnitude": 0.3},
        base | {"reset_condition": "every", "reset_period": 7, "reset_action": "linear", "m": 0.5j, "r": 0.1},
        base | {"spike": "stochastic", "seed": 5, "v_threshold": 0.5 * ones},
        base
        | {
            "a": 0.9 * np.exp(0.7j) * np.ones((size, 1)),
            "c": ones[:, None],
            "spike": "phase",
            "bias": 0.0,
            "d": 0.0,
            "v_threshold": 0.05,
        },
        soma | inner,
        soma | inner | {"adaptation": True, "adaptation_leak": 0.8, "adaptation_jump": 0.5},
        soma | {"rectify": True, "leak": 1.0, "reset_condition": "each", "reset_action": "modulo"},
        base | {"c": both, "d": 0.0, "spike": "ternary", "reset_condition": "each", "reset_action": "soft", "r": 0.02},
        base | {"b": np.full((size, 3, 2), 0.1), "d": 0.0, "spike": "graded", "graded_bits": 4, "graded_step": 0.25},
    ]
    return [StateSpace(**change) for change in changes]
