"""The report as a table on the terminal."""

from __future__ import annotations

import io
import shutil

from nmdeploy.reports import Report
from nmdeploy.reports.table import HEADER, lines, rows

SUFFIX = None


def render(report: Report) -> str:
    """Table of layers, then utilization, accuracy, verification and notes."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.profile}, {report.samples} samples, means a sample", title_justify="left")
    for index, name in enumerate(HEADER):
        table.add_column(name, justify="right" if index else "left")
    for cells in rows(report):
        table.add_row(*cells)
    out = io.StringIO()
    width = max(shutil.get_terminal_size((120, 24)).columns, 80)
    console = Console(file=out, width=width, force_terminal=False)
    console.print(table)
    return out.getvalue() + "".join(f"{line}\n" for line in lines(report))
