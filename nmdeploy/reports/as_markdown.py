"""The report as Markdown."""

from __future__ import annotations

from nmdeploy.reports import Report
from nmdeploy.reports.table import HEADER, lines, rows

SUFFIX = ".md"


def render(report: Report) -> str:
    """Table of layers, then utilization, accuracy, verification and notes as a list."""
    parts = [
        f"# {report.profile}: {report.samples} samples",
        "",
        f"Model {report.model}. Counts are means a sample.",
        "",
    ]
    parts += [_row(HEADER), _row(["---", *["---:"] * (len(HEADER) - 1)]), *(_row(cells) for cells in rows(report)), ""]
    parts += [f"- {line}" for line in lines(report)]
    return "\n".join(parts) + "\n"


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
