"""Comparison finds what differs and names it; nothing passes by being left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import lif_case

from nmdeploy.analysis.comparison import NOT_VERIFIED, Verification, accuracy, compare, predictions
from nmdeploy.backends.reference import run
from nmdeploy.recording.types import Recording


@pytest.fixture(scope="module")
def recording() -> Recording:
    case = lif_case(4)
    return run(case.network, case.inputs, trace="states")


def changed(recording: Recording, layer: str, kind: str, where: tuple[int, ...]) -> Recording:
    """The recording with one value changed."""
    old = recording.layers[layer]
    if kind == "spikes":
        spikes = np.array(old.spikes)
        spikes[where] = ~spikes[where]
        new = replace(old, spikes=spikes)
    else:
        values = np.array(old.states[kind])
        values[where] += 1
        new = replace(old, states={**old.states, kind: values})
    return replace(recording, backend="other", layers={**recording.layers, layer: new})


def test_equal_recordings(recording: Recording) -> None:
    found = compare(recording, replace(recording, backend="other"))
    spikes = sum(layer.spikes.size for layer in recording.layers.values() if layer.spikes is not None)
    size = spikes + sum(state.size for layer in recording.layers.values() for state in layer.states.values())
    assert (found.mismatches, found.first_divergence, found.values_compared) == (0, None, size)


@pytest.mark.parametrize("kind", ["spikes", "u", "v"])
def test_one_changed_value_is_found_and_named(recording: Recording, kind: str) -> None:
    other = changed(recording, "layer1", kind, (0, 7, 3))
    found = compare(recording, other)
    first = found.first_divergence
    assert found.mismatches == 1 and first is not None
    assert (first.sample, first.step, first.layer, first.kind, first.neuron) == (0, 7, "layer1", kind, 3)
    assert first.expected != first.actual


def test_the_first_divergence_is_the_earliest_step_not_the_first_layer(recording: Recording) -> None:
    other = changed(changed(recording, "layer0", "v", (0, 50, 0)), "layer1", "u", (0, 20, 1))
    first = compare(recording, other).first_divergence
    assert first is not None and (first.layer, first.step) == ("layer1", 20)
    both = changed(changed(recording, "layer1", "u", (0, 20, 1)), "layer0", "v", (0, 20, 5))
    first = compare(recording, both).first_divergence
    assert first is not None and first.layer == "layer0"


def test_a_missing_trace_is_no_agreement(recording: Recording) -> None:
    bare = replace(recording, layers={name: replace(layer, states={}) for name, layer in recording.layers.items()})
    with pytest.raises(ValueError, match="different things"):
        compare(recording, bare)
    empty = replace(bare, layers={name: replace(layer, spikes=None) for name, layer in bare.layers.items()})
    with pytest.raises(ValueError, match="nothing"):
        compare(empty, empty)


def test_nothing_compared_is_not_equal() -> None:
    bare = Verification((), {}, {})
    assert not bare.equal and bare.status == "nothing compared"
    missing = Verification((), {}, {}, not_verified="no Python 3.10")
    assert not missing.equal and missing.status == f"{NOT_VERIFIED}: no Python 3.10"


def test_classes_and_ties() -> None:
    output = np.array([[[1, 1, 0]], [[0, 2, 2]]])
    lengths = np.array([1, 1])
    assert predictions(output, "sum", lengths).tolist() == [0, 1]
    assert accuracy(output, "sum", lengths, np.array([0, 2])) == 0.5
    assert accuracy(output, "sum", lengths, None) is None


def test_padding_is_not_compared() -> None:
    case = lif_case(4)
    inputs, lengths = np.repeat(case.inputs, 3, 0), np.array([1, 7, 3])
    recording = run(case.network, inputs, lengths=lengths, trace="states")
    found = compare(recording, recording)
    each = compare(part := run(case.network, case.inputs[:, :1], trace="states"), part).values_compared
    assert (found.valid_steps, found.values_compared) == (11, 11 * each)
    for where, mismatches in (((1, 6, 3), 1), ((1, 7, 3), 0), ((2, 2, 0), 1), ((2, 59, 0), 0)):
        assert compare(recording, changed(recording, "layer1", "v", where)).mismatches == mismatches
    with pytest.raises(ValueError, match="different lengths"):
        compare(recording, replace(recording, lengths=lengths + 1))
