"""What a platform lacks is left out."""

from __future__ import annotations

import mmap
import os

import pytest

from nmdeploy._util import system


def test_a_platform_without_forks_and_affinities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    system.register_at_fork(before=print)
    assert system.processors() == 1
    with mmap.mmap(-1, 1 << 16) as mapped:
        system.forget_pages(mapped, 0, 1 << 16)


def test_the_reason_of_the_system_or_of_the_error() -> None:
    assert system.reason(OSError(28, "No space left on device", "x")) == "No space left on device"
    assert system.reason(ValueError("one\ntwo")) == "one" and system.reason(MemoryError()) == "MemoryError"
