"""Signals that must wait while a library is in the middle of something."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let no signal's handler run inside of the block, in which C calls Python: HDF5 would take it for a failure.

    A signal that came meanwhile is raised at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    came: list[int] = []
    over = False

    def note(number: int, frame: FrameType | None) -> None:
        if over:  # a handler that was back before this one raised an exception
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
    """Raise all of them again, although the handler of one may raise an exception."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _raise(numbers[1:])
