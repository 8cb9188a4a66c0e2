"""Dense synapses: every input meets every output.

Float: ``a = W s + b``. Integers: docs/arithmetic.md, ``dense``; Loihi's sign modes and weight exponents.

Source: Davies et al., Loihi, IEEE Micro 38(1), 2018; lava-nc 0.10.0, ``lava.proc.dense``, ``lava.utils.weightutils``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig, power_below
from nmdeploy.neurons.ops import shift
from nmdeploy.synapses.base import QuantizedSynapse, Synapse

SIGN_MODES = ("mixed", "excitatory", "inhibitory")


def code_range(sign_mode: str, bits: int) -> tuple[int, int]:
    """Smallest and largest weight code.

    >>> code_range("mixed", 8), code_range("excitatory", 8), code_range("inhibitory", 4)
    ((-128, 127), (0, 255), (-15, 0))
    """
    if sign_mode == "mixed":
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    top = (1 << bits) - 1
    return (0, top) if sign_mode == "excitatory" else (-top, 0)


def chip_exponent(sign_mode: str, bits: int) -> int:
    """What to subtract from `weight_exp` for the exponent of the weight as Loihi holds it (8 bits and sign)."""
    return (9 if sign_mode == "mixed" else 8) - bits


@dataclass(frozen=True, eq=False)
class QuantizedDense(QuantizedSynapse):
    """Integer dense synapses, ``a = shift(W s, weight_exp) + shift(b, bias_exp)``.

    Parameters
    ----------
    weight : (outputs, inputs) int
        Codes.
    bits : int
        Width of a code, 1 to 8.
    frac : int
        Fraction bits of a code.
    sign_mode : {"mixed", "excitatory", "inhibitory"}
    weight_exp : int
        Shift of the sum; a negative one floors.
    bias : (outputs,) int or None
        Codes (sign mode mixed) of a synapse from a unit that sends 1 every step; `bias_frac`, `bias_exp` as for the
        weights.
    """

    weight: IntArray
    bits: int = 8
    frac: int = 0
    sign_mode: str = "mixed"
    weight_exp: int = 0
    bias: IntArray | None = None
    bias_frac: int = 0
    bias_exp: int = 0

    kind: ClassVar[str] = "dense"
    takes_bias: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise BadOption(f"dense: {self.bits} weight bits: the chip holds 1 to 8: give --weight-bits in that range")
        if self.sign_mode not in SIGN_MODES:
            raise BadOption(f"dense: sign mode {self.sign_mode!r} is unknown: choose one of {SIGN_MODES}")
        self._freeze("weight", self.weight, np.int64)
        if self.weight.ndim != 2:
            raise BadOption(f"dense: weights have {self.weight.ndim} dimensions: give (outputs, inputs)")
        self._within("weight", self.sign_mode)
        if self.bias is not None:
            self._freeze("bias", self.bias, np.int64, self.weight.shape[:1])
            self._within("bias", "mixed")

    def _within(self, name: str, sign_mode: str) -> None:
        codes = getattr(self, name)
        low, high = code_range(sign_mode, self.bits)
        if codes.size and (codes.min() < low or codes.max() > high):
            raise BadOption(
                f"dense: {name} codes {int(codes.min())} to {int(codes.max())} exceed {low} to {high} "
                f"({self.bits} bits, {sign_mode})"
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    @property
    def matrix(self) -> IntArray:
        return self.weight

    @property
    def stored_weights(self) -> IntArray:
        return self.weight

    def finish(self, sums: Any) -> Any:
        a = shift(sums, self.weight_exp)
        return a if self.bias is None else a + shift(self.bias.astype(sums.dtype), self.bias_exp)

    def dequantize(self, s: npt.NDArray[Any]) -> FloatArray:
        a = s @ np.ldexp(self.weight.T.astype(np.float64), -self.frac)
        return np.asarray(a if self.bias is None else a + np.ldexp(self.bias.astype(np.float64), -self.bias_frac))

    def a_max(self, s_max: int) -> IntArray:
        def left(values: Any, exponent: int) -> Any:  # in integers without limit
            return values.astype(object) << min(max(exponent, 0), 64)

        worst = left(np.abs(self.weight).sum(1), self.weight_exp) * s_max
        if self.bias is not None:
            worst = worst + left(np.abs(self.bias), self.bias_exp)
        return np.asarray(np.minimum(worst, np.iinfo(np.int64).max), np.int64)

    @property
    def chip_exponents(self) -> tuple[int, ...]:
        weights = self.weight_exp - chip_exponent(self.sign_mode, self.bits)
        return (weights,) if self.bias is None else (weights, self.bias_exp - chip_exponent("mixed", self.bits))

    @property
    def fan_out(self) -> IntArray:
        return np.asarray((self.weight != 0).sum(0), np.int64)

    def inputs_met(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        return np.asarray(self.weight[first:last].any(0))

    @property
    def footprint_bits(self) -> int:
        return self.bits * (self.weight.size + (0 if self.bias is None else self.bias.size))

    @property
    def synapse_count(self) -> int:
        return int((self.weight != 0).sum()) + (0 if self.bias is None else int((self.bias != 0).sum()))


@dataclass(frozen=True, eq=False)
class Dense(Synapse):
    """Float dense synapses ``a = W s + b``: weight (outputs, inputs), bias (outputs,) or None."""

    weight: FloatArray
    bias: FloatArray | None = None

    kind: ClassVar[str] = "dense"
    takes_bias: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._freeze("weight", self.weight, np.float64)
        if self.bias is not None:
            self._freeze("bias", self.bias, np.float64, self.weight.shape[:1])

    @property
    def shape(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    def with_bias(self, bias: FloatArray | None) -> Dense:
        return replace(self, bias=bias)

    def apply(self, s: npt.NDArray[Any]) -> npt.NDArray[Any]:
        a = s @ self.weight.T.astype(s.dtype)
        return np.asarray(a if self.bias is None else a + self.bias.astype(s.dtype))

    def a_max(self, s_max: float) -> FloatArray:
        worst = np.abs(self.weight).sum(1) * s_max
        return np.asarray(worst if self.bias is None else worst + np.abs(self.bias))

    def row_magnitudes(self) -> FloatArray:
        return np.asarray(np.abs(self.weight).max(1, initial=0.0))

    def row_norms(self) -> FloatArray:
        return np.asarray(np.hypot(np.linalg.norm(self.weight, axis=1), 0.0 if self.bias is None else self.bias))

    def row_errors(self, quantized: QuantizedDense, scale: FloatArray) -> FloatArray:
        weight = np.ldexp(quantized.weight.astype(np.float64), -quantized.frac) / scale[:, None] - self.weight
        bias = 0.0 if quantized.bias is None else np.ldexp(quantized.bias.astype(np.float64), -quantized.bias_frac)
        return np.asarray(
            np.hypot(np.linalg.norm(weight, axis=1), bias / scale - (self.bias if self.bias is not None else 0.0))
        )

    def sign_mode(self, config: QuantizationConfig) -> str:
        """Loihi's sign mode: one sign only gains a bit, where the profile has it."""
        if self.weight.any() and (self.weight >= 0).all() and "excitatory" in config.sign_modes:
            return "excitatory"
        if self.weight.any() and (self.weight <= 0).all() and "inhibitory" in config.sign_modes:
            return "inhibitory"
        return "mixed"

    def frac(self, scale: FloatArray, config: QuantizationConfig) -> int:
        low, high = code_range(self.sign_mode(config), config.weight_bits)
        largest = float(np.abs(self.weight * scale[:, None]).max(initial=0.0))
        return power_below(max(high, -low, 1) + 0.49, largest, default=config.weight_bits)

    def frac_max(self, scale: FloatArray, source_frac: int, config: QuantizationConfig) -> int:
        most = super().frac_max(scale, source_frac, config)
        most += chip_exponent(self.sign_mode(config), config.weight_bits)
        if self.bias is None or not self.bias.any():
            return most
        bias_frac = _bias_frac(self.bias, scale, config.weight_bits)
        return min(most, bias_frac + config.weight_exp_max + chip_exponent("mixed", config.weight_bits))

    def quantize(self, scale: FloatArray, frac_in: int, source_frac: int, config: QuantizationConfig) -> QuantizedDense:
        mode, frac = self.sign_mode(config), self.frac(scale, config)
        bias_frac, bias = _bias_codes(self.bias, scale, frac_in, config.weight_bits)
        low, high = code_range(mode, config.weight_bits)
        return QuantizedDense(
            weight=np.clip(np.rint(np.ldexp(self.weight * scale[:, None], frac)), low, high).astype(np.int64),
            bits=config.weight_bits,
            frac=frac,
            sign_mode=mode,
            weight_exp=frac_in - frac - source_frac,
            bias=bias,
            bias_frac=bias_frac,
            bias_exp=0 if bias is None else frac_in - bias_frac,
        )


def _bias_codes(bias: FloatArray | None, scale: FloatArray, frac_in: int, bits: int) -> tuple[int, IntArray | None]:
    """Fraction bits and codes of a bias synapse; never more than the sum has, so that its exponent does not floor."""
    if bias is None or not bias.any():
        return 0, None
    low, high = code_range("mixed", bits)
    frac = min(frac_in, _bias_frac(bias, scale, bits))
    return frac, np.clip(np.rint(np.ldexp(bias * scale, frac)), low, high).astype(np.int64)


def _bias_frac(bias: FloatArray, scale: FloatArray, bits: int) -> int:
    """Fraction bits at which the biases times `scale` fill their width."""
    _, high = code_range("mixed", bits)
    return power_below(max(high, 1) + 0.49, float(np.abs(bias * scale).max()))
