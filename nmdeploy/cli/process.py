"""The end of a command: errors are one line with exit code 2, and signals leave nothing half done."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from nmdeploy.cli.interruption import interrupted
from nmdeploy.errors import NmdeployError

AGAIN_SECONDS = 0.05
OBJECTS_PER_SEARCH = 20_000
FIXABLE = (NmdeployError, click.ClickException, OSError, MemoryError)


class OneLineErrors(click.Group):
    """A group that turns errors that a user can fix into one line and exit code 2, and ends tidily after signals."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with _tidy_signals() as stopped, _notes(), _rare_searches():
            try:
                sys.exit(super().main(*args, **extra | {"standalone_mode": False}))
            except click.exceptions.NoArgsIsHelpError as error:
                error.show()
                sys.exit(2)
            except Exception as error:
                # C code may turn the exit that a signal asked for into an error of its own.
                if not stopped and not isinstance(error, FIXABLE):
                    raise
                if not stopped:
                    click.echo(f"Error: {' '.join(_message(error).split())}", err=True)
                _drop_unwritable_output()
                code = error.exit_code if isinstance(error, NmdeployError) else 2
                sys.exit(128 + stopped[0] if stopped else code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _drop_output()
            sys.exit(128 + signal.SIGPIPE)


def _drop_unwritable_output() -> None:
    """Drop output that cannot be written: Python would try again at its end, and exit with code 120."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def _rare_searches() -> Iterator[None]:
    """Search for cycles of objects after many new ones only.

    Imports alone make a hundred thousand objects; the searches would take a tenth of the time of a short command.
    """
    default = gc.get_threshold()
    gc.set_threshold(OBJECTS_PER_SEARCH, *default[1:])
    try:
        yield
    finally:
        gc.set_threshold(*default)


@contextmanager
def _notes() -> Iterator[None]:
    """Print nmdeploy's warnings as notes: one line each, without the place in the code."""
    default = warnings.formatwarning

    def note(message: Any, category: Any, *place: Any, **more: Any) -> str:
        ours = category is RuntimeWarning and "nmdeploy" in str(place[:1])
        return f"note: {message}\n" if ours else default(message, category, *place, **more)

    warnings.formatwarning = note
    try:
        yield
    finally:
        warnings.formatwarning = default


class _Stopped(SystemExit):
    """The exit that unwinds the stack after a signal."""


@contextmanager
def _tidy_signals() -> Iterator[list[int]]:
    """Until the end of the block, let SIGINT, SIGTERM and SIGHUP unwind the stack, so that everything is cleaned up.

    Python drops an exception that is raised while an object is deleted or in a callback from C: it is raised again.
    """
    stopped: list[int] = []
    report = sys.unraisablehook

    def stop(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            stopped.append(number)
        raise _Stopped(128 + stopped[0])

    def dropped(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, _Stopped):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            report(unraisable)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    sys.unraisablehook = dropped
    try:
        yield stopped
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)
        if signal.SIGINT in stopped:
            click.echo(interrupted(), err=True)


def _message(error: Exception) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message()} See '{error.ctx.command_path} --help'."
    if isinstance(error, OSError) and not isinstance(error, click.ClickException):
        return f"{error.filename or 'output'}: {error.strerror or error}: free space, or change the permissions"
    if isinstance(error, MemoryError):
        return f"out of memory ({str(error) or 'no size given'}): give fewer samples or steps"
    return error.format_message() if isinstance(error, click.ClickException) else str(error)
