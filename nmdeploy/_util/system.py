"""The operating system's parts that not every platform has, and its reasons in a few words."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def register_at_fork(**functions: Callable[[], object]) -> None:
    """Register functions as `os.register_at_fork` does; nothing happens on a platform without forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**functions)


def forget_pages(content: bytes | mmap.mmap, first: int, length: int) -> None:
    """Tell the system that a part of a mapped file is not needed: else a large file would count as memory used."""
    if isinstance(content, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED, first, length)


def reason(error: BaseException) -> str:
    """Return the system's reason for an error, or the error's own text, in one line.

    >>> reason(FileNotFoundError(2, "No such file or directory", "x")), reason(ValueError())
    ('No such file or directory', 'ValueError')
    """
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
