"""The report as CSV: one row per layer, and the total."""

from __future__ import annotations

import csv
import io
from itertools import chain

from nmdeploy.analysis.report import Report

SUFFIX = ".csv"


def render(report: Report) -> str:
    """Return the metrics per layer; an empty cell is a figure that is not available."""
    rows = [layer.to_json() | {"spike_rate": report.rates.get(layer.name)} for layer in (*report.layers, report.total)]
    populations = {} if report.read_as is None else report.read_as.populations
    facts = list(dict.fromkeys(chain.from_iterable(populations.values())))
    flat = []
    for row in rows:
        energy = row.pop("energy_joules") or {}
        said = populations.get(row["name"], {})
        flat.append(
            row
            | {f"energy_joules_{part}": value for part, value in energy.items()}
            | {f"read_as_{fact}": said[fact].value if fact in said else None for fact in facts}
        )
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()
