"""Extensions of nmdeploy: the modules of its own folders, and those that other distributions register.

A distribution registers a module under an entry point group with the folder's name, e.g. ``nmdeploy.backends``.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from nmdeploy.errors import BadOption

MARK = b"[nmdeploy."


def modules(package: str, group: str | None = None) -> list[ModuleType]:
    """Return a package's own modules, at every depth, and those registered under its name or another `group`."""
    return [*_own(package), *registered(package if group is None else group)]


def _own(package: str) -> list[ModuleType]:
    folders = [Path(folder) for folder in importlib.import_module(package).__path__]
    names = sorted({path.stem for folder in folders for path in folder.glob("[!_]*.py")})
    packages = sorted({path.parent.name for folder in folders for path in folder.glob("[!_]*/__init__.py")})
    found = [importlib.import_module(f"{package}.{name}") for name in names]
    return [*found, *(module for name in packages for module in _own(f"{package}.{name}"))]


def registered(group: str) -> list[Any]:
    """Return the objects that other distributions register under an entry point group.

    Raises
    ------
    BadOption
        A registered object cannot be imported.
    """
    if not _any_registered(tuple(sys.path)):
        return []
    from importlib.metadata import entry_points

    return [_load(entry) for entry in entry_points(group=group)]


def _load(entry: Any) -> Any:
    try:
        return entry.load()
    except Exception as error:  # a foreign module may raise anything
        raise BadOption(
            f"extension {entry.name!r} ({entry.value}) cannot be imported ({type(error).__name__}: {error}): update or "
            "uninstall it"
        ) from error


@cache
def _any_registered(folders: tuple[str, ...]) -> bool:
    """Return True if any installed distribution extends nmdeploy.

    This takes a tenth of the time of importing importlib.metadata.
    """
    files = (file for folder in folders for file in Path(folder or ".").glob("*-info/entry_points.txt"))
    return any(MARK in file.read_bytes() for file in files)


def attribute(module: ModuleType, name: str, default: Any) -> Any:
    """Return the attribute `name` of a module, or `default`, for attributes that a plugin may leave out."""
    return getattr(module, name, default)
