"""The elementary operations of docs/arithmetic.md on 64-bit integer arrays."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def rz(x: Integers, shift: int) -> Integers:
    """Divide by ``2**shift`` and round towards zero: ``sign(x) * (abs(x) >> shift)``."""
    return np.sign(x) * np.right_shift(np.abs(x), shift)


def sat(x: Integers, bits: int) -> Integers:
    """Clip into the symmetric range ``[-(2**(bits-1) - 1), 2**(bits-1) - 1]``."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(x, -limit, limit)


def wrap24(x: Integers) -> Integers:
    """Correct once by ``2**24`` towards ``(-2**23, 2**23]``, as Loihi's current register does."""
    half = 2**23
    return np.where(x > half, x - 2 * half, np.where(x <= -half, x + 2 * half, x))
