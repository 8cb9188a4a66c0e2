"""Weights as Loihi holds them: codes of a few bits with a sign mode, one exponent, and a bias synapse.

Source: Davies et al., Loihi, IEEE Micro 38(1), 2018; lava-nc 0.10.0, ``lava.utils.weightutils``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig, power_below
from nmdeploy.neurons.ops import shift
from nmdeploy.neurons.scales import Limit, Scales, tightest
from nmdeploy.synapses.base import QuantizedSynapse, Synapse
from nmdeploy.synapses.grids import Entries, Grids, find_grids

SIGN_MODES = ("mixed", "excitatory", "inhibitory")
ENTRIES_PER_PART = 1 << 18


def code_range(sign_mode: str, bits: int) -> tuple[int, int]:
    """Return the smallest and the largest weight code.

    >>> code_range("mixed", 8), code_range("excitatory", 8), code_range("inhibitory", 4)
    ((-128, 127), (0, 255), (-15, 0))
    """
    if sign_mode == "mixed":
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    top = (1 << bits) - 1
    return (0, top) if sign_mode == "excitatory" else (-top, 0)


def chip_exponent(sign_mode: str, bits: int) -> int:
    """Return the difference of `weight_exp` and the exponent of the weight as Loihi holds it (8 bits and sign)."""
    return (9 if sign_mode == "mixed" else 8) - bits


class QuantizedWeights(QuantizedSynapse):
    """Integer synapses ``a = shift(W s, weight_exp) + shift(b, bias_exp)``; a family says how it holds W.

    Parameters
    ----------
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

    bits: int
    frac: int
    sign_mode: str
    weight_exp: int
    bias: IntArray | None
    bias_frac: int
    bias_exp: int

    takes_bias: ClassVar[bool] = True

    def _check_codes(self, name: str, codes: IntArray) -> None:
        """`BadOption` unless the weights and biases are codes of their widths; freezes the biases."""
        if not 1 <= self.bits <= 8:
            raise BadOption(
                f"{self.kind}: {self.bits} weight bits: the chip holds 1 to 8: give --weight-bits in that range"
            )
        if self.sign_mode not in SIGN_MODES:
            raise BadOption(f"{self.kind}: sign mode {self.sign_mode!r} is unknown: choose one of {SIGN_MODES}")
        self._within(name, codes, self.sign_mode)
        if self.bias is not None:
            self._freeze("bias", self.bias, np.int64, self.shape[:1])
            self._within("bias", self.bias, "mixed")

    def _within(self, name: str, codes: IntArray, sign_mode: str) -> None:
        low, high = code_range(sign_mode, self.bits)
        if codes.size and (codes.min() < low or codes.max() > high):
            raise BadOption(
                f"{self.kind}: {name} codes {int(codes.min())} to {int(codes.max())} exceed {low} to {high} "
                f"({self.bits} bits, {sign_mode})"
            )

    def finish(self, sums: Any) -> Any:
        a = shift(sums, self.weight_exp)
        return a if self.bias is None else a + shift(self.bias.astype(sums.dtype), self.bias_exp)

    def dequantize(self, s: npt.NDArray[Any]) -> FloatArray:
        a = np.ldexp(self.rows.sums(np.asarray(s, np.float64)), -self.frac)
        bias = self.rounded_bias
        return np.asarray(a if bias is None else a + bias)

    def a_max(self, s_max: int) -> IntArray:
        def left(values: Any, exponent: int) -> Any:  # in integers without limit
            return values.astype(object) << min(max(exponent, 0), 64)

        low, high = self.rows.signed_sums()
        worst = left(high - low, self.weight_exp) * s_max
        if self.bias is not None:
            worst = worst + left(np.abs(self.bias), self.bias_exp)
        return np.asarray(np.minimum(worst, np.iinfo(np.int64).max), np.int64)

    @property
    def chip_exponents(self) -> tuple[int, ...]:
        weights = self.weight_exp - chip_exponent(self.sign_mode, self.bits)
        return (weights,) if self.bias is None else (weights, self.bias_exp - chip_exponent("mixed", self.bits))

    @property
    def dropped_bits(self) -> int:
        return max(0, -self.weight_exp)

    @property
    def rounded_bias(self) -> FloatArray | None:
        return None if self.bias is None else np.ldexp(self.bias.astype(np.float64), -self.bias_frac)

    def nir_primitives(self, graph: Any, name: str, source_frac: int, frac_in: int, bias: FloatArray | None) -> None:
        """Add ``Linear``, or ``Affine`` with a bias: the codes times what one of them adds to the target's sum.

        NIR has no sparse node: its weight is dense. `bias` is what the population asks the synapse to carry.
        """
        exponent = self.weight_exp + source_frac - frac_in
        weight = self.rows.matrix(lambda codes: graph.exact(np.ldexp(codes.astype(np.float64), exponent)))
        total = np.zeros(self.shape[0]) if bias is None else bias
        if self.bias is not None:
            total = total + np.ldexp(self.bias.astype(np.float64), self.bias_exp - frac_in)
        if self.bias is None and not total.any():
            graph.add(name, "Linear", weight=weight)
        else:
            graph.add(name, "Affine", weight=weight, bias=graph.exact(total))


class Weights(Synapse):
    """Float synapses ``a = W s + b`` that become codes; a family says how it holds W.

    Parameters
    ----------
    bias : (outputs,) float or None
    """

    bias: FloatArray | None

    takes_bias: ClassVar[bool] = True

    @property
    @abstractmethod
    def values(self) -> FloatArray:
        """The weights that are held, in any shape."""

    @property
    @abstractmethod
    def row_ends(self) -> tuple[FloatArray, FloatArray]:
        """Smallest and largest weight (outputs,) of each output, 0 included."""

    def row_magnitudes(self) -> FloatArray:
        lowest, highest = self.row_ends
        return np.maximum(-lowest, highest)

    @abstractmethod
    def entries(self, blocks: IntArray) -> Entries:
        """Yield the block of each weight and the weights, in parts of a few megabytes, as arrays that broadcast.

        `blocks` (outputs,) is the block of each output. The first part is a sample of the weights.
        """

    def grids(self, blocks: IntArray, config: QuantizationConfig) -> Grids:
        count = int(blocks.max(initial=-1)) + 1
        low, high = np.zeros(count), np.zeros(count)
        lowest, highest = self.row_ends
        np.minimum.at(low, blocks, lowest)
        np.maximum.at(high, blocks, highest)
        codes = code_range(self.sign_mode(config), config.weight_bits)
        return find_grids((low, high), lambda: self.entries(blocks), codes)

    @abstractmethod
    def scaled(self, factors: FloatArray) -> Weights:
        """Return the synapses with the weights of each output multiplied by `factors` (outputs,), and the same bias."""

    def driven(self, factors: FloatArray) -> Synapse:
        bias = None if self.bias is None else self.bias * factors
        return self.scaled(factors).with_bias(bias)

    @abstractmethod
    def with_codes(self, codes: IntArray, **formats: Any) -> QuantizedWeights:
        """Return the integer synapses of `codes`, which lie as `values` do."""

    def sign_mode(self, config: QuantizationConfig) -> str:
        """Loihi's sign mode: one sign only gains a bit, if the profile has it."""
        lowest, highest = self.row_ends
        if highest.any() and not lowest.any() and "excitatory" in config.sign_modes:
            return "excitatory"
        if lowest.any() and not highest.any() and "inhibitory" in config.sign_modes:
            return "inhibitory"
        return "mixed"

    def frac(self, scale: FloatArray, config: QuantizationConfig) -> int:
        """Fraction bits at which the weights times `scale` fill their width.

        A mixed sign mode has one code more below 0 than above. Where the largest weight would be clipped for that
        reason, the number with the smaller squared error is chosen: this one, or one bit less.
        """
        low, high = code_range(self.sign_mode(config), config.weight_bits)
        largest = float((self.row_magnitudes() * scale).max(initial=0.0))
        finest = power_below(max(high, -low, 1) + 0.49, largest, default=config.weight_bits)
        if np.rint(np.ldexp(largest, finest)) <= high or high == 0:
            return finest
        scaled = self.scaled(scale).values
        if np.rint(np.ldexp(scaled.max(initial=0.0), finest)) <= high:
            return finest
        return min((finest - 1, finest), key=lambda frac: self._squared_error(scaled, frac, config))

    def _squared_error(self, scaled: FloatArray, frac: int, config: QuantizationConfig) -> float:
        error = np.ldexp(_codes(scaled, frac, self.sign_mode(config), config).astype(np.float64), -frac) - scaled
        return float(np.vdot(error, error))

    def frac_max(self, scale: FloatArray, source_frac: int, config: QuantizationConfig) -> int:
        most = super().frac_max(scale, source_frac, config)
        most += chip_exponent(self.sign_mode(config), config.weight_bits)
        if self.bias is None or not self.bias.any():
            return most
        bias_frac = _bias_frac(self.bias, scale, config.weight_bits)
        return min(most, bias_frac + config.weight_exp_max + chip_exponent("mixed", config.weight_bits))

    def choose_scales(self, scale: FloatArray, frac_in: int, source_frac: int, config: QuantizationConfig) -> Scales:
        bits = config.weight_bits
        weights = (Limit("code", self.frac(scale, config), f"a weight has {bits} bits"),)
        fracs: dict[str, Any] = {"frac_in": frac_in, "source_frac": source_frac, "frac": tightest(weights)}
        if self.bias is None or not self.bias.any():
            return Scales(scale, fracs, {"frac": weights})
        biases = (
            Limit("sum", frac_in, "a bias has no more fraction than the sum, so that its exponent does not floor"),
            Limit("bias code", _bias_frac(self.bias, scale, bits), f"a bias has {bits} bits"),
        )
        return Scales(scale, {**fracs, "bias_frac": tightest(biases)}, {"frac": weights, "bias_frac": biases})

    def round(self, scales: Scales, config: QuantizationConfig) -> QuantizedWeights:
        mode, frac = self.sign_mode(config), int(scales.fracs["frac"])
        bias, bias_frac = None, int(scales.fracs.get("bias_frac", 0))
        if self.bias is not None and self.bias.any():
            bias = _codes(self.bias * scales.scale, bias_frac, "mixed", config)
        return self.with_codes(
            _codes(self.scaled(scales.scale).values, frac, mode, config),
            bits=config.weight_bits,
            frac=frac,
            sign_mode=mode,
            weight_exp=scales.frac_in - frac - int(scales.fracs["source_frac"]),
            bias=bias,
            bias_frac=bias_frac,
            bias_exp=0 if bias is None else scales.frac_in - bias_frac,
        )


def _codes(values: FloatArray, frac: int, sign_mode: str, config: QuantizationConfig) -> IntArray:
    """Round values to codes of `frac` fraction bits, within the range of the sign mode."""
    low, high = code_range(sign_mode, config.weight_bits)
    return np.asarray(np.clip(np.rint(np.ldexp(values, frac)), low, high), np.int64)


def _bias_frac(bias: FloatArray, scale: FloatArray, bits: int) -> int:
    """Fraction bits at which the biases times `scale` fill their width."""
    _, high = code_range("mixed", bits)
    return power_below(max(high, 1) + 0.49, float(np.abs(bias * scale).max()))
