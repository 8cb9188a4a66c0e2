"""Seconds of the stages of a chain, for a caller who asks for them; nothing is measured for any other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nmdeploy._util.memory import require_memory

_asked: ContextVar[dict[str, float] | None] = ContextVar("stages", default=None)


@contextmanager
def timed_stages() -> Iterator[dict[str, float]]:
    """Yield the seconds of every stage of the block by name, in the order of their beginnings."""
    found: dict[str, float] = {}
    token = _asked.set(found)
    try:
        yield found
    finally:
        _asked.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the block's seconds to the stage of that name, and refuse to go on beyond the limit of the memory."""
    found = _asked.get()
    found = {} if found is None else found
    found.setdefault(name, 0.0)
    start = time.perf_counter()
    try:
        yield
    finally:
        found[name] += time.perf_counter() - start
    require_memory(f"what the stage {name!r} made")
