"""What the benchmarks say: verdicts, tables, limits. Nothing here measures time."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    bounds,
    cases,
    crossover,
    event_loop,
    exported,
    one_sample,
    pages,
    peers,
    results,
    rows,
    run,
    scaling,
    table,
    training,
    turns,
    updates,
)

FORM = {"name", "against", "ratio", "required", "ok", "before"}


RATES = bounds.Rates({128: 8e8}, {32: 1e11, 64: 5e10}, 3e10, {128: 1.2e9})


LINE = {"name": "LIF", "against": "Lava", "ratio": 1.0, "required": 1.0, "ok": True, "before": ""}


def measurements(seconds: float = 1e-4) -> dict[str, Any]:
    """Made-up results in which every case holds, where a sample takes `seconds`."""
    names = list(cases.WORKLOADS)
    timing = {"seconds": seconds, "fastest": seconds, "slowest": seconds, "batch": 8, "repeats": 3}
    work = bounds.Work({128: 4e4}, {32: 8e5}, 2e5)
    bound = turns.summary([turns.Turn(work, RATES, seconds)] * 3)
    peer = {"seconds": 2e-3, "batch": 16, "tried": {"1": 3e-3, "16": 2e-3}, "spike_rate": 0.1, "agreement": 0.97}
    return {
        "equal": {name: {"reference": True, "lava": True} for name in names},
        "compiled": dict.fromkeys(names, timing),
        "reference": {name: {**timing, "seconds": 0.1} for name in names},
        "lava": {name: {"seconds": 2.0} for name in names},
        "bound": dict.fromkeys(names, bound),
        "peers": {"lif-128": {"slow": {**peer, "seconds": 1.0}, "fast": peer, "broken": {"error": "ImportError"}}},
        "exponent": {
            name: {"x": [1, 2], "seconds": [1, 2], "exponent": 1.01, "exponents": [1.01]} for name in scaling.FITTED
        },
        "updates": {kind: {**updated(1.5 * updates.required(kind)), "vectors": 5e9} for kind in cases.UPDATES},
        "startup": {"seconds": 0.5, "megabytes": 120.0, "with_samples": {"1000": 100.0, "100000": 105.0}},
        "exported": {name: {"ratio": 0.95, "ratios": [0.95]} for name in exported.plain()},
        "one_sample": {
            name: {
                "alone": 2e-3,
                "shared": 1e-3,
                "two": 2e-3,
                "gain": 2.0,
                "gain of two": 2.0,
                "ratio": 1.0,
                "ratios": [1.0],
            }
            for name in one_sample.SUBJECTS
        },
        "rates": {name: {"layer0": 0.08, "layer1": 0.11} for name in names},
        "event_loop": {
            name: {"compiled": 1e-5, "numba": 3e-5, "ratio": 3.0, "ratios": [2.9, 3.1]} for name in event_loop.SUBJECTS
        },
        "calibration": {"ratio": 30.0, "differ": 0, "error": 1e-15, "compiled": 2.0, "numpy": 60.0, "spikes": 9},
        "conversion": {name: {"seconds": 20.0, "megabytes": 600.0} for name in ("check", "export")},
        "depth": {"check": {"x": [250, 500], "seconds": [1.0, 2.0], "exponent": 1.0, "exponents": [1.0, 1.02]}},
        "traces": {
            "simulate": {"seconds": 10.0, "megabytes": 300.0},
            "verify": {"seconds": 20.0, "megabytes": 400.0},
            "bytes": {"before compression": 3.0, "in the file": 2.7},
        },
        "rows": {
            name: {"form": "sparse", "chosen": 1e-4, "dense": 4e-4, "ratio": 4.0, "ratios": [3.9, 4.0]}
            for name in rows.WORKLOADS
        },
        "training": {
            **{name: {"seconds": 1.0, "ratio": 2.0, "ratios": [1.9, 2.0]} for name in training.RIVALS},
            "plain S4D": {"seconds": 2.0},
        },
        "narrow": {kind: updated(0.5 * updates.required(kind)) for kind in cases.UPDATES},
    }


def updated(ratio: float) -> dict[str, Any]:
    """Of a kernel that makes so many times as many updates as the scalar loop."""
    return {"bits": 512, "compiled": ratio * 1e9, "scalar": 1e9, "ratio": ratio, "ratios": [ratio]}


def made(measured: dict[str, Any], missing: dict[str, str] | None = None, **failed: str) -> dict[str, Any]:
    return results.results(cases.CASES, measured, RATES.to_json(), missing or {}, failed, 0.1)


def verdict(content: dict[str, Any], against: str, name: str = "") -> list[Any]:
    return [line["ok"] for line in content["cases"] if line["against"] == against and name in line["name"]]


@pytest.mark.parametrize("module", [bounds, crossover, peers, scaling, training])
def test_doctests(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_form_of_the_json(tmp_path: Path) -> None:
    results.write(made(measurements()), tmp_path / "bench" / "results.json")
    content = json.loads((tmp_path / "bench" / "results.json").read_text("utf-8"))
    assert {"cases", "bounds", "machine"} <= set(content)
    assert len(content["cases"]) == len(cases.CASES)
    for line in content["cases"]:
        assert set(line) == FORM
        assert isinstance(line["ratio"], float) and line["ok"] is True
    assert results.passed(content) and content["missing"] == []


def test_a_case_that_is_too_slow_fails() -> None:
    content = made(measurements(seconds=1e-2))
    assert verdict(content, "Lava", "LIF") == [False, False]
    assert verdict(content, "the fastest float library") == [False]
    assert not results.passed(content)


def test_what_the_user_leaves_out_is_listed_and_does_not_fail() -> None:
    measured = measurements()
    del measured["lava"]
    content = made(measured, {"lava": "--no-lava"})
    assert verdict(content, "Lava") == [None] * 5
    assert [line["reason"] for line in content["missing"]] == ["--no-lava"] * 5
    assert results.passed(content)


def test_a_case_that_is_not_chosen_leaves_others_of_its_name() -> None:
    chosen = run.options(["--only", "bound"])
    missing = run.left_out(chosen)
    assert {case.against for case in run.needed(chosen)} == {"the machine's bound"}
    content, needed = made(measurements(), missing), len(run.needed(chosen))
    assert verdict(content, "the machine's bound") == [True] * needed != []
    assert verdict(content, "Lava") == [None] * 5
    assert len(content["missing"]) == len(cases.CASES) - needed
    shown = table.required(content)
    assert [row[-2] for row in shown.rows].count("left out") == len(cases.CASES) - needed


@pytest.mark.parametrize(("load", "warned"), [(table.BUSY, False), (table.BUSY + 0.01, True), (None, False)])
def test_other_programs_are_warned_of_beside_the_verdicts(load: float | None, warned: bool) -> None:
    text = table.report(made(measurements()) | {"machine": results.machine(load)})
    verdicts, after = text.split("Medians:")
    assert ("WARNING: the load was" in verdicts) is warned and "WARNING" not in after
    assert ("load unknown" if load is None else f"load {load:.1f} at the start") in verdicts
    assert "uniform parameters" in verdicts


@pytest.mark.parametrize("option", [["--quick"], ["--only", "LIF"], ["--no-lava"], ["--no-peers"]])
def test_a_part_of_a_run_does_not_overwrite_the_record(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--docs", *option]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_could_not_be_measured_fails_with_its_reason() -> None:
    measured = measurements() | {"peers": {}}
    content = made(measured, peers="no library answered")
    assert verdict(content, "the fastest float library") == [False]
    assert [line["reason"] for line in content["missing"]] == ["no library answered"]
    assert not results.passed(content)


def test_a_library_that_did_not_come_to_an_end_may_be_the_fastest() -> None:
    measured = measurements()
    measured["peers"]["lif-128"]["late"] = peers.UNFINISHED
    content = made(measured, peers="too long")
    assert verdict(content, "the fastest float library") == [False]
    assert [line["reason"] for line in content["missing"]] == ["too long"]


@pytest.mark.parametrize("other", ["reference", "lava"])
def test_wrong_spikes_fail_however_fast(other: str) -> None:
    measured = measurements()
    measured["equal"]["lif-128"][other] = False
    content = made(measured)
    assert verdict(content, "Lava", cases.WORKLOADS["lif-128"].title) == [False]
    assert verdict(content, "Lava", cases.WORKLOADS["lif-512"].title) == [True]


@pytest.mark.parametrize(("share", "ok"), [(0.1, False), (0.99, False), (1.01, True)])
def test_a_kernel_without_vectors_does_not_pass(share: float, ok: bool) -> None:
    measured = measurements()
    measured["updates"]["lif"] |= updated(share * updates.required("lif"))
    assert verdict(made(measured), "a scalar loop", "LIF") == [ok]


@pytest.mark.parametrize(("share", "ok"), [(0.5, True), (1.01, False)])
def test_vectors_of_half_the_width_must_miss_what_is_required(share: float, ok: bool) -> None:
    measured = measurements()
    measured["narrow"]["lif"] = updated(share * updates.required("lif"))
    assert verdict(made(measured), "misses what is required", "LIF") == [ok]


@pytest.mark.parametrize(
    ("of", "measured", "ok"),
    [
        ("seconds", 0.79, True),
        ("seconds", 0.81, False),
        ("megabytes", 199.0, True),
        ("megabytes", 201.0, False),
        ("with_samples", {"1000": 100.0, "100000": 109.0}, True),
        ("with_samples", {"1000": 100.0, "100000": 111.0}, False),
    ],
)
def test_a_process_has_limits(of: str, measured: Any, ok: bool) -> None:
    case = next(case for case in cases.CASES if (case.measure, case.of) == ("startup", of))
    everything = measurements()
    everything["startup"][of] = measured
    assert cases.judge(case, everything, {})["ok"] is ok


@pytest.mark.parametrize("command", ["check", "export"])
@pytest.mark.parametrize(
    ("of", "measured", "ok"),
    [("seconds", 29.0, True), ("seconds", 31.0, False), ("megabytes", 3900.0, True), ("megabytes", 4100.0, False)],
)
def test_each_command_of_a_conversion_has_limits(command: str, of: str, measured: float, ok: bool) -> None:
    case = next(case for case in cases.CASES if (case.measure, case.of) == ("conversion", of))
    everything = measurements()
    everything["conversion"][command][of] = measured
    assert cases.judge(case, everything, {})["ok"] is ok


@pytest.mark.parametrize(
    ("megabytes", "size", "ok"), [(499.0, 3.0, [True, True]), (501.0, 3.0, [False, True]), (1.0, 3.01, [True, False])]
)
def test_a_trace_has_limits(megabytes: float, size: float, ok: list[bool]) -> None:
    everything = measurements()
    everything["traces"]["verify"]["megabytes"] = megabytes
    everything["traces"]["bytes"]["before compression"] = size
    judged = [case for case in cases.CASES if case.measure == "traces"]
    assert [cases.judge(case, everything, {})["ok"] for case in judged] == ok


@pytest.mark.parametrize(("slope", "ok"), [(0.94, False), (0.96, True), (1.04, True), (1.06, False)])
def test_exponents_have_a_tolerance_on_both_sides(slope: float, ok: bool) -> None:
    sizes = np.array([64.0, 128, 256, 512])
    measured = measurements()
    measured["exponent"]["layers"]["exponent"] = scaling.exponent(sizes, 3e-4 * sizes**slope)
    assert verdict(made(measured), f"1 +- {cases.EXPONENT}", "layers") == [ok]


def columns(text: str, first: str) -> list[dict[str, str]]:
    """Rows of the Markdown table whose first column has that name."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first} |"))
    names, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[start:] if line)
    return [dict(zip(names, row, strict=True)) for row in rows[1:] if len(row) == len(names)]


def test_what_is_printed_multiplies_out_to_the_share() -> None:
    text = table.report(made(measurements(seconds=1.37e-4)))
    resources = [
        row for row in columns(text.split("Float libraries")[0], "per sample") if row["per sample"] == "lif-128"
    ]
    times = {row["resource"]: float(row["amount"]) / float(row["1e9 per second"]) / 1e3 for row in resources}
    assert times == {row["resource"]: pytest.approx(float(row["us"]), rel=1e-3) for row in resources}
    paired = times.pop("rows of 128 in pairs")
    share = columns(text.split("The bound's times")[0], "us per sample")[0]
    assert float(share["bound"]) == pytest.approx(max(times.values()), rel=1e-3)
    assert float(share["share"]) == pytest.approx(float(share["bound"]) / float(share["compiled"]), abs=1e-3)
    assert float(share["share of it"]) == pytest.approx(paired / float(share["compiled"]), abs=1e-3)


def test_every_case_names_something_that_is_measured() -> None:
    for case in cases.CASES:
        assert case.measure in cases.RATIO
        assert case.of in {
            **cases.WORKLOADS,
            **rows.WORKLOADS,
            **training.RIVALS,
            **event_loop.SUBJECTS,
            **one_sample.SUBJECTS,
            **dict.fromkeys(
                [*scaling.FITTED, *cases.UPDATES, "seconds", "megabytes", "with_samples", "ratio", "check", "bytes"]
            ),
        }
    assert len({(case.name, case.against) for case in cases.CASES}) == len(cases.CASES)
    assert {(case.measure, case.of) for case in cases.CASES} >= cases.BEFORE.keys()
    assert len({workload.title for workload in cases.WORKLOADS.values()}) == len(cases.WORKLOADS)


@pytest.mark.parametrize(
    ("name", "ratio", "ok"),
    [
        ("rows-8192-99", 3.0, True),
        ("rows-8192-99", 2.99, False),
        ("rows-512-96", 0.95, True),
        ("rows-512-96", 0.94, False),
    ],
)
def test_sparse_rows_have_to_pay(name: str, ratio: float, ok: bool) -> None:
    measured = measurements()
    measured["rows"][name]["ratio"] = ratio
    assert verdict(made(measured), "dense rows", rows.WORKLOADS[name].title) == [ok]


@pytest.mark.parametrize(
    ("name", "ratio", "ok"),
    [("lif-soft", 1.0, True), ("lif-soft", 0.99, False), ("spiking-ssm", 0.67, True), ("binary-s4d", 1.33, False)],
)
def test_training_has_rivals(name: str, ratio: float, ok: bool) -> None:
    measured = measurements()
    measured["training"][name]["ratio"] = ratio
    assert verdict(made(measured), training.RIVALS[name].name, name) == [ok]


def test_rows_are_measured_on_networks_that_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "WORKLOADS", {"small": rows.Workload(64, 0.1)})
    monkeypatch.setattr(rows, "VALUES", 64 * 784 * 2)
    found = rows.measure("small", 1)
    assert found["equal"] and found["ratio"] > 0 and len(found["ratios"]) == 1
    synapse = rows.network(rows.WORKLOADS["small"]).synapses["synapse"]
    assert set(synapse.fan_out) == {6}


def test_tables_go_between_the_markers_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- results -->\nold\n<!-- /results -->\n\nafter\n", "utf-8")
    for _ in range(2):
        pages.fill(page, table.MARKER, table.report(made(measurements())))
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "\nold\n" not in text
    assert text.count("| case | against | ratio | required | ok |") == 1
    page.write_text("no markers", "utf-8")
    with pytest.raises(ValueError, match="lacks"):
        pages.fill(page, table.MARKER, "")
