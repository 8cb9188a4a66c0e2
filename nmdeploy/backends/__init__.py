"""Backends that run a quantized network, one file each.

A backend module has ``NAMES``, the names under which the command line knows it, and
``run(network, inputs, *, lengths, trace, on_progress) -> Recording``. The inputs are of any integer type, or bool. Many
samples come in chunks, one call each, unless the module has ``WHOLE = True``: then all come in one call. With
``THREADS = True`` it also takes ``threads``, the most threads that run samples (None: one per processor). A third party
registers a module under the entry point group ``nmdeploy.backends``.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadOption


def _parts() -> list[ModuleType]:
    return parts(__name__, "NAMES", "run", ALIASES=(), WHOLE=False, THREADS=False)


@cache
def backends() -> dict[str, ModuleType]:
    """Return the backend modules by name."""
    return {name: module for module in _parts() for name in module.NAMES}


@cache
def _aliases() -> dict[str, ModuleType]:
    """Return the backend modules by names that are understood, but not listed."""
    return {name: module for module in _parts() for name in module.ALIASES}


def backend(name: str) -> ModuleType:
    """Return the backend of a name; `BadOption` lists those that exist."""
    found = backends().get(name) or _aliases().get(name)
    if found is None:
        raise BadOption(f"backend {name!r} does not exist: choose one of {', '.join(sorted(backends()))}")
    return found


def takes_threads(name: str) -> bool:
    """Return True for a backend that takes a number of threads."""
    return bool(backend(name).THREADS)


def takes_all_samples(name: str) -> bool:
    """Return True for a backend that takes all samples in one call, because each call is expensive."""
    return bool(backend(name).WHOLE)
