"""Rows of synapses: per input, the outputs that its event meets and what it adds to each.

All that computes, counts, proves or stores synapses asks for rows, whether they are dense or sparse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.frozen import Frozen
from nmdeploy.errors import BadOption

Array = npt.NDArray[Any]


class Rows(ABC):
    """Rows of codes, or of real weights, one per input."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""

    @property
    @abstractmethod
    def nonzero(self) -> int:
        """Number of synapses whose code is not zero."""

    @property
    @abstractmethod
    def fan_out(self) -> npt.NDArray[np.int64]:
        """(inputs,) number of synapses that an event of each input meets."""

    @abstractmethod
    def sums(self, s: Array) -> Array:
        """Return the sums (samples, outputs) of the source's output `s` (samples, inputs), in its type."""

    @abstractmethod
    def signed_sums(self) -> tuple[Array, Array]:
        """Return the sums (outputs,) of all negative codes and of all positive ones."""

    @abstractmethod
    def limits(self) -> tuple[int, int]:
        """Return the lowest and the highest code, 0 included."""

    @abstractmethod
    def inputs_met(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """(inputs,) whether an event of each input meets an output of `first` to `last` (exclusive)."""

    @abstractmethod
    def sparse(self) -> SparseRows:
        """Return the same rows without the codes that are zero."""

    @abstractmethod
    def matrix(self, converted: Callable[[Array], Array]) -> Array:
        """Return all codes (outputs, inputs), `converted` elementwise: as large as dense rows are."""

    def as_type(self, dtype: Any) -> Rows:
        """Return rows whose `sums` of values of type `dtype` convert no code: these rows by default."""
        return self

    @property
    def density(self) -> float:
        """Share of the codes that are not zero."""
        return self.nonzero / max(self.shape[0] * self.shape[1], 1)


@dataclass(frozen=True, eq=False)
class DenseRows(Frozen, Rows):
    """Rows of all outputs: codes (inputs, outputs)."""

    codes: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[1], self.codes.shape[0]

    @property
    def nonzero(self) -> int:
        return int(np.count_nonzero(self.codes))

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        return np.asarray((self.codes != 0).sum(1), np.int64)

    def sums(self, s: Array) -> Array:
        return np.asarray(s @ self.codes.astype(s.dtype, copy=False))

    def as_type(self, dtype: Any) -> DenseRows:
        return DenseRows(self.codes.astype(dtype))

    def signed_sums(self) -> tuple[Array, Array]:
        return np.minimum(self.codes, 0).sum(0), np.maximum(self.codes, 0).sum(0)

    def limits(self) -> tuple[int, int]:
        return int(self.codes.min(initial=0)), int(self.codes.max(initial=0))

    def inputs_met(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        return np.asarray(self.codes[:, first:last].any(1))

    def matrix(self, converted: Callable[[Array], Array]) -> Array:
        return converted(self.codes.T)

    def sparse(self) -> SparseRows:
        sources, targets = np.nonzero(self.codes)
        return SparseRows(_offsets(sources, len(self.codes)), targets, self.codes[sources, targets], self.shape[0])


@dataclass(frozen=True, eq=False)
class SparseRows(Frozen, Rows):
    """Rows of the outputs that are met.

    Parameters
    ----------
    offsets : (inputs + 1,) int
        Input i has the entries ``offsets[i]`` to ``offsets[i + 1]`` (exclusive).
    targets : (entries,) int
        Output of each entry, ascending within a row, none twice.
    codes : (entries,)
        What an event adds to it.
    outputs : int
    """

    offsets: Array
    targets: Array
    codes: Array
    outputs: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.outputs, len(self.offsets) - 1

    @property
    def nonzero(self) -> int:
        return int(np.count_nonzero(self.codes))

    @cached_property
    def sources(self) -> npt.NDArray[np.int64]:
        """(entries,) input of each entry."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.sources[self.codes != 0], minlength=self.shape[1])

    def sums(self, s: Array) -> Array:
        total = np.zeros((len(s), self.outputs), s.dtype)
        for row, arriving in zip(total, s, strict=True):
            events = np.flatnonzero(arriving)
            lengths = self.offsets[events + 1] - self.offsets[events]
            ends = np.cumsum(lengths)
            entries = np.arange(lengths.sum()) + np.repeat(self.offsets[events] - (ends - lengths), lengths)
            added = self.codes[entries].astype(s.dtype) * np.repeat(arriving[events], lengths)
            np.add.at(row, self.targets[entries], added)
        return total

    def signed_sums(self) -> tuple[Array, Array]:
        return self._by_output(np.minimum(self.codes, 0)), self._by_output(np.maximum(self.codes, 0))

    def _by_output(self, values: Array) -> Array:
        total = np.zeros(self.outputs, values.dtype)
        np.add.at(total, self.targets, values)
        return total

    def limits(self) -> tuple[int, int]:
        return int(self.codes.min(initial=0)), int(self.codes.max(initial=0))

    def inputs_met(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        met = (first <= self.targets) & (self.targets < last) & (self.codes != 0)
        return np.bincount(self.sources[met], minlength=self.shape[1]) > 0

    def matrix(self, converted: Callable[[Array], Array]) -> Array:
        values = converted(self.codes)
        found = np.zeros(self.shape, values.dtype)
        found[self.targets, self.sources] = values
        return found

    def sparse(self) -> SparseRows:
        kept = self.codes != 0
        if kept.all():
            return self
        return SparseRows(
            _offsets(self.sources[kept], self.shape[1]), self.targets[kept], self.codes[kept], self.outputs
        )

    def check(self, what: str) -> None:
        """`BadOption`, its message beginning with `what`, unless the arrays describe rows."""
        offsets, targets = self.offsets, self.targets
        if offsets.ndim != 1 or not offsets.size or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise BadOption(f"{what}: offsets are no ascending list from 0 on: give (inputs + 1,) offsets")
        if targets.shape != (offsets[-1],) or self.codes.shape != targets.shape:
            raise BadOption(
                f"{what}: {targets.size} targets and {self.codes.size} codes, {int(offsets[-1])} are announced: "
                "give as many"
            )
        if targets.size and not 0 <= targets.min() <= targets.max() < self.outputs:
            raise BadOption(
                f"{what}: targets {int(targets.min())} to {int(targets.max())}: give 0 to {self.outputs - 1}"
            )
        if ((np.diff(targets) <= 0) & (np.diff(self.sources) == 0)).any():
            raise BadOption(f"{what}: targets of a row do not ascend: sort them, and add up those that occur twice")


def _offsets(sources: Array, inputs: int) -> npt.NDArray[np.int64]:
    """Offsets of entries that are sorted by input."""
    return np.concatenate([[0], np.cumsum(np.bincount(sources, minlength=inputs))])
