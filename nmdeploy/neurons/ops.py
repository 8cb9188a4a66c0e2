"""Operations of which a neuron's integer step consists.

Each works alike on Python integers, on NumPy arrays (64-bit or ``object``) and on the symbols of the compiled engine.
None has a branch. ``docs/arithmetic.md`` has the same rules in words.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np


def rz(x: Any, k: Any) -> Any:
    """Divide by ``2**k`` and round towards zero, ``sign(x) * (abs(x) >> k)``.

    >>> int(rz(-5, 1)), int(rz(5, 1))
    (-2, 2)
    """
    return np.sign(x) * (np.abs(x) >> k)


def select(condition: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where `condition` holds, else `no`."""
    return np.where(condition, yes, no)


def take(table: Any, index: Any) -> Any:
    """Look up ``table[..., index]`` in a table (K,) or (H, K), with integers as index.

    >>> int(take(np.array([3, 5, 7]), 2))
    7
    """
    return take_at(index, table)


@singledispatch
def take_at(index: Any, table: Any) -> Any:
    """`take` for one type of index. The compiled engine registers its symbols, which NumPy would turn into arrays."""
    return np.take(table, index if isinstance(index, int) else index.astype(np.int64), axis=-1)


def saturate(x: Any, limit: Any) -> tuple[Any, Any]:
    """Clip into ``[-limit, limit]``; also return where it clipped."""
    clipped = np.minimum(np.maximum(x, -limit), limit)
    return clipped, clipped != x


def wrap24(x: Any) -> tuple[Any, Any]:
    """Correct once by ``2**24`` into ``(-2**23, 2**23]``; also return where it corrected.

    >>> int(wrap24(2**23)[0]), int(wrap24(2**23 + 1)[0]), int(wrap24(-(2**23))[0])
    (8388608, -8388607, 8388608)
    """
    high, low = x > (1 << 23), x <= -(1 << 23)
    return select(high, x - (1 << 24), select(low, x + (1 << 24), x)), high | low


def shift(x: Any, exponent: int) -> Any:
    """Return ``x * 2**exponent``; a negative exponent floors.

    >>> shift(-3, -1), shift(-3, 1)
    (-2, -6)
    """
    return (x << max(exponent, 0)) >> max(-exponent, 0)
