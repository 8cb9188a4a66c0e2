"""Bounds of what operations on two values give, from theirs: docs/engine.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nmdeploy.neurons.base import FloatArray

EXACT = 2.0**53 - 1  # 2**53 may be what a larger one was rounded to
SINGLE = 2.0**24
"""Up to these every integer is a float64, or a float32."""
TOP = 2.0**70
LONGEST_SHIFT = 63


class Bound(NamedTuple):
    """Lowest and highest value, inclusive."""

    low: FloatArray
    high: FloatArray

    @property
    def magnitude(self) -> float:
        """Largest magnitude over all neurons and states."""
        return float(max(np.abs(self.low).max(initial=0), np.abs(self.high).max(initial=0)))


def boxed(low: Any, high: Any) -> Bound:
    """A bound of what was computed: widened where it may be rounded, and never beyond `TOP`."""
    low, high = np.atleast_1d(np.asarray(low, np.float64)), np.atleast_1d(np.asarray(high, np.float64))
    if max(np.abs(low).max(initial=0), np.abs(high).max(initial=0)) > EXACT:
        low, high = low - np.abs(low) * 2.0**-50, high + np.abs(high) * 2.0**-50
    return Bound(np.maximum(low, -TOP), np.minimum(high, TOP))


def _corners(operation: Callable[[Any, Any], Any]) -> Callable[[Bound, Bound], Bound]:
    def bound(a: Bound, b: Bound) -> Bound:
        ends = [operation(x, y) for x in a for y in b]
        return boxed(np.minimum.reduce(ends), np.maximum.reduce(ends))

    return bound


def _by(k: Any) -> Any:
    return np.clip(k, 0, LONGEST_SHIFT).astype(np.int64)


def _shifted_left(a: Bound, b: Bound) -> Bound:
    return _corners(lambda x, k: np.ldexp(x, _by(k)))(a, b)


def _shifted_right(a: Bound, b: Bound) -> Bound:
    return _corners(lambda x, k: np.floor(np.ldexp(x, -_by(k))))(a, b)


def _multiplied(a: Bound, b: Bound) -> Bound:
    if a.low is a.high:  # a parameter: each end moves one way
        ends = a.low * b.low, a.low * b.high
        return boxed(np.minimum(*ends), np.maximum(*ends))
    return _multiplied(b, a) if b.low is b.high else _corners(np.multiply)(a, b)


def absolute(a: Bound) -> Bound:
    """The bound of magnitudes."""
    low = np.where((a.low <= 0) & (a.high >= 0), 0.0, np.minimum(np.abs(a.low), np.abs(a.high)))
    return boxed(low, np.maximum(np.abs(a.low), np.abs(a.high)))


def _masked(a: Bound, b: Bound) -> Bound:
    """Bitwise and: not above an operand that is not negative."""
    lows = (a.low >= 0) | (b.low >= 0)
    high = np.where(a.low >= 0, np.where(b.low >= 0, np.minimum(a.high, b.high), a.high), b.high)
    return boxed(np.where(lows, 0, -TOP), np.where(lows, high, TOP))


def _bits(a: Bound, b: Bound) -> Bound:
    """Bitwise or and exclusive or: below the next power of two."""
    most = np.maximum(np.maximum(np.abs(a.low), np.abs(a.high)), np.maximum(np.abs(b.low), np.abs(b.high)))
    top = np.ldexp(1.0, np.frexp(most)[1])
    signed = (a.low < 0) | (b.low < 0)
    return boxed(np.where(signed, -top, 0), np.where(signed, top, top - 1))


def _remainder(a: Bound, b: Bound) -> Bound:
    within = (a.low >= 0) & (a.high < b.low)
    return boxed(np.where(within, a.low, 0), np.where(within, a.high, b.high - 1))


BOTH: dict[str, Callable[[Bound, Bound], Bound]] = {
    "add": lambda a, b: boxed(a.low + b.low, a.high + b.high),
    "sub": lambda a, b: boxed(a.low - b.high, a.high - b.low),
    "mul": _multiplied,
    "min": lambda a, b: Bound(np.minimum(a.low, b.low), np.minimum(a.high, b.high)),
    "max": lambda a, b: Bound(np.maximum(a.low, b.low), np.maximum(a.high, b.high)),
    "shl": _shifted_left,
    "shr": _shifted_right,
    "and": _masked,
    "or": _bits,
    "xor": _bits,
    "mod": _remainder,
}
SURE: dict[str, Callable[[Bound, Bound], tuple[Any, Any]]] = {
    "lt": lambda a, b: (a.high < b.low, a.low >= b.high),
    "gt": lambda a, b: (a.low > b.high, a.high <= b.low),
    "le": lambda a, b: (a.high <= b.low, a.low > b.high),
    "ge": lambda a, b: (a.low >= b.high, a.high < b.low),
    "eq": lambda a, b: ((a.low == a.high) & (b.low == b.high) & (a.low == b.low), (a.high < b.low) | (a.low > b.high)),
    "ne": lambda a, b: ((a.high < b.low) | (a.low > b.high), (a.low == a.high) & (b.low == b.high) & (a.low == b.low)),
}
