"""Codes of inputs: values as a number format rounds them, or refused by the first one that it does not hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadData
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Input
from nmdeploy.samples.stored import Stored

Codes = npt.NDArray[Any]
RESCALE = "rescale the inputs"


def narrowest(stored: Stored, expected: Input) -> np.dtype[Any]:
    """Return the type of the codes: that of the file's integers, unless the format fits in a narrower one."""
    fits = _narrowest_of(expected.format.min, expected.format.max)
    exact = stored.name == "codes" or expected.format.frac == 0
    keep = exact and stored.dtype.kind in "biu" and stored.dtype.itemsize <= fits.itemsize
    return stored.dtype.newbyteorder("=") if keep else fits


@cache
def _narrowest_of(low: int, high: int) -> np.dtype[Any]:
    kinds = (np.dtype(kind) for kind in ("u1", "u2", "u4", "i1", "i2", "i4"))
    return next(kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)


def codes_of(
    path: Path, name: str, given: Codes, expected: Input, dtype: np.dtype[Any], first: int, remedy: str = RESCALE
) -> Codes:
    """Return the codes of samples; the first of them is sample number `first` of the file.

    `remedy` says what helps against a value that the format does not hold.
    """
    flat = given.reshape(*given.shape[:2], expected.size)
    number = expected.format
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        place = _place(given, ~np.isfinite(flat), first)
        raise BadData(f"{path}: {name!r} holds {place}; NaN or infinite values have no code: replace them")
    if name == "inputs" and (flat.dtype.kind == "f" or number.frac != 0):
        with np.errstate(over="ignore"):  # what is infinite now is refused below
            flat = np.rint(np.ldexp(flat.astype(np.float64), number.frac))
    if flat.min() < number.min or flat.max() > number.max:
        place = _place(given, (flat < number.min) | (flat > number.max), first)
        low, high, step = (f"{value * number.step:.15g}" for value in (number.min, number.max, 1))
        takes = {
            "inputs": f"values are {low} to {high} in steps of {step}: {_remedies(remedy, given, low, high, number)}",
            "codes": f"codes are {number.min} to {number.max}: correct them, or save values as 'inputs'",
        }
        raise BadData(f"{path}: {name!r} holds {place}; the model's {takes[name]}{_hint(name, given, number)}")
    return np.asarray(flat, dtype)


def _remedies(remedy: str, given: Codes, low: str, high: str, number: FixedPoint) -> str:
    """Return what to do with values beyond the format: counts of events have no other scale, they can be clipped."""
    clip = f"with numpy.clip(inputs, {low}, {high})"
    counts = number.frac == 0 and np.array_equal(given, np.rint(given))
    if counts and remedy == RESCALE:
        return f"clip the inputs {clip}"
    return f"{remedy}, or clip them {clip}"


def _hint(name: str, given: Codes, number: FixedPoint) -> str:
    """Return a further remedy for integers that may be codes."""
    maybe = name == "inputs" and number.frac != 0 and given.dtype.kind in "iu" and number.contains(given)
    return ", or save integers of the input format as 'codes'" if maybe else ""


def _place(inputs: Codes, bad: npt.NDArray[np.bool_], first: int) -> str:
    """Return the first bad value, with all of its digits, and its place."""
    sample, step, channel = np.unravel_index(int(np.argmax(bad)), bad.shape)
    value = inputs.reshape(bad.shape)[sample, step, channel]
    return f"{value} in sample {first + sample}, step {step}, channel {channel}"
