"""Importers, one file per source.

An importer module has ``SUFFIXES`` and ``load(path, *, dt=None) -> Network``. It may have ``problems(path, *, dt)``,
which lists (node, kind, problem or None) of a file whose nodes cannot all be imported, and nothing else.

It may read objects, too: with ``takes(source) -> bool``, and ``load_object(source, *, dt=None, input_format=None) ->
Network`` for those that it takes. It recognizes them without importing their package (`nmdeploy._util.foreign`).

A third party registers a module under the entry point group ``nmdeploy.importers``.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.network import Network, QuantizedNetwork


def importers() -> dict[str, ModuleType]:
    """Importer modules by the suffix of the files they read."""
    return {suffix: module for module in _modules() for suffix in module.SUFFIXES}


def _modules() -> list[ModuleType]:
    return parts(__name__, "SUFFIXES", "load", problems=no_problems, takes=takes_nothing)


def no_problems(path: Path, *, dt: float | None = None) -> list[tuple[str, str, str | None]]:
    """Name no node: the `problems` of an importer that defines none."""
    return []


def importer_for(path: str | os.PathLike[str]) -> ModuleType:
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


def load(source: Any, *, dt: float | None = None, input_format: FixedPoint | None = None) -> Network:
    """Read a float network from a file, or make it of an object.

    Parameters
    ----------
    source : path, or object
        Of a checkpoint or NIR graph, whose suffix chooses the importer; a ``nir.NIRGraph``; a torch module of
        `nmdeploy.models`; a `Network`, which is returned as it is.
    dt : float, optional
        Seconds per step, for sources that hold none; `BadOption` if a source holds another one.
    input_format : FixedPoint, optional
        Number format of the inputs, for objects that hold none; `BadOption` if a source holds another one.
    """
    if dt is not None and not 0 < dt < float("inf"):
        raise BadOption(f"--dt {dt}: give a positive number of seconds per step")
    if isinstance(source, Network):
        refuse_other_dt("the network", dt, source.dt)
        network = source
    elif isinstance(source, (str, os.PathLike)):
        network = importer_for(source).load(Path(source), dt=dt)
    else:
        return _importer_of(source).load_object(source, dt=dt, input_format=input_format)  # type: ignore[no-any-return]
    if input_format not in (None, network.input.format):
        raise BadOption(
            f"input_format {input_format}: the source holds its own, {network.input.format}: leave input_format out"
        )
    return network


def _importer_of(source: object) -> ModuleType:
    if isinstance(source, QuantizedNetwork):
        raise BadOption("a QuantizedNetwork is no source of a float network: use it as it is")
    for module in _modules():
        if module.takes(source):
            return module
    raise BadOption(
        f"an object of type {type(source).__name__} is no source of a network: give a path, a Network, a nir.NIRGraph "
        "or a module of nmdeploy.models"
    )


def takes_nothing(source: object) -> bool:
    """Refuse every object: the `takes` of an importer that defines none."""
    return False


def refuse_other_dt(path: str | os.PathLike[str], dt: float | None, stored: float) -> None:
    """Raise `BadOption` for a time step that differs from the one in the file."""
    if dt is not None and dt != stored:
        raise BadOption(f"--dt {dt}: {path} holds its own time step, {stored} s: leave --dt out")
