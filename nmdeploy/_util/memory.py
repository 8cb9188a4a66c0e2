"""A limit of the memory of a process: what is held at once follows it, and what does not fit is refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from nmdeploy.errors import BadOption

MIB = 1 << 20
COPIES = 4
"""Times that a chunk is in memory: as it was read, as codes, as outputs, and as it is written."""
RUNNING_MIB = 112
"""MiB that a process holds once it has compiled a small network."""
SMALL_MIB = 256
"""MiB in which every command runs a small network: Python, NumPy, HDF5 and LLVM take most of it."""
STATM = Path("/proc/self/statm")

_limit: ContextVar[int | None] = ContextVar("memory", default=None)


@contextmanager
def memory_limit(mebibytes: int | None) -> Iterator[None]:
    """Let the process hold that many MiB at most during the block; None is no limit.

    Raises
    ------
    BadOption
        The number is below 1, this system does not say what a process holds, or what is needed does not fit.
    """
    if mebibytes is None:
        yield
        return
    if mebibytes < 1:
        raise BadOption(f"--max-memory {mebibytes}: give 1 MiB or more")
    if not STATM.exists():
        raise BadOption(f"--max-memory {mebibytes}: {sys.platform} has no {STATM}: leave --max-memory out")
    token = _limit.set(mebibytes * MIB)
    try:
        yield
    finally:
        _limit.reset(token)


def resident_bytes() -> int:
    """Return the bytes of memory that this process holds now."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def chunk_bytes(most: int) -> int:
    """Return the bytes that a chunk may take: `most`, or as much less as the limit leaves when kernels are compiled."""
    limit = _limit.get()
    if limit is None:
        return most
    return max(1, min(most, (limit - max(resident_bytes(), RUNNING_MIB * MIB)) // COPIES))


def require_memory(name: str, needed: int = 0) -> None:
    """`BadOption` if the process would exceed its limit with `needed` more bytes for what `name` says."""
    limit = _limit.get()
    if limit is None:
        return
    held = resident_bytes()
    if held + needed > limit:
        more = f" and {name} takes {_mebibytes(needed):,} MiB more" if needed else f" with {name}"
        least = max(SMALL_MIB, _mebibytes(held + needed) * 5 // 4)
        raise BadOption(
            f"--max-memory {limit // MIB}: the process holds {_mebibytes(held):,} MiB{more}: "
            f"give {least:,} or more, or fewer samples"
        )


def _mebibytes(size: int) -> int:
    return -(-size // MIB)
