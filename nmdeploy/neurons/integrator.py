"""Non-spiking (leaky) integrator, the readout.

Float, per neuron with synaptic sum a: ``v <- beta * v + a + bias``, output v. Integers: docs/arithmetic.md,
``integrator``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, CalibrationNeeded, OverflowPossible, UnsupportedParameter
from nmdeploy.neurons.base import (
    Emits,
    FloatArray,
    FloatState,
    IntArray,
    Neuron,
    QuantizationConfig,
    QuantizationContext,
    QuantizedNeuron,
    StepTime,
    ThreePartNeuron,
    power_below,
)
from nmdeploy.neurons.decays import decay_code, steady_gain
from nmdeploy.neurons.described import span
from nmdeploy.neurons.ops import rz, saturate
from nmdeploy.neurons.rounded import HeldTensor
from nmdeploy.neurons.scales import Limit, Scales, tightest


class StateParams(NamedTuple):
    """Parameters of `integrate`."""

    dv: Any
    bias: Any
    limit: Any


class NeuronParams(NamedTuple):
    """Parameters of `fire`, of which there are none."""


def integrate(states: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
    """Leak the membrane and add the synaptic sum and the bias."""
    (v,) = states
    v, clipped = saturate(rz(v * (4096 - p.dv), 12) + a + p.bias, p.limit)
    return (v,), (v,), (clipped,)


def fire(y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
    """Return the membrane itself as the output; nothing resets it."""
    return y[0], np.zeros_like(y[0], bool), ()


def reset(states: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
    """Return the states unchanged: a readout has no reset."""
    return states, ()


@dataclass(frozen=True, eq=False)
class QuantizedIntegrator(ThreePartNeuron):
    """Integer readout population: `dv` in 1/4096 (0: no leak), `bias` in units of v, `state_bits` the width of v."""

    dv: IntArray
    bias: IntArray
    state_bits: int = 24
    frac_in: int = 0
    scale: FloatArray = None  # type: ignore[assignment]

    kind: ClassVar[str] = "integrator"
    emits: ClassVar[Emits] = "values"
    state_registers: ClassVar[tuple[str, ...]] = ("v",)
    neuron_registers: ClassVar[tuple[str, ...]] = ()
    recorded: ClassVar[tuple[str, ...]] = ("v",)
    flags: ClassVar[tuple[str, ...]] = ("v_saturations",)

    def __post_init__(self) -> None:
        shape = (max(np.size(self.dv), np.size(self.bias)),)
        self._freeze("dv", self.dv, np.int64, shape)
        self._freeze("bias", self.bias, np.int64, shape)
        self._freeze("scale", 1.0 if self.scale is None else self.scale, np.float64, shape)
        if self.dv.min() < 0 or self.dv.max() > 4096:
            raise BadOption(f"integrator: dv = {int(self.dv.max())} is outside of 0 to 4096: give a decay in 1/4096")
        if not 2 <= self.state_bits <= 32:
            raise BadOption(f"integrator: {self.state_bits} state bits: choose 2 to 32")

    @property
    def size(self) -> int:
        return self.dv.size

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        return {"v": self.state_bits}

    @property
    def state_params(self) -> StateParams:
        return StateParams(self.dv[:, None], self.bias[:, None], (1 << (self.state_bits - 1)) - 1)

    @property
    def neuron_params(self) -> NeuronParams:
        return NeuronParams()

    @property
    def membrane_register(self) -> str:
        return "v"

    integrate = staticmethod(integrate)
    fire = staticmethod(fire)
    reset = staticmethod(reset)

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        worst = int((a_max.astype(object) + np.abs(self.bias.astype(object))).max(initial=0))
        if worst >= 1 << 31:
            raise OverflowPossible(
                f"node {name!r}: the synaptic sum can reach {worst}, limit 2**31: lower the weight exponent"
            )

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        unit = np.ldexp(1.0, -self.frac_in) / self.scale
        return {
            "beta": HeldTensor((4096 - self.dv) / 4096, "decay", 1 / 4096),
            "bias": HeldTensor(self.bias * unit, "bias", unit),
        }

    def remedy(self, tensor: str) -> str:
        if tensor == "beta":
            return "its decay has 12 bits: choose a shorter time constant, or a larger --dt"
        return "its sums have the step of the weights: retrain with a larger bias, or with the largest weights clipped"

    @property
    def adds_bias(self) -> bool:
        return True

    def dequantize_output(self, codes: npt.NDArray[Any]) -> FloatArray:
        return self.dequantize_state("v", codes)

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        return np.ldexp(np.asarray(values, np.float64), -self.frac_in) / self.scale

    @property
    def footprint_bits(self) -> int:
        return self.size * (2 * self.state_bits + 13)


@dataclass(frozen=True, eq=False)
class Integrator(Neuron):
    """Float readout population; each step keeps the factor `beta` (H,) of v (1: no leak) and adds `bias` (H,)."""

    beta: FloatArray
    bias: FloatArray = 0.0  # type: ignore[assignment]

    kind: ClassVar[str] = "integrator"
    emits: ClassVar[Emits] = "values"

    def __post_init__(self) -> None:
        shape = (max(np.size(self.beta), np.size(self.bias)),)
        self._freeze("beta", self.beta, np.float64, shape)
        self._freeze("bias", self.bias, np.float64, shape)

    @property
    def size(self) -> int:
        return self.beta.size

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        return {"v": np.zeros((samples, self.size), dtype)}

    def step(self, state: FloatState, a: npt.NDArray[Any], now: StepTime) -> tuple[FloatState, npt.NDArray[Any]]:
        kind = a.dtype.type
        v = self.beta.astype(kind) * state["v"] + a + self.bias.astype(kind)
        return {"v": v}, v

    def described(self) -> dict[str, str]:
        return {"neuron": "integrator", "reset": "none", "decay": f"membrane keeps {span(self.beta)} per step"}

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        return {"v": np.abs(state["v"]).max(0)}

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        if (self.beta >= 1).any():
            raise CalibrationNeeded(
                f"node {name!r}: an integrator without leak has no static bound: give calibration data (--data)"
            )
        return {"v": (a_max + np.abs(self.bias)) / (1 - self.beta)}

    @property
    def adds_bias(self) -> bool:
        return True

    def with_input_bias(self, bias: FloatArray) -> Integrator:
        return replace(self, bias=self.bias + bias)

    def rounded_decays(self) -> tuple[Neuron, FloatArray]:
        rounded = 1 - decay_code(self.beta) / 4096
        return replace(self, beta=rounded), steady_gain(self.beta, rounded)

    def driven(self, factors: FloatArray) -> Integrator:
        return replace(self, bias=self.bias * factors)

    @property
    def membrane_register(self) -> str:
        return "v"

    def membrane(self, state: FloatState) -> FloatArray:
        return state["v"]

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        if (self.beta < 0).any() or (self.beta > 1).any():
            raise UnsupportedParameter(f"node {name!r}: beta = {float(self.beta.min()):g}: an integrator takes 0 to 1")
        bits, scale = config.state_bits, context.scale
        peak = max(float(np.max(context.ranges["v"] * scale)), float(np.abs(self.bias * scale).max()))
        a_max = float(context.a_max.max(initial=0))
        membrane = power_below((1 << (bits - 2)) - 1, peak, default=context.frac)
        limits = (
            Limit("weights", context.frac, f"weights of {config.weight_bits} bits offer no more"),
            Limit("membrane", membrane, f"v has {bits} bits, one of them headroom"),
            Limit("synaptic sum", power_below((1 << 31) - 1, a_max, default=context.frac), "a sum has 32 bits"),
            Limit("weight exponent", context.frac_max, f"an exponent is at most {config.weight_exp_max}"),
        )
        return Scales(scale, {"frac_in": tightest(limits)}, {"frac_in": limits})

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        quantized = QuantizedIntegrator(
            dv=decay_code(self.beta),
            bias=np.rint(np.ldexp(self.bias * scales.scale, scales.frac_in)).astype(np.int64),
            state_bits=config.state_bits,
            frac_in=scales.frac_in,
            scale=scales.scale,
        )
        return quantized, []


def examples(size: int) -> list[Neuron]:
    """Return populations with each mechanism of the family, for contract tests."""
    ones = np.ones(size)
    return [Integrator(ones, np.random.default_rng(0).normal(size=size)), Integrator(0.9 * ones)]
