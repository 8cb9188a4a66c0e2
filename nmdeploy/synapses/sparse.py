"""Sparse synapses: only weights that are not zero are held, in compressed rows, one per input.

Float: ``a = W s + b``. Integers: docs/arithmetic.md, ``dense``; the sums, sign modes and exponents are the same.

Source: lava-nc 0.10.0, ``lava.proc.sparse``; the layout is that of a (outputs, inputs) ``scipy.sparse.csc_matrix``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import FloatArray, IntArray
from nmdeploy.synapses.dense import Dense
from nmdeploy.synapses.grids import Entries
from nmdeploy.synapses.rows import SparseRows
from nmdeploy.synapses.scale_group import PER_ROW, ScaleGroup
from nmdeploy.synapses.weights import ENTRIES_PER_PART, QuantizedWeights, Weights

# A weight takes 8 bytes as a dense float or integer, and 1 in the engine. An entry takes 16 (value, target), and 4 in
# the engine. Up to this share of entries the sparse form is the smaller one everywhere.
SPARSE_SHARE = 0.25
SPARSE_WEIGHTS_MIN = 4096
"""Weights from which on the form matters: fewer take less than a page of memory in the engine."""
FIELDS = {"indptr", "indices", "data", "shape"}
"""Fields of a compressed matrix of scipy; scipy itself is not needed."""


@dataclass(frozen=True, eq=False)
class QuantizedSparse(QuantizedWeights):
    """Integer sparse synapses, ``a = shift(W s, weight_exp) + shift(b, bias_exp)``.

    Parameters
    ----------
    offsets : (inputs + 1,) int
        Input i has the entries ``offsets[i]`` to ``offsets[i + 1]`` (exclusive).
    targets : (entries,) int
        Output of each entry, ascending within a row.
    codes : (entries,) int
        Weight codes, none of them 0; the other parameters are those of `QuantizedWeights`.
    outputs : int
    """

    offsets: IntArray
    targets: IntArray
    codes: IntArray
    outputs: int
    bits: int = 8
    frac: int = 0
    sign_mode: str = "mixed"
    weight_exp: int = 0
    bias: IntArray | None = None
    bias_frac: int = 0
    bias_exp: int = 0

    kind: ClassVar[str] = "sparse"

    def __post_init__(self) -> None:
        for name in ("offsets", "targets", "codes"):
            self._freeze(name, getattr(self, name), np.int64)
        self.rows.check("sparse")
        zeros = int((self.codes == 0).sum())
        if zeros:
            raise BadOption(f"sparse: {zeros} codes are 0, limit 0: leave these entries out")
        self._check_codes("codes", self.codes)

    @cached_property
    def rows(self) -> SparseRows:
        return SparseRows(self.offsets, self.targets, self.codes, self.outputs)

    @property
    def entry_bits(self) -> int:
        """Memory for an entry: its code, and the index of its output."""
        return self.bits + max(self.outputs - 1, 1).bit_length()

    @property
    def footprint_bits(self) -> int:
        return self.footprint_between(0, self.outputs)

    def footprint_between(self, first: int, last: int) -> int:
        biases = 0 if self.bias is None else self.bits * (last - first)
        return self.entry_bits * int(self._entries_before[last] - self._entries_before[first]) + biases

    @cached_property
    def _entries_before(self) -> IntArray:
        """(outputs + 1,) entries of the outputs before each one."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.targets, minlength=self.outputs))])


@dataclass(frozen=True, eq=False)
class Sparse(Weights):
    """Float sparse synapses ``a = W s + b``; `from_matrix` makes them.

    Parameters
    ----------
    offsets, targets, outputs : as in `QuantizedSparse`
    weight : (entries,) float
    bias : (outputs,) float or None
    scale_group : ScaleGroup
        Outputs that share one scale of the integer weights.
    """

    offsets: IntArray
    targets: IntArray
    weight: FloatArray
    outputs: int
    bias: FloatArray | None = None
    scale_group: ScaleGroup = PER_ROW

    kind: ClassVar[str] = "sparse"

    def __post_init__(self) -> None:
        for name, kind in (("offsets", np.int64), ("targets", np.int64), ("weight", np.float64)):
            self._freeze(name, getattr(self, name), kind)
        if self.bias is not None:
            self._freeze("bias", self.bias, np.float64, (self.outputs,))
        self.rows.check("sparse")

    @classmethod
    def from_matrix(cls, matrix: Any, bias: npt.ArrayLike | None = None, scale_group: ScaleGroup = PER_ROW) -> Sparse:
        """Return the synapses of a matrix (outputs, inputs): an array, or a sparse matrix of scipy.

        Entries that occur twice are added; those that are 0 are left out.
        """
        shape, targets, sources, values = _entries(matrix)
        order = np.lexsort((targets, sources))
        targets, sources, values = targets[order], sources[order], values[order]
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(targets) != 0) | (np.diff(sources) != 0)
        summed = np.add.reduceat(values, np.flatnonzero(first)) if len(order) else values
        kept = summed != 0
        offsets = np.concatenate([[0], np.cumsum(np.bincount(sources[first][kept], minlength=shape[1]))])
        given = None if bias is None else np.asarray(bias, np.float64)
        return cls(offsets, targets[first][kept], summed[kept], shape[0], given, scale_group)

    @cached_property
    def rows(self) -> SparseRows:
        """Weights that an event of each input adds to each output."""
        return SparseRows(self.offsets, self.targets, self.weight, self.outputs)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape

    @property
    def values(self) -> FloatArray:
        return self.weight

    def with_bias(self, bias: FloatArray | None) -> Sparse:
        return replace(self, bias=bias)

    def apply(self, s: npt.NDArray[Any]) -> npt.NDArray[Any]:
        a = self.rows.sums(s)
        return a if self.bias is None else a + self.bias.astype(s.dtype)

    def a_max(self, s_max: float) -> FloatArray:
        low, high = self.rows.signed_sums()
        worst = (high - low) * s_max
        return np.asarray(worst if self.bias is None else worst + np.abs(self.bias))

    def row_norms(self) -> FloatArray:
        """(outputs,) the Euclidean norm of each row, its bias included."""
        return self._norms(self.weight, 0.0 if self.bias is None else self.bias)

    def row_errors(self, quantized: QuantizedSparse, scale: FloatArray) -> FloatArray:
        """(outputs,) the Euclidean norm of ``W_q / scale - W`` of each row, its bias included.

        `quantized` are integer synapses of these, `scale` (outputs,) the factor on the weights of each row.
        """
        held = np.searchsorted(self._places(self.rows), self._places(quantized.rows))
        rounded = np.zeros(self.weight.size)
        rounded[held] = np.ldexp(quantized.codes.astype(np.float64), -quantized.frac)
        bias = 0.0 if quantized.bias is None else np.ldexp(quantized.bias.astype(np.float64), -quantized.bias_frac)
        return self._norms(
            rounded / scale[self.targets] - self.weight, bias / scale - (0.0 if self.bias is None else self.bias)
        )

    def _norms(self, entries: FloatArray, bias: Any) -> FloatArray:
        squares = np.bincount(self.targets, entries**2, self.outputs)
        return np.asarray(np.hypot(np.sqrt(squares), bias))

    @staticmethod
    def _places(rows: SparseRows) -> IntArray:
        return np.asarray(rows.sources * rows.outputs + rows.targets)

    @cached_property
    def row_ends(self) -> tuple[FloatArray, FloatArray]:
        low, high = np.zeros(self.outputs), np.zeros(self.outputs)
        np.minimum.at(low, self.targets, self.weight)
        np.maximum.at(high, self.targets, self.weight)
        return low, high

    def entries(self, blocks: IntArray) -> Entries:
        sample = slice(None, None, max(self.weight.size // ENTRIES_PER_PART, 1))
        yield blocks[self.targets[sample]], self.weight[sample]
        for first in range(0, self.weight.size, ENTRIES_PER_PART):
            part = slice(first, first + ENTRIES_PER_PART)
            yield blocks[self.targets[part]], self.weight[part]

    def scaled(self, factors: FloatArray) -> Sparse:
        return replace(self, weight=self.weight * factors[self.targets])

    def with_codes(self, codes: IntArray, **formats: Any) -> QuantizedSparse:
        rows = SparseRows(self.offsets, self.targets, codes, self.outputs).sparse()
        return QuantizedSparse(rows.offsets, rows.targets, rows.codes, self.outputs, **formats)


def weights_of(matrix: Any, bias: FloatArray | None = None) -> Dense | Sparse:
    """Return the synapses of a matrix (outputs, inputs) in the smaller form.

    A sparse matrix of scipy stays sparse. An array becomes sparse if at most `SPARSE_SHARE` of its weights are not 0.
    """
    if not is_compressed(matrix):
        matrix = np.asarray(matrix)
        if matrix.size < SPARSE_WEIGHTS_MIN or np.count_nonzero(matrix) > SPARSE_SHARE * matrix.size:
            return Dense(matrix, bias)
    return Sparse.from_matrix(matrix, bias)


def is_compressed(matrix: Any) -> bool:
    """Return True for a sparse matrix of scipy, by its fields."""
    return "tocsr" in dir(matrix) or set(dir(matrix)) >= FIELDS


def _entries(matrix: Any) -> tuple[tuple[int, int], IntArray, IntArray, FloatArray]:
    """Shape, outputs, inputs and values of a matrix's entries."""
    if not is_compressed(matrix):
        dense = np.asarray(matrix, np.float64)
        if dense.ndim != 2:
            raise BadOption(f"sparse: weights have {dense.ndim} dimensions: give (outputs, inputs)")
        targets, sources = np.nonzero(dense)
        return dense.shape, targets, sources, dense[targets, sources]
    if "tocsr" in dir(matrix):
        matrix = matrix.tocsr()
    indptr, indices, data = (np.asarray(each) for each in (matrix.indptr, matrix.indices, matrix.data))
    outputs, inputs = (int(size) for size in matrix.shape)
    if indptr.shape != (outputs + 1,) or indices.shape != data.shape or indices.shape != (indptr[-1],):
        raise BadOption(
            f"sparse: {indptr.size} offsets, {indices.size} indices, {data.size} values do not make compressed rows of "
            f"{outputs} outputs: give scipy.sparse.csr_matrix or its fields"
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < inputs:
        raise BadOption(f"sparse: indices {indices.min()} to {indices.max()}: give 0 to {inputs - 1}")
    targets = np.repeat(np.arange(outputs), np.diff(indptr))
    return (outputs, inputs), targets, indices.astype(np.int64), data.astype(np.float64)
