"""Gated linear unit, the product of a value and the sigmoid of a gate, without state and with graded output.

Float, per neuron, with synaptic sums a[0] (value) and a[1] (gate): ``out = a[0] * sigmoid(a[1])``. With `send_once`,
the output is 0 except in the first step of every `window`, the approximate form of windows. Integers:
docs/arithmetic.md, ``gated_linear_unit``.

Source: Dauphin et al., Language Modeling with Gated Convolutional Networks, ICML 2017. The sigmoid is interpolated
linearly between 65 points. Its largest error is 0.0008, about that of a value of 10 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, DoesNotFit, OverflowPossible
from nmdeploy.neurons.base import (
    Emits,
    FloatArray,
    FloatState,
    IntArray,
    Neuron,
    QuantizationConfig,
    QuantizationContext,
    QuantizedNeuron,
    Registers,
    StepTime,
    power_below,
)
from nmdeploy.neurons.ops import rz, saturate, select, shift, take
from nmdeploy.neurons.rounded import HeldTensor
from nmdeploy.neurons.scales import Limit, Scales, tightest

TABLE_FRAC = 15
GATE_FRAC = 12
GATE_LIMIT = 1 << 15
STEP_BITS = 10
SIGMOID = np.rint(2**TABLE_FRAC / (1 + np.exp(-np.arange(-32, 33) / 4))).astype(np.int64)
# The sigmoid is accurate to 10 bits and the weights after it have 8. So 12 bits at the calibrated magnitude, one of
# headroom and the sign lose nothing. The sums of 64 inputs with 8-bit weights stay within 6 + 8 + 14 = 28 bits of 32.
OUTPUT_BITS = 14
OUTPUT_ATTENUATION_BITS_MAX = 12  # an output more than this many bits below its value gets no finer fraction


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedGatedLinearUnit(QuantizedNeuron):
    """Integer gated linear unit.

    Parameters
    ----------
    neurons : int
        Number of neurons, with two inputs each.
    table : (65,) int
        Sigmoid at -8, -7.75, ..., 8, with 15 fraction bits.
    gate_shift : int
        Bits that the product of value and sigmoid drops.
    output_bits : int
        Width of the output.
    frac_in, frac_out : int
        Fraction bits of the synaptic sums and of the output.
    scale : (2 * neurons,) float
        Ones: the sigmoid needs its own unit.
    send_once : bool;  window : int
        If `send_once` is true, the output is 0 except in the steps ``t % window == 0``.
    """

    neurons: int
    table: IntArray
    gate_shift: int
    output_bits: int
    frac_in: int = 0
    frac_out: int = 0
    scale: FloatArray = 1.0  # type: ignore[assignment]
    send_once: bool = False
    window: int = 1

    kind: ClassVar[str] = "gated_linear_unit"
    emits: ClassVar[Emits] = "values"
    state_registers: ClassVar[tuple[str, ...]] = ()
    neuron_registers: ClassVar[tuple[str, ...]] = ("g",)
    recorded: ClassVar[tuple[str, ...]] = ("g",)
    flags: ClassVar[tuple[str, ...]] = ("g_saturations",)

    def __post_init__(self) -> None:
        self._freeze("table", self.table, np.int64, (2 * GATE_LIMIT // (1 << STEP_BITS) + 1,))
        self._freeze("scale", self.scale, np.float64, (2 * self.neurons,))
        limits = (("gate_shift", 0, 46), ("output_bits", 2, 32), ("window", 1, 1 << 16), ("neurons", 1, 1 << 30))
        for name, low, high in limits:
            if not low <= getattr(self, name) <= high:
                raise BadOption(f"{self.kind}: {name} = {getattr(self, name)}: choose {low} to {high}")
        if self.table.min() < 0 or self.table.max() > 1 << TABLE_FRAC:
            raise BadOption(f"gate: a code of the table lies outside of 0 to {1 << TABLE_FRAC}: a sigmoid is 0 to 1")
        if (self.scale != 1).any():
            raise BadOption(
                f"gate: scale {float(self.scale.max()):g}: the sigmoid takes sums in their own unit, scale 1"
            )

    @property
    def size(self) -> int:
        return self.neurons

    @property
    def inputs(self) -> int:
        return 2

    @property
    def states_per_neuron(self) -> int:
        return 0

    @property
    def state_bits(self) -> int:  # type: ignore[override]
        """Width in bits of its one register, the output."""
        return self.output_bits

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        return {"g": self.output_bits}

    @property
    def feeds_synapses(self) -> bool:
        return True

    @property
    def output_max(self) -> int:
        return (1 << (self.output_bits - 1)) - 1

    @property
    def output_frac(self) -> int:
        return self.frac_out

    def hold_steps(self, arriving: int) -> int:
        return 1 if self.send_once else arriving

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        value, gate = a[:, ::2], a[:, 1::2]
        at = np.minimum(np.maximum(shift(gate, GATE_FRAC - self.frac_in), -GATE_LIMIT), GATE_LIMIT - 1) + GATE_LIMIT
        index, rest = at >> STEP_BITS, at & ((1 << STEP_BITS) - 1)
        low, high = (take(self.table, index + offset).astype(a.dtype) for offset in (0, 1))
        output, clipped = saturate(
            rz(value * (low + rz((high - low) * rest, STEP_BITS)), self.gate_shift), self.output_max
        )
        if self.send_once:
            sends = now.step % self.window == 0
            output, clipped = select(sends, output, 0), clipped & sends
        return ((), (output,)), output, [clipped]

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        """Return no tensor: the unit has none, its sigmoid and its output are rounded in every step."""
        return {}

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        wide = int(a_max.max(initial=0)) << max(TABLE_FRAC + 1, GATE_FRAC - self.frac_in)
        if wide >= 1 << 62:
            raise OverflowPossible(f"node {name!r}: a product can reach {wide}, limit 2**62: lower the weight exponent")

    def nir_losses(self) -> Sequence[str]:
        return ("its sigmoid gate has no primitive: other readers pass the values on ungated",)

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        return np.ldexp(np.asarray(values, np.float64), -self.frac_out)

    @property
    def footprint_bits(self) -> int:
        return self.neurons * self.output_bits + self.table.size * (TABLE_FRAC + 1)


@dataclass(frozen=True, eq=False)
class GatedLinearUnit(Neuron):
    """Float gated linear unit of `neurons` neurons with two inputs each; `send_once` and `window` as in integers."""

    neurons: int
    send_once: bool = False
    window: int = 1

    kind: ClassVar[str] = "gated_linear_unit"
    emits: ClassVar[Emits] = "values"
    unscaled: ClassVar[bool] = True
    membrane_name: ClassVar[str] = "g"

    @property
    def size(self) -> int:
        return self.neurons

    @property
    def inputs(self) -> int:
        return 2

    @property
    def feeds_synapses(self) -> bool:
        return True

    def hold_steps(self, arriving: int) -> int:
        return 1 if self.send_once else arriving

    def output_range(self, ranges: Mapping[str, FloatArray]) -> tuple[float, int]:
        largest = float(np.max(ranges["g"], initial=0.0))
        faint = float(np.max(ranges["value"], initial=0.0)) * 2.0**-OUTPUT_ATTENUATION_BITS_MAX
        frac = power_below((1 << (OUTPUT_BITS - 2)) - 1, max(largest, faint), default=OUTPUT_BITS - 2)
        return float(np.ldexp((1 << (OUTPUT_BITS - 1)) - 1, -frac)), frac

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        zero = np.zeros((samples, self.neurons), dtype)
        return {"g": zero, "value": zero}

    def step(self, state: FloatState, a: npt.NDArray[Any], now: StepTime) -> tuple[FloatState, npt.NDArray[Any]]:
        value, gate = a[:, ::2], a[:, 1::2]
        g = value * (0.5 + 0.5 * np.tanh(0.5 * gate))
        if self.send_once:
            g = np.where(now.step % self.window == 0, g, 0)
        return {"g": g, "value": value}, g

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        return {key: np.abs(values).max(0).astype(np.float64) for key, values in state.items()}

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        return {"g": a_max[::2], "value": a_max[::2]}

    def membrane(self, state: FloatState) -> FloatArray:
        return state["g"]

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        _, frac_out = self.output_range(context.ranges)
        needed = frac_out - TABLE_FRAC
        room = power_below((1 << 31) - 1, float(context.a_max.max(initial=0.0)), default=context.frac)
        limits = (
            Limit(
                "weights",
                max(context.frac, needed),
                f"weights of {config.weight_bits} bits offer no more, the output needs no more",
            ),
            Limit("weight exponent", context.frac_max, f"an exponent is at most {config.weight_exp_max}"),
            Limit("synaptic sum", room, "a sum has 32 bits"),
        )
        scales = Scales(context.scale, {"frac_in": tightest(limits), "frac_out": frac_out}, {"frac_in": limits})
        if scales.frac_in < needed:
            raise DoesNotFit(
                f"node {name!r}: its sums have {scales.frac_in} fraction bits ({scales.reason('frac_in')}), its output "
                f"needs {needed}: the gate's values are too small beside its weights, rescale them"
            )
        return scales

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        quantized = QuantizedGatedLinearUnit(
            neurons=self.neurons,
            table=SIGMOID,
            gate_shift=scales.frac_in + TABLE_FRAC - scales.frac_out,
            output_bits=OUTPUT_BITS,
            frac_in=scales.frac_in,
            frac_out=scales.frac_out,
            scale=scales.scale,
            send_once=self.send_once,
            window=self.window,
        )
        return quantized, []


def examples(size: int) -> list[Neuron]:
    """Return populations for contract tests."""
    return [GatedLinearUnit(neurons=size), GatedLinearUnit(neurons=size, send_once=True, window=3)]
