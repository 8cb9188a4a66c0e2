"""Factors on rows: chosen by the effect on spikes, where spikes are lost, and good for other data too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nmdeploy import pipeline
from nmdeploy.backends import reference
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import LinearResponse
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.spike_risk import SpikeRisk
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense

SIZE, INPUTS = 24, 20


def network(weight: Any, threshold: Any = 1.0, beta: float = 0.98, bias: Any = None, alpha: float = 0.0) -> Network:
    ones = np.ones(SIZE)
    nodes: dict[str, Any] = {"i": Input((INPUTS,)), "fc": Dense(weight, bias)}
    nodes["n"] = LIF(alpha * ones, beta * ones, threshold * ones)
    return Network(nodes, (Edge("i", "fc"), Edge("fc", "n")), 1e-3, "n")


def weights(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0.0, 0.4, (SIZE, INPUTS))


def samples(seed: int = 0, rate: float = 0.3) -> Data:
    codes = (np.random.default_rng(seed).random((8, 40, INPUTS)) < rate).astype(np.int64)
    return Data(codes, None, np.full(8, 40))


def share(floats: Network, q: Any, data: Data) -> float:
    """Spikes that differ, by the reference."""
    exact = run_float(floats, data.codes).spikes["n"]
    return float((reference.run(q, data.codes, trace="spikes").layers["n"].spikes != exact).sum() / exact.sum())


def plain(floats: Network, data: Data, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Integers without a search."""
    with monkeypatch.context() as patch:
        patch.setattr("nmdeploy.quantization.row_scales.LOSS_MIN", np.inf)
        return pipeline.quantize(floats, "loihi2", data)


@pytest.mark.parametrize("alpha", [0.0, 0.8])
def test_fewer_spikes_differ_on_other_data_too(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    bias = np.full(SIZE, 0.003) if alpha else None
    floats, data = network(weights(), bias=bias, alpha=alpha), samples()
    before, after = plain(floats, data, monkeypatch), pipeline.quantize(floats, "loihi2", data)
    assert share(floats, after, data) < 0.4 * share(floats, before, data)
    other = samples(1)
    assert share(floats, after, other) < 0.8 * share(floats, before, other)
    (note,) = [note for note in after.notes if note.startswith("rows have factors of their own")]
    lost = round(share(floats, after, data) * int(run_float(floats, data.codes).spikes["n"].sum()))
    assert f"spikes {lost:,} differ; before, " in note


def test_a_silent_neuron_with_a_huge_threshold_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    threshold = np.ones(SIZE)
    threshold[3] = 3e4
    floats, data = network(weights(), threshold), samples()
    assert share(floats, plain(floats, data, monkeypatch), data) > 0.05
    q: Any = pipeline.quantize(floats, "loihi2", data)
    assert share(floats, q, data) < 0.02 and q.synapses["fc"].weight_exp >= 0


def test_rows_without_a_loss_keep_their_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(2).integers(-127, 128, (SIZE, INPUTS))
    floats, data = network(codes / 128, beta=0.75), samples()
    q = pipeline.quantize(floats, "loihi2", data)
    assert q == plain(floats, data, monkeypatch) and share(floats, q, data) < 0.01
    assert not any("rows have factors" in note for note in q.notes)


def test_the_scales_of_the_search_are_those_that_are_chosen() -> None:
    floats, data = network(weights()), samples()
    scales = pipeline.choose_scales(floats, "loihi2", data)
    again = pipeline.quantize(floats, "loihi2", scales=scales)
    made = pipeline.quantize(floats, "loihi2", data)
    assert np.ptp(scales["n"].scale) > 0
    assert again.populations == made.populations and again.synapses == made.synapses


def test_risk_follows_the_membrane() -> None:
    """A change of one sum decays with the membrane, ends at a spike, and weighs more near the threshold."""
    response = LinearResponse(np.zeros(1), np.full(1, 0.5), np.ones(1))
    spikes = np.array([0, 0, 1, 0], bool).reshape(1, 4, 1)
    risk = SpikeRisk(response, spikes, np.array([1.0, 1.0, 10.0, 1.0]).reshape(1, 4, 1))
    change = np.array([1.0, 0, 0, 0]).reshape(1, 4, 1)
    assert risk.of_change(change, np.zeros(1)).tolist() == [1 + 0.5 + 10 * 0.25 + 0]
    assert risk.of_change(0 * change, np.full(1, 0.5)).tolist() == [0.5 * 13]


def test_padding_is_no_risk() -> None:
    neuron = LIF(np.zeros(2), np.full(2, 0.5), np.ones(2))
    sums = np.random.default_rng(0).normal(size=(3, 5, 2))
    found = SpikeRisk.of(neuron, sums, np.array([5, 2, 0]))
    assert found is not None
    assert (found.weight[1, 2:] == 0).all() and (found.weight[2] == 0).all() and (found.weight[0] > 0).all()
