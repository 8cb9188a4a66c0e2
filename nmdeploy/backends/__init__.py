"""Backends that run a quantized network, one file each.

A backend module has ``NAMES``, the names under which the command line knows it, and
``run(network, inputs, *, lengths, trace, on_progress) -> Recording``. The inputs are of any integer type, or bool. Many
samples come in chunks, one call each, unless the module says ``WHOLE = True``: then all come in one call. It may define
``instead(network, samples, steps, trace) -> (module, note or None)``, which names the backend with the same values that
should run a job in its place. A third party registers a module under the entry point group ``nmdeploy.backends``.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from nmdeploy._util.plugins import modules
from nmdeploy.errors import BadOption


@cache
def backends() -> dict[str, ModuleType]:
    """Backend modules by name."""
    return {name: module for module in modules(__name__) for name in getattr(module, "NAMES", ())}


def backend(name: str) -> ModuleType:
    """The backend of that name; `BadOption` names those that exist."""
    if name not in backends():
        raise BadOption(f"backend {name!r} does not exist: choose one of {', '.join(sorted(backends()))}")
    return backends()[name]
