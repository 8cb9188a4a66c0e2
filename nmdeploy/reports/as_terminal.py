"""The report as a table on the terminal."""

from __future__ import annotations

import io
import shutil
import textwrap

from nmdeploy.analysis.report import Report
from nmdeploy.reports.table import lines, table

SUFFIX = None


def render(report: Report) -> str:
    """Table of layers, then utilization, accuracy, verification and notes; no number is ever cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"{report.profile}, {report.samples} samples, means a sample"
    header, *rows = table(report)
    drawing = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for index, name in enumerate(header):
        drawing.add_column(name, justify="right" if index else "left", no_wrap=True)
    for cells in rows:
        drawing.add_row(*cells)
    out = io.StringIO()
    width = max(shutil.get_terminal_size((120, 24)).columns, 40)
    natural = Console(width=10_000).measure(drawing).maximum
    Console(file=out, width=max(width, natural), force_terminal=False).print(drawing)
    drawn = "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
    return drawn + "".join(f"{_wrapped(line, width)}\n" for line in lines(report))


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
