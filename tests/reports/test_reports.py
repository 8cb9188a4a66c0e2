"""The table that terminal and Markdown show: which columns it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from agreement import live

from nmdeploy import pipeline
from nmdeploy.analysis.report import Report
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models.checkpoint import save
from nmdeploy.reports import formats
from nmdeploy.reports.table import table
from nmdeploy.samples.source import Data


def windowed_report(path: Path) -> Report:
    """Of a random network with windows, whose spikes are sent once a window."""
    save(live("windowed-ssm", channels=6), path, input_format=FixedPoint(5, 4, signed=False))
    codes = np.random.default_rng(0).integers(0, 17, (3, 40, 4))
    data = Data(codes, np.zeros(3, np.int64), np.full(3, 40))
    return pipeline.report(pipeline.quantize(pipeline.load(path), "loihi2", data), data)


def test_operations_computed_have_a_column_where_they_differ(tmp_path: Path) -> None:
    report = windowed_report(tmp_path / "x.safetensors")
    header, *rows = table(report)
    at = header.index("computed")
    assert header[at - 1] == "syn. ops" and {len(row) for row in rows} == {len(header)}
    for row, layer in zip(rows, (*report.layers, report.total), strict=True):
        assert row[0] == layer.name
        assert row[at - 1 : at + 1] == (
            f"{layer.synaptic_operations:.1f}",
            f"{layer.synaptic_operations_computed:.1f}",
        )
    assert 0 < report.total.synaptic_operations_computed < report.total.synaptic_operations
    for suffix in (None, ".md"):
        line = next(line for line in formats()[suffix].render(report).splitlines() if "syn. ops" in line)
        assert "computed" in line


def test_the_column_is_left_out_where_they_are_the_same(tmp_path: Path) -> None:
    report = windowed_report(tmp_path / "x.safetensors")
    same = [
        replace(layer, synaptic_operations_computed=layer.synaptic_operations)
        for layer in (*report.layers, report.total)
    ]
    header, *rows = table(replace(report, layers=tuple(same[:-1]), total=same[-1]))
    full, *more = table(report)
    at = full.index("computed")
    assert header == full[:at] + full[at + 1 :] and len(rows) == len(more)
    for suffix in (None, ".md"):
        assert "computed" not in formats()[suffix].render(replace(report, layers=tuple(same[:-1]), total=same[-1]))
