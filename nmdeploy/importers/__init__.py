"""Importers, one file a source.

An importer module has ``SUFFIXES`` and ``load(path, *, dt=None) -> Network``. It may have ``problems(path, *, dt)``,
which lists (node, kind, problem or None) of a file whose nodes cannot all be imported, and nothing else. A third party
registers a module under the entry point group ``nmdeploy.importers``.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.network.network import Network


def importers() -> dict[str, ModuleType]:
    """Importer modules by the suffix of the files they read."""
    found = parts(__name__, "SUFFIXES", "load", problems=no_problems)
    return {suffix: module for module in found for suffix in module.SUFFIXES}


def no_problems(path: Path, *, dt: float | None = None) -> list[tuple[str, str, str | None]]:
    """Name no node: the `problems` of an importer that defines none."""
    return []


def importer_for(path: str | Path) -> ModuleType:
    """The importer of a file, by its suffix; `BadFile` for a missing file, a folder, or another suffix."""
    known = importers()
    source = Path(path)
    if not source.exists():
        raise BadFile(f"{path}: there is no such file: check the path")
    if source.is_dir():
        raise BadFile(f"{path}: is a folder: give one of {', '.join(sorted(known))}")
    if source.suffix not in known:
        raise BadFile(f"{path}: files of type {source.suffix!r} cannot be read: give one of {', '.join(sorted(known))}")
    return known[source.suffix]


def load(path: str | Path, *, dt: float | None = None) -> Network:
    """Read a float network from a checkpoint or a NIR graph.

    Parameters
    ----------
    path : path of the file; its suffix chooses the importer
    dt : float, optional
        Seconds a step, for files that hold none; `BadOption` where it is not the file's own.
    """
    if dt is not None and not 0 < dt < float("inf"):
        raise BadOption(f"--dt {dt}: give a positive number of seconds a step")
    network: Network = importer_for(path).load(Path(path), dt=dt)
    return network


def refuse_other_dt(path: str | os.PathLike[str], dt: float | None, stored: float) -> None:
    """`BadOption` for a time step that is not the one that a file holds."""
    if dt is not None and dt != stored:
        raise BadOption(f"--dt {dt}: {path} holds its own time step, {stored} s: leave --dt out")
