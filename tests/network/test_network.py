"""Topology: order, timing, inserted delays, and what is refused by name."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from equal_runs import differences
from family_examples import examples, inputs
from family_examples import quantized as quantized_example

from nmdeploy.backends import compiled, reference
from nmdeploy.errors import BadFile, BadOption, OverflowPossible, UnsupportedParameter
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork, readout_values
from nmdeploy.neurons.lif import LIF, QuantizedLIF
from nmdeploy.nir_io import model_sha256
from nmdeploy.synapses.dense import Dense, QuantizedDense


def lif() -> LIF:
    return LIF(np.zeros(3), 0.9, 1.0)


def build(edges: list[tuple[Any, ...]], populations: str = "abc", **fields: Any) -> Network:
    """Populations of three neurons; edges (source, target[, delay]) each through a synapse of its own."""
    nodes: dict[str, Any] = {"input": Input((3,))} | {name: lif() for name in populations}
    joined = []
    for source, target, *delay in edges:
        nodes[f"{source}{target}"] = Dense(np.eye(3))
        joined += [Edge(source, f"{source}{target}", *delay), Edge(f"{source}{target}", target)]
    return Network(nodes, tuple(joined), 1e-3, fields.pop("output", populations[-1]), **fields)


def test_arrival_latency_and_inserted_delays() -> None:
    network = build([("input", "a"), ("a", "b"), ("b", "c"), ("input", "c"), ("a", "c"), ("b", "b", 1)])
    assert [network.timing.arrival_step[name] for name in ("input", "a", "b", "c")] == [0, 1, 2, 3]
    assert network.latency == 3
    assert network.timing.inserted_delays == {
        ("input", "inputa"): 0,
        ("a", "ab"): 0,
        ("b", "bc"): 0,
        ("input", "inputc"): 2,
        ("a", "ac"): 1,
        ("b", "bb"): 0,
    }


def test_a_feedback_that_cannot_be_aligned_is_refused_by_name() -> None:
    edges = [("input", "a"), ("a", "b"), ("b", "a", 1)]
    with pytest.raises(UnsupportedParameter, match=r"feedback 'b' -> 'ba' cannot be aligned.*at least 2"):
        build(edges, "ab").require_aligned()
    assert build([*edges[:2], ("b", "a", 2)], "ab").timing.inserted_delays["b", "ba"] == 0


def test_a_delayed_edge_that_closes_no_loop_counts_as_a_synapse() -> None:
    """The depth of a population is its longest path from the input, whatever the delays on it."""
    network = build([("input", "a"), ("a", "b", 3), ("b", "c"), ("input", "c", 1)])
    assert [network.timing.arrival_step[name] for name in ("input", "a", "b", "c")] == [0, 1, 2, 3]
    assert network.order.index("a") < network.order.index("b")
    assert network.latency == 3
    assert network.timing.inserted_delays == {
        ("input", "inputa"): 0,
        ("a", "ab"): 3,
        ("b", "bc"): 0,
        ("input", "inputc"): 3,
    }
    network.require_aligned()


def test_a_loop_of_delayed_edges_alone() -> None:
    """Neither edge counts: both populations start in the same step, and each synapse takes one of the delays."""
    network = build([("input", "a"), ("a", "b", 1), ("b", "a", 1)], "ab")
    assert [network.timing.arrival_step[name] for name in ("a", "b")] == [1, 1]
    network.require_aligned()


def test_two_edges_between_the_same_nodes_are_refused() -> None:
    with pytest.raises(BadFile, match=r"edge 'input' -> 'inputa' occurs twice.*a synapse of its own"):
        build([("input", "a"), ("input", "a", 1)], "a")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: build([("input", "a"), ("a", "a")], "a"), UnsupportedParameter, "loop without a delay"),
        (lambda: build([("input", "a")], "a", output="z"), BadFile, "output 'z'"),
        (lambda: build([("input", "a")], "a", readout="best"), BadOption, "'best' is unknown"),
        (lambda: build([("input", "a", -1)], "a"), BadFile, "delay 0 or more"),
        (lambda: Network({"a": lif()}, (), 1e-3, "a"), BadFile, "0 inputs"),
        (lambda: Network({"i": Input((3,)), "a": lif()}, (Edge("i", "x"),), 1e-3, "a"), BadFile, "no node 'x'"),
        (lambda: Network({"i": Input((3,)), "a": lif()}, (Edge("i", "a"),), 1e-3, "a"), BadFile, "connect populations"),
        (
            lambda: Network({"i": Input((2,)), "s": Dense(np.eye(3)), "a": lif()}, (Edge("i", "s"),), 1e-3, "a"),
            BadFile,
            "2 values meet 3 places",
        ),
    ],
)
def test_refusals(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def quantized(weight: int = 1, exponent: int = 0) -> QuantizedNetwork:
    nodes = {
        "i": Input((3,)),
        "s": QuantizedDense(np.full((3, 3), weight), weight_exp=exponent),
        "n": QuantizedLIF(du=[4095] * 3, dv=0, vth=5, bias_mant=0, bias_exp=0),
    }
    return QuantizedNetwork(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")


def test_overflow_is_proved_impossible_or_refused() -> None:
    assert quantized(127, 10).a_max("n").tolist() == [3 * 127 << 10] * 3
    with pytest.raises(OverflowPossible, match="node 'n'"):
        quantized(127, 17)
    with pytest.raises(OverflowPossible, match=r"limit 2\*\*31"):
        quantized(127, 24)


@pytest.mark.parametrize("exponent", [40, 55, 60, 62, 70])
@pytest.mark.parametrize("synapses", [1, 2, 3, 4, 5])
def test_the_sums_of_several_synapses_are_added_without_limit(exponent: int, synapses: int) -> None:
    nodes: dict[str, Any] = {"i": Input((3,)), "n": quantized().nodes["n"]}
    edges: list[Edge] = []
    for index in range(synapses):
        nodes[f"s{index}"] = QuantizedDense(np.full((3, 3), 127), weight_exp=exponent)
        edges += [Edge("i", f"s{index}"), Edge(f"s{index}", "n")]
    with pytest.raises(OverflowPossible, match=r"node 'n': the synaptic sum can reach \d+, limit"):
        QuantizedNetwork(nodes, tuple(edges), 1e-3, "n")


def test_arrays_of_copies_are_as_writable_as_they_were() -> None:
    network = quantized()
    recording = reference.run(network, np.ones((2, 5, 3), np.uint8))
    assert recording.output.flags.writeable
    for copied in (copy.copy(recording), copy.deepcopy(recording), pickle.loads(pickle.dumps(recording))):
        assert copied == recording and copied.output.flags.writeable and recording.output.flags.writeable


def test_equality_is_by_value() -> None:
    assert quantized() == quantized()
    assert quantized() != quantized(2)
    assert build([("input", "a")], "a") == build([("input", "a")], "a")
    assert build([("input", "a")], "a") != quantized()


@pytest.mark.parametrize(
    ("rule", "wanted"), [("sum", [[4, 3]]), ("last", [[3, 0]]), ("max", [[3, 3]]), ("mean", [[2.0, 1.5]])]
)
def test_readout_rules_over_the_valid_steps(rule: str, wanted: list) -> None:
    outputs = np.array([[[1, 3], [3, 0], [9, 9]]])
    assert readout_values(outputs, rule, np.array([2])).tolist() == wanted


@pytest.mark.parametrize("neuron", examples(), ids=lambda neuron: neuron.kind)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_are_equal_frozen_and_run(neuron: Any, copied: Any) -> None:
    network = quantized_example(neuron)
    model_sha256(network)
    expected = compiled.run(network, inputs(), trace="states")
    other = copied(network)
    assert other == network and model_sha256(other) == model_sha256(network)
    assert not differences(expected, compiled.run(other, inputs(), trace="states"))
    arrays = [value for node in other.nodes.values() for value in vars(node).values() if isinstance(value, np.ndarray)]
    assert arrays and not any(array.flags.writeable for array in arrays)


def test_a_copy_that_is_changed_is_another_network() -> None:
    """A fault that is injected, say: neither the digest nor what was compiled of the original is the copy's."""
    network = quantized_example(examples()[0])
    digest, before = model_sha256(network), compiled.run(network, inputs())
    other = copy.deepcopy(network)
    weight = next(node.weight for node in other.nodes.values() if hasattr(node, "weight"))
    weight.setflags(write=True)
    weight[:] = -weight
    assert model_sha256(other) != digest
    assert not differences(reference.run(other, inputs()), compiled.run(other, inputs()))
    assert differences(before, compiled.run(other, inputs()))


@pytest.mark.parametrize("kind", [bool, np.int64, np.float64])
@pytest.mark.parametrize("rule", ["sum", "last", "max", "mean"])
def test_readouts_of_random_outputs(rule: str, kind: Any) -> None:
    """Sample by sample, of the valid steps alone."""
    rng = np.random.default_rng(0)
    outputs = rng.integers(0, 2, (40, 9, 3)).astype(bool) if kind is bool else rng.normal(0, 9, (40, 9, 3)).astype(kind)
    lengths = rng.integers(1, 10, 40)
    found = readout_values(outputs, rule, lengths)
    for values, sample, length in zip(found, outputs, lengths, strict=True):
        valid = sample[:length] + 0
        wanted = {"sum": valid.sum(0), "last": valid[-1], "max": valid.max(0), "mean": valid.sum(0) / length}[rule]
        np.testing.assert_allclose(values, wanted, rtol=1e-12)
