"""The benchmarks' own arithmetic: formulas, fits, verdicts, networks. Nothing here measures time."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    bounds,
    cases,
    compilers,
    crossover,
    loops,
    networks,
    peers,
    results,
    run,
    scaling,
    small,
    startup,
    table,
    turns,
    updates,
)
from nmdeploy.backends import reference
from nmdeploy.engine import machine

FORM = {"name", "against", "ratio", "required", "ok"}
RATES = bounds.Rates({128: 8e8}, {32: 1e11, 64: 5e10}, 3e10, {128: 1.2e9})
LINE = {"name": "LIF", "against": "Lava", "ratio": 1.0, "required": 1.0, "ok": True}


def measurements(seconds: float = 1e-4) -> dict[str, Any]:
    """Made-up results in which every case holds, where a sample takes `seconds`."""
    names = list(cases.WORKLOADS)
    timing = {"seconds": seconds, "fastest": seconds, "slowest": seconds, "batch": 8, "repeats": 3}
    work = bounds.Work({128: 4e4}, {32: 8e5}, 2e5)
    bound = turns.summary([turns.Turn(work, RATES, seconds)] * 3)
    peer = {"seconds": 2e-3, "batch": 16, "tried": {"1": 3e-3, "16": 2e-3}, "spike_rate": 0.1, "agreement": 0.97}
    return {
        "equal": {name: {"reference": True, "lava": True} for name in names},
        "embedded": dict.fromkeys(names, timing),
        "reference": {name: {**timing, "seconds": 0.1} for name in names},
        "lava": {name: {"seconds": 2.0} for name in names},
        "bound": dict.fromkeys(names, bound),
        "peers": {"lif-128": {"slow": {**peer, "seconds": 1.0}, "fast": peer, "broken": {"error": "ImportError"}}},
        "exponent": {
            name: {"x": [1, 2], "seconds": [1, 2], "exponent": 1.01, "exponents": [1.01]} for name in scaling.FITTED
        },
        "updates": {kind: {**updated(1.5 * updates.required(kind)), "vectors": 5e9} for kind in cases.UPDATES},
        "startup": {"seconds": 0.5, "megabytes": 120.0, "with_samples": {"1000": 100.0, "100000": 105.0}},
        "narrow": {kind: updated(0.5 * updates.required(kind)) for kind in cases.UPDATES},
    }


def updated(ratio: float) -> dict[str, Any]:
    """Of a kernel that makes so many times as many updates as the scalar loop."""
    return {"bits": 512, "embedded": ratio * 1e9, "scalar": 1e9, "ratio": ratio, "ratios": [ratio]}


def made(measured: dict[str, Any], missing: dict[str, str] | None = None, **failed: str) -> dict[str, Any]:
    return results.results(cases.CASES, measured, RATES.to_json(), missing or {}, failed, 0.1)


def verdict(content: dict[str, Any], against: str, name: str = "") -> list[Any]:
    return [line["ok"] for line in content["cases"] if line["against"] == against and name in line["name"]]


@pytest.mark.parametrize("module", [bounds, crossover, peers, scaling])
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
    content = made(measurements(), missing)
    assert verdict(content, "the machine's bound") == [True] * 5
    assert verdict(content, "Lava") == [None] * 5
    assert len(content["missing"]) == len(cases.CASES) - 5
    shown = table.required(content)
    assert [row[-1] for row in shown.rows].count("left out") == len(cases.CASES) - 5


@pytest.mark.parametrize(("load", "warned"), [(table.BUSY, False), (table.BUSY + 0.01, True), (None, False)])
def test_other_programs_are_warned_of_beside_the_verdicts(load: float | None, warned: bool) -> None:
    text = table.markdown(made(measurements()) | {"machine": results.machine(load)})
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


@pytest.mark.parametrize("other", ["reference", "lava"])
def test_wrong_spikes_fail_however_fast(other: str) -> None:
    measured = measurements()
    measured["equal"]["lif-128"][other] = False
    content = made(measured)
    assert verdict(content, "Lava", cases.TITLES["lif-128"]) == [False]
    assert verdict(content, "Lava", cases.TITLES["lif-512"]) == [True]


@pytest.mark.parametrize(("bits", "least"), [(512, 8), (256, 4), (128, 2)])
def test_what_is_required_of_vectors_follows_from_their_width(
    bits: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {feature for feature, width in updates.WIDTHS.items() if width <= bits}
    monkeypatch.setattr(updates, "has", lambda feature: feature in wide)
    assert updates.native_bits() == bits
    assert updates.required("lif") == least and updates.required("state_space") == pytest.approx(1.6 * least)


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


HIDDEN = """
from benchmarks import narrow, updates
bits = updates.native_bits()
updates.has.cache_clear()
narrow.hide(bits)
from benchmarks.networks import lif
from nmdeploy.engine import machine, planning
assembly = "".join(map(machine.assembly, planning.program(lif(128, 1)).texts))
print(bits, updates.native_bits(), *(name in assembly for name in ("zmm", "ymm", "xmm")))
"""


@pytest.mark.skipif(updates.native_bits() == updates.LEAST_BITS, reason="no vectors of several widths")
def test_wider_vectors_are_hidden_from_the_engine(tmp_path: Path) -> None:
    environment = {**os.environ, "NMDEPLOY_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], cwd=run.ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    bits = updates.native_bits()
    assert done.stdout.split() == [str(bits), str(bits // 2), "False", str(bits == 512), "True"]


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


def test_memory_is_that_of_the_command(tmp_path: Path) -> None:
    """Not that of the process that starts it."""
    held = np.ones(1 << 26)
    assert 5 < startup.peak_megabytes(["--version"]) < held.nbytes / 2e6


@pytest.mark.parametrize(("slope", "ok"), [(0.94, False), (0.96, True), (1.04, True), (1.06, False)])
def test_exponents_have_a_tolerance_on_both_sides(slope: float, ok: bool) -> None:
    sizes = np.array([64.0, 128, 256, 512])
    measured = measurements()
    measured["exponent"]["layers"]["exponent"] = scaling.exponent(sizes, 3e-4 * sizes**slope)
    assert verdict(made(measured), f"1 +- {cases.EXPONENT}", "layers") == [ok]


def test_the_middle_round_decides_however_the_speed_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([1.0] * 4 + [0.5] * 4 + [1.0, 0.9, 0.8, 0.7, 0.7, 0.8, 0.9, 1.0] + [1.0, 1, 1, 0.3] * 2 + [1.0] * 100)
    sizes = [1.0, 2, 4, 8]
    monkeypatch.setattr(scaling, "seconds_of", lambda call: call() / next(speeds))
    monkeypatch.setattr(scaling.Point, "call", lambda self: lambda: 1e-2 * self.x**1.02)
    found = scaling.measure([scaling.Point(x, networks.lif(16, 2), 1) for x in sizes], 5)
    assert found["exponent"] == pytest.approx(1.02) == scaling.exponent(found["x"], found["seconds"])
    assert len(found["exponents"]) == 5 and max(found["exponents"]) > 1.1


def test_overhead_lowers_a_fitted_exponent() -> None:
    sizes = np.array([1.0, 2, 4, 8])
    assert scaling.exponent(sizes, 7 * sizes) == pytest.approx(1)
    assert scaling.exponent(sizes, 7 * sizes + 7) < 0.85


def test_the_bound_is_the_longest_of_three() -> None:
    rates = bounds.Rates({128: 1e9, 512: 2e8}, {32: 1e11, 64: 5e10}, 1e10)
    found = bounds.bound(bounds.Work({128: 1e4, 512: 4e3}, {64: 6e5, 32: 4e5}, 2e6), rates)
    assert found.rows == pytest.approx(1e-5 + 2e-5)
    assert (found.seconds, found.limited_by) == (pytest.approx(2e-4), "bytes")


def test_the_middle_turn_decides_by_its_own_rates() -> None:
    work, rates = bounds.Work({128: 4e4}, {64: 8e5}, 2e5), [1e9, 2e9, 4e8, 5e8, 1e9]
    seconds = [1e-4, 8e-5, 2e-4, 1.9e-4, 1.2e-4]  # shares 0.4, 0.25, 0.5, 0.42, 0.33
    made = [turns.Turn(work, bounds.Rates({128: r}, {64: 5e10}, 3e10), s) for r, s in zip(rates, seconds, strict=True)]
    found = turns.summary(made)
    assert found["share"] == pytest.approx(0.4) == found["seconds"] / found["embedded"]
    assert (found["rates"]["rows"], found["in_pairs"]) == ({"128": 1e9}, None)
    assert (min(found["shares"]), max(found["shares"])) == (pytest.approx(0.25), pytest.approx(0.5))
    assert turns.deciding(made[:2]) is made[1]


def test_rows_in_pairs_have_a_share_of_their_own() -> None:
    found = turns.summary([turns.Turn(bounds.Work({128: 4e4}, {32: 8e5}, 2e5), RATES, 1e-4)])
    assert (found["share"], found["in_pairs"]["share"]) == (pytest.approx(0.5), pytest.approx(1 / 3))


def columns(text: str, first: str) -> list[dict[str, str]]:
    """Rows of the Markdown table whose first column has that name."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first} |"))
    names, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[start:] if line)
    return [dict(zip(names, row, strict=True)) for row in rows[1:] if len(row) == len(names)]


def test_what_is_printed_multiplies_out_to_the_share() -> None:
    text = table.markdown(made(measurements(seconds=1.37e-4)))
    resources = [row for row in columns(text.split("Float libraries")[0], "a sample") if row["a sample"] == "lif-128"]
    times = {row["resource"]: float(row["amount"]) / float(row["1e9 a second"]) / 1e3 for row in resources}
    assert times == {row["resource"]: pytest.approx(float(row["us"]), rel=1e-3) for row in resources}
    paired = times.pop("rows of 128 in pairs")
    share = columns(text.split("The bound's times")[0], "us a sample")[0]
    assert float(share["bound"]) == pytest.approx(max(times.values()), rel=1e-3)
    assert float(share["share"]) == pytest.approx(float(share["bound"]) / float(share["embedded"]), abs=1e-3)
    assert float(share["share of it"]) == pytest.approx(paired / float(share["embedded"]), abs=1e-3)


ROW_LOOPS = {
    **{
        f"rows, {lanes} lanes of {bits} bits": (loops.rows(128, lanes, bits), bits)
        for lanes in (16, 32)
        for bits in (8, 16)
    },
    **{f"{together} rows in pairs": (loops.row_pairs(128, together), 8) for together in (2, 4, 8)},
}


@pytest.mark.parametrize("name", ROW_LOOPS)
def test_loops_add_the_rows_that_they_are_given(name: str) -> None:
    text, bits = ROW_LOOPS[name]
    if "pairs" in name and not machine.has("avx512bw"):
        pytest.skip("no multiply-add of bytes in 512 bits")
    rng = np.random.default_rng(0)
    rows = loops.aligned(rng.integers(-127, 128, (128, 128)).astype(f"int{bits}"))
    index, out = rng.integers(0, 128, 24).astype(np.int32), loops.aligned(np.zeros(128, np.int16))
    loops.compiled(text, 4).call(24, *(array.ctypes.data for array in (index, rows, out)))
    assert sorted(out) == sorted(rows[index].astype(np.int16).sum(0))  # pairs leave the columns in another order


FLOAT_BITS = {
    "lif": (lambda: networks.lif(8, 1), 32),
    "per-product": (lambda: networks.state_space(8, 4, "per-product", 1), 32),
    "per-sum": (lambda: networks.state_space(8, 4, "per-sum", 1), 64),
}


@pytest.mark.parametrize("kind", FLOAT_BITS)
def test_what_sums_products_before_it_rounds_needs_doubles(kind: str) -> None:
    make, bits = FLOAT_BITS[kind]
    neuron = make().populations["layer0"]
    assert bounds.float_bits(neuron) == bits
    recording = reference.run(make(), networks.inputs(1, 8, 5).astype(np.int64))
    operations = 8 * 5 * bounds.operations_of(neuron)
    assert bounds.work_of(make(), recording).state_operations == {bits: operations}


def test_work_counts_rows_state_operations_and_bytes() -> None:
    network = networks.lif(16, 2)
    codes = networks.inputs(3, 16, 50)
    recording = reference.run(network, codes.astype(np.int64))
    work = bounds.work_of(network, recording)
    first = codes.sum() / 3
    assert work.rows[16] == pytest.approx(first + recording.layers["layer0"].counts["spikes"].mean())
    assert work.state_operations == {32: 2 * 16 * 50 * 2}
    assert work.bytes_moved == 50 * 32
    assert bounds.operations_of(networks.state_space(8, 4, "per-sum", 1).populations["layer0"]) == 8 * 4


MAKERS = {
    "lif": lambda: networks.lif(32, 2),
    "lif of each neuron's own": lambda: networks.lif(32, 2, uniform=False),
    "per-product": lambda: networks.state_space(16, 4, "per-product", 2),
    "per-sum": lambda: networks.state_space(16, 4, "per-sum", 2),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_networks_are_alive_and_follow_from_the_seed(make: Any) -> None:
    network = make()
    codes = networks.inputs(2, network.nodes["input"].size)
    assert codes.mean() == pytest.approx(networks.DENSITY, rel=0.1)
    layers = reference.run(network, codes.astype(np.int64), trace="spikes").layers
    assert all(0.05 <= layer.spikes.mean() <= 0.15 for layer in layers.values())  # type: ignore[union-attr]
    networks.network.cache_clear()
    again = make()
    assert again is not network
    for name, node in network.nodes.items():
        assert node.to_json() == again.nodes[name].to_json()


def test_lif_populations_for_lava_have_one_value_each() -> None:
    for neuron in networks.lif(32, 2).populations.values():
        assert all(np.ptp(getattr(neuron, name)) == 0 for name in ("du", "dv", "vth"))


def test_deep_layers_stay_alive() -> None:
    network = networks.first_layers(networks.lif(32, 9), 7)
    layers = reference.run(network, networks.inputs(2, 32).astype(np.int64), trace="spikes").layers
    assert len(layers) == 7
    assert all(0.03 <= layer.spikes.mean() <= 0.2 for layer in layers.values())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("times", "last"),
    [
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], 1024),
        ([9, 5, 6, 4, 3, 2, 3, 1, 2], 1024),
        ([9, 5, 6, 7, 1, 1, 1, 1, 1], 32),
        ([9, 3, 7, 1, 1, 1, 1, 1, 1], 16),
    ],
)
def test_batches_are_tried_until_they_worsen(times: list[float], last: int) -> None:
    found = peers.swept(dict(zip(peers.BATCHES, times, strict=True)).__getitem__, peers.BATCHES)
    assert list(found) == [batch for batch in peers.BATCHES if batch <= last]


def test_batches_fit_into_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.os, "sysconf", {"SC_AVPHYS_PAGES": 1 << 19, "SC_PAGE_SIZE": 1 << 12}.__getitem__)
    assert peers.fitting(784, 128)[-1] == 256
    assert peers.fitting(784, 1 << 20) == [1]


def test_parameters_of_float_libraries_mean_the_same() -> None:
    network = networks.lif(16, 2)
    found = peers.parameters(network)
    assert found["weights"].shape == (2, 16, 16)
    assert found["weights"][0] == pytest.approx(network.synapses["layer0.synapse"].weight * 4.0)  # type: ignore[attr-defined]
    assert (found["alpha"][0], found["beta"][0]) == ((4095 - 1024) / 4096, (4096 - 256) / 4096)


def test_every_case_names_something_that_is_measured() -> None:
    for case in cases.CASES:
        assert case.measure in cases.RATIO
        assert case.of in {
            **cases.WORKLOADS,
            **dict.fromkeys([*scaling.FITTED, *cases.UPDATES, "seconds", "megabytes", "with_samples"]),
        }
    assert len({(case.name, case.against) for case in cases.CASES}) == len(cases.CASES)
    assert set(cases.TITLES) == set(cases.WORKLOADS)


def test_tables_go_between_the_markers_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{table.START}\nold\n{table.END}\n\nafter\n", "utf-8")
    for _ in range(2):
        table.fill(page, table.markdown(made(measurements())))
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "\nold\n" not in text
    assert text.count("| case | against | ratio | required | ok |") == 1
    page.write_text("no markers", "utf-8")
    with pytest.raises(ValueError, match="lacks"):
        table.fill(page, "")


@pytest.mark.parametrize(
    ("product", "density"),
    [
        ([9.0, 9, 9], None),
        ([4.0, 4, 4], 0.4),
        ([2.0, 2, 2], 0.2),
        ([0.5, 0.5, 0.5], 0.1),
        ([0.5, 4, 4], 0.4),
    ],
)
def test_crossover_is_where_the_product_stays_faster(product: list[float], density: float | None) -> None:
    assert crossover.crossover([0.1, 0.3, 0.9], [1.0, 3, 9], product) == (density and pytest.approx(density))


def test_the_lowest_crossover_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossover, "DENSITIES", (0.1, 0.4))
    curve = crossover.Curve((8, 8), "binary", (1.0, 4.0), {"one": (2.0, 2.0), "other": (5.0, 5.0)})
    assert crossover.least([curve]) == pytest.approx(0.2)
    assert crossover.least([]) is None and crossover.holds(None)
    monkeypatch.setattr(crossover.multiplied, "DENSE", 0.3)
    assert not crossover.holds(crossover.least([curve])) and "NOT below" in crossover.verdict(0.2)
    assert [words[2:] for words in crossover.tables([curve])[0].rows] == [("0.20", "never")]


@pytest.mark.parametrize("kind", crossover.KINDS)
def test_codes_have_their_density_and_range(kind: str) -> None:
    form = crossover.KINDS[kind]
    codes = crossover.codes_of(form, 2, 32, 0.3, np.random.default_rng(0))
    assert np.count_nonzero(codes) / codes.size == pytest.approx(0.3, rel=0.05)
    assert codes.min() >= form.min and codes.max() <= form.max


def test_the_reference_is_fitted_to_its_seconds() -> None:
    work = [(64.0, 2e3), (64.0, 3e5), (256.0, 2e5), (512.0, 2.5e7)]
    exact = [3e-4 * steps + 1e-7 * states for steps, states in work]
    assert small.fitted(work, exact) == pytest.approx((3e-4, 1e-7))
    assert small.fitted(work, [2 * seconds for seconds in exact]) == pytest.approx((6e-4, 2e-7))


def test_amounts_are_those_of_the_estimate() -> None:
    network = networks.lif(16, 2)
    for samples, steps in ((1, 10), (65, 3), (200, 400)):
        batches, states = small.amounts(network, samples, steps)
        seconds = batches * small.IN_THE_CODE.step + states * small.IN_THE_CODE.state
        is_small = seconds < small.IN_THE_CODE.compile * len(network.populations)
        assert small.embedded._is_small(network, samples, steps) == is_small


def test_constants_are_off_in_both_directions() -> None:
    one = small.Constants(1e-4, 1e-7, 0.1)
    assert one.off(small.Constants(2e-4, 1e-7, 0.1)) == pytest.approx(2)
    assert one.off(small.Constants(1e-4, 2e-8, 0.2)) == pytest.approx(5)


def job_of(estimate: float, picked: str, reference: float, cold: float, warm: float) -> small.Run:
    first = {"estimate": estimate, "picked": picked, "reference": reference, "embedded": cold}
    return small.Run("demo", 1, 64, first, {**first, "embedded": warm})


def test_the_start_is_that_of_the_least_job() -> None:
    runs = [job_of(0.1, "embedded", 0.2, 0.9, 0.8), job_of(0.01, "reference", 0.02, 0.4, 0.1)]
    start = small.start_of(runs, 0.05)
    assert (start.warm, start.cold) == (0.1, pytest.approx(0.35))
    assert [start.off(value) for value in (0.02, 0.2, 0.7)] == pytest.approx([5, 1, 2])


def test_a_slower_choice_is_said() -> None:
    table = small.jobs_table([job_of(0.5, "embedded", 0.4, 0.7, 0.1)])
    assert "embedded, though the reference was faster" in table.note
    assert "each time" in small.jobs_table([job_of(0.1, "reference", 0.1, 0.7, 0.1)]).note


def test_the_kernels_by_hand_send_what_the_reference_does() -> None:
    for kind, shape in {"LIF": ("lif", 0, ""), "state-space": ("state_space", 2, "per-product")}.items():
        family, states, rounding = shape
        network = networks.network(networks.Shape(family, 8, states, rounding, layers=1))
        codes = networks.inputs(1, 8, 40, 0.3).astype(np.int64)
        kernel, arguments = compilers.BY_HAND[kind]
        out = np.zeros((40, 8), np.uint8)
        kernel((codes @ network.synapses["layer0.synapse"].matrix.T)[0], *arguments(network), out)
        assert out.any() and np.array_equal(out, reference.run(network, codes).output[0])


def test_a_table_goes_between_its_own_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- one -->\nold\n<!-- /one -->\n<!-- two -->\nkept\n<!-- /two -->\n", "utf-8")
    for _ in range(2):
        compilers.fill(page, "one", compilers.markdown(table.Table("", ("a", "b"), [("1", "2")])))
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and "old" not in text and "kept" in text
    assert text.count("| a | b |\n| --- | --- |\n| 1 | 2 |") == 1
    with pytest.raises(ValueError, match="lacks"):
        compilers.fill(page, "three", "")
