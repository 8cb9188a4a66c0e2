"""A limit of a group of processes counts what the group could use, however busy the machine is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import wait_for

from nmdeploy._util import granted_time
from nmdeploy._util.granted_time import GrantedTime, Look

BUSY = "print(flush=True)\nwhile True: pass"
ASLEEP = "import time; print(flush=True); time.sleep(1000)"


@contextmanager
def group(program: str) -> Iterator[int]:
    """Start a program in a group of its own, and wait for its first line."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def clock(monkeypatch: pytest.MonkeyPatch, *looks: Look, seconds: float = 10.0) -> list[float]:
    """Return the seconds that count after each of these looks, with the same time between two of them."""
    now = iter(range(10**6))
    seen = iter(looks)
    monkeypatch.setattr(granted_time.time, "monotonic", lambda: next(now) * seconds)
    monkeypatch.setattr(granted_time, "_look", lambda group: next(seen))
    granted = GrantedTime(1)
    return [granted.seconds() for _ in looks]


def test_a_sleeping_group_uses_the_clocks_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock(monkeypatch, Look(0.0, False), Look(0.0, False)) == [10.0, 20.0]


def test_a_running_group_uses_its_processor_time_and_at_most_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock(monkeypatch, Look(3.0, True), Look(3.5, True), Look(40.0, True)) == [3.0, 3.5, 13.5]


def test_a_process_that_ended_takes_no_time_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock(monkeypatch, Look(5.0, True), Look(2.0, True), Look(3.0, True)) == [5.0, 5.0, 6.0]


def test_without_a_list_of_processes_the_clocks_time_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(granted_time, "PROC", tmp_path / "none")
    monkeypatch.setattr(granted_time, "LOOK_SECONDS", 0.0)
    start = time.monotonic()
    granted = GrantedTime(1)
    assert 0 <= granted.seconds() <= time.monotonic() - start


needs_proc = pytest.mark.skipif(not granted_time.PROC.exists(), reason="needs /proc to look at processes")


@needs_proc
def test_a_stopped_group_uses_nothing() -> None:
    with group(BUSY) as pid:
        os.killpg(pid, signal.SIGSTOP)
        assert wait_for(lambda: granted_time._look(pid).waits)
        first = granted_time._look(pid)
        time.sleep(0.3)
        assert granted_time._look(pid) == first


@needs_proc
def test_a_busy_group_is_seen_as_running_and_a_sleeping_one_is_not() -> None:
    with group(BUSY) as busy, group(ASLEEP) as asleep:
        assert wait_for(lambda: granted_time._look(busy).used > 0.05)
        assert granted_time._look(busy).waits
        assert wait_for(lambda: not granted_time._look(asleep).waits)


@needs_proc
def test_a_group_without_processes_has_used_nothing() -> None:
    with group(ASLEEP) as pid:
        pass
    assert granted_time._look(pid) == Look(0.0, False)
