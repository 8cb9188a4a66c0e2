"""Locks that survive a fork of the process."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, suppress
from typing import Any

from nmdeploy._util.system import register_at_fork

RETRY_SECONDS = 0.001


def held_across_forks() -> AbstractContextManager[Any]:
    """A lock that nobody else holds while the process is forked: the child would wait for it for ever."""
    lock = threading.RLock()  # a thread may ask whether it has got it

    def acquire() -> None:
        try:
            lock.acquire()
        except BaseException:  # of a signal's handler; without the lock, the fork would go on
            while not lock.acquire(blocking=False):
                with suppress(BaseException):
                    time.sleep(RETRY_SECONDS)
            raise

    def release() -> None:
        with suppress(RuntimeError):  # as often as it was acquired
            while True:
                lock.release()

    register_at_fork(before=acquire, after_in_parent=release, after_in_child=release)
    return lock
