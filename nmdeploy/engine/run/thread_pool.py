"""Threads that share the parts of a job: the caller's own, and others that are kept for the next job."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from nmdeploy._util.signals import defer_signals
from nmdeploy._util.system import register_at_fork

_pools: dict[int, ThreadPoolExecutor] = {}
register_at_fork(after_in_child=_pools.clear)  # a child has the object without its threads


def split_samples(samples: int, most: int, threads: int) -> list[slice]:
    """Split the samples into tasks, large at first and small at the end, so that no thread waits long for the last one.

    >>> [part.stop - part.start for part in split_samples(100, 32, 2)], [part.stop for part in split_samples(3, 32, 2)]
    ([25, 19, 14, 11, 8, 6, 5, 4, 4, 4], [1, 2, 3])
    """
    made: list[slice] = []
    first, least = 0, max(1, min(most // 8, samples // threads))
    while first < samples:
        size = max(least, min(most, -(-(samples - first) // (2 * threads)) if threads > 1 else most))
        made.append(slice(first, min(first + size, samples)))
        first += size
    return made


def run_tasks(
    tasks: Iterable[slice],
    run: Callable[[slice], None],
    threads: int,
    on_progress: Callable[[int], object] | None = None,
) -> None:
    """Run every task; the caller's thread calls `on_progress` with the number of samples that are done."""
    parts = list(tasks)
    if len(parts) != 1:
        _run_together(parts, run, threads, on_progress)
        return
    run(parts[0])  # a small job: no thread has to be told, or waited for
    if on_progress:
        on_progress(parts[0].stop - parts[0].start)


def _run_together(
    tasks: Iterable[slice],
    run: Callable[[slice], None],
    threads: int,
    on_progress: Callable[[int], object] | None,
) -> None:
    waiting, done, errors = deque(tasks), [0] * threads, list[BaseException]()
    state, working, over = threading.Condition(), set[int](), False

    def work(index: int) -> None:
        while (task := take_next(waiting)) is not None:
            run(task)
            done[index] += task.stop - task.start
            if index == 0 and on_progress:
                on_progress(sum(done))

    def help_out(index: int) -> None:
        with state:
            if over:  # it started late, or waited in an executor that had no thread for it
                return
            working.add(index)
        try:
            work(index)
        except BaseException as error:
            errors.append(error)
            waiting.clear()  # no thread starts another task
        finally:
            with state:
                working.discard(index)
                state.notify_all()

    threads = min(threads, len(waiting))
    try:
        if threads > 1:
            with defer_signals():  # a thread that is not registered yet when an exception comes would never end
                _submit(help_out, threads - 1)
        work(0)
    finally:  # no thread writes results after the caller continues
        waiting.clear()
        with state:
            over = True
            state.wait_for(lambda: not working)
    for error in errors:
        raise error
    if on_progress:
        on_progress(sum(done))


def _submit(help_out: Callable[[int], None], others: int) -> None:
    """Let other threads help; if none can start, as when the interpreter ends, the caller's thread does all."""
    try:
        for index in range(others):
            _pool(others).submit(help_out, index + 1)
    except RuntimeError:  # the executor's queue holds the submitted calls, and all memory that they refer to
        if pool := _pools.pop(others, None):
            pool.shutdown(wait=False, cancel_futures=True)


def take_next(waiting: deque[slice]) -> slice | None:
    """Remove and return the first waiting task; None if another thread took the last one."""
    with suppress(IndexError):
        return waiting.popleft()
    return None


def _pool(threads: int) -> ThreadPoolExecutor:
    return _pools.get(threads) or _pools.setdefault(threads, ThreadPoolExecutor(threads, "nmdeploy"))
