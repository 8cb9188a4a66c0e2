"""What a file of samples holds: arrays, shapes, types and ranges. Nothing is held of it but a block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.samples.source import BLOCK_BYTES, stored_in
from nmdeploy.samples.stored import Array, Stored

RANGED_BYTES = 1 << 28  # what is read in a moment; the range of larger inputs is not looked for


def describe_data(path: Path) -> dict[str, Any]:
    """A description of samples; `BadFile` or `BadData` where there are none."""
    stored = stored_in(path)
    arrays = {"inputs": _array(stored.shape, stored.dtype, _blocks(stored))}
    for name, held in stored.vectors.items():
        # Of what is no integer a sample only shape and type are known.
        known = held.shape == stored.shape[:1] and held.dtype.kind in "iu"
        arrays[name] = _array(held.shape, held.dtype, iter([held] if known else []))
    return {"format": "samples", "arrays": arrays, "others": list(stored.others)}


def _blocks(stored: Stored) -> Iterator[Array]:
    size = math.prod(stored.shape) * stored.dtype.itemsize
    if stored.shape and 0 < size <= RANGED_BYTES:
        yield from stored.blocks(max(1, BLOCK_BYTES * stored.shape[0] // size))


def _array(shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterator[Array]) -> dict[str, Any]:
    described: dict[str, Any] = {"shape": list(shape), "type": str(dtype), "min": None, "max": None}
    ends = [(block.min(), block.max()) for block in blocks if block.size] if dtype.kind in "biuf" else []
    if ends and np.isfinite(ends).all():
        number = float if dtype.kind == "f" else int
        described |= {"min": number(min(low for low, _ in ends)), "max": number(max(high for _, high in ends))}
    return described
