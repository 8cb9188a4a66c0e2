"""A signal that comes in the middle of something waits for its end."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from nmdeploy._util.signals import STOPPING, defer_signals


class Stopped(Exception):
    """What the handler raises."""


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize("error", [None, ValueError("of the block")])
def test_a_signal_is_raised_at_the_end(number: signal.Signals, error: Exception | None) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before, steps = signal.signal(number, stop), []
    try:
        with pytest.raises(Stopped), defer_signals():
            signal.raise_signal(number)
            steps.append("after the signal")
            if error is not None:
                raise error
        assert steps == ["after the signal"] and signal.getsignal(number) is stop
        with defer_signals():
            pass
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_handlers_that_are_none_stay() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with defer_signals():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_changed() -> None:
    seen = []

    def look() -> None:
        with defer_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_two_signals_are_both_raised() -> None:
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        raise Stopped

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        with pytest.raises(Stopped), defer_signals():
            for number in (*numbers, *numbers):
                signal.raise_signal(number)
        assert seen == [*numbers]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_an_exception_while_handlers_are_put_back_leaves_none_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first handler that is back may raise before the others are."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    put = signal.signal

    def interrupted(number: int, handler: object) -> None:
        put(number, handler)  # type: ignore[arg-type]
        raise Stopped

    try:
        with pytest.raises(Stopped), defer_signals():
            monkeypatch.setattr(signal, "signal", interrupted)
        monkeypatch.undo()
        signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        for number, handler in ((signal.SIGTERM, before), (signal.SIGINT, signal.default_int_handler)):
            signal.signal(number, handler)
