"""Threads share the parts of a job; failures and stops end it as a whole."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from equal_runs import both, random_codes
from networks_wired import chain

from nmdeploy._util.locks import held_across_forks
from nmdeploy.backends import compiled
from nmdeploy.engine.run import thread_pool
from nmdeploy.engine.run.thread_pool import run_tasks, split_samples


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 31, 32, 33, 64, 100, 1000])
@pytest.mark.parametrize("most", [1, 2, 7, 32])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_parts_are_the_whole_in_order(samples: int, most: int, threads: int) -> None:
    made = split_samples(samples, most, threads)
    assert [i for part in made for i in range(part.start, part.stop)] == list(range(samples))
    assert all(0 < part.stop - part.start <= most for part in made)
    assert threads == 1 or samples < threads or len(made) >= threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_is_run_once_and_progress_reaches_the_end(threads: int) -> None:
    tasks, run, seen = split_samples(300, 4, threads), [], []  # type: ignore[var-annotated]
    run_tasks(tasks, lambda task: run.append(task.start), threads, seen.append)
    assert sorted(run) == [task.start for task in tasks]
    assert seen == sorted(seen) and seen[-1] == 300


def test_several_threads_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=60)
    run_tasks(split_samples(3, 1, 3), lambda task: together.wait() and None, 3)


@pytest.mark.parametrize("first", [True, False])
def test_an_error_in_any_thread_ends_the_job(first: bool) -> None:
    caller, run = threading.current_thread(), []  # type: ignore[var-annotated]

    def task(part: slice) -> None:
        run.append(part)
        time.sleep(0.01)
        if (threading.current_thread() is caller) == first and len(run) > 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_tasks(split_samples(500, 1, 2), task, 2)
    count = len(run)
    time.sleep(0.1)
    assert len(run) == count < 500


STOPPED = """
import signal
import threading
import time

from nmdeploy.engine.run.thread_pool import run_tasks, split_samples


class Stopped(Exception):
    pass


def stop(number, frame):
    raise Stopped


def started(self, _start=threading.Thread.start):
    _start(self)
    signal.raise_signal(signal.SIGINT)


signal.signal(signal.SIGINT, stop)
threading.Thread.start = started
run = []


def task(part):
    run.append(part)
    time.sleep(0.01)


try:
    run_tasks(split_samples(300, 1, 3), task, 3)
except Stopped:
    print(len(run) < 300)
"""


def test_a_signal_while_threads_are_started_ends_the_job() -> None:
    """An executor's thread that an exception keeps from its register is never told to end: the process would hang."""
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "True", "")


def test_jobs_within_jobs() -> None:
    """More jobs than threads: each caller runs what nobody else does."""
    done: list[int] = []
    run_tasks(split_samples(6, 1, 2), lambda a: run_tasks(split_samples(6, 1, 2), lambda b: done.append(b.start), 2), 2)
    assert len(done) == 36


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads can still be started."""
    left, start = [0], threading.Thread.start

    def started(self: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(self)

    monkeypatch.setattr(threading.Thread, "start", started)
    monkeypatch.setattr(thread_pool, "_pools", {})
    return left


def test_without_other_threads_the_callers_does_all(few_threads: list[int]) -> None:
    class Job:
        def __init__(self) -> None:
            self.run: list[slice] = []

        def task(self, part: slice) -> None:
            self.run.append(part)

    kept = []
    for _ in range(3):
        job = Job()
        kept.append(weakref.ref(job))
        run_tasks(split_samples(30, 1, 3), job.task, 3)
        assert len(job.run) == 30
        del job
    gc.collect()
    assert [each() for each in kept] == [None] * 3


def test_a_thread_that_comes_late_begins_nothing(few_threads: list[int]) -> None:
    """One of two threads can be had; it is busy with one job, and may find another one's only when that is done."""
    few_threads[0] = 1
    finished = threading.Event()
    callers = [threading.Thread(target=run_tasks, args=(split_samples(2, 1, 3), lambda part: finished.wait(60), 3))]
    few_threads[0] += 1
    callers[0].start()
    try:
        run: list[int] = []

        def task(part: slice) -> None:
            time.sleep(0.002)
            run.append(part.start)

        for _ in range(20):
            run.clear()
            run_tasks(split_samples(30, 1, 3), task, 3)
            assert sorted(run) == list(range(30))
            before = len(run)
            time.sleep(0.005)
            assert len(run) == before
    finally:
        finished.set()
        callers[0].join()


AT_THE_END = """
import atexit
import threading

from nmdeploy.engine.run.thread_pool import run_tasks, split_samples


def count(name):
    run = []
    run_tasks(split_samples(30, 1, 2), run.append, 2)
    print(name, len(run))


def late():
    threading.main_thread().join()
    count("thread")


atexit.register(count, "exit")
threading.Thread(target=late).start()
"""


def test_no_thread_can_be_started_when_the_interpreter_ends() -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=60)
    assert (sorted(done.stdout.splitlines()), done.stderr) == (["exit 30", "thread 30"], "")


def waited_for(child: int) -> tuple[int, int]:
    """What became of a process, (0, 0) if it hangs."""
    end = time.monotonic() + 60
    while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def assert_free_after_a_fork(lock: Any, hold: Callable[[], None], held: threading.Event) -> None:
    """Fork while another thread holds the lock; both processes can have it then."""
    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if lock.acquire(timeout=20) else 1)
    other.join()
    assert waited_for(child) == (child, 0)
    with lock:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_nobody_holds_a_lock_while_the_process_is_forked() -> None:
    lock, held = held_across_forks(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            time.sleep(0.2)

    assert_free_after_a_fork(lock, hold, held)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_while_a_fork_waits_for_a_lock() -> None:
    """Python goes on with the fork whatever a handler raises: the lock must be the process's own by then."""
    lock, held, failed = held_across_forks(), threading.Event(), []

    def hold() -> None:
        try:
            with lock:
                held.set()
                time.sleep(0.1)
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.2)
        except RuntimeError as error:
            failed.append(error)

    assert_free_after_a_fork(lock, hold, held)
    assert not failed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_every_lock_of_the_engine_is_one_of_those(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks while other threads run it."""
    network = chain(1, 5, 9)
    codes: Any = random_codes(network, 0, 9, 70)
    both(network, codes, trace="none")
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            compiled.run(network, codes)

    others = [threading.Thread(target=spin) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(15):
            child = os.fork()
            if child == 0:
                compiled.run(network, codes)
                os._exit(0)
            assert waited_for(child) == (child, 0)
    finally:
        stop.set()
        for other in others:
            other.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    network = chain(1, 5, 9, 12)
    codes: Any = random_codes(network, 0, 64, 9)
    both(network, codes)
    child = os.fork()
    if child == 0:
        try:
            both(network, codes)
            os._exit(0)
        finally:
            os._exit(1)
    assert (found := waited_for(child)) == (child, 0), "it hangs" if found == (0, 0) else "it failed"


def test_a_stop_from_the_keyboard_ends_the_job() -> None:
    run: list[slice] = []

    def task(part: slice) -> None:
        run.append(part)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        run_tasks(split_samples(100_000, 1, 2), task, 2)
    assert len(run) < 100_000
