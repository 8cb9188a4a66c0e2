"""The results as tables: in the terminal, and as Markdown for the documentation."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START, END = "<!-- results -->", "<!-- /results -->"
MISSING, WIDTH = "-", 132


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(content: Mapping[str, Any]) -> list[Table]:
    """All tables that have a row."""
    made = (required(content), times(content), work(content), libraries(content), growth(content), updates(content))
    return [table for table in made if table.rows]


def required(content: Mapping[str, Any]) -> Table:
    """The verdicts."""
    words = {True: "yes", False: "NO", None: "missing"}
    rows = [
        (line["name"], line["against"], number(line["ratio"]), number(line["required"]), words[line["ok"]])
        for line in content["cases"]
    ]
    return Table("required", ("case", "against", "ratio", "required", "ok"), rows)


def times(content: Mapping[str, Any]) -> Table:
    """Milliseconds a sample of each backend."""
    measured = content["measured"]
    rows = []
    for name, own in measured.get("embedded", {}).items():
        others = [milliseconds(measured.get(backend, {}).get(name)) for backend in ("reference", "lava", "bound")]
        equal = measured["equal"].get(name, {})
        same = ", ".join(f"{backend} {'equal' if is_same else 'DIFFERS'}" for backend, is_same in equal.items())
        spread = f"{1e3 * own['fastest']:.4g} - {1e3 * own['slowest']:.4g}"
        rows.append((name, milliseconds(own), spread, str(own["batch"]), *others, same))
    columns = ("ms a sample", "embedded", "fastest - slowest", "batch", "reference", "Lava", "bound", "spikes")
    return Table("medians", columns, rows)


def work(content: Mapping[str, Any]) -> Table:
    """What the bounds follow from."""
    rows = []
    for name, found in content["measured"].get("bound", {}).items():
        terms, counts = found.get("terms"), found.get("work")
        if terms is None:
            continue
        added = sum(counts["rows"].values())
        values = (added, 1e6 * terms["rows"], sum(counts["state_operations"].values()), 1e6 * terms["states"])
        last = (counts["bytes_moved"], 1e6 * terms["bytes"], 1e6 * found["seconds"], 1e6 * found["embedded"])
        least, *_, most = sorted(found["shares"])
        share = f"{statistics.median(found['shares']):.3f} ({least:.3f} - {most:.3f})"
        rows.append((name, *(f"{value:.4g}" for value in (*values, *last)), share))
    columns = ("a sample", "rows", "us", "state operations", "us", "bytes", "us", "bound/us", "embedded/us", "share")
    return Table("bound = max(rows / rate, state operations / rate, bytes / rate)", columns, rows)


def libraries(content: Mapping[str, Any]) -> Table:
    """Float libraries."""
    rows = []
    for workload, found in content["measured"].get("peers", {}).items():
        for name, result in found.items():
            if "error" in result:
                rows.append((workload, name, *[MISSING] * 3, result["error"]))
                continue
            rate, same = f"{result['spike_rate']:.3f}", f"{100 * result['agreement']:.1f} %"
            rows.append((workload, name, milliseconds(result), str(result["batch"]), rate, same))
    columns = ("network", "library", "ms a sample", "best batch", "spike rate", "output equal to the integers'")
    return Table("float libraries", columns, rows)


def growth(content: Mapping[str, Any]) -> Table:
    """Sweeps."""
    rows = [
        (
            name,
            f"{found['exponent']:.3f}",
            "  ".join(f"{x:g}: {1e3 * s:.4g}" for x, s in zip(found["x"], found["seconds"], strict=True)),
        )
        for name, found in content["measured"].get("exponent", {}).items()
    ]
    return Table("growth of embedded", ("with", "exponent", "value: ms"), rows)


def updates(content: Mapping[str, Any]) -> Table:
    """Updates of neurons and states."""
    rows = [
        (
            kind,
            *(f"{found[name] / 1e9:.4g}" for name in ("embedded", "scalar", "vectors")),
            f"{found['of_multiply_add_rate']:.3f}",
        )
        for kind, found in content["measured"].get("updates", {}).items()
    ]
    columns = ("1e9 updates a second", "embedded", "scalar loop", "vector loop", "share of the multiply-add rate")
    return Table("updates of LIF neurons, of complex states", columns, rows)


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return MISSING if value is None else f"{value:.4g}"


def milliseconds(found: Mapping[str, Any] | None) -> str:
    """Of an entry with seconds."""
    return MISSING if not found or "seconds" not in found else f"{1e3 * found['seconds']:.4g}"


def rates(found: Mapping[str, Any]) -> str:
    """What the machine does in a second."""
    rows = ", ".join(f"{rate / 1e9:.4g}e9 rows of {width} added" for width, rate in found["rows"].items())
    kinds = ", ".join(f"{rate / 1e9:.4g}e9 of float{bits}" for bits, rate in found["multiply_adds"].items())
    copied = found["bytes_copied"] / 1e9
    return f"The machine, a second: {rows}; multiply-adds: {kinds}; {copied:.4g}e9 bytes copied."


def show(content: Mapping[str, Any]) -> None:
    """Print all tables."""
    from rich.console import Console
    from rich.table import Table as Rich

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    for table in tables(content):
        drawn = Rich(title=table.title, title_justify="left")
        for column in table.columns:
            drawn.add_column(column, overflow="fold")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
    console.print(rates(content["bounds"]), markup=False, highlight=False)
    for reason, count in Counter(line["reason"] for line in content["missing"]).items():
        console.print(f"missing ({reason}): {count}", markup=False, highlight=False)


def markdown(content: Mapping[str, Any]) -> str:
    """All tables, below a line that names the machine."""
    found = content["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    parts = [f"Printed by `make bench` on {found['date']}: {found['cpu']}, {found['cores']} cores, {packages}."]
    parts.append(rates(content["bounds"]))
    for table in tables(content):
        head = [_line(table.columns), _line(("---",) * len(table.columns))]
        parts.append("\n".join([f"{table.title[0].upper()}{table.title[1:]}:", "", *head, *map(_line, table.rows)]))
    return "\n\n".join(parts)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def fill(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    before, _, rest = page.read_text("utf-8").partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page}: lacks {START} or {END}")
    page.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", "utf-8")
