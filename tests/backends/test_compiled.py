"""The compiled backend equals the reference: a sample of every generator and edge, all input types, any threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from edge_cases import driven_cases, small_cases
from edge_cases_base import beside
from equal_runs import agree, both, differences, engine_of, random_codes, random_lengths
from mechanisms import legal
from networks import MODELS, Case, dense_case, lif_case, state_space_case
from networks_neurons import random_spiking
from networks_windowed import windowed_case
from networks_wired import Wired, chain, looped, two_way
from processes import wait_for
from shared import HELPERS, ROOT

from nmdeploy.backends import compiled, reference
from nmdeploy.engine.llvm import machine
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.network import QuantizedNetwork

MAKERS: dict[str, Callable[[int], Case]] = {
    **MODELS,
    "any lif": lif_case,
    "any diagonal": state_space_case,
    "any dense": dense_case,
    "any windows": windowed_case,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_random_network_in_every_state(maker: str) -> None:
    case = MAKERS[maker](1000)
    recording, _ = both(case.network, case.inputs)
    assert recording.output.any()


@pytest.mark.parametrize("maker", MAKERS)
def test_another_on_samples_of_unlike_lengths(maker: str) -> None:
    trace = ("states", "none")[list(MAKERS).index(maker) % 2]
    agree(MAKERS[maker](1001), samples=5, trace=trace)


@pytest.mark.slow
@pytest.mark.parametrize("trace", ["none", "states"])
@pytest.mark.parametrize("maker", MAKERS)
def test_more_on_samples_of_unlike_lengths(maker: str, trace: str) -> None:
    case = MAKERS[maker](1002)
    for steps in (1, 150):
        agree(case, samples=7, steps=steps, trace=trace)


@pytest.mark.parametrize("maker", ["lif", "multi-output", "any windows", "spiking-ssm"])
def test_spikes_alone(maker: str) -> None:
    agree(MAKERS[maker](1002), trace="spikes")


@pytest.mark.parametrize("case", [*driven_cases(), *beside(small_cases())], ids=lambda case: case.name)
def test_edges(case: Case) -> None:
    both(case.network, case.inputs)


def every(step: int) -> list[Any]:
    """Every so many of the combinations of mechanisms, spread over all of them."""
    return sorted(legal(), key=lambda m: m.name)[step // 2 :: step]


@pytest.mark.parametrize("m", every(197), ids=lambda m: m.name)
def test_mechanisms(m: Any) -> None:
    wired = Wired(len(m.name), 7, FixedPoint(3, 0, signed=False))
    wired.builder.population(random_spiking(wired.rng, m.kind, 19, 2, m).at(90), "n")
    wired.connect(["input"], "n")
    agree(Case(m.name, wired.network("n"), None))


# -- inputs and outputs


def test_every_integer_type_of_inputs_gives_the_same() -> None:
    network = chain(1, 13, 20)
    codes = random_codes(network, 0, 4, 30)
    expected = reference.run(network, codes, trace="spikes")
    for dtype in (bool, "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
        assert not differences(expected, compiled.run(network, codes.astype(dtype), trace="spikes")), dtype


@pytest.mark.parametrize("form", [FixedPoint(4), FixedPoint(4, 0, signed=False), FixedPoint(1, 0, signed=True)])
def test_graded_inputs_of_every_integer_type(form: FixedPoint) -> None:
    network = chain(2, 11, 9, 40, form=form)
    codes = random_codes(network, 1, 3, 25, share=0.8)
    expected = reference.run(network, codes, trace="states")
    for dtype in ("u1", "i1", "u2", "i2", "i4", "i8") if form.min >= 0 else ("i1", "i2", "i4", "i8"):
        assert not differences(expected, compiled.run(network, codes.astype(dtype), trace="states")), dtype


def test_wide_codes() -> None:
    form = FixedPoint(14, 0, signed=True)
    codes = random_codes(chain(3, 5, 12, form=form), 0, 2, 30)
    codes[0, 3], codes[0, 4] = form.min, form.max
    both(chain(3, 5, 12, form=form), codes)


def test_inputs_that_are_a_view_of_something_larger() -> None:
    network = chain(1, 13, 20)
    codes = random_codes(network, 0, 4, 30)
    wide = np.zeros((4, 60, 26), codes.dtype)
    wide[:, ::2, 1::2] = codes
    assert not differences(reference.run(network, codes), compiled.run(network, wide[:, ::2, 1::2]))
    assert not differences(reference.run(network, codes[::-1]), compiled.run(network, codes[::-1]))


def test_inputs_are_not_changed() -> None:
    network = chain(1, 13, 20)
    codes = random_codes(network, 0, 3, 20)
    codes.setflags(write=False)
    before = codes.copy()
    compiled.run(network, codes)
    np.testing.assert_array_equal(codes, before)


def test_a_graded_population_that_is_read_out_and_feeds_itself() -> None:
    for trace in ("none", "states"):
        agree(Case("looped", looped(4, "graded", 1), None), trace=trace)


def test_who_runs_it_and_progress_are_recorded() -> None:
    network = chain(1, 3, 4)
    done: list[int] = []
    recording = compiled.run(network, random_codes(network, 0, 70, 5), on_progress=done.append)
    assert recording.backend == "compiled" and recording.latency == network.latency
    assert done[-1] == 70 and done == sorted(done)


# -- samples, threads, repetition


@pytest.fixture(scope="module")
def shared() -> tuple[QuantizedNetwork, Any, Any]:
    """A network with loops, samples and their lengths."""
    network = two_way(5)
    return network, random_codes(network, 2, 70, 33), random_lengths(2, 70, 33)


def test_one_sample_equals_the_same_among_many(shared: tuple[QuantizedNetwork, Any, Any]) -> None:
    network, codes, lengths = shared
    together = compiled.run(network, codes, lengths=lengths, trace="states")
    for index in (0, 31, 32, 33, 69):
        part = slice(index, index + 1)
        alone = compiled.run(network, codes[part], lengths=lengths[part], trace="states")
        expected = reference.run(network, codes[part], lengths=lengths[part], trace="states")
        assert not differences(expected, alone)
        np.testing.assert_array_equal(together.output[index], alone.output[0])
        for name, layer in alone.layers.items():
            for key, counts in layer.counts.items():
                assert together.layers[name].counts[key][index] == counts[0], (name, key)


def test_the_order_of_samples_does_not_matter(shared: tuple[QuantizedNetwork, Any, Any]) -> None:
    network, codes, lengths = shared
    order = np.random.default_rng(0).permutation(len(codes))
    expected = reference.run(network, codes[order], lengths=lengths[order], trace="states")
    assert not differences(expected, compiled.run(network, codes[order], lengths=lengths[order], trace="states"))


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_the_number_of_threads_does_not_matter(
    shared: tuple[QuantizedNetwork, Any, Any], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, codes, lengths = shared
    monkeypatch.setattr(engine_of(network, "states"), "threads", threads)
    both(network, codes, lengths)


def test_a_run_leaves_nothing_behind_for_the_next(shared: tuple[QuantizedNetwork, Any, Any]) -> None:
    network, codes, lengths = shared
    for steps in (33, 7, 33, 1):
        for trace in ("states", "none"):
            both(network, codes[:3, :steps], np.minimum(lengths[:3], steps), trace)
            both(network, codes[3:5, :steps].astype(np.int8), None, trace)


def test_recordings_do_not_share_memory_with_later_runs(shared: tuple[QuantizedNetwork, Any, Any]) -> None:
    network, codes, _ = shared
    first = compiled.run(network, codes[:4], trace="states")
    kept = {name: layer.states["u"].copy() for name, layer in first.layers.items() if "u" in layer.states}
    compiled.run(network, codes[4:8], trace="states")
    for name, values in kept.items():
        np.testing.assert_array_equal(first.layers[name].states["u"], values)


def test_runs_at_the_same_time(shared: tuple[QuantizedNetwork, Any, Any]) -> None:
    """Several Python threads run one network, as a server would."""
    network, codes, _ = shared
    parts = [codes[first : first + 10] for first in range(0, 70, 10)]
    expected = [reference.run(network, part) for part in parts]
    found: list[list[str]] = []

    def work(index: int) -> None:
        for _ in range(5):
            found.append(differences(expected[index], compiled.run(network, parts[index])))

    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(parts))]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.setswitchinterval(before)
    assert found == [[]] * 5 * len(parts)


def test_processors_without_newer_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written for instructions that not every processor has is written in another way too."""
    monkeypatch.setattr(machine, "has", lambda feature: False)
    for network in (chain(6, 5, 9), chain(7, 300, 12), chain(7, 9, 12, form=FixedPoint(5)), two_way(6)):
        for trace in ("none", "states"):
            agree(Case("", network, None), trace=trace)


# -- what is kept


def test_a_network_that_is_no_longer_used_is_freed() -> None:
    network = chain(1, 3, 4)
    compiled.run(network, random_codes(network, 0, 2, 5))
    gone = weakref.ref(network)
    del network

    def freed() -> bool:
        gc.collect()
        return gone() is None

    assert wait_for(freed)  # another thread may still have the task that it has just done


def test_a_process_that_ran_it_ends_without_a_word() -> None:
    code = (
        "from networks_wired import chain; from nmdeploy.backends import compiled; import numpy as np\n"
        "network = chain(1, 3, 4); compiled.run(network, np.ones((2, 5, 3), bool))"
    )
    folders = f"{HELPERS}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": folders}, capture_output=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
