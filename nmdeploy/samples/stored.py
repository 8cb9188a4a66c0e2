"""What a file of samples holds, read in blocks: the type that every file format gives, and how its damage is told."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.open_file import one_line
from nmdeploy.errors import BadData, BadFile

Array = npt.NDArray[Any]
INPUTS = ("inputs", "codes")
VECTORS = ("labels", "lengths")
MOST_NAMES = 8
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
    name : {"inputs", "codes"}
        Array that holds the samples: real values, or integers of the model's input format.
    shape, dtype : of that array
    vectors : mapping of str to array
        ``labels`` and ``lengths``, where the file holds them.
    blocks : callable
        ``blocks(samples)`` yields that array in order, that many samples at a time. What is damaged raises `BadFile`,
        at the end at the latest.
    sealed_at_end : bool
        Whether damage of a block may be found after the last one only.
    others : tuple of str
        Names of the arrays that are none of these.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    vectors: Mapping[str, Array]
    blocks: Callable[[int], Iterator[Array]]
    sealed_at_end: bool = False
    others: tuple[str, ...] = ()


class ObjectArray(ValueError):
    """Something holds a pickle."""


def name_of_samples(path: Path, names: Collection[str]) -> str | None:
    """Return the one of `INPUTS` that a file has; None without any.

    Raises
    ------
    BadData
        The file has both.
    """
    found = [name for name in INPUTS if name in names]
    if len(found) > 1:
        raise BadData(f"{path}: holds 'inputs' and 'codes': keep the values ('inputs') or the integers ('codes')")
    return found[0] if found else None


@contextmanager
def describe_damage(path: Path, suffix: str, saver: str) -> Iterator[None]:
    """Whatever a damaged file makes its reader raise, as one line."""
    try:
        yield
    except ObjectArray as error:
        raise BadFile(f"{path}: {error}, which is never loaded: save numbers") from None
    except DAMAGED as error:
        raise BadFile(
            f"{path}: is damaged or no {suffix} file ({one_line(error)}): save it again with {saver}"
        ) from None


def join_names(names: Sequence[str]) -> str:
    """Names in quotes, the first few."""
    return ", ".join([*map(repr, names[:MOST_NAMES]), *(["..."] if len(names) > MOST_NAMES else [])])
