"""Leaky integrate-and-fire neuron with a synaptic current (CubaLIF), in Loihi's fixed-point rule.

Float, per neuron, with synaptic sum a:

    u <- alpha * u + a
    v <- beta * v + u + bias
    s  = H(v - v_threshold), strict unless at_threshold
    v <- 0 where s

``alpha = 0`` is a LIF without synaptic filter, ``alpha = 0, beta = 1`` an IF neuron. Integers: docs/arithmetic.md,
``lif``.

Source: Davies et al., Loihi, IEEE Micro 38(1), 2018; lava-nc 0.10.0, ``lava.proc.lif``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, CalibrationNeeded, DoesNotFit, OverflowPossible, UnsupportedParameter
from nmdeploy.neurons.base import (
    Emits,
    FloatArray,
    FloatState,
    IntArray,
    LinearResponse,
    Neuron,
    QuantizationConfig,
    QuantizationContext,
    QuantizedNeuron,
    StepTime,
    ThreePartNeuron,
    power_below,
    refractory_losses,
)
from nmdeploy.neurons.decays import decay_code, decay_notes, steady_gain
from nmdeploy.neurons.described import comparison, silence, span
from nmdeploy.neurons.ops import rz, saturate, select, wrap24
from nmdeploy.neurons.rounded import HeldTensor, RoundedPopulation
from nmdeploy.neurons.scales import Limit, Scales, tightest

V_LIMIT = (1 << 23) - 1
VTH_MAX = (1 << 17) - 1
BIAS_MANT_MAX = (1 << 12) - 1


class StateParams(NamedTuple):
    """Parameters of `integrate`."""

    du: Any
    dv: Any
    bias: Any


class NeuronParams(NamedTuple):
    """Parameters of `fire`."""

    vth: Any
    refractory_steps: Any


def integrate(states: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
    """Update the current and the membrane of one neuron; a held membrane keeps its value."""
    u, v = states
    (counter,) = z
    u, wrapped = wrap24(rz(u * (4095 - p.du), 12) + (a << 6))
    moved, clipped = saturate(rz(v * (4096 - p.dv), 12) + u + p.bias, V_LIMIT)
    held = counter != 0
    v = select(held, v, moved)
    return (u, v), (v,), (wrapped, clipped & ~held)


def fire(y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
    """Spike where the membrane exceeds the threshold; start or count down the refractory period."""
    (v,) = y
    (counter,) = z
    s = (v > (p.vth << 6)) & (counter == 0)
    return s, s, (select(s, p.refractory_steps, counter - (counter != 0)),)


def reset(states: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
    """Set the membrane of a neuron that spiked to zero."""
    u, v = states
    return (u, select(condition, 0, v)), ()


@dataclass(frozen=True, eq=False)
class QuantizedLIF(ThreePartNeuron):
    """Integer LIF population, rule ``loihi``.

    Parameters
    ----------
    du, dv : (H,) int, 0 to 4095
        Decays of current and membrane, in 1/4096.
    vth : (H,) int, 0 to 131071
        Threshold; one unit is 64 units of the membrane.
    bias_mant, bias_exp : (H,) int
        Mantissa and exponent of the membrane's bias, ``bias_mant << bias_exp``.
    refractory_steps : int
        Silent steps after a spike (mode ``hold``).
    frac_in : int
        Fraction bits of the synaptic sum; the membrane has six more.
    scale : (H,) float
        Units of the exported network per unit of the float network from which it came.
    """

    du: IntArray
    dv: IntArray
    vth: IntArray
    bias_mant: IntArray
    bias_exp: IntArray
    refractory_steps: int = 0
    frac_in: int = 0
    scale: FloatArray = None  # type: ignore[assignment]

    kind: ClassVar[str] = "lif"
    emits: ClassVar[Emits] = "binary"
    state_registers: ClassVar[tuple[str, ...]] = ("u", "v")
    neuron_registers: ClassVar[tuple[str, ...]] = ("refractory",)
    recorded: ClassVar[tuple[str, ...]] = ("u", "v")
    flags: ClassVar[tuple[str, ...]] = ("u_wraps", "v_saturations")
    state_bits: ClassVar[int] = 24  # type: ignore[misc]

    def __post_init__(self) -> None:
        shape = (max(np.size(getattr(self, name)) for name in ("du", "dv", "vth", "bias_mant", "bias_exp")),)
        limits = {"du": (0, 4095), "dv": (0, 4095), "vth": (0, VTH_MAX), "bias_exp": (0, 7), "bias_mant": (-4096, 4095)}
        for name, (low, high) in limits.items():
            self._freeze(name, getattr(self, name), np.int64, shape)
            value = getattr(self, name)
            if value.min() < low or value.max() > high:
                worst = int(value.min() if value.min() < low else value.max())
                raise BadOption(f"lif: {name} = {worst} is outside of {low} to {high}: rescale the population")
        if self.refractory_steps < 0:
            raise BadOption(f"lif: refractory_steps = {self.refractory_steps}: give 0 or more silent steps")
        self._freeze("scale", 1.0 if self.scale is None else self.scale, np.float64, shape)

    @property
    def size(self) -> int:
        return self.du.size

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        return {"u": 32, "v": self.state_bits}  # check_overflow allows a current of 32 bits

    @property
    def state_params(self) -> StateParams:
        return StateParams(self.du[:, None], self.dv[:, None], (self.bias_mant << self.bias_exp)[:, None])

    @property
    def neuron_params(self) -> NeuronParams:
        return NeuronParams(self.vth, self.refractory_steps)

    @property
    def membrane_register(self) -> str:
        return "v"

    def membrane_codes(self, states: Mapping[str, npt.NDArray[Any]], outputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return v from before the reset: where a neuron spiked, its update is computed again from v and u."""
        v, u, p = states["v"], states["u"], self.state_params
        before = np.concatenate([np.zeros_like(v[:, :1]), v[:, :-1]], 1)
        moved, _ = saturate(rz(before * (4096 - p.dv[:, 0]), 12) + u + p.bias[:, 0], V_LIMIT)
        return np.asarray(np.where(outputs, moved, v))

    integrate = staticmethod(integrate)
    fire = staticmethod(fire)
    reset = staticmethod(reset)

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        """Raise `OverflowPossible` if the current u can leave 32 bits.

        The one correction of `wrap24` bounds u by 2**23 while ``abs(a << 6) <= 2**24``. Beyond that, u grows to the
        fixed point of ``u = u * (4095 - du) / 4096 + (a << 6) - 2**24``, which must also stay within 32 bits.
        """
        drive = a_max.astype(object) << 6
        beyond = (drive - (1 << 24)) * 4096 // (1 + self.du.astype(object)) + 1
        u = np.maximum(beyond, 1 << 23)
        before = u * (4095 - self.du.astype(object)) // 4096 + drive
        worst = int(np.max(np.maximum(before, u + (1 << 24) + (1 << 20))))
        if worst >= 1 << 31:
            raise OverflowPossible(
                f"node {name!r}: the synaptic sum can reach {int(a_max.max())}, which drives the current u to {worst}, "
                f"limit 2**31: lower the weight exponent or the fan-in, or raise du"
            )

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        unit = np.ldexp(1.0, -self.frac_in) / self.scale
        above = source is not None and source.at_threshold  # such a neuron's code is one less
        return {
            "alpha": HeldTensor((4095 - self.du) / 4096, "decay", 1 / 4096),
            "beta": HeldTensor((4096 - self.dv) / 4096, "decay", 1 / 4096),
            "v_threshold": HeldTensor((self.vth + above) * unit, "threshold", unit),
            "bias": HeldTensor(
                (self.bias_mant << self.bias_exp) * unit / 64, "bias", np.ldexp(unit / 64, self.bias_exp)
            ),
        }

    def remedy(self, tensor: str) -> str:
        if tensor in ("alpha", "beta"):
            return "decays have 12 bits: choose shorter time constants, a larger --dt, or the state_space neuron"
        return "the sums are too coarse beside the membrane: choose shorter time constants, or a larger --dt"

    @property
    def adds_bias(self) -> bool:
        return bool((self.du == 4095).all())

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        return np.ldexp(np.asarray(values, np.float64), -(self.frac_in + 6)) / self.scale

    def nir_losses(self) -> Sequence[str]:
        return refractory_losses(self.refractory_steps)

    @property
    def footprint_bits(self) -> int:
        return self.size * (2 * 24 + 2 * 12 + 17 + 13 + 3)


@dataclass(frozen=True, eq=False)
class LIF(Neuron):
    """Float current-based LIF population.

    Parameters
    ----------
    alpha, beta : (H,) float
        Factors of current and membrane that remain after each step, 0 to 1.
    v_threshold : (H,) float
        Threshold of the membrane; a spike needs more.
    bias : (H,) float
        Constant input of the membrane.
    v_reset : (H,) float
        Value after a spike; only 0 is deployable by rule ``loihi``.
    refractory_steps : int
        Silent steps after a spike, in which the membrane is held.
    at_threshold : bool
        True if a membrane that equals the threshold spikes (>=).
    """

    alpha: FloatArray
    beta: FloatArray
    v_threshold: FloatArray
    bias: FloatArray = 0.0  # type: ignore[assignment]
    v_reset: FloatArray = 0.0  # type: ignore[assignment]
    refractory_steps: int = 0
    at_threshold: bool = False

    kind: ClassVar[str] = "lif"
    emits: ClassVar[Emits] = "binary"

    def __post_init__(self) -> None:
        names = ("alpha", "beta", "v_threshold", "bias", "v_reset")
        shape = (max(np.size(getattr(self, name)) for name in names),)
        for name in names:
            self._freeze(name, getattr(self, name), np.float64, shape)

    @property
    def size(self) -> int:
        return self.alpha.size

    @property
    def per_channel(self) -> bool:  # type: ignore[override]
        """True if thresholds differ anyway, so that the weights of each neuron get a scale of their own."""
        return bool(np.ptp(self.v_threshold) > 0)

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        zero = np.zeros((samples, self.size), dtype)
        return {"u": zero, "v": zero, "y": zero, "refractory": np.zeros((samples, self.size), np.int64)}

    def step(self, state: FloatState, a: npt.NDArray[Any], now: StepTime) -> tuple[FloatState, npt.NDArray[Any]]:
        kind = a.dtype.type
        held = state["refractory"] > 0
        u = self.alpha.astype(kind) * state["u"] + a
        y = np.where(held, state["v"], self.beta.astype(kind) * state["v"] + u + self.bias.astype(kind))
        threshold = self.v_threshold.astype(kind)
        s = (y >= threshold if self.at_threshold else y > threshold) & ~held
        v = np.where(s, self.v_reset.astype(kind), y)
        counter = np.where(s, self.refractory_steps, np.maximum(state["refractory"] - 1, 0))
        return {"u": u, "v": v, "y": y, "refractory": counter}, s

    def described(self) -> dict[str, str]:
        current = self.alpha.any()
        return {
            "neuron": "lif with a synaptic current" if current else "lif",
            "reset": f"to {span(self.v_reset)} in the same step{silence(self.refractory_steps)}",
            "threshold": comparison(self.v_threshold, self.at_threshold),
            "decay": (f"current keeps {span(self.alpha)}, " if current else "")
            + f"membrane keeps {span(self.beta)} per step",
        }

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        return {"u": np.abs(state["u"]).max(0), "y": np.abs(state["y"]).max(0)}

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        if (self.alpha >= 1).any() or (self.beta >= 1).any():
            raise CalibrationNeeded(
                f"node {name!r}: a neuron without leak has no static bound on its membrane: "
                "give calibration data (--data)"
            )
        u = a_max / (1 - self.alpha)
        drift = (u + np.abs(self.bias)) / (1 - self.beta)
        return {"u": u, "y": np.maximum(drift, np.abs(self.v_threshold))}

    @property
    def adds_bias(self) -> bool:
        """Without a synaptic filter, what enters u enters v in the same step."""
        return not self.alpha.any()

    def with_input_bias(self, bias: FloatArray) -> LIF:
        return replace(self, bias=self.bias + bias)

    def rounded_decays(self) -> tuple[Neuron, FloatArray]:
        alpha, beta = (4095 - _du(self.alpha)) / 4096, 1 - _dv(self.beta) / 4096
        factor = steady_gain(self.alpha, alpha) * steady_gain(self.beta, beta)
        return replace(self, alpha=alpha, beta=beta), factor

    def driven(self, factors: FloatArray) -> LIF:
        return replace(self, bias=self.bias * factors)

    @property
    def membrane_register(self) -> str:
        return "v"

    def membrane(self, state: FloatState) -> FloatArray:
        return state["v"]

    @property
    def bias_terms(self) -> int:  # type: ignore[override]
        """With a synaptic filter, three: weights of 6 to 8 bits then hold any bias to half a unit of the sum."""
        return 3 if self.alpha.any() else 1

    @property
    def row_factors(self) -> bool:
        """Each neuron has a threshold and a bias of its own."""
        return True

    @property
    def linear_response(self) -> LinearResponse:
        return LinearResponse(self.alpha, self.beta, self.v_threshold)

    def factors_max(self, frac: int, a_max: FloatArray, ranges: Mapping[str, FloatArray]) -> FloatArray:
        peak = np.max([ranges["u"], ranges["y"], self.v_threshold], axis=0)
        limits = [
            _ratio(V_LIMIT / 2, peak),
            _ratio(64 * VTH_MAX, self.v_threshold),
            _ratio(BIAS_MANT_MAX << 7, np.abs(self.bias)),
            _ratio(1 << 24, a_max),
        ]
        return np.asarray(np.ldexp(np.min(limits, axis=0), -(frac + 6)))

    def membrane_before_reset(self, state: FloatState) -> FloatArray:
        return state["y"]

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        self._require_deployable(name, config)
        scale = context.scale
        peak = max(float(np.max(m * scale)) for m in (context.ranges["u"], context.ranges["y"], self.v_threshold))
        threshold, bias = float(np.max(self.v_threshold * scale)), float(np.abs(self.bias * scale).max())
        a_max = float(context.a_max.max(initial=0))
        # The membrane has six fraction bits more than the synaptic sum.
        limits = (
            Limit("membrane", power_below(1 << 22, peak) - 6, "u and v have 24 bits, one of them headroom"),
            Limit("threshold", power_below(64 * VTH_MAX, threshold, default=30) - 6, "the threshold has 17 bits"),
            Limit(
                "bias", power_below(BIAS_MANT_MAX << 7, bias, default=30) - 6, "the bias has 12 bits, exponent up to 7"
            ),
            Limit("proof", power_below(1 << 24, a_max, default=30) - 6, "abs(a << 6) stays within 2**24"),
            Limit("weight exponent", context.frac_max, f"an exponent is at most {config.weight_exp_max}"),
        )
        return Scales(scale, {"frac_in": tightest(limits)}, {"frac_in": limits})

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        self._require_deployable(name, config)
        scale, frac_in = scales.scale, scales.frac_in
        mant, exp = _mantissas(np.ldexp(self.bias * scale, frac_in + 6))
        notes = list(decay_notes(name, self.alpha, self.beta, config))
        quantized = QuantizedLIF(
            du=_du(self.alpha),
            dv=_dv(self.beta),
            vth=self._thresholds(name, scales, notes),
            bias_mant=mant,
            bias_exp=exp,
            refractory_steps=self.refractory_steps,
            frac_in=frac_in,
            scale=scale,
        )
        return quantized, notes

    def rounded(self, quantized: QuantizedLIF) -> RoundedPopulation:
        found = super().rounded(quantized)
        assert found is not None
        with np.errstate(divide="ignore"):
            gain = 1 / ((1 - self.alpha) * (1 - self.beta))
        return found._replace(threshold=self.v_threshold, gain=gain)

    def _thresholds(self, name: str, scales: Scales, notes: list[str]) -> IntArray:
        """Return the threshold's codes; those of a neuron that spikes at its threshold are one less (v > code)."""
        codes = np.rint(np.ldexp(self.v_threshold * scales.scale, scales.frac_in)).astype(np.int64)
        if not self.at_threshold:
            return codes
        if (self.beta != 1).any() or self.alpha.any():
            share = float(np.max(1 / np.maximum(codes, 1)))
            notes.append(
                f"node {name!r}: it spikes at its threshold (>=), for which the integers spike over one unit less: a "
                f"membrane may spike that is lower by up to {share:.2g} of the threshold"
            )
        if codes.min() < 1:
            raise UnsupportedParameter(
                f"node {name!r}: a threshold that rounds to 0 cannot be met exactly (>=): raise v_threshold"
            )
        return np.asarray(codes - 1)

    def _require_deployable(self, name: str, config: QuantizationConfig) -> None:
        if config.state_bits != 24:
            raise DoesNotFit(
                f"node {name!r}: rule 'loihi' has 24-bit states, not {config.state_bits}: use --state-bits 24"
            )
        for field, low, high in (("alpha", 0, 1), ("beta", 0, 1), ("v_reset", 0, 0)):
            value = getattr(self, field)
            if (value < low).any() or (value > high).any():
                worst = float(value[(value < low) | (value > high)][0])
                raise UnsupportedParameter(
                    f"node {name!r}: {field} = {worst:g}: rule 'loihi' takes {low} to {high}: retrain with such a value"
                )
        if (self.v_threshold < 0).any():
            raise UnsupportedParameter(
                f"node {name!r}: v_threshold = {self.v_threshold.min():g} is negative: retrain it >= 0"
            )


def _ratio(limit: float, magnitudes: FloatArray) -> FloatArray:
    """Return ``limit / magnitudes``, infinity for 0."""
    with np.errstate(over="ignore"):  # infinite as for 0
        return np.asarray(np.divide(limit, magnitudes, out=np.full(magnitudes.shape, np.inf), where=magnitudes > 0))


def _du(alpha: FloatArray) -> IntArray:
    """Return the decay of the current; one of 0 is the slowest, with the factor 4095/4096."""
    return np.asarray(np.clip(np.rint(4096 * (1 - alpha)) - 1, 0, 4095), np.int64)


def _dv(beta: FloatArray) -> IntArray:
    return np.asarray(np.minimum(decay_code(beta), 4095))


def _mantissas(values: FloatArray) -> tuple[IntArray, IntArray]:
    """Return bias mantissas (13 bits signed) and exponents (0 to 7) nearest to `values`."""
    exp = np.array([max(0, -power_below(BIAS_MANT_MAX, abs(v))) for v in np.atleast_1d(values)], np.int64)
    mant = np.rint(np.ldexp(values, -exp)).astype(np.int64)
    return np.clip(mant, -BIAS_MANT_MAX, BIAS_MANT_MAX), exp


def examples(size: int) -> list[Neuron]:
    """Return live populations with each mechanism of the family, for contract tests."""
    ones, bias = np.ones(size), np.random.default_rng(0).normal(0, 0.1, size)
    return [LIF(0.5 * ones, 0.9, 1.0), LIF(0.0 * ones, 0.8, 0.7, bias=bias, refractory_steps=2)]  # type: ignore[arg-type]
