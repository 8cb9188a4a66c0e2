"""The digest of the samples of a run: their codes and lengths."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.neurons.base import IntArray


class InputDigest:
    """The SHA-256 of codes and lengths that come in chunks; the cuts and the integer type make no difference.

    Codes count in the narrowest little-endian type that holds the input's format; those of one bit are packed, sample
    by sample.

    Parameters
    ----------
    number : FixedPoint
        Input format of the model.
    """

    def __init__(self, number: FixedPoint) -> None:
        self.packed = (number.min, number.max) == (0, 1)
        size = next(size for size in (1, 2, 4) if number.bits <= 8 * size)
        self.dtype = np.dtype(f"<{'i' if number.min < 0 else 'u'}{size}")
        self.codes, self.lengths = hashlib.sha256(), hashlib.sha256()
        self.shape: tuple[int, ...] = (0, 0)

    def update(self, codes: npt.NDArray[Any], lengths: IntArray) -> None:
        """Add samples: codes (samples, steps, channels), valid steps (samples,)."""
        if self.packed:
            self.codes.update(np.packbits(codes.reshape(len(codes), -1) != 0, axis=1).tobytes())
        else:
            self.codes.update(np.ascontiguousarray(codes, self.dtype).data)
        self.lengths.update(np.ascontiguousarray(lengths, "<i8").data)
        self.shape = codes.shape[1:]

    def hexdigest(self) -> str:
        """Return the digest of all samples so far: 64 hex digits."""
        content = f"{list(self.shape)} {self.codes.hexdigest()} {self.lengths.hexdigest()}"
        return hashlib.sha256(content.encode()).hexdigest()


def inputs_sha256(number: FixedPoint, codes: npt.NDArray[Any], lengths: IntArray) -> str:
    """Return the digest of samples that are in memory."""
    digest = InputDigest(number)
    digest.update(codes, np.asarray(lengths))
    return digest.hexdigest()
