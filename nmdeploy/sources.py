"""What a file of samples holds, read in blocks: the type that every file format gives, and how its damage is told."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile

Array = npt.NDArray[Any]
VECTORS = ("labels", "lengths")
DAMAGED = (
    AttributeError,
    OSError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Stored:
    """The arrays of a file of samples.

    Parameters
    ----------
    shape, dtype : of the inputs
    vectors : mapping of str to array
        ``labels`` and ``lengths``, where the file holds them.
    blocks : callable
        ``blocks(samples)`` yields the inputs in order, that many samples at a time. What is damaged raises `BadFile`,
        at the end at the latest.
    sealed_at_end : bool
        Whether damage of a block may be found after the last one only.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    vectors: Mapping[str, Array]
    blocks: Callable[[int], Iterator[Array]]
    sealed_at_end: bool = False


@contextmanager
def naming_damage(path: Path, suffix: str, saver: str) -> Iterator[None]:
    """Whatever a damaged file makes its reader raise, as one line."""
    try:
        yield
    except DAMAGED as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise BadFile(f"{path}: holds an object array or a pickle, which is never loaded: save numbers") from None
        short = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise BadFile(f"{path}: is damaged or no {suffix} file ({short}): save it again with {saver}") from None
