"""The content of a file of samples, read in blocks, which every file format gives."""

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
        ``labels`` and ``lengths``, if the file holds them.
    blocks : callable
        ``blocks(samples)`` yields that array in order, that many samples at a time. What is damaged raises `BadFile`,
        at the end at the latest.
    sealed_at_end : bool
        True if damage of a block may be found only after the last one.
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
    """An array of objects, or a pickle."""


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
    """Turn whatever a damaged file makes its reader raise into one line."""
    try:
        yield
    except ObjectArray as error:
        raise BadFile(f"{path}: {error}, which is never loaded: save numbers") from None
    except DAMAGED as error:
        raise BadFile(
            f"{path}: is damaged or not an {suffix} file ({one_line(error)}): save it again with {saver}"
        ) from None


def join_names(names: Sequence[str]) -> str:
    """Return names in quotes, the first few."""
    return ", ".join([*map(repr, names[:MOST_NAMES]), *(["..."] if len(names) > MOST_NAMES else [])])
