"""Float values that the integers of a population hold, tensor by tensor, and the measure of their change.

With one of them in the place of the exact value, the float population shows what rounding this tensor alone does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Measure: TypeAlias = Literal["decay", "bias", "threshold", "coefficient"]
Array: TypeAlias = npt.NDArray[Any]


class HeldTensor(NamedTuple):
    """One tensor of an integer population as real numbers.

    Parameters
    ----------
    values : array
        Values in the units of the float network, in the shape of the float population's tensor.
    measure : {"decay", "bias", "threshold", "coefficient"}
        Measure of a change.
    unit : array or float
        Difference that one code makes, broadcastable to `values`.
    """

    values: Array
    measure: Measure
    unit: Any


class RoundedTensor(NamedTuple):
    """One tensor of a population: its exact values, and the fields of `HeldTensor`."""

    exact: Array
    values: Array
    measure: Measure
    unit: Any

    @property
    def changed(self) -> bool:
        """True if a value changed by more than float64 resolves."""
        return not is_equal(self.exact, self.values)

    def errors(self, threshold: Array | None) -> Array:
        """Return the relative change of each neuron (H,): its worst value.

        decay
            Change of the steady gain, ``abs((1 - exact) / (1 - rounded) - 1)``.
        bias
            Change as a share of the larger of `threshold` and the bias itself.
        threshold
            Change as a share of the exact value.
        coefficient
            Norm of the change of a neuron's values over the norm of the exact ones.
        """
        change = np.abs(self.values - self.exact)
        if self.measure == "coefficient":
            size = np.linalg.norm(_rows(np.abs(self.exact)), axis=1)
            return _ratio(np.linalg.norm(_rows(change), axis=1), size)
        if self.measure == "decay":
            return _worst(_ratio(change, np.abs(1 - self.values)))
        size = np.abs(self.exact)
        if self.measure == "bias" and threshold is not None:
            size = np.maximum(size, np.abs(threshold))
        return _worst(_ratio(change, size))


class RoundedPopulation(NamedTuple):
    """All tensors of a population that rounding changes, by the field of the float population.

    Parameters
    ----------
    tensors : mapping of str to RoundedTensor
    threshold : (H,) array or None
        Threshold of the membrane; None for a population without one.
    gain : (H,) array or None
        Membrane that a constant sum of 1 leads to, infinite without leak; None if the family does not say.
    """

    tensors: Mapping[str, RoundedTensor]
    threshold: Array | None = None
    gain: Array | None = None


def is_equal(exact: Array, values: Array) -> bool:
    """Return True if no value differs by more than a few units in the last place of the largest."""
    largest = float(np.abs(exact).max(initial=0.0))
    return bool(np.abs(values - exact).max(initial=0.0) <= 1e-14 * largest)


def _rows(values: Array) -> Array:
    return values.reshape(len(values), -1)


def _worst(errors: Array) -> Array:
    return np.asarray(_rows(errors).max(1, initial=0.0))


def _ratio(change: Array, size: Array) -> Array:
    """Return ``change / size``: 0 where nothing changed, infinity where the size is 0."""
    with np.errstate(divide="ignore", over="ignore"):
        safe = np.where(change == 0, 1.0, size)
        return np.asarray(np.where(change == 0, 0.0, np.divide(change, safe)))
