"""Tables in the terminal, and as Markdown between the markers of a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import machine

WIDTH = 132


@dataclass(frozen=True)
class Table:
    """Title, names of the columns, rows of text, and a note."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def draw(tables: Sequence[Table]) -> None:
    """Print tables."""
    from rich.console import Console
    from rich.table import Table as Rich

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    for table in tables:
        drawn = Rich(title=table.title, title_justify="left")
        for column in table.columns:
            drawn.add_column(column, overflow="fold")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
        if table.note:
            console.print(table.note, markup=False, highlight=False)


def markdown(table: Table) -> str:
    """Return a table for a page, with its title above and its note below."""
    lines = (table.columns, ("---",) * len(table.columns), *table.rows)
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    title = f"{table.title[:1].upper()}{table.title[1:]}:" if table.title else ""
    return "\n\n".join(part for part in (title, body, table.note) if part)


def load_words(load: float | None) -> str:
    """Return the load of other programs in words."""
    return "load unknown" if load is None else f"load {load:.1f} at the start"


def printed_by(command: str, packages: Sequence[str], load: float | None) -> str:
    """Return the line above a table: command, date, machine, and the load of other programs at the start."""
    found = machine(load)
    named = ", ".join(f"{name} {version(name)}" for name in packages)
    where = f"{found['cpu']}, {found['cores']} cores, {load_words(load)}"
    return f"Printed by `{command}` on {found['date']}: {where}, {named}."


def fill(page: Path, marker: str, text: str) -> None:
    """Replace the text between ``<!-- marker -->`` and ``<!-- /marker -->``."""
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, _, rest = page.read_text("utf-8").partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page}: lacks {start} or {end}")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", "utf-8")
