"""The report as Markdown."""

from __future__ import annotations

from nmdeploy.analysis.report import Report
from nmdeploy.reports.sections import headline, sections
from nmdeploy.reports.table import caption, legend, table
from nmdeploy.reports.verification import reading_lines

SUFFIX = ".md"


def render(report: Report) -> str:
    """Return how the network was read, the result, the table of layers, then each section as a list."""
    header, *rows = table(report)
    reading = [f"- {line.strip()}" for line in reading_lines(report.read_as)]
    parts = [
        f"# Report: {report.profile}",
        "",
        *reading,
        *([""] if reading else []),
        *(f"- {line}" for line in headline(report)),
        "",
    ]
    parts += ["## Layers", "", caption(report), ""]
    parts += [_row(header), _row(["---", *["---:"] * (len(header) - 1)]), *map(_row, rows), "", legend(report), ""]
    for title, lines in sections(report):
        parts += [f"## {title}", "", *(f"- {line}" for line in lines), ""]
    parts += [f"Model: SHA-256 {report.model}."]
    return "\n".join(parts) + "\n"


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
