"""Report formats, one file each.

A format module has ``SUFFIX``, the file name's ending that chooses it (None: the terminal), and
``render(report) -> str``. A third party registers a module under the entry point group ``nmdeploy.reports``.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from nmdeploy._util.atomic_files import write_text
from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadOption

if TYPE_CHECKING:
    from nmdeploy.analysis.report import Report


def formats() -> dict[str | None, ModuleType]:
    """Return the format modules by suffix."""
    return {module.SUFFIX: module for module in parts(__name__, "SUFFIX", "render")}


def writer_for(path: str | Path | None) -> ModuleType:
    """Return the format module for a path, by its suffix, or that of the terminal for None."""
    suffix = None if path is None else Path(path).suffix
    if suffix not in formats():
        known = ", ".join(sorted(s for s in formats() if s))
        raise BadOption(f"{path}: reports of type {suffix!r} do not exist: end the name in one of {known}")
    return formats()[suffix]


def emit(report: Report, path: str | Path | None = None) -> None:
    """Write a report to a file, or print it."""
    text = writer_for(path).render(report)
    if path is None:
        print(text, end="")
    else:
        write_text(path, text)
