"""Signals that wait until a library call has ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Run no signal handler inside the block.

    Inside it, C calls Python, and HDF5 would take an exception of a handler for a failure. A signal that arrives in the
    block is raised at its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    came: list[int] = []
    over = False

    def note(number: int, frame: FrameType | None) -> None:
        if over:  # a handler was restored before this one raised an exception
            before[signal.Signals(number)](number, frame)
        else:
            came.append(number)

    before = {number: handler for number in STOPPING if callable(handler := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        over = True
        try:
            for number, handler in before.items():
                signal.signal(number, handler)
        finally:
            _raise(list(dict.fromkeys(came)))


def _raise(numbers: list[int]) -> None:
    """Raise all signals again, even if the handler of one raises an exception."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _raise(numbers[1:])
