"""Elementary operations of docs/arithmetic.md on 64-bit integer arrays."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def rz(x: Integers, bits: int) -> Integers:
    """Divide by ``2**bits`` and round towards zero: ``sign(x) * (abs(x) >> bits)``."""
    return np.asarray(np.sign(x) * np.right_shift(np.abs(x), bits))


def shift(x: Integers, exponent: int) -> Integers:
    """Multiply by ``2**exponent``; a negative exponent rounds towards minus infinity."""
    return np.left_shift(x, exponent) if exponent >= 0 else np.right_shift(x, -exponent)


def sat(x: Integers, bits: int) -> Integers:
    """Clip into the symmetric range ``[-(2**(bits-1) - 1), 2**(bits-1) - 1]``."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(x, -limit, limit)


def wrap24(x: Integers) -> Integers:
    """Correct once by ``2**24`` towards ``(-2**23, 2**23]``, as Loihi's current register does."""
    half = 2**23
    return np.where(x > half, x - 2 * half, np.where(x <= -half, x + 2 * half, x))


def integers(key: str, value: ArrayLike, shape: tuple[int, ...]) -> Integers:
    """Return `value` as 64-bit integers of `shape`; a single number fills the array.

    Raises
    ------
    ValueError
        `value` has another shape, holds numbers that are not integers, or exceeds Lava's 32 bits.
    """
    array = np.asarray(value)
    if array.ndim == 0:
        array = np.full(shape, array)
    wide = array.astype(np.int64) if array.dtype.kind in "iu" else None
    if array.shape != shape or wide is None or np.any(np.abs(wide) >= 2**31):
        found = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"{key} is {found}; it must be 32-bit integers {list(shape)}")
    return wide
