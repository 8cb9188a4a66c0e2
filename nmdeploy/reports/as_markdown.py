"""The report as Markdown."""

from __future__ import annotations

from nmdeploy.analysis.report import Report
from nmdeploy.reports.table import lines, table

SUFFIX = ".md"


def render(report: Report) -> str:
    """Table of layers, then utilization, accuracy, verification and notes as a list."""
    header, *rows = table(report)
    parts = [
        f"# {report.profile}: {report.samples} samples",
        "",
        f"Model {report.model}. Counts are means a sample.",
        "",
    ]
    parts += [_row(header), _row(["---", *["---:"] * (len(header) - 1)]), *map(_row, rows), ""]
    parts += [f"- {line}" for line in lines(report)]
    return "\n".join(parts) + "\n"


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
