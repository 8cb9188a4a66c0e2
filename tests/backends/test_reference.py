"""The reference against docs/arithmetic.md in unbounded Python integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from edge_cases import edge_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import MODELS, Case, dense_case, lif_case, random_case, state_space_case
from networks_build import Family
from networks_neurons import DENSE_STATES, LIF, LOUD_LIF, STATE_SPACE
from networks_windowed import windowed_case
from simulated import simulated

from nmdeploy.analysis.comparison import values
from nmdeploy.backends.reference import run
from nmdeploy.recording.types import Recording

SEEDS = st.integers(0, 10_000)


def assert_equal(case: Case, recording: Recording) -> None:
    """Every traced value and every overflow count."""
    traces, overflows = simulated(case)
    found = {f"{name}|{kind}": array for name, kind, array in values(recording)}
    assert set(found) == set(traces)
    for key, array in found.items():
        np.testing.assert_array_equal(
            array.astype(np.int64), np.array(traces[key], np.int64), err_msg=f"{case.name} {key}"
        )
    for name, neuron in case.network.populations.items():
        counted = {flag: recording.total(name, flag) for flag in neuron.flags}
        assert counted == {flag: overflows[name][flag] for flag in neuron.flags}, f"{case.name} {name}"


@pytest.mark.parametrize("case", edge_cases(), ids=lambda case: case.name)
def test_edges(case: Case) -> None:
    assert_equal(case, run(case.network, case.inputs, trace="states"))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=SEEDS, wraps=st.booleans())
def test_random_lif_networks(seed: int, wraps: bool) -> None:
    case = random_case(seed, LOUD_LIF if wraps else LIF, steps=25, samples=2)
    assert_equal(case, run(case.network, case.inputs, trace="states"))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=SEEDS, family=st.sampled_from([STATE_SPACE, DENSE_STATES]))
def test_random_networks_over_all_mechanisms(seed: int, family: Family) -> None:
    case = random_case(seed, family, steps=25, samples=2, sizes=(2, 8))
    assert_equal(case, run(case.network, case.inputs, trace="states"))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=SEEDS, steps=st.integers(1, 30))
def test_random_windowed_networks(seed: int, steps: int) -> None:
    case = windowed_case(seed, steps=steps)
    assert_equal(case, run(case.network, case.inputs, trace="states"))


@pytest.mark.parametrize("model", MODELS)
def test_a_network_of_every_model(model: str) -> None:
    case = MODELS[model](7)
    short = replace(case, inputs=case.inputs[:1, :30])
    assert_equal(short, run(short.network, short.inputs, trace="states"))


@pytest.mark.parametrize("make", [lif_case, state_space_case, dense_case, windowed_case])
def test_64_bit_integers_equal_unbounded_ones(make: Callable[[int], Case]) -> None:
    case = make(3)
    machine = run(case.network, case.inputs, trace="states")
    unbounded = run(case.network, case.inputs, trace="states", dtype=object)
    for (name, kind, a), (_, _, b) in zip(values(machine), values(unbounded), strict=True):
        np.testing.assert_array_equal(a.astype(np.int64), b.astype(np.int64), err_msg=f"{name} {kind}")


def test_samples_are_independent_and_lengths_hold() -> None:
    case = random_case(5, LIF, steps=30, samples=3)
    together = run(case.network, case.inputs, trace="states")
    for sample in range(3):
        alone = run(case.network, case.inputs[sample : sample + 1], trace="states")
        for (_, kind, a), (_, _, b) in zip(values(together), values(alone), strict=True):
            np.testing.assert_array_equal(a[sample], b[0], err_msg=kind)
    short = run(case.network, case.inputs, lengths=np.array([30, 11, 1]), trace="states")
    for (name, kind, a), (_, _, b) in zip(values(together), values(short), strict=True):
        np.testing.assert_array_equal(a[1, :11], b[1, :11], err_msg=f"{name} {kind}")
        assert not b[1, 11:].any() and not b[2, 1:].any()
    first = next(iter(case.network.populations))
    size = case.network.populations[first].size
    assert short.layers[first].counts["neuron_updates"].tolist() == [30 * size, 11 * size, size]


def test_counts_by_hand() -> None:
    case = random_case(2, LIF, steps=20)
    recording = run(case.network, case.inputs, trace="spikes")
    weight = case.network.synapses["layer0.synapse"].rows.matrix(np.asarray)
    operations = sum(int((weight[:, code != 0] != 0).sum()) for code in case.inputs[0])
    assert recording.total("layer0", "synaptic_operations") == operations
    assert recording.total("layer0", "dense_synaptic_operations") == 20 * weight.size
    assert recording.total("layer0", "spikes") == int(recording.layers["layer0"].spikes.sum())
    assert recording.total("layer0", "input_events") == int(np.count_nonzero(case.inputs))
