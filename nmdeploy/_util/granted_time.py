"""The time that counts against a limit of a group of processes, which a busy machine does not use up."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LOOK_SECONDS = 1.0
WAITING = frozenset("RT")  # ready to run, or stopped; see proc_pid_stat(5)


class GrantedTime:
    """Seconds that a group of processes could use: those in which it ran, or in which nothing kept it from running.

    If every process of the group sleeps, as in a deadlock, the clock's time counts. If one is ready to run, or stopped,
    at most the processor time of the group counts: a group to which the system gives no processor uses up nothing.
    Where there is no /proc, the clock's time counts.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._last = time.monotonic()
        self._used = 0.0
        self._seconds = 0.0

    def seconds(self) -> float:
        """Return the seconds that count so far; the processes are looked at once per `LOOK_SECONDS`."""
        elapsed = time.monotonic() - self._last
        if elapsed >= LOOK_SECONDS:
            self._last += elapsed
            look = _look(self._group)
            got = max(0.0, look.used - self._used)
            self._seconds += min(elapsed, got) if look.waits else elapsed
            self._used = look.used
        return self._seconds


@dataclass(frozen=True)
class Look:
    """Processor seconds that a group has used, and if one of its processes waits for a processor."""

    used: float
    waits: bool


def _look(group: int) -> Look:
    found = [stat for path in PROC.glob("[0-9]*/stat") if (stat := _stat(path)) and stat[2] == str(group)]
    ticks = sum(int(ticks) for stat in found for ticks in stat[11:15])  # its own, and of children that have ended
    return Look(ticks / _ticks_per_second(), any(stat[0] in WAITING for stat in found))


def _stat(path: Path) -> list[str]:
    """Return the fields of a process after its name, which may hold spaces; none if the process is gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 1
