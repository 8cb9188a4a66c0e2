"""One sample on several processors: whatever the stages, the values are those of one processor."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from equal_runs import differences, random_codes
from every_shape import WIRED
from family_examples import examples, quantized

from nmdeploy.backends import compiled, reference
from nmdeploy.engine.run import layer_pipeline
from nmdeploy.engine.run.layer_pipeline import PipelineChoice, split, stages
from nmdeploy.network.network import QuantizedNetwork

FAMILIES = examples()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share every sample, in short chunks."""
    monkeypatch.setattr(layer_pipeline, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(layer_pipeline, "SURE_SECONDS", 0.0)
    monkeypatch.setattr(layer_pipeline, "LEAST_CHUNK", 3)


def require_equal(network: QuantizedNetwork, codes: np.ndarray, threads: int) -> None:
    """Compare single samples of several lengths with the reference, each twice, and several samples in between."""
    for length in (codes.shape[1], codes.shape[1] // 2, 1):
        one, lengths = codes[:1], np.array([length])
        expected = reference.run(network, one, lengths=lengths, trace="states")
        for _ in range(2):
            found = compiled.run(network, one, lengths=lengths, trace="states", threads=threads)
            assert not differences(expected, found)
    assert not differences(
        reference.run(network, codes, trace="states"), compiled.run(network, codes, trace="states", threads=threads)
    )


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", WIRED)
def test_networks_of_every_shape(name: str, threads: int, always: None) -> None:
    network = WIRED[name]()
    require_equal(network, random_codes(network, 5, 3, 90), threads)


@pytest.mark.parametrize("index", range(len(FAMILIES)), ids=lambda index: f"{FAMILIES[index].kind}-{index}")
def test_every_family(index: int, always: None) -> None:
    network = quantized(FAMILIES[index])
    require_equal(network, random_codes(network, index, 2, 40), 2)


def test_progress_counts_the_sample(always: None) -> None:
    network, seen = WIRED["delays"](), list[int]()
    codes = random_codes(network, 1, 1, 20)
    compiled.run(network, codes, threads=2, on_progress=seen.append)
    assert seen == [1]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
@pytest.mark.parametrize("name", ["chain with recurrence", "long feedback", "delays", "graded loops"])
def test_stages_hold_every_node_once_in_order_and_loops_whole(name: str, most: int) -> None:
    program = compiled.engine(WIRED[name](), "none").program
    found = stages(program, most)
    assert 1 <= len(found) <= most
    places = [at for stage in found for low, high, _ in stage for at in range(low, high)]
    assert places == list(range(len(program.order)))
    assert [each for stage in found for each in stage if each[2]] == [each for each in program.ranges if each[2]]


def test_cuts_are_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        costs = rng.integers(0, 20, rng.integers(1, 8)).tolist()
        every = [(sum(costs[:cut]), sum(costs[cut:])) for cut in range(1, len(costs))]
        best = min([sum(costs), *(max(pair) for pair in every)])
        ends = [0, *split(costs, 2), len(costs)]
        assert max(sum(costs[a:b]) for a, b in itertools.pairwise(ends)) == best


class Clock:
    """A clock that each way of running moves on."""

    def __init__(self, alone: float, shared: float) -> None:
        self.now, self.seconds, self.ran = 0.0, {False: alone, True: shared}, list[bool]()

    def way(self, shared: bool) -> None:
        self.now += self.seconds[shared]
        self.ran.append(shared)


@pytest.mark.parametrize(("alone", "shared", "chosen"), [(1.0, 0.6, True), (1.0, 1.1, False), (1.0, 1.0, False)])
def test_the_faster_way_is_kept(alone: float, shared: float, chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(alone, shared)
    monkeypatch.setattr(layer_pipeline.time, "perf_counter", lambda: clock.now)
    choice = PipelineChoice(compiled.engine(WIRED["delays"](), "none").program)
    monkeypatch.setattr(choice, "step_seconds", 1e-6)

    def run(steps: int, threads: int = 2) -> None:
        choice.run(steps, threads, lambda: clock.way(False), lambda: clock.way(True))

    for _ in range(20):
        run(1000)
    trials = 2 * (layer_pipeline.TRIALS + 1)
    assert sorted(clock.ran[:trials]) == [False] * (trials // 2) + [True] * (trials // 2)
    assert set(clock.ran[trials:]) == {chosen}
    clock.ran.clear()
    run(10)  # too short
    run(1000, threads=1)
    run(10**6)  # so long that no trial is needed
    assert clock.ran == [False, False, True]
