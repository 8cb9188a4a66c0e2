"""Non-spiking integrator with a synaptic filter before it: a readout, or a hidden population that sends its membrane.

Float, per neuron with synaptic sum a:

    u <- alpha * u + a + input_bias
    v <- beta * v + u + bias

The output is v. With `payload_bits`, synapses receive v as a code of so many bits, in every step; without, the
population feeds none. Integers: docs/arithmetic.md, ``filtered_integrator``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, OverflowPossible, UnsupportedParameter
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
from nmdeploy.neurons.ops import rz, saturate
from nmdeploy.neurons.rounded import HeldTensor
from nmdeploy.neurons.scales import Limit, Scales, tightest

# 10 bits and a sign at the calibrated magnitude, one of headroom: finer than 8-bit weights. With wider codes, sums of a
# population with 24-bit states would take weight exponents under -8.
PAYLOAD_BITS = 12
SHIFT_MAX = 24
OUT_SHIFT_MAX = 46
FACTOR_BITS = 20
NO_LEAK = 2.0**40  # time constant, in steps, that means "no leak" in NIR, which needs a finite one
LEAST_OF_LARGEST = 2.0**-8  # a membrane this much smaller than its current gets no finer code


class StateParams(NamedTuple):
    """Parameters of `integrate`."""

    du: Any
    dv: Any
    in_shift: Any
    input_bias: Any
    bias: Any
    limit: Any


class NeuronParams(NamedTuple):
    """Parameters of `fire`."""

    out_factor: Any
    out_shift: Any
    out_limit: Any


def integrate(states: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
    """Decay the current and add the synaptic sum; decay the membrane and add the new current."""
    u, v = states
    u, clipped_u = saturate(rz(u * (4096 - p.du), 12) + (a << p.in_shift) + p.input_bias, p.limit)
    v, clipped_v = saturate(rz(v * (4096 - p.dv), 12) + u + p.bias, p.limit)
    return (u, v), (v,), (clipped_u, clipped_v)


def fire(y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
    """Return the membrane as a code in the unit and the width of the output; nothing resets it."""
    out, _ = saturate(rz(y[0] * p.out_factor, p.out_shift), p.out_limit)
    return out, np.zeros_like(out, bool), (out,)


def reset(states: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
    """Return the states unchanged: there is no reset."""
    return states, ()


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedFilteredIntegrator(ThreePartNeuron):
    """Integer population without spikes, with a current u and a membrane v.

    Parameters
    ----------
    du, dv : (H,) int
        Decays of u and v in 1/4096; 4096 forgets within a step.
    in_shift : int
        Bits by which u is finer than the synaptic sum.
    input_bias, bias : (H,) int
        Constants added to u and to v, in units of v.
    out_factor : (H,) int;  out_shift, out_bits : int
        Factor from v to the output, the bits that the product drops, and the output's width.
    feeds : bool
        True if the output may feed synapses.
    frac_in, frac_v, frac_out : int
        Fraction bits of the synaptic sum, of u and v, and of the output.
    """

    du: IntArray
    dv: IntArray
    in_shift: int = 0
    input_bias: IntArray = 0  # type: ignore[assignment]
    bias: IntArray = 0  # type: ignore[assignment]
    out_factor: IntArray = 1  # type: ignore[assignment]
    out_shift: int = 0
    out_bits: int = 24
    feeds: bool = False
    state_bits: int = 24
    frac_in: int = 0
    frac_v: int = 0
    frac_out: int = 0
    scale: FloatArray = None  # type: ignore[assignment]

    kind: ClassVar[str] = "filtered_integrator"
    emits: ClassVar[Emits] = "values"
    state_registers: ClassVar[tuple[str, ...]] = ("u", "v")
    neuron_registers: ClassVar[tuple[str, ...]] = ("out",)
    recorded: ClassVar[tuple[str, ...]] = ("out", "u", "v")
    flags: ClassVar[tuple[str, ...]] = ("u_saturations", "v_saturations")

    def __post_init__(self) -> None:
        shape = (max(np.size(value) for value in (self.du, self.dv, self.input_bias, self.bias)),)
        for name in ("du", "dv", "input_bias", "bias", "out_factor"):
            self._freeze(name, getattr(self, name), np.int64, shape)
        self._freeze("scale", 1.0 if self.scale is None else self.scale, np.float64, shape)
        for name in ("du", "dv"):
            codes = getattr(self, name)
            if codes.min() < 0 or codes.max() > 4096:
                raise BadOption(f"{self.kind}: {name} = {int(codes.max())} is outside of 0 to 4096: give 1/4096")
        limits = (
            ("state_bits", 2, 32),
            ("out_bits", 2, 32),
            ("in_shift", 0, SHIFT_MAX),
            ("out_shift", 0, OUT_SHIFT_MAX),
        )
        for name, low, high in limits:
            if not low <= getattr(self, name) <= high:
                raise BadOption(f"{self.kind}: {name} = {getattr(self, name)}: choose {low} to {high}")
        wide = max(int(np.abs(codes).max(initial=0)) for codes in (self.input_bias, self.bias))
        if wide >= 1 << 31:
            raise BadOption(f"{self.kind}: a bias of {wide} exceeds 32 bits: lower the scale")
        if self.out_factor.min() < 0 or self.out_factor.max() >= 1 << 31:
            factor = int(self.out_factor.max())
            raise BadOption(f"{self.kind}: out_factor = {factor} is outside of 0 to 2**31 - 1: lower the scale")

    @property
    def size(self) -> int:
        return self.du.size

    @property
    def feeds_synapses(self) -> bool:
        return self.feeds

    @property
    def output_max(self) -> int:
        return (1 << (self.out_bits - 1)) - 1

    @property
    def output_frac(self) -> int:
        return self.frac_out

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        return {"out": self.out_bits, "u": self.state_bits, "v": self.state_bits}

    @property
    def state_params(self) -> StateParams:
        limit = (1 << (self.state_bits - 1)) - 1
        constants = (self.input_bias[:, None], self.bias[:, None])
        return StateParams(self.du[:, None], self.dv[:, None], self.in_shift, *constants, limit)

    @property
    def neuron_params(self) -> NeuronParams:
        return NeuronParams(self.out_factor, self.out_shift, self.output_max)

    integrate = staticmethod(integrate)
    fire = staticmethod(fire)
    reset = staticmethod(reset)

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        unit = np.ldexp(1.0, -self.frac_v) / self.scale
        return {
            "alpha": HeldTensor((4096 - self.du) / 4096, "decay", 1 / 4096),
            "beta": HeldTensor((4096 - self.dv) / 4096, "decay", 1 / 4096),
            "bias": HeldTensor(self.bias * unit, "bias", unit),
            "input_bias": HeldTensor(self.input_bias * unit, "bias", unit),
        }

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        worst = int(a_max.astype(object).max(initial=0))
        if worst >= 1 << 31:
            raise OverflowPossible(
                f"node {name!r}: the synaptic sum can reach {worst}, limit 2**31: lower the weight exponent"
            )

    @property
    def adds_bias(self) -> bool:
        return True

    def nir_losses(self) -> Sequence[str]:
        rounded = f"it sends its membrane in {self.out_bits} bits: other readers send it unrounded"
        return (rounded,) if self.feeds else ()

    def nir_primitives(self, graph: Any, name: str, bias_goes_into_synapse: bool) -> FloatArray | None:
        """Add a ``CubaLI`` node; the bias before its filter goes into the first synapse."""
        into, onto = (np.ldexp(codes.astype(np.float64), -self.frac_v) for codes in (self.input_bias, self.bias))
        if into.any() and not bias_goes_into_synapse:
            raise UnsupportedParameter(
                f"node {name!r}: NIR has no bias before a filter: give its first synapse the bias"
            )
        syn, mem = (np.where(d > 0, 4096.0 / np.maximum(d, 1), NO_LEAK) for d in (self.du, self.dv))
        unit = np.ldexp(self.out_factor.astype(np.float64), self.frac_v - self.frac_out - self.out_shift)
        times = {"tau_syn": syn * graph.dt, "tau_mem": mem * graph.dt}
        graph.add(name, "CubaLI", **times, r=mem * unit, v_leak=onto * mem * unit, w_in=syn)
        graph.enters[name], graph.leaves[name] = [name], name
        return into if into.any() else None

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        if state == "out":
            return np.ldexp(np.asarray(values, np.float64), -self.frac_out)
        return np.ldexp(np.asarray(values, np.float64), -self.frac_v) / self.scale

    @property
    def footprint_bits(self) -> int:
        return self.size * (4 * self.state_bits + 2 * 13 + FACTOR_BITS)


@dataclass(frozen=True, eq=False)
class FilteredIntegrator(Neuron):
    """Float population without spikes, with a current and a membrane.

    Parameters
    ----------
    alpha, beta : (H,)
        Factors of u and v per step, 0 to 1.
    bias, input_bias : (H,)
        Constants added to v, and to u before the filter.
    payload_bits : int
        Width of the code that synapses receive; 0 for a readout, which feeds none.
    """

    alpha: FloatArray
    beta: FloatArray
    bias: FloatArray = 0.0  # type: ignore[assignment]
    input_bias: FloatArray = 0.0  # type: ignore[assignment]
    payload_bits: int = 0

    kind: ClassVar[str] = "filtered_integrator"
    emits: ClassVar[Emits] = "values"
    per_channel: ClassVar[bool] = True

    def __post_init__(self) -> None:
        names = ("alpha", "beta", "bias", "input_bias")
        shape = (max(np.size(getattr(self, name)) for name in names),)
        for name in names:
            self._freeze(name, getattr(self, name), np.float64, shape)
        if self.payload_bits and not 2 <= self.payload_bits <= 32:
            raise BadOption(f"{self.kind}: payload_bits = {self.payload_bits}: choose 2 to 32, or 0 for a readout")

    @property
    def size(self) -> int:
        return self.alpha.size

    @property
    def feeds_synapses(self) -> bool:
        return self.payload_bits > 0

    def output_range(self, ranges: Mapping[str, FloatArray]) -> tuple[float, int]:
        if not self.payload_bits:
            return super().output_range(ranges)
        largest = float(np.max(ranges["v"], initial=0.0))
        faint = float(np.max(ranges["u"], initial=0.0)) * LEAST_OF_LARGEST
        bits = self.payload_bits
        frac = power_below((1 << (bits - 2)) - 1 or 1, max(largest, faint), default=bits - 2)
        return float(np.ldexp((1 << (bits - 1)) - 1, -frac)), frac

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        zero = np.zeros((samples, self.size), dtype)
        return {"u": zero, "v": zero}

    def step(self, state: FloatState, a: npt.NDArray[Any], now: StepTime) -> tuple[FloatState, npt.NDArray[Any]]:
        kind = a.dtype.type
        alpha, beta, onto, into = (x.astype(kind) for x in (self.alpha, self.beta, self.bias, self.input_bias))
        u = alpha * state["u"] + a + into
        v = beta * state["v"] + u + onto
        return {"u": u, "v": v}, v

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        return {key: np.abs(values).max(0).astype(np.float64) for key, values in state.items()}

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        if max(self.alpha.max(), self.beta.max()) >= 1:
            raise BadOption(
                f"node {name!r}: an integrator without leak has no static bound: give calibration data (--data)"
            )
        u = (a_max + np.abs(self.input_bias)) / (1 - self.alpha)
        return {"u": u, "v": (u + np.abs(self.bias)) / (1 - self.beta)}

    @property
    def adds_bias(self) -> bool:
        return True

    def with_input_bias(self, bias: FloatArray) -> FilteredIntegrator:
        return replace(self, input_bias=self.input_bias + bias)

    def membrane(self, state: FloatState) -> FloatArray:
        return state["v"]

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        for key, factor in (("alpha", self.alpha), ("beta", self.beta)):
            if (factor < 0).any() or (factor > 1).any():
                raise UnsupportedParameter(f"node {name!r}: {key} = {float(factor.min()):g}: a decay takes 0 to 1")
        bits, scale = config.state_bits, context.scale
        ranges = (context.ranges["u"], context.ranges["v"], np.abs(self.bias), np.abs(self.input_bias))
        peak = max(float(np.max(values * scale)) for values in ranges)
        a_max = float(context.a_max.max(initial=0))
        most = context.frac + SHIFT_MAX
        membrane = Limit(
            "membrane",
            power_below((1 << (bits - 2)) - 1, peak, default=context.frac),
            f"u and v have {bits} bits, one of them headroom",
        )
        states = (membrane, Limit("shift", most, f"u has at most {SHIFT_MAX} bits more than the synaptic sum"))
        frac_v = tightest(states)
        sums = (
            Limit("weights", context.frac, f"weights of {config.weight_bits} bits offer no more"),
            membrane,
            Limit("synaptic sum", power_below((1 << 31) - 1, a_max, default=context.frac), "a sum has 32 bits"),
            Limit("weight exponent", context.frac_max, f"an exponent is at most {config.weight_exp_max}"),
        )
        frac_in = tightest(sums)
        frac_v = min(frac_v, frac_in + SHIFT_MAX)
        widest = power_below((1 << (bits - 2)) - 1, float(np.max(context.ranges["v"])), default=frac_v)
        frac_out = self.output_range(context.ranges)[1] if self.payload_bits else widest
        fracs = {"frac_in": frac_in, "frac_v": frac_v, "frac_out": frac_out}
        return Scales(scale, fracs, {"frac_in": sums, "frac_v": states})

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        frac_v = int(scales.fracs["frac_v"])
        factor = np.ldexp(1.0, scales.frac_out - frac_v) / scales.scale
        out_shift = min(max(power_below((1 << FACTOR_BITS) - 1, float(factor.max())), 0), OUT_SHIFT_MAX)
        constants = {
            key: np.rint(np.ldexp(value * scales.scale, frac_v)).astype(np.int64)
            for key, value in (("bias", self.bias), ("input_bias", self.input_bias))
        }
        quantized = QuantizedFilteredIntegrator(
            du=np.rint(4096 * (1 - self.alpha)).astype(np.int64),
            dv=np.rint(4096 * (1 - self.beta)).astype(np.int64),
            in_shift=frac_v - scales.frac_in,
            **constants,
            out_factor=np.rint(np.ldexp(factor, out_shift)).astype(np.int64),
            out_shift=out_shift,
            out_bits=self.payload_bits or config.state_bits,
            feeds=self.payload_bits > 0,
            state_bits=config.state_bits,
            frac_in=scales.frac_in,
            frac_v=frac_v,
            frac_out=scales.frac_out,
            scale=scales.scale,
        )
        return quantized, []


def sending(neuron: Any) -> FilteredIntegrator:
    """Return a population without spikes, of this family or an ``integrator``, as one that sends its membrane."""
    filtered = isinstance(neuron, FilteredIntegrator)
    filtering = neuron if filtered else FilteredIntegrator(np.zeros(neuron.size), neuron.beta, bias=neuron.bias)
    made: FilteredIntegrator = replace(filtering, payload_bits=PAYLOAD_BITS)
    return made


def examples(size: int) -> list[Neuron]:
    """Return populations with each mechanism of the family, for contract tests."""
    ones, rng = np.ones(size), np.random.default_rng(0)
    biases: dict[str, Any] = {"bias": 0.1 * rng.normal(size=size), "input_bias": 0.1 * rng.normal(size=size)}
    return [
        FilteredIntegrator(0.8 * ones, 0.9 * ones, **biases),
        FilteredIntegrator(0.5 * ones, ones),
        FilteredIntegrator(0 * ones, 0.9 * ones, **biases, payload_bits=PAYLOAD_BITS),
        FilteredIntegrator(0.7 * ones, 0.95 * ones, payload_bits=8),
    ]
