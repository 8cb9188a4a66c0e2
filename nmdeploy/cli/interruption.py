"""How far a command came before it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Reached(NamedTuple):
    """Units done, of all."""

    done: int
    total: int
    unit: str


_reached: list[Reached] = []
"""Place of the command that runs in this process; empty before its progress and after its end."""


@contextmanager
def remembered(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of the units done and of all, which remembers them until the block ends well."""

    def remember(done: int, total: int) -> None:
        _reached[:] = [Reached(done, total, unit)]

    _reached.clear()
    yield remember
    _reached.clear()


def interrupted() -> str:
    """Return the line for a command that is interrupted: files are written after the last unit, each as a whole.

    >>> _reached[:] = [Reached(128, 400_000, "samples")]
    >>> interrupted()
    'Interrupted after 128 of 400,000 samples: nothing was written.'
    >>> interrupted()
    'Interrupted.'
    """
    if not _reached:
        return "Interrupted."
    done, total, unit = _reached.pop()
    unfinished = ": nothing was written" if done < total else ""
    return f"Interrupted after {done:,} of {total:,} {unit}{unfinished}."
