"""Backends that run a quantized network, one file each.

A backend module has ``NAMES``, the names under which the command line knows it, and
``run(network, inputs, *, lengths, trace, on_progress) -> Recording``. The inputs are of any integer type, or bool. Many
samples come in chunks, one call each, unless the module has ``WHOLE = True``: then all come in one call. With
``THREADS = True`` it also takes ``threads``, the most threads that run samples (None: one per processor). With
``stream(network) -> Stream`` it also runs samples that arrive step by step. With
``run_pieces(network, inputs, *, lengths, steps) -> Pieces`` it runs one sample and hands over all states, `steps` steps
at a time. A third party registers a module under the entry point group ``nmdeploy.backends``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy.typing as npt

from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadOption


class Stream(Protocol):
    """A run of one sample that arrives step by step, as `nmdeploy.Session` uses it.

    It checks nothing: codes lie in the input's format, and `reset` follows `flush`.
    """

    @property
    def backend(self) -> str:
        """Name of the backend."""

    def push(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run a block of input codes (steps, channels); return the outputs (k, outputs) that are known then."""

    def flush(self) -> npt.NDArray[Any]:
        """End the sample; return the outputs that are still missing."""

    def reset(self) -> None:
        """Begin the next sample, at rest."""

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return the sample's counts, by population and metric, as a recording has them."""


def _parts() -> list[ModuleType]:
    return parts(__name__, "NAMES", "run", ALIASES=(), WHOLE=False, THREADS=False, stream=None, run_pieces=None)


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
