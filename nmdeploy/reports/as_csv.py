"""The report as CSV: one row per layer, and the total."""

from __future__ import annotations

import csv
import io

from nmdeploy.analysis.report import Report

SUFFIX = ".csv"


def render(report: Report) -> str:
    """Return the metrics per layer; an empty cell is a figure that is not available."""
    rows = [layer.to_json() | {"spike_rate": report.rates.get(layer.name)} for layer in (*report.layers, report.total)]
    flat = []
    for row in rows:
        energy = row.pop("energy_joules") or {}
        flat.append(row | {f"energy_joules_{part}": value for part, value in energy.items()})
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()
