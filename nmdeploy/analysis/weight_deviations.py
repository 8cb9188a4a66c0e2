"""Weights and biases of integer synapses beside those of the float network, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.dynamics import Dynamics
from nmdeploy.analysis.finding import CHANGED, ROUNDING, Finding, times
from nmdeploy.analysis.tensor_deviations import BIAS, CODE, bias_text, first_of
from nmdeploy.analysis.weights import Weights
from nmdeploy.neurons.base import FloatArray
from nmdeploy.synapses.rows import SparseRows

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
ROW = 0.25
"""Relative change of a row from which on it counts."""
ALIKE = 0.8
"""Cosine from which on two rows are multiples of each other, codes at the end of their range included."""


def weight_findings(
    population: str, name: str, source: Weights, held: Weights, dynamics: Dynamics | None
) -> Iterator[tuple[str, Finding]]:
    """Yield the tensor ("weight" or "bias") and a finding of rows, without the names of its neurons."""
    for fault, at, origin, text, factor in _row_faults(source, held):
        where = tuple(int(row) for row in np.flatnonzero(at))
        yield "weight", Finding(population, fault, f"{name} weight", where, text, origin, factor)
    difference = np.abs(held.bias - source.bias)
    gain = np.ones(source.outputs) if dynamics is None else _per_row(np.abs(dynamics.gain), source.outputs)
    threshold = None if dynamics is None else dynamics.threshold
    scale = np.maximum(source.norms, 1e-12) if threshold is None else _per_row(np.abs(threshold), source.outputs)
    share = difference * (1.0 if threshold is None else gain) / np.maximum(scale, 1e-12)
    rounded = difference <= CODE * held.bias_unit
    for origin, at in ((CHANGED, (share > BIAS) & ~rounded), (ROUNDING, (share > BIAS) & rounded)):
        if at.any():
            index = first_of(at, share)
            text = bias_text(held.bias, source.bias, share, index)
            where = tuple(int(row) for row in np.flatnonzero(at))
            yield (
                "bias",
                Finding(population, f.BIAS_OFF, f"{name} bias", where, text, origin, float(share[index])),
            )


def _per_row(values: FloatArray, rows: int) -> FloatArray:
    return np.repeat(values, rows // len(values))


def _row_faults(source: Weights, held: Weights) -> Iterator[tuple[str, Mask, str, str, float]]:
    """Yield (fault, rows, origin, text, factor) of all rows that differ by more than `ROW` of their norm."""
    targets, one, other = _aligned(held.rows, source.rows)

    def by_row(entries: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(targets, entries, source.outputs), np.float64)

    norm, kept = np.sqrt(by_row(other**2)), np.sqrt(by_row(one**2))
    off = np.sqrt(by_row((one - other) ** 2)) > ROW * norm
    off &= (norm > 0) | (kept > 0)
    if not off.any():
        return
    rounded = np.ones(source.outputs, bool)
    rounded[targets[np.abs(one - other) > CODE * held.unit[targets]]] = False
    safe = np.where(norm > 0, norm, 1.0)
    alike = by_row(one * other) / (safe * np.where(kept > 0, kept, 1.0))
    ratio = kept / safe
    zero, flipped = off & (kept == 0) & rounded, off & (alike < -0.5)
    scaled = off & ~zero & ~rounded & (((alike > ALIKE) & (np.abs(ratio - 1) > 0.8 * ROW)) | (kept == 0))
    rest = off & ~zero & ~flipped & ~scaled
    if zero.any():
        text = "all weights are under half a code, and were rounded to 0: nothing that arrives has an effect"
        yield f.ROW_ROUNDED_TO_0, zero, ROUNDING, text, 0.0
    for fault, at in ((f.ROW_SCALED, scaled), (f.SIGN_FLIPPED, flipped), (f.WEIGHTS_OFF, rest)):
        for origin, part in ((CHANGED, at & ~rounded), (ROUNDING, at & rounded)):
            if part.any():
                factor = _worst(ratio[part])
                cause = "" if origin == CHANGED else ", by rounding"
                yield fault, part, origin, f"{_ROW_TEXTS[fault].format(times(factor))}{cause}", factor


_ROW_TEXTS = {
    f.ROW_SCALED: "the weights are {} the source's",
    f.SIGN_FLIPPED: "the weights have the other sign than the source's, and are {} them",
    f.WEIGHTS_OFF: "the weights differ from the source's by more than a quarter of their norm",
}


def _worst(ratios: FloatArray) -> float:
    return float(ratios[np.argmax(np.abs(np.log(np.maximum(ratios, 1e-12))))])


def _aligned(one: SparseRows, other: SparseRows) -> tuple[Array, FloatArray, FloatArray]:
    """Return the targets of all entries of two sets of rows, and the values of both, 0 where one has none."""
    places = [rows.sources * rows.outputs + rows.targets for rows in (one, other)]
    if np.array_equal(places[0], places[1]):
        return one.targets, one.codes, other.codes
    union = np.union1d(*places)
    values = []
    for at, rows in zip(places, (one, other), strict=True):
        whole = np.zeros(len(union))
        whole[np.searchsorted(union, at)] = rows.codes
        values.append(whole)
    return union % one.outputs, values[0], values[1]
