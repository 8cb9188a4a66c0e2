"""The options ``--timings`` and ``--max-memory`` of the commands that take long."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import click

from nmdeploy._util.memory import memory_limit
from nmdeploy._util.stages import timed_stages


def resource_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options.

    ``--timings`` prints the seconds of each stage and of all of them on stderr, whatever the outcome. ``--max-memory``
    limits the memory of the process.
    """

    @click.option(
        "--max-memory",
        type=int,
        metavar="MIB",
        default=None,
        help="Most memory of this process, in MiB (2^20 bytes). What does not fit is refused.  [default: no limit]",
    )
    @click.option("--timings", is_flag=True, help="Print the seconds of each stage on stderr.")
    @functools.wraps(command)
    def limited(*arguments: Any, timings: bool, max_memory: int | None, **options: Any) -> None:
        start = time.perf_counter()
        with timed_stages() as seconds, memory_limit(max_memory):
            try:
                command(*arguments, **options)
            finally:
                for name, taken in {**seconds, "total": time.perf_counter() - start}.items() if timings else ():
                    click.echo(f"{name}: {taken:.3f} s", err=True)

    return limited
