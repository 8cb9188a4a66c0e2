"""Metrics against small cases that are computed by hand, with NeuroBench's definitions."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from nmdeploy.analysis.metrics import (
    LayerMetrics,
    activation_sparsity,
    layer_metrics,
    operation_kind,
    operations,
    overflows,
    spike_rate,
    total_metrics,
)
from nmdeploy.backends.reference import run
from nmdeploy.errors import BadData
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.recording.types import Recording
from nmdeploy.synapses.dense import QuantizedDense

JSON = [
    *("name", "neurons", "states", "synapses", "footprint_bits", "connection_sparsity", "activation_sparsity"),
    *("spikes", "synaptic_operations", "synaptic_operations_computed", "dense_synaptic_operations"),
    *("neuron_updates", "energy_joules", "energy_source"),
]
LIF_BITS = 2 * 24 + 2 * 12 + 17 + 13 + 3
# Two samples of two and three valid steps; what comes after does not count.
INPUTS = np.array([[[1, 0], [1, 1], [1, 1]], [[0, 0], [0, 1], [0, 0]]])
LENGTHS = np.array([2, 3])


def tiny() -> QuantizedNetwork:
    """Two channels, two neurons without memory that fire where their input is positive, a readout that adds."""
    nodes: dict[str, Any] = {
        "in": Input((2,)),
        "s": QuantizedDense([[1, 0], [-2, 3]], bias=[1, 0]),
        "l": QuantizedLIF([4095, 4095], 4095, 0, 0, 0),
        "r": QuantizedDense([[5, 0], [0, 0], [1, 2]], bits=4),
        "out": QuantizedIntegrator(np.zeros(3), 0),
    }
    edges = (Edge("in", "s"), Edge("s", "l"), Edge("l", "r"), Edge("r", "out"))
    return QuantizedNetwork(nodes, edges, 0.001, "out")


@pytest.fixture(scope="module")
def case() -> tuple[QuantizedNetwork, Recording]:
    q = tiny()
    return q, run(q, INPUTS, lengths=LENGTHS, trace="spikes")


def test_spikes_by_hand(case: tuple[QuantizedNetwork, Recording]) -> None:
    """Neuron 0 gets in0 + 1 and always fires; neuron 1 gets -2 in0 + 3 in1."""
    spikes = case[1].layers["l"].spikes
    assert spikes is not None
    assert spikes.astype(int).tolist() == [[[1, 0], [1, 1], [0, 0]], [[1, 0], [1, 1], [1, 0]]]


def test_layer_by_hand(case: tuple[QuantizedNetwork, Recording]) -> None:
    q, recording = case
    layer, out = layer_metrics(q, recording)
    assert (layer.name, layer.neurons, layer.states, layer.synapses) == ("l", 2, 2, 4)
    assert layer.footprint_bits == 2 * LIF_BITS + 8 * (4 + 2)
    assert layer.connection_sparsity == 1 / 4
    assert layer.spikes == (3 + 4) / 2
    assert layer.activation_sparsity == 1 - 7 / (2 * 5)
    # in0 meets 2 weights, in1 meets 1: (2 + 3) and (0 + 1 + 0); the bias is no operation.
    assert layer.synaptic_operations == layer.synaptic_operations_computed == (5 + 1) / 2
    assert layer.dense_synaptic_operations == 4 * 5 / 2
    assert layer.neuron_updates == 2 * 5 / 2
    assert layer.energy_joules is None and layer.energy_source == ""
    assert (out.neurons, out.states, out.synapses, out.connection_sparsity) == (3, 3, 3, 3 / 6)
    assert out.footprint_bits == 3 * (2 * 24 + 13) + 4 * 6
    assert out.spikes == 0 and out.activation_sparsity is None
    # l0 meets 2 weights, l1 meets 1.
    assert out.synaptic_operations == (2 * 5 + 1 * 2) / 2


def test_recording_counts_biases(case: tuple[QuantizedNetwork, Recording]) -> None:
    """Bias events are counted by themselves: one a step for each bias that is not zero."""
    assert case[1].layers["l"].counts["synaptic_operations"].tolist() == [5, 1]
    assert case[1].layers["l"].counts["bias_operations"].tolist() == [2, 3]


def test_total_by_hand(case: tuple[QuantizedNetwork, Recording]) -> None:
    q, recording = case
    layers = layer_metrics(q, recording)
    total = total_metrics(q, recording, layers)
    assert (total.name, total.neurons, total.states, total.synapses) == ("total", 5, 5, 7)
    assert total.footprint_bits == sum(layer.footprint_bits for layer in layers)
    assert total.connection_sparsity == 4 / 10
    assert total.activation_sparsity == 1 - 7 / 10
    assert total.synaptic_operations == 3 + 6
    assert total.dense_synaptic_operations == (4 + 6) * 5 / 2


def test_json_fields(case: tuple[QuantizedNetwork, Recording]) -> None:
    assert [f.name for f in fields(LayerMetrics)] == JSON
    assert list(layer_metrics(*case)[0].to_json()) == JSON


def test_rates_and_operations(case: tuple[QuantizedNetwork, Recording]) -> None:
    q, recording = case
    assert spike_rate(q, recording, "l") == pytest.approx(7 / 10)
    assert spike_rate(q, recording, "out") is None
    assert operations(q, recording) == {"Effective_MACs": 0.0, "Effective_ACs": 9.0, "Dense": 25.0}


def test_overflows(case: tuple[QuantizedNetwork, Recording]) -> None:
    q, recording = case
    assert overflows(q, recording) == {"l": {"u_wraps": 0, "v_saturations": 0}, "out": {"v_saturations": 0}}


def test_overflows_are_summed_over_samples() -> None:
    nodes = {
        "in": Input((1,), FixedPoint(8, 0, signed=False)),
        "s": QuantizedDense([[127]], weight_exp=0),
        "out": QuantizedIntegrator([0], 0, state_bits=12),
    }
    q = QuantizedNetwork(nodes, (Edge("in", "s"), Edge("s", "out")), 0.001, "out")
    recording = run(q, np.full((2, 3, 1), 16))
    # 127 * 16 = 2032 fits 2047; the second and third step clip.
    assert overflows(q, recording) == {"out": {"v_saturations": 2 * 2}}


@pytest.mark.parametrize(
    ("edges", "bits", "kind"),
    [
        ([Edge("in", "s")], 1, "AC"),
        ([Edge("in", "s")], 2, "MAC"),
        ([Edge("in", "s"), Edge("l", "s", 1)], 1, "MAC"),
    ],
)
def test_operations_of_graded_input_are_macs(edges: list[Edge], bits: int, kind: str) -> None:
    nodes = {
        "in": Input((2,), FixedPoint(bits, 0, signed=False)),
        "s": QuantizedDense([[1, 1], [1, 0]]),
        "l": QuantizedLIF([4095, 4095], 4095, 0, 0, 0),
    }
    q = QuantizedNetwork(nodes, (*edges, Edge("s", "l")), 0.001, "l")
    assert operation_kind(q, "l") == kind
    found = operations(q, run(q, np.ones((1, 4, 2), int)))
    assert found[f"Effective_{kind}s"] == 3 * 4 and found["Dense"] == 4 * 4


def test_a_recording_without_counts(case: tuple[QuantizedNetwork, Recording]) -> None:
    q, recording = case
    bare = {name: replace(layer, counts={}) for name, layer in recording.layers.items()}
    with pytest.raises(BadData, match=r"no count '.*' of layer 'l': run with --backend auto"):
        layer_metrics(q, replace(recording, layers=bare, backend="lava"))
    assert overflows(q, replace(recording, layers=bare)) == {}


def test_nothing_was_run(case: tuple[QuantizedNetwork, Recording]) -> None:
    q, recording = case
    none = np.zeros(0, np.int64)
    layers = {
        name: replace(layer, counts=dict.fromkeys(layer.counts, none), spikes=None)
        for name, layer in recording.layers.items()
    }
    empty = replace(recording, output=recording.output[:0], lengths=none, layers=layers)
    assert activation_sparsity(q, empty, ["l"]) is None
    assert layer_metrics(q, empty)[0].synaptic_operations == 0.0
