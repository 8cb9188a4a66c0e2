"""Codes in as few whole bytes as their bits need, and back to 64 bits.

Codes of 17 to 24 bits take three bytes, which is no integer type of NumPy. They become three planes of signed bytes,
the lowest one first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadData

WIDEST = 64
WIDTHS = (8, 16, 24, 32, WIDEST)
PLANES = 24
Array = npt.NDArray[Any]


def stored_width(bits: int) -> int:
    """Return the bits that a code of `bits` takes.

    >>> [stored_width(bits) for bits in (1, 8, 9, 16, 17, 24, 25, 32, 33, 64)]
    [8, 8, 16, 16, 24, 24, 32, 32, 64, 64]
    """
    return next(width for width in WIDTHS if bits <= width)


def element(width: int) -> np.dtype[Any]:
    """Return the type of what is stored: of codes, or of one plane of them."""
    return np.dtype(np.int8 if width == PLANES else f"<i{width // 8}")


def planes_of(width: int) -> int:
    """Return the number of arrays that codes of a width become."""
    return 3 if width == PLANES else 1


def narrowed(codes: Array, width: int) -> list[Array]:
    """Return codes as they are stored: one array, or three planes; `BadData` if one does not fit."""
    if codes.size and width < WIDEST:
        low, high = codes.min(), codes.max()
        if low < -(1 << (width - 1)) or high >= 1 << (width - 1):
            raise BadData(
                f"a state of {int(low if low < -high else high)} exceeds the {width} bits that its family declares: "
                "report this fault"
            )
    if width != PLANES:
        return [np.ascontiguousarray(codes, element(width))]
    codes = np.ascontiguousarray(codes, np.int32)
    return [(codes >> shift if shift else codes).astype(np.int8) for shift in (0, 8, 16)]


def widened(parts: list[Array]) -> Array:
    """Return the codes that `narrowed` stored, as 64-bit integers."""
    codes = parts[-1].astype(np.int64)
    for plane in parts[-2::-1]:
        codes <<= 8
        codes |= plane.view(np.uint8)
    return codes
