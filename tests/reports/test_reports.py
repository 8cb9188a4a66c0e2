"""The report as terminal and Markdown show it: the result first, once, in units that a stranger knows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import live

from nmdeploy import pipeline
from nmdeploy.analysis.comparison import Comparison, Divergence, Verification
from nmdeploy.analysis.report import Report
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models.checkpoint import save
from nmdeploy.reports import formats
from nmdeploy.reports.table import table
from nmdeploy.samples.source import Data


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the terminal are broken at its width."""
    monkeypatch.setenv("COLUMNS", "120")


def windowed_report(path: Path) -> Report:
    """Of a random network with windows, whose spikes are sent once a window."""
    save(live("windowed-ssm", channels=6), path, input_format=FixedPoint(5, 4, signed=False))
    codes = np.random.default_rng(0).integers(0, 17, (3, 40, 4))
    data = Data(codes, np.zeros(3, np.int64), np.full(3, 40))
    return pipeline.report(pipeline.quantize(pipeline.load(path), "loihi2", data), data)


def test_operations_computed_have_a_column_where_they_differ(tmp_path: Path) -> None:
    report = windowed_report(tmp_path / "x.safetensors")
    header, *rows = table(report)
    at = header.index("computed ops")
    assert header[at - 1] == "synaptic ops" and {len(row) for row in rows} == {len(header)}
    for row, layer in zip(rows, (*report.layers, report.total), strict=True):
        assert row[0] == layer.name
        assert row[at - 1 : at + 1] == (
            f"{layer.synaptic_operations:.1f}",
            f"{layer.synaptic_operations_computed:.1f}",
        )
    assert 0 < report.total.synaptic_operations_computed < report.total.synaptic_operations
    for suffix in (None, ".md"):
        text = formats()[suffix].render(report)
        assert "computed" in next(line for line in text.splitlines() if "synaptic" in line and "dense" in line)
        assert "Computed ops: " in text


def test_the_column_is_left_out_where_they_are_the_same(tmp_path: Path) -> None:
    report = windowed_report(tmp_path / "x.safetensors")
    same = [
        replace(layer, synaptic_operations_computed=layer.synaptic_operations)
        for layer in (*report.layers, report.total)
    ]
    header, *rows = table(replace(report, layers=tuple(same[:-1]), total=same[-1]))
    full, *more = table(report)
    at = full.index("computed ops")
    assert header == full[:at] + full[at + 1 :] and len(rows) == len(more)
    for suffix in (None, ".md"):
        assert "omputed" not in formats()[suffix].render(replace(report, layers=tuple(same[:-1]), total=same[-1]))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return windowed_report(tmp_path_factory.mktemp("report") / "x.safetensors")


def result_lines(text: str) -> list[str]:
    """The lines after those that say how the source was read."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    block = next(i for i, line in enumerate(lines) if line.startswith(("read as: ", "- read as: ")))
    assert block == 0
    return lines[next(i for i, line in enumerate(lines) if line.removeprefix("- ").startswith("The network ")) :]


@pytest.mark.parametrize("suffix", [None, ".md"])
def test_the_result_comes_first_and_once(suffix: str | None, report: Report) -> None:
    text = formats()[suffix].render(report)
    first = result_lines(text)[0]
    joules = report.total.energy_joules
    assert joules is not None and joules.total is not None
    energy = f"{joules.total * 1e9:.2f} nJ of dynamic energy per sample"
    assert f"The network fits loihi2: {len(report.cores)} of 120 cores, " in first and energy in first
    assert text.count("fits") == text.count(energy) == text.lower().count("accuracy") == 1
    assert "are means per sample, over 3 samples" in text
    own = text[text.index("The network ") :]
    assert not re.search(r"\b(a sample|a neuron|bits?)\b", own.partition("Energy figures")[0])


@pytest.mark.parametrize("suffix", [None, ".md"])
def test_memory_is_in_kib_and_as_a_share_of_a_core(suffix: str | None, report: Report) -> None:
    text = formats()[suffix].render(report)
    fullest = max(core.usage["memory_bits"].used for core in report.cores)
    used = f"{fullest / 8192:.2f}".rstrip("0").rstrip(".")
    assert re.search(rf" memory: {used} of 192 KiB \((under 0\.1|{fullest / 1572864 * 100:.1f})%\)\n", text)
    assert "inserted delays" not in text


def test_what_does_not_fit_is_said_first(report: Report) -> None:
    lines = result_lines(formats()[None].render(replace(report, problems=("cores (4) exceed max (2)",))))
    assert lines[0].startswith("The network DOES NOT FIT loihi2 (") and lines[1] == "cores (4) exceed max (2)"


@pytest.mark.parametrize("suffix", [None, ".md"])
def test_the_comparison_with_lava_is_said_once(suffix: str | None, report: Report) -> None:
    found = Comparison("reference", "lava", 3, 40, 120, 720, 0, None)
    checked = Verification((found,), report.accuracy, report.overflows)
    text = formats()[suffix].render(replace(report, verification=checked))
    line = (
        "Integers against Lava: equal, 3 samples, 40 steps, 720 values compared (every spike and state), 0 mismatches"
    )
    assert text.count(line) == text.count("equal") == 1 and "no comparison" not in text
    divergence = Divergence(1, "block0", "spikes", 2, None, 5, 0, 1)
    wrong = replace(checked, comparisons=(replace(found, mismatches=2, first_divergence=divergence),))
    text = formats()[suffix].render(replace(report, verification=wrong))
    assert "Integers against Lava: DIFFERENT, " in text and "sample 1, step 5, layer block0, spikes of neuron 2" in text
