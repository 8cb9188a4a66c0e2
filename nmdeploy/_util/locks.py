"""Locks that survive a fork of the process."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, suppress
from typing import Any

from nmdeploy._util.system import register_at_fork

RETRY_SECONDS = 0.001


def held_across_forks() -> AbstractContextManager[Any]:
    """Return a lock that no other thread holds during a fork of the process.

    Otherwise the child process would wait for it for ever.
    """
    lock = threading.RLock()  # a thread may ask if it holds the lock

    def acquire() -> None:
        try:
            lock.acquire()
        except BaseException:  # raised by a signal's handler; without the lock, the fork would continue
            while not lock.acquire(blocking=False):
                with suppress(BaseException):
                    time.sleep(RETRY_SECONDS)
            raise

    def release() -> None:
        with suppress(RuntimeError):  # released as often as it was acquired
            while True:
                lock.release()

    register_at_fork(before=acquire, after_in_parent=release, after_in_child=release)
    return lock
