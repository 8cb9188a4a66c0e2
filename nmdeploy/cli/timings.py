"""The option ``--timings`` of the commands that take long."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import click

from nmdeploy._util.stages import timed_stages


def timings_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--timings``, which prints the seconds of each stage and of all of them on stderr, whatever the outcome."""

    @click.option("--timings", is_flag=True, help="Print the seconds of each stage on stderr.")
    @functools.wraps(command)
    def timed(*arguments: Any, timings: bool, **options: Any) -> None:
        start = time.perf_counter()
        with timed_stages() as seconds:
            try:
                command(*arguments, **options)
            finally:
                for name, taken in {**seconds, "total": time.perf_counter() - start}.items() if timings else ():
                    click.echo(f"{name}: {taken:.3f} s", err=True)

    return timed
