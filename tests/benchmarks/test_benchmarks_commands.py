"""The benchmarks' other commands and the float libraries: fits, crossovers, batches. Nothing here measures time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    calls,
    compilers,
    crossover,
    networks,
    pages,
    peers,
    small,
)
from nmdeploy.backends import reference


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
    curve = crossover.Curve((8, 8), "binary", (1.0, 4.0), {"one": (2.0, 2.0), "other": (5.0, 5.0)}, (8.0, 12.0))
    assert crossover.least([curve]) == pytest.approx(0.2)
    assert crossover.least([]) is None and crossover.holds(None)
    monkeypatch.setattr(crossover.dense_input, "DENSE_SHARE", 0.3)
    assert not crossover.holds(crossover.least([curve])) and "NOT below" in crossover.verdict(0.2, None)
    assert [words[2:] for words in crossover.tables([curve])[0].rows] == [("0.20", "never")]
    assert curve.over_best() == [4.0, 6.0] and "4.0 to 6.0 times" in crossover.numpys([curve])


def test_what_a_library_takes_to_begin_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossover.dense_input, "TRIAL_AFTER_SECONDS", 0.1)
    assert crossover.part(0.02) < crossover.PART < crossover.part(0.03)
    assert "begins in 0.02 s, 0.2 of it (at most 0.25)" in crossover.verdict(0.2, 0.02)


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
        is_small = seconds < small.auto.START_SECONDS + small.IN_THE_CODE.compile * len(network.populations)
        assert small.auto._is_small(network, samples, steps, "none") == is_small


def test_constants_are_off_in_both_directions() -> None:
    one = small.Constants(1e-4, 1e-7, 0.1)
    assert one.off(small.Constants(2e-4, 1e-7, 0.1)) == pytest.approx(2)
    assert one.off(small.Constants(1e-4, 2e-8, 0.2)) == pytest.approx(5)


def job_of(estimate: float, picked: str, reference: float, cold: float, warm: float) -> small.Run:
    first = {"estimate": estimate, "picked": picked, "reference": reference, "compiled": cold}
    return small.Run("demo", 1, 64, first, {**first, "compiled": warm})


def test_the_start_is_that_of_the_least_job() -> None:
    runs = [job_of(0.1, "compiled", 0.2, 0.9, 0.8), job_of(0.01, "reference", 0.02, 0.4, 0.1)]
    start = small.start_of(runs, 0.05)
    assert (start.warm, start.cold) == (0.1, pytest.approx(0.35))
    assert [start.off(value) for value in (0.02, 0.2, 0.7)] == pytest.approx([5, 1, 2])


def test_a_slower_choice_is_said() -> None:
    table = small.jobs_table([job_of(0.5, "compiled", 0.4, 0.7, 0.1)])
    assert "compiled, though the reference was faster" in table.note
    assert "each time" in small.jobs_table([job_of(0.1, "reference", 0.1, 0.7, 0.1)]).note


def test_the_kernels_by_hand_send_what_the_reference_does() -> None:
    for kind, shape in {"LIF": ("lif", 0, ""), "state-space": ("state_space", 2, "per-product")}.items():
        family, states, rounding = shape
        network = networks.network(networks.Shape(family, 8, states, rounding, layers=1))
        codes = networks.inputs(1, 8, 40, 0.3).astype(np.int64)
        kernel, arguments = compilers.BY_HAND[kind]
        out = np.zeros((40, 8), np.uint8)
        kernel(network.synapses["layer0.synapse"].rows.sums(codes[0]), *arguments(network), out)
        assert out.any() and np.array_equal(out, reference.run(network, codes).output[0])


def test_a_table_goes_between_its_own_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- one -->\nold\n<!-- /one -->\n<!-- two -->\nkept\n<!-- /two -->\n", "utf-8")
    for _ in range(2):
        pages.fill(page, "one", pages.markdown(pages.Table("", ("a", "b"), [("1", "2")])))
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and "old" not in text and "kept" in text
    assert text.count("| a | b |\n| --- | --- |\n| 1 | 2 |") == 1
    with pytest.raises(ValueError, match="lacks"):
        pages.fill(page, "three", "")


@pytest.mark.parametrize(
    ("median", "tail", "holds"), [(20, 60, True), (20.5, 60, False), (20, 60.5, False), (1, 1, True)]
)
def test_a_call_has_two_limits(median: float, tail: float, holds: bool) -> None:
    assert calls.Measured("push", calls.Limit(20, 60), median, tail).holds is holds
    shown = calls.Measured("push", calls.Limit(20), median, tail)
    assert shown.row() == ("push", f"{median:.1f}", "20", f"{tail:.1f}", "-") and shown.holds is (median <= 20)


def test_calls_are_timed_one_by_one() -> None:
    seen: list[int] = []
    found = calls.measured("append", calls.Limit(), [lambda: seen.append(1)] * 5)
    assert len(seen) == 10 and 0 < found.median <= found.tail and found.holds
