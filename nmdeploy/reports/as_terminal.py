"""The report as text on the terminal."""

from __future__ import annotations

import io
import shutil
import textwrap

from nmdeploy.analysis.report import Report
from nmdeploy.reports.sections import headline, sections
from nmdeploy.reports.table import caption, legend, table
from nmdeploy.reports.verification import reading_lines

SUFFIX = None


def render(report: Report) -> str:
    """Return the reading, the result, the table of layers, then each section; no number is ever cut off."""
    width = max(shutil.get_terminal_size((120, 24)).columns, 40)
    reading = reading_lines(report.read_as)
    above, below = [*reading, *([""] if reading else []), *headline(report), "", caption(report)], [legend(report)]
    for title, details in sections(report):
        below += ["", f"{title}:", *(f"  {line}" for line in details)]
    lines = [*_wrapped(above, width), *_drawn(report, width), *_wrapped(below, width)]
    return "".join(f"{line}\n" for line in lines)


def _drawn(report: Report, width: int) -> list[str]:
    """Return the lines of the table, which may exceed the width; a column's name takes one line per word."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    header, *rows = table(report)
    drawing = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for index, name in enumerate(header):
        drawing.add_column(name.replace(" ", "\n"), justify="right" if index else "left", no_wrap=True)
    for cells in rows:
        drawing.add_row(*cells)
    out = io.StringIO()
    natural = Console(width=10_000).measure(drawing).maximum
    Console(file=out, width=max(width, natural), force_terminal=False).print(drawing)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _wrapped(lines: list[str], width: int) -> list[str]:
    """Break lines between words, and indent their continuation."""
    return [
        textwrap.fill(
            line,
            width,
            subsequent_indent="    " if line.startswith("  ") else "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    ]
