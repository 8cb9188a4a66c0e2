"""Dense synapses: every input meets every output.

Float: ``a = W s + b``. Integers: docs/arithmetic.md, ``dense``; Loihi's sign modes and weight exponents.

Source: Davies et al., Loihi, IEEE Micro 38(1), 2018; lava-nc 0.10.0, ``lava.proc.dense``, ``lava.utils.weightutils``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import FloatArray, IntArray
from nmdeploy.synapses.grids import Entries
from nmdeploy.synapses.rows import DenseRows
from nmdeploy.synapses.weights import ENTRIES_PER_PART, SIGN_MODES, QuantizedWeights, Weights, chip_exponent, code_range

__all__ = ["SIGN_MODES", "Dense", "QuantizedDense", "chip_exponent", "code_range"]


@dataclass(frozen=True, eq=False)
class QuantizedDense(QuantizedWeights):
    """Integer dense synapses, ``a = shift(W s, weight_exp) + shift(b, bias_exp)``.

    Parameters
    ----------
    weight : (outputs, inputs) int
        Codes; the other parameters are those of `QuantizedWeights`.
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

    def __post_init__(self) -> None:
        self._freeze("weight", self.weight, np.int64)
        if self.weight.ndim != 2:
            raise BadOption(f"dense: weights have {self.weight.ndim} dimensions: give (outputs, inputs)")
        self._check_codes("weight", self.weight)

    @property
    def rows(self) -> DenseRows:
        return DenseRows(self.weight.T)

    @property
    def footprint_bits(self) -> int:
        return self.bits * (self.weight.size + (0 if self.bias is None else self.bias.size))


@dataclass(frozen=True, eq=False)
class Dense(Weights):
    """Float dense synapses ``a = W s + b``: weight (outputs, inputs), bias (outputs,) or None."""

    weight: FloatArray
    bias: FloatArray | None = None

    kind: ClassVar[str] = "dense"

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
        a = s @ self.weight.T.astype(s.dtype, copy=False)  # a copy per step costs more than the product
        return np.asarray(a if self.bias is None else a + self.bias.astype(s.dtype))

    def a_max(self, s_max: float) -> FloatArray:
        worst = np.abs(self.weight).sum(1) * s_max
        return np.asarray(worst if self.bias is None else worst + np.abs(self.bias))

    def row_norms(self) -> FloatArray:
        return np.asarray(np.hypot(np.linalg.norm(self.weight, axis=1), 0.0 if self.bias is None else self.bias))

    def row_errors(self, quantized: QuantizedDense, scale: FloatArray) -> FloatArray:
        weight = np.ldexp(quantized.weight.astype(np.float64), -quantized.frac) / scale[:, None] - self.weight
        bias = 0.0 if quantized.bias is None else np.ldexp(quantized.bias.astype(np.float64), -quantized.bias_frac)
        return np.asarray(
            np.hypot(np.linalg.norm(weight, axis=1), bias / scale - (self.bias if self.bias is not None else 0.0))
        )

    @property
    def values(self) -> FloatArray:
        return self.weight

    @cached_property
    def row_ends(self) -> tuple[FloatArray, FloatArray]:
        return self.weight.min(1, initial=0.0), self.weight.max(1, initial=0.0)

    def entries(self, blocks: IntArray) -> Entries:
        outputs, inputs = self.shape
        if not inputs:
            return
        yield blocks[:, None], self.weight[:, [0, inputs // 2, inputs - 1]]
        rows = max(ENTRIES_PER_PART // inputs, 1)
        for first in range(0, outputs, rows):
            yield blocks[first : first + rows, None], self.weight[first : first + rows]

    def scaled(self, factors: FloatArray) -> Dense:
        return replace(self, weight=self.weight * factors[:, None])

    def with_codes(self, codes: IntArray, **formats: Any) -> QuantizedDense:
        return QuantizedDense(codes, **formats)
