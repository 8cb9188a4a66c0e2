"""Cache on disk of the plans from which kernels are compiled, so that each is traced and written once.

The name of a plan's file follows from all inputs of the plan. They are the network's digest, the processor, and the
present files of this package. A plan is kept only if the network's digest is known and its families are nmdeploy's own:
the imports of other families are not known. A plan holds texts and parameters, not code. Its text leads to the compiled
code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import nmdeploy
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.lower.program import Program
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io.model import known_sha256

FOLDER, SUFFIX = "plans", ".plan"
PLANS_MAX, PLANS_MAX_BYTES = 64, 1 << 28


def program(network: QuantizedNetwork, trace: str) -> Program:
    """Return the program of a network, from the cache if it is there.

    Raises
    ------
    NotTraceable
        The network cannot be compiled, as in `compilation.compile_network`.
    """

    def planned() -> dict[str, Any]:
        from nmdeploy.engine.llvm import compilation

        made = compilation.compile_network(network, trace)
        return {field.name: getattr(made, field.name) for field in fields(made) if field.name != "network"}

    digest = _digest(network)
    return Program(network=network, **(planned() if digest is None else get_or_make(planned, digest, trace)))


def is_planned(network: QuantizedNetwork, trace: str) -> bool:
    """Return True if the program of a network is in the cache."""
    digest = _digest(network)
    return digest is not None and source_fingerprint() is not None and _path((digest, trace)).is_file()


def _digest(network: QuantizedNetwork) -> str | None:
    """Return the digest that names the plans of a network; None if they are not kept."""
    own = all(type(node).__module__.startswith("nmdeploy.") for node in network.nodes.values())
    return known_sha256(network) if own else None


def driver_text() -> str:
    """Return the text of the driver's module."""

    def written() -> str:
        from nmdeploy.engine.llvm import compilation

        return compilation.driver_text()

    return str(get_or_make(written, "driver"))


def input_text(dtype: np.dtype[Any], binary: bool) -> str:
    """Return the text of the module whose kernel reads input codes of a type."""

    def written() -> str:
        from nmdeploy.engine.llvm import compilation

        return compilation.input_text(dtype, binary)

    return str(get_or_make(written, "input", dtype.str, str(binary)))


def get_or_make(make: Callable[[], Any], *names: str) -> Any:
    """Return the result of `make`, or the cached result of an earlier call under these names."""
    if source_fingerprint() is None:
        return make()
    path = _path(names)
    content = machine.read_cached(path)
    if content is not None:
        # The folder is trusted: it also holds the machine code that this process is about to run.
        with suppress(Exception):
            found = pickle.loads(content)
            with suppress(OSError):
                os.utime(path)
            return found
    made = make()
    if _fingerprint() == source_fingerprint():
        with suppress(OSError):  # a cache that cannot be written is not an error
            machine.write_cached(path, pickle.dumps(made, pickle.HIGHEST_PROTOCOL))
        _evict(path.parent)
    return made


def _path(names: tuple[str, ...]) -> Path:
    versions = np.__version__, platform.python_version()
    parts = (*names, machine.triple(), machine.target(), str(source_fingerprint()), *versions)
    identity = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return machine.cache_folder() / FOLDER / f"{identity}{SUFFIX}"


@cache
def source_fingerprint() -> str | None:
    """Return name, size and time of every file of the package, which includes all code that makes a plan.

    Return None if a file was written after the package was imported: then the running code differs from it.
    """
    return _fingerprint()


def _fingerprint() -> str | None:
    root = Path(nmdeploy.__file__).parent
    stats = [(path.relative_to(root), path.stat()) for path in sorted(root.rglob("*.py"))]
    if max((stat.st_mtime for _, stat in stats), default=nmdeploy.IMPORTED) >= nmdeploy.IMPORTED:
        return None
    return "".join(f"{path} {stat.st_size} {stat.st_mtime_ns}\n" for path, stat in stats)


def _evict(folder: Path) -> None:
    """Delete the least recently used plans: plans are as large as models."""
    with suppress(OSError):
        stats = [(path, path.stat()) for path in folder.glob(f"*{SUFFIX}")]
        used = 0
        for count, (path, stat) in enumerate(sorted(stats, key=lambda each: each[1].st_mtime_ns, reverse=True)):
            used += stat.st_size
            if count >= PLANS_MAX or used > PLANS_MAX_BYTES:
                path.unlink()
