"""Spiking state-space neuron with dense real dynamics: compartments, adaptation, delay lines, any A, stable or not.

Float, per neuron, with synaptic sums a and states x (real, N per neuron):

    x <- A x + B a, or max(A x + B a, 0)  (`rectify_states`)
    y  = C x + D a + bias

`nmdeploy.neurons.state_space.float` has the rest of the step. Integers: docs/arithmetic.md, ``dense_state_space``.

Source: Karilanova, Dey, Ozcelikkale, IEEE Journal of Selected Topics in Signal Processing 19(6), 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmdeploy.errors import CalibrationNeeded
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, QuantizationConfig, QuantizationContext, QuantizedNeuron
from nmdeploy.neurons.rounded import HeldTensor
from nmdeploy.neurons.scales import Scales
from nmdeploy.neurons.state_space.diagonal import add_trailing_axis, quantize_poles, require_format
from nmdeploy.neurons.state_space.float import Array, Spiking
from nmdeploy.neurons.state_space.integer import (
    Lanes,
    QuantizedSpiking,
    feedthrough,
    sum_feedback,
    sum_inputs,
    sum_last_axis,
)
from nmdeploy.neurons.state_space.restored import restored
from nmdeploy.neurons.state_space.rules import reset_hard, scale_state, update_register
from nmdeploy.neurons.state_space.scales import FACTOR, choose, codes, coefficient_limit, coefficients, mechanism_codes


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedDenseStateSpace(QuantizedSpiking):
    """Integer population with N real states per neuron, A dense.

    Parameters
    ----------
    a : (H, N, N) int;  b : (H, N, q) int;  c : (H, p, N) int
        Transition, input and output coefficients.
    r : (H, N, p) int;  m : (H, N, N) int
        Target or amount, and matrix in 1/4096, of the reset; `scale` uses the diagonal of m.
    rectify_states : bool
        True if a state that would fall below 0 in an update becomes 0.
    """

    a: IntArray
    b: IntArray
    c: IntArray
    r: IntArray = 0  # type: ignore[assignment]
    m: IntArray = 0  # type: ignore[assignment]
    rectify_states: bool = False

    kind: ClassVar[str] = "dense_state_space"
    state_registers: ClassVar[tuple[str, ...]] = ("x",)
    coefficients: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")
    reset_codes: ClassVar[tuple[str, ...]] = ("r",)
    reset_factors: ClassVar[tuple[str, ...]] = ("m",)

    def __post_init__(self) -> None:
        h, n, _ = np.shape(self.a)
        b, c = np.asarray(self.b), np.asarray(self.c)
        q, p = b.shape[2] if b.ndim == 3 else 1, c.shape[1] if c.ndim == 3 else 1
        shapes = {"a": (h, n, n), "b": (h, n, q), "c": (h, p, n), "r": (h, n, p), "m": (h, n, n)}
        for name, shape in shapes.items():
            self._freeze(name, add_trailing_axis(getattr(self, name), name), np.int64, shape)
        self._freeze_common()
        self._check_common()

    @property
    def dims(self) -> tuple[int, int, int, int]:
        h, n, q = self.b.shape
        return h, n, q, self.c.shape[1]

    @property
    def unstable(self) -> bool:
        radius = np.abs(np.linalg.eigvals(self.a / 2.0**self.frac_a)).max()
        return bool(radius > 1 + 2.0**-self.frac_a)

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        return restored(self, source, self.a, self.b, self.c, self.r, self.m)

    def update_dynamics(self, states: Lanes, a: Any, held: Any) -> tuple[Lanes, Any, list[Any]]:
        (x,), f, rule = states, self.fractions, self.rule
        coupled = sum_last_axis(rule.coupling_product(self.a, x[:, :, None], f))
        moved = rule.combine(coupled, sum_inputs(rule, f, self.b, a), f)
        moved = np.maximum(moved, 0) if self.rectify_states else moved
        x, clipped = update_register(held, x, moved, self.limit)
        left = sum_last_axis(rule.output_product(self.c, x[:, :, None], f))
        return (x,), rule.output_sum(left, feedthrough(rule, f, self.d, a), f) + self.bias, [clipped]

    def reset_dynamics(self, states: Lanes, acts: Any, f: Any) -> tuple[Lanes, list[Any]]:
        (x,) = states
        if self.reset_action == "hard":
            return (reset_hard(x, acts, self.r[..., 0]),), []
        new = x
        if self.reset_action == "scale":
            new = scale_state(np.diagonal(self.m, axis1=1, axis2=2), x)
        elif self.reset_action == "linear":
            new = sum_last_axis(scale_state(self.m, x[:, :, None]))
        if self.reset_action != "scale":
            new = new - sum_feedback(self.r, f)
        x, clipped = self.saturate_reset(x, new, acts)
        return (x,), [clipped]

    def nir_losses(self) -> Sequence[str]:
        clipped = ("its states are not below 0, which has no primitive",) if self.rectify_states else ()
        return (*super().nir_losses(), *clipped)

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        a, b, c, d = (np.abs(getattr(self, code).astype(object)) for code in self.coefficients)
        arriving = self.arriving_max(name, a_max)
        inner = a.sum(-1) * self.limit + ((b * arriving).sum(-1) << max(0, self.frac_a - self.frac_b))
        outer = c.sum(-1) * self.limit + ((d * arriving).sum(-1) << max(0, self.frac_c - self.frac_d))
        self.check_common_overflow(name, inner.max(initial=0), outer)

    @property
    def footprint_bits(self) -> int:
        h, n, q, p = self.dims
        reset = {"none": 0, "scale": 1, "linear": n + p}.get(self.reset_action, p) * (not self.soma)
        per_state = (1 + reset) * self.state_bits + (n + q + p) * self.coefficient_bits
        return h * (n * per_state + self.mechanism_bits)


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseStateSpace(Spiking):
    """Float population with N real states per neuron, A dense.

    Parameters
    ----------
    a : (H, N, N);  b : (H, N, q);  c : (H, p, N)
        Discrete transition, input and output coefficients.
    r : (H, N, p);  m : (H, N, N)
        Target or amount, and matrix, of the reset; `scale` uses the diagonal of m.
    rectify_states : bool
        True if a state that would fall below 0 in an update becomes 0, as in a recurrent network with ReLU.
    """

    a: FloatArray
    b: FloatArray
    c: FloatArray
    r: FloatArray = 0.0  # type: ignore[assignment]
    m: FloatArray = 0.0  # type: ignore[assignment]
    rectify_states: bool = False

    kind: ClassVar[str] = "dense_state_space"

    def __post_init__(self) -> None:
        h, n, _ = np.shape(self.a)
        b, c = np.asarray(self.b), np.asarray(self.c)
        q, p = b.shape[2] if b.ndim == 3 else 1, c.shape[1] if c.ndim == 3 else 1
        shapes = {"a": (h, n, n), "b": (h, n, q), "c": (h, p, n), "r": (h, n, p), "m": (h, n, n)}
        for name, shape in shapes.items():
            self._freeze(name, add_trailing_axis(getattr(self, name), name), np.float64, shape)
        self._freeze_common()

    @property
    def dims(self) -> tuple[int, int, int, int]:
        h, n, q = self.b.shape
        return h, n, q, self.c.shape[1]

    def _update(self, x: Array, a: Array) -> Array:
        kind = x.dtype
        coupled = (self.a.astype(kind) * x[:, :, None]).sum(-1)
        moved: Array = coupled + (self.b.astype(kind) * a[:, :, None, :]).sum(-1)
        return np.maximum(moved, 0) if self.rectify_states else moved

    def _output(self, x: Array, a: Array) -> Array:
        states = (self.c.astype(x.dtype) * x[:, :, None]).sum(-1)
        y: Array = states + ((self.d * a[:, :, None, :]).sum(-1) + self.bias).astype(a.dtype)
        return y

    def _reset_dynamics(self, x: Array, acts: Array, f: Array) -> Array:
        back = (self.r * f[:, :, None, :]).sum(-1)
        after = {
            "hard": self.r[..., 0],
            "soft": x - back,
            "scale": np.diagonal(self.m, axis1=1, axis2=2) * x,
            "linear": (self.m * x[:, :, None]).sum(-1) - back,
        }
        return np.where(acts, after[self.reset_action], x).astype(x.dtype)

    def kept(self) -> Array:
        return np.asarray(np.abs(np.linalg.eigvals(self.a)))

    def grows(self) -> Array:
        return np.asarray(_radius(self.a)[:, None] > 1 + 1e-9)

    def unit(self) -> Array:
        """Return the largest B of each neuron (H, 1), 1 where all are 0: A couples the states, so they share a unit."""
        largest = np.abs(self.b).max((1, 2))[:, None]
        return np.where(largest == 0, 1.0, largest)

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        size = np.abs(self.a)
        if np.abs(np.linalg.eigvals(size)).max() >= 1 or self.soma or self.reset_action not in ("none", "hard"):
            raise CalibrationNeeded(
                f"node {name!r}: unstable dynamics, a soma or a reset with feedback has no static bound: "
                "give calibration data (--data)"
            )
        h, n, q, _ = self.dims
        most_in = a_max.reshape(h, 1, q) + np.abs(self.input_bias)[:, None]
        arriving = (np.abs(self.b) * most_in).sum(-1)
        # abs(x) <= abs(A) abs(x) + abs(B) a_max, and the target of a reset may be added to each
        floor = np.abs(self.r[..., 0]) if self.reset_action == "hard" else 0.0
        most = np.linalg.solve(np.eye(n) - size, (arriving + floor)[..., None])[..., 0]
        return {"x": most / self.unit()}

    def _reset_amounts(self) -> Array:
        """Return the value that a reset sets or subtracts, (H, N, p); 0 if it reads none."""
        return self.r * (self.reset_action != "none" and not self.soma)

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        unit = self.unit()
        reset = np.abs(self._reset_amounts()).max(-1) / unit
        return choose(self, context, config, self.b / unit[..., None], self.c * unit[..., None], reset, shared=True)

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        unit = self.unit()
        scaled = coefficients(self, scales, self.b / unit[..., None], self.c * unit[..., None])
        a_codes, notes = quantize_matrix(name, self.a, int(scales.fracs["frac_a"]), coefficient_limit(config))
        state_unit = np.ldexp(1.0, scales.fracs["frac_x"]) * scaled.scale / unit
        common, said = mechanism_codes(name, self, scales, scaled, state_unit, config)
        quantized = QuantizedDenseStateSpace(
            **common,
            a=codes(a_codes),
            b=codes(scaled.b),
            c=codes(scaled.c),
            r=codes(self._reset_amounts() * state_unit[..., None]),
            m=codes(FACTOR * self.m),
            rectify_states=self.rectify_states,
        )
        return quantized, [*notes, *said]


def quantize_matrix(name: str, a: FloatArray, frac: int, limit: int) -> tuple[FloatArray, list[str]]:
    """Round A (H, N, N) to integer codes; a stable A that becomes unstable is shrunk until it is stable again.

    Returns
    -------
    codes : (H, N, N) float
        Integer values.
    notes : list of str
        One line with the number of neurons that were shrunk, and the largest error that this made.
    """
    h, n, _ = a.shape
    if n == 1:
        one, notes = quantize_poles(name, a[..., 0].astype(np.complex128), frac, limit)
        return one.real[..., None], notes
    rounded = np.rint(a * 2.0**frac)
    require_format(name, np.abs(rounded), frac, limit)
    stable = _radius(a) < 1
    factor = np.ones(h)
    while (wrong := stable & (_radius(rounded / 2.0**frac) >= 1)).any():
        factor[wrong] -= 2.0**-frac
        rounded[wrong] = np.trunc(a[wrong] * factor[wrong][:, None, None] * 2.0**frac)
    shrunk = int((factor < 1).sum())
    if not shrunk:
        return rounded, []
    error = float(np.abs(rounded / 2.0**frac - a)[factor < 1].max())
    return rounded, [
        f"node {name!r}: rounding made the dynamics of {shrunk} of {h} neurons unstable; it was shrunk until stable "
        f"(largest error {error:.2g})"
    ]


def _radius(a: FloatArray) -> FloatArray:
    return np.asarray(np.abs(np.linalg.eigvals(a)).max(-1))


def examples(size: int) -> list[Neuron]:
    """Return live populations with each mechanism of the family, for contract tests."""
    rng, ones = np.random.default_rng(1), np.ones(size)
    one: dict[str, Any] = {
        "a": 0.9 * ones[:, None, None],
        "b": ones[:, None],
        "c": ones[:, None],
        "d": 0.0,
        "v_threshold": ones,
    }
    each: dict[str, Any] = {"reset_condition": "each", "reset_action": "soft", "r": 1.0}
    beta = 0.3
    two = {
        "a": np.array([[1.0, -beta], [beta, 1 - beta**2]]) * ones[:, None, None],
        "b": np.array([1.0, beta]) * ones[:, None],
    }
    two |= {"c": np.array([0.0, 1.0]) * ones[:, None], "r": np.array([0.5 + beta, 1.0]) * ones[:, None]}
    delay = np.eye(4, k=-1) * ones[:, None, None]
    fir: dict[str, Any] = {"a": delay, "b": np.eye(4)[0] * ones[:, None], "c": rng.normal(size=(size, 4)), "d": 0.0}
    wide: dict[str, Any] = {
        "a": rng.normal(0, 0.4, (size, 3, 3)),
        "b": rng.normal(size=(size, 3, 2)),
        "c": rng.normal(size=(size, 2, 3)),
        "d": rng.normal(size=(size, 2, 2)),
        "v_threshold": 2 * ones,
    }
    changes: list[dict[str, Any]] = [
        one | each,
        one | {"reset_condition": "any", "reset_action": "hard", "r": -0.2, "refractory_steps": 2},
        one | {"a": np.zeros((size, 1, 1)), "refractory_steps": 2, "refractory_mode": "mask-raw"},
        one | {"rectify_states": True, "input_bias": -0.4 * ones[:, None]},
        one | each | two,
        fir | {"v_threshold": ones},
        wide | {"spike": "ternary", "reset_condition": "each", "reset_action": "soft", "r": 0.3},
        wide | {"reset_condition": "any", "reset_action": "linear", "m": 0.5 * np.eye(3), "r": 0.3},
        wide | {"reset_condition": "magnitude", "reset_action": "scale", "m": 0.25 * np.eye(3), "reset_magnitude": 2.0},
        wide | {"spike": "graded", "graded_bits": 4, "graded_step": 0.5},
    ]
    return [DenseStateSpace(**change) for change in changes]
