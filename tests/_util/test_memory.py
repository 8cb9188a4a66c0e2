"""The limit of the memory of a process: chunks follow it, and what does not fit is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmdeploy._util import memory
from nmdeploy._util.memory import COPIES, MIB, RUNNING_MIB, chunk_bytes, memory_limit, require_memory
from nmdeploy.errors import BadOption

HELD = RUNNING_MIB


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process hold as much as once it runs."""
    monkeypatch.setattr(memory, "resident_bytes", lambda: HELD * MIB)
    monkeypatch.setattr(memory, "STATM", Path(__file__))


def test_without_a_limit_nothing_changes() -> None:
    assert chunk_bytes(1 << 40) == 1 << 40
    require_memory("all", 1 << 60)
    with memory_limit(None):
        assert chunk_bytes(7) == 7


@pytest.mark.parametrize(("limit", "most", "expected"), [(152, 1 << 40, 10 * MIB), (152, 5, 5), (99, 1 << 40, 1)])
def test_a_chunk_takes_a_part_of_what_is_left(limit: int, most: int, expected: int) -> None:
    assert COPIES == 4
    with memory_limit(limit):
        assert chunk_bytes(most) == expected
    assert chunk_bytes(most) == most


def test_what_fits_exactly_is_accepted() -> None:
    with memory_limit(152):
        require_memory("a", 40 * MIB)
        with pytest.raises(BadOption) as caught:
            require_memory("a", 300 * MIB + 1)
    assert str(caught.value) == (
        "--max-memory 152: the process holds 112 MiB and a takes 301 MiB more: give 516 or more, or fewer samples"
    )


def test_what_is_held_already_may_be_too_much() -> None:
    with memory_limit(99), pytest.raises(BadOption, match="the process holds 112 MiB with b: give 256 or more"):
        require_memory("b")


def test_a_system_that_does_not_say_what_is_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "STATM", tmp_path / "none")
    with pytest.raises(BadOption, match="leave --max-memory out"), memory_limit(100):
        pass


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_below_one(limit: int) -> None:
    with pytest.raises(BadOption, match="give 1 MiB or more"), memory_limit(limit):
        pass


def test_a_process_that_does_not_run_yet_keeps_room_for_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 10 * MIB)
    with memory_limit(RUNNING_MIB + 40):
        assert chunk_bytes(1 << 40) == 10 * MIB
