"""Number format that maps real values to integer codes and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption

ROUNDINGS = ("nearest", "zero", "floor")
OVERFLOWS = ("saturate", "wrap")


@dataclass(frozen=True)
class FixedPoint:
    """A fixed-point number format: ``value = code * 2**-frac``.

    Parameters
    ----------
    bits : int
        Width of the code, sign included, 1 to 32.
    frac : int
        Fraction bits. They may be negative (codes are multiples of a power of two) or exceed `bits`.
    signed : bool
        Two's complement if true.
    rounding : {"nearest", "zero", "floor"}
        Rounding of `quantize`; ``nearest`` breaks ties to even.
    overflow : {"saturate", "wrap"}
        Treatment of values out of range by `quantize`.

    Raises
    ------
    BadOption
        `bits` is not 1 to 32, or `rounding` or `overflow` is unknown.

    Examples
    --------
    >>> weight = FixedPoint(bits=8, frac=7)
    >>> weight.min, weight.max
    (-128, 127)
    >>> weight.quantize([0.5, -1.0, 1.0]).tolist()
    [64, -128, 127]
    >>> weight.dequantize([64, -128]).tolist()
    [0.5, -1.0]
    """

    bits: int
    frac: int = 0
    signed: bool = True
    rounding: str = "nearest"
    overflow: str = "saturate"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 32:
            raise BadOption(f"number format: {self.bits} bits; a code has 1 to 32 bits: choose a width in that range")
        if self.rounding not in ROUNDINGS:
            raise BadOption(f"number format: rounding {self.rounding!r} is unknown: choose one of {ROUNDINGS}")
        if self.overflow not in OVERFLOWS:
            raise BadOption(f"number format: overflow {self.overflow!r} is unknown: choose one of {OVERFLOWS}")

    @property
    def min(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        """Largest code."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def step(self) -> float:
        """Value of one code, ``2**-frac``."""
        return 2.0**-self.frac

    def quantize(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the codes (int64) of real values: ``values * 2**frac``, rounded, then saturated or wrapped."""
        scaled = np.ldexp(np.asarray(values, np.float64), self.frac)
        rounded = {"nearest": np.rint, "zero": np.trunc, "floor": np.floor}[self.rounding](scaled)
        if self.overflow == "saturate":
            return np.clip(rounded, self.min, self.max).astype(np.int64)
        span = 1 << self.bits
        return np.asarray(np.mod(rounded - self.min, span) + self.min).astype(np.int64)

    def dequantize(self, codes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the real values ``codes * 2**-frac``, which are exact."""
        return np.ldexp(np.asarray(codes, np.float64), -self.frac)

    def contains(self, codes: npt.ArrayLike) -> bool:
        """Return True if every code is in range."""
        codes = np.asarray(codes)
        return codes.size == 0 or (int(codes.min()) >= self.min and int(codes.max()) <= self.max)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)
