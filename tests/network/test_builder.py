"""The builder: the networks that it makes, where biases go, what it refuses, and what `load` takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import CALIBRATION, CHECKPOINT
from windows import windowed_of

import nmdeploy
from nmdeploy import NetworkBuilder, nir_io
from nmdeploy.errors import BadData, BadFile, BadOption, NmdeployError, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import checkpoint
from nmdeploy.importers.checkpoint_content import DT
from nmdeploy.network.biases import bias_moves_into, place_biases
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import BINARY, Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF, QuantizedLIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.synapses.dense import Dense, QuantizedDense

GRADED = FixedPoint(bits=5, frac=4, signed=False)
seeds = st.integers(0, 2**32 - 1)


def plain(size: int, **fields: Any) -> LIF:
    """LIF without a synaptic filter."""
    return LIF(np.zeros(size), 0.9, 1.0, **fields)


def filtered(size: int, **fields: Any) -> LIF:
    return LIF(np.full(size, 0.5), 0.9, 1.0, **fields)


def state_space(size: int) -> StateSpace:
    return StateSpace(a=np.full((size, 2), 0.9 * np.exp(0.3j)), b=0.3, c=np.ones((size, 2)), d=0.1, v_threshold=0.5)


def started() -> NetworkBuilder:
    """An input of 3 and a population of 2."""
    builder = NetworkBuilder(1e-3)
    builder.input(3)
    builder.population(plain(2), "hidden")
    return builder


# -- the same network as by hand


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_network_is_that_of_its_nodes_and_edges(seed: int) -> None:
    """Skips, recurrences and delays; populations that hold their biases, and synapses that do."""
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(1, 6, int(rng.integers(1, 5)))]
    builder = NetworkBuilder(2e-3)
    nodes: dict[str, Any] = {"input": Input((sizes[0],), GRADED)}
    edges: list[Edge] = []
    assert builder.input(sizes[0], GRADED) == "input"
    before, size = "input", sizes[0]
    for index, new in enumerate(sizes):
        name, neuron = f"n{index}", (plain, filtered, state_space)[int(rng.integers(3))](new)
        weight, bias, delay = rng.normal(size=(new, size)), rng.normal(size=new), int(rng.integers(0, 3))
        recurrent = rng.normal(size=(new, new)) if rng.random() < 0.5 else None
        moved = neuron.adds_bias
        builder.population(neuron, name)
        if recurrent is not None:  # connected before what comes first in the network: the order of calls is free
            assert builder.connect(name, name, recurrent, delay=1) == f"{name}.recurrent"
            nodes[f"{name}.recurrent"] = Dense(recurrent)
            edges += [Edge(name, f"{name}.recurrent", 1), Edge(f"{name}.recurrent", name)]
        assert builder.connect(before, name, weight, bias, delay) == f"{name}.synapse"
        nodes[f"{name}.synapse"] = Dense(weight, None if moved else bias)
        nodes[name] = neuron.with_input_bias(bias) if moved else neuron
        edges += [Edge(before, f"{name}.synapse", delay), Edge(f"{name}.synapse", name)]
        before, size = name, new
    assert builder.build(readout="last") == Network(nodes, tuple(edges), 2e-3, before, "last")
    assert builder.build(before) == builder.build()


def test_integers_are_built_alike() -> None:
    neuron, synapse = QuantizedLIF(np.full(2, 4095), 400, 5, 0, 0), QuantizedDense(np.ones((2, 3)), bias=[1, 2])
    builder = NetworkBuilder(1e-3)
    builder.input((3,))
    builder.population(neuron, "n")
    builder.connect("input", "n", synapse, delay=2)
    edges = (Edge("input", "n.synapse", 2), Edge("n.synapse", "n"))
    nodes = {"input": Input((3,)), "n.synapse": synapse, "n": neuron}
    expected = QuantizedNetwork(nodes, edges, 1e-3, "n", "max", "loihi1", ("a note",))
    assert builder.build_quantized(readout="max", profile="loihi1", notes=["a note"]) == expected


def test_names_are_unique_and_tell_what_they_name() -> None:
    builder = NetworkBuilder(1e-3)
    builder.input(2, name="pixels")
    first, second = builder.population(plain(2)), builder.population(plain(2))
    assert (first, second) == ("lif0", "lif1")
    assert builder.connect("pixels", first, np.eye(2)) == "lif0.synapse"
    assert builder.connect([first, "pixels"], second, np.eye(2), delay=[0, 3]) == "lif1.synapse"
    assert builder.connect("pixels", second, np.eye(2)) == "lif1.pixels_synapse"
    assert builder.connect("pixels", second, np.eye(2)) == "lif1.pixels_synapse_2"
    assert builder.connect(second, second, np.eye(2), delay=1, name="loop") == "loop"
    network = builder.build()
    assert [(e.source, e.delay) for e in network.incoming["lif1.synapse"]] == [("lif0", 0), ("pixels", 3)]


# -- what is refused, in one line


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda b: b.input(3, name="other"), ["input 'other'", "has the input 'input'"]),
        (lambda b: NetworkBuilder(1.0).input((2, 0)), ["input 'input'", "shape (2, 0)"]),
        (lambda b: NetworkBuilder(0.0), ["dt = 0.0"]),
        (lambda b: b.population(plain(2), "hidden"), ["node 'hidden'", "two nodes: rename"]),
        (lambda b: b.population(plain(2), ""), ["node ''", "give a name"]),
        (lambda b: b.population(Dense(np.eye(2))), ["Dense is no neuron family"]),
        (lambda b: b.connect("inptu", "hidden", np.eye(2)), ["'inptu' -> 'hidden'", "one of 'input', 'hidden'"]),
        (lambda b: b.connect("input", "out", np.eye(2)), ["'input' -> 'out'", "no population 'out'"]),
        (lambda b: b.connect("input", "input", np.eye(3)), ["no population 'input' to connect to"]),
        (lambda b: b.connect([], "hidden", np.eye(2)), ["-> 'hidden'", "one source or more"]),
        (
            lambda b: b.connect("input", "hidden", np.ones((3, 2))),
            ["shape (3, 2)", "'hidden' takes 2 sums", "'input' sends 3 values", "give (2, 3)"],
        ),
        (lambda b: b.connect(["input", "hidden"], "hidden", np.eye(2)), ["send [3, 2] values", "each by itself"]),
        (lambda b: b.connect("input", "hidden", np.ones(3)), ["weight of shape (3,)", "2 dimensions"]),
        (lambda b: b.connect("input", "hidden", [[1, 2], [3]]), ["weight is no array of numbers"]),
        (lambda b: b.connect("input", "hidden", np.full((2, 3), np.nan)), ["weight holds 6 NaN or infinite values"]),
        (lambda b: b.population(LIF(np.zeros(3), np.ones(4), 1.0)), ["LIF: alpha has shape (3,)", "fill (4,)"]),
        (lambda b: b.connect("input", "hidden", np.ones((2, 3)), np.ones(3)), ["bias of shape (3,)", "give (2,)"]),
        (lambda b: b.connect("input", "hidden", Dense(np.ones((2, 3)), np.ones(2)), 1), ["a bias already"]),
        (lambda b: b.connect("input", "hidden", np.ones((2, 3)), delay=-1), ["delay -1", "0 steps or more"]),
        (lambda b: b.connect("input", "hidden", np.ones((2, 3)), delay=0.5), ["delay 0.5", "whole steps"]),
        (lambda b: b.connect("input", "hidden", np.ones((2, 3)), delay=[1, 2]), ["delay [1, 2]", "one number or 1"]),
        (lambda b: b.connect("input", "hidden", QuantizedDense(np.ones((2, 3)))), ["'hidden'", "of integers"]),
        (lambda b: b.build(), ["population 'hidden'", "nothing is connected"]),
        (lambda b: b.build("out"), ["output 'out'", "'hidden'"]),
        (lambda b: NetworkBuilder(1e-3).build(), ["no population: call population(neuron)"]),
    ],
)
def test_mistakes_are_one_line_that_names_the_object(act: Callable[[NetworkBuilder], Any], words: list[str]) -> None:
    with pytest.raises(BadOption) as found:
        act(started())
    assert all(word in str(found.value) for word in words), str(found.value)
    assert "\n" not in str(found.value)


def test_what_is_wrong_with_the_whole_is_refused_when_it_is_built() -> None:
    builder = started()
    builder.connect("input", "hidden", np.ones((2, 3)))
    builder.population(plain(2), "other")
    builder.connect("input", "other", np.ones((2, 3)))
    with pytest.raises(BadOption, match=r"2 populations feed no other \['hidden', 'other'\]: name one"):
        builder.build()
    builder.connect("other", "hidden", np.eye(2))
    builder.connect("hidden", "other", np.eye(2))
    with pytest.raises(UnsupportedParameter, match="form a loop without a delay"):
        builder.build("other")
    with pytest.raises(BadOption, match="'hidden': LIF is of floats: call build, and quantize"):
        builder.build_quantized("other")
    builder = NetworkBuilder(1e-3)
    builder.population(plain(2), "n")
    builder.connect("n", "n", np.eye(2), delay=1)
    with pytest.raises(BadOption, match=r"no input: call input\(channels\)"):
        builder.build()
    builder.input(3)
    with pytest.raises(BadOption, match="input 'input': it is connected to nothing"):
        builder.build()


# -- biases


FAMILIES = {
    "lif": (plain, True),
    "lif with a filter": (filtered, False),
    "integrator": (lambda size: Integrator(np.full(size, 0.9)), True),
    "state space": (state_space, True),
    "dense state space": (
        lambda size: DenseStateSpace(a=np.full((size, 1, 1), 0.5), b=1.0, c=np.ones((size, 1)), d=0.0, v_threshold=0.5),
        True,
    ),
    "gate": (lambda size: GatedLinearUnit(neurons=size), False),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bias_is_in_the_population_if_it_adds_it_to_its_sums_else_in_the_synapse(name: str) -> None:
    make, moves = FAMILIES[name]
    neuron = make(4)
    rng = np.random.default_rng(0)
    rows = neuron.input_size
    synapses = {"a": Dense(rng.normal(size=(rows, 3))), "b": Dense(rng.normal(size=(rows, 3)))}
    bias = rng.normal(size=rows)
    placed, held = place_biases(neuron, synapses, {"b": bias})
    assert neuron.adds_bias == moves == (placed != neuron)
    assert held["a"] == synapses["a"]
    assert held["b"] == (synapses["b"] if moves else Dense(synapses["b"].weight, bias))
    by_hand = {"a": synapses["a"], "b": Dense(synapses["b"].weight, bias)}
    x = (rng.random((2, 30, 3)) < 0.5).astype(float)
    # whoever holds it, the network computes the same
    np.testing.assert_allclose(outputs(placed, held, x), outputs(neuron, by_hand, x), atol=1e-12)


def outputs(neuron: Any, synapses: dict[str, Dense], x: Any) -> Any:
    edges = [edge for name in synapses for edge in (Edge("input", name), Edge(name, "n"))]
    return run_float(Network({"input": Input((3,)), **synapses, "n": neuron}, tuple(edges), 1.0, "n"), x).output


def test_a_family_without_a_place_for_it_leaves_the_bias_to_the_synapse() -> None:
    ones = np.ones((2, 1))
    windowed = windowed_of(a=ones, b=1.0, c=ones[:, None], d=0.0, kernel=np.ones((2, 3)), v_threshold=1.0)
    assert not bias_moves_into("population", windowed, [Dense(np.eye(2))])


def test_primitives_of_nir_hold_a_bias_in_the_synapse() -> None:
    """The same rule, for the other place: an Affine is what other readers understand."""
    builder = NetworkBuilder(1e-3)
    builder.input(3)
    for name, neuron in (("plain", plain(2)), ("filtered", filtered(2)), ("readout", Integrator(np.full(2, 0.9)))):
        builder.population(neuron, name)
        source = "input" if name == "plain" else "plain" if name == "filtered" else "filtered"
        builder.connect(source, name, np.ones((2, 3 if source == "input" else 2)) * 0.7, [0.25, -0.25])
    network = builder.build()
    assert [network.synapses[f"{name}.synapse"].bias is None for name in network.populations] == [True, False, True]
    q = nmdeploy.quantize(network, "loihi2", nmdeploy.load_data(np.ones((1, 20, 3)), network.input))
    kinds = {name: fields["type"] for name, fields in nir_io.primitives(q).nodes.items()}
    assert all(kinds[f"{name}.synapse"] == "Affine" for name in network.populations)
    for name, neuron in q.populations.items():
        assert bias_moves_into("synapse", neuron, [q.synapses[f"{name}.synapse"]]) == (name != "filtered")
        assert not bias_moves_into("synapse", neuron, [])


def trained(model: str, seed: int) -> Any:
    """A module of nmdeploy.models whose normalization does something."""
    from nmdeploy.models import create

    rng = np.random.default_rng(seed)
    module = create(model, inputs=3, channels=4, states=1, layers=2, outputs=2, seed=seed % 1000).eval()
    for block in module.blocks:
        for values in (block.norm.weight, block.norm.bias, block.norm.running_mean, module.readout.bias):
            values.data[:] = values.new_tensor(rng.uniform(-0.5, 1.5, values.shape))
    return module


def as_nir(network: Network) -> nir.NIRGraph:
    """A network of LIF populations and an integrator, by the equations of NIR; each bias in an Affine."""
    nodes: dict[str, Any] = {"input": nir.Input(np.array(network.input.shape))}
    for name, neuron in network.populations.items():
        synapse = network.synapses[f"{name}.synapse"]
        assert isinstance(synapse, Dense) and isinstance(neuron, (LIF, Integrator))
        bias = neuron.bias if synapse.bias is None else synapse.bias
        nodes[f"{name}.synapse"] = nir.Affine(synapse.weight, bias)
        nodes[name] = nir.I(np.full(neuron.size, 1 / DT)) if isinstance(neuron, Integrator) else cuba(neuron)
    nodes["output"] = nir.Output(np.array([network.populations[network.output].size]))
    edges = [(edge.source, edge.target) for edge in network.edges]
    return nir.NIRGraph(nodes, [*edges, (network.output, "output")], type_check=False)


def cuba(neuron: LIF) -> nir.CubaLIF:
    enters, leak, zero = 1 - neuron.alpha, 1 - neuron.beta, np.zeros(neuron.size)
    return nir.CubaLIF(DT / enters, DT / leak, 1 / leak, zero, neuron.v_threshold, zero, 1 / enters)


def integers(network: QuantizedNetwork) -> dict[str, dict[str, Any]]:
    """Every integer of every node."""
    held = {name: {f.name: getattr(node, f.name) for f in fields(node)} for name, node in network.nodes.items()}
    return {
        name: {key: np.array(value).tolist() for key, value in values.items() if np.array(value).dtype.kind in "iu"}
        for name, values in held.items()
    }


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
@pytest.mark.parametrize("model", ["lif-hard", "cuba-lif"])
def test_a_checkpoint_and_nir_of_one_network_give_the_same_places_and_integers(model: str, seed: int) -> None:
    network = nmdeploy.load(trained(model, seed), input_format=BINARY)
    imported = nmdeploy.load(as_nir(network), dt=DT)
    assert imported.edges == network.edges and list(imported.nodes) == list(network.nodes)
    for name, synapse in network.synapses.items():
        other = imported.synapses[name]
        held_by_synapse = model == "cuba-lif" and name != "readout.synapse"
        assert (synapse.bias is not None) == (other.bias is not None) == held_by_synapse, name
    x = np.random.default_rng(seed).random((3, 25, 3)) < 0.4
    data = nmdeploy.load_data(x, network.input)
    found, expected = (integers(nmdeploy.quantize(each, "loihi2", data)) for each in (imported, network))
    assert found == expected


# -- what `load` takes


def test_a_network_passes_through() -> None:
    builder = started()
    builder.connect("input", "hidden", np.ones((2, 3)))
    network = builder.build()
    assert nmdeploy.load(network) is network and nmdeploy.load(network, dt=1e-3) is network
    with pytest.raises(BadOption, match=r"--dt 0.1: the network holds its own time step, 0.001 s"):
        nmdeploy.load(network, dt=0.1)
    with pytest.raises(BadOption, match=r"input_format .*holds its own"):
        nmdeploy.load(network, input_format=GRADED)


def test_a_nir_graph_is_loaded_without_a_file(tmp_path: Path) -> None:
    graph = as_nir(nmdeploy.load(trained("cuba-lif", 0), input_format=BINARY))
    nir.write(tmp_path / "net.nir", graph)
    network = nmdeploy.load(graph, dt=DT)
    assert network == nmdeploy.load(tmp_path / "net.nir", dt=DT)
    assert nmdeploy.load(graph, dt=DT, input_format=GRADED).input.format == GRADED
    with pytest.raises(BadOption, match=r"the NIR graph: NIR holds no time step.*e\.g\. --dt"):
        nmdeploy.load(graph)
    graph.nodes["block0"].tau_mem = np.full(4, -1.0)
    with pytest.raises(UnsupportedParameter, match=r"the NIR graph: node 'block0': tau_mem = -1"):
        nmdeploy.load(graph, dt=DT)
    graph.nodes["block0"].v_reset = object()
    with pytest.raises(BadFile, match="the NIR graph: cannot be written as NIR"):
        nmdeploy.load(graph, dt=DT)


@pytest.mark.parametrize("model", ["lif-hard", "spiking-ssm", "windowed-ssm"])
def test_a_module_is_loaded_as_its_checkpoint(tmp_path: Path, model: str) -> None:
    from nmdeploy.models.checkpoint import save

    module = trained(model, 1)
    save(module, tmp_path / "net.safetensors", input_format=GRADED)
    assert nmdeploy.load(module, input_format=GRADED) == nmdeploy.load(tmp_path / "net.safetensors")
    assert nmdeploy.load(module, input_format=GRADED, dt=0.5).dt == 0.5
    with pytest.raises(BadOption, match=r"the module: holds no number format.*input_format="):
        nmdeploy.load(module)
    module.readout.bias.data[0] = float("nan")
    with pytest.raises(BadData, match=r"the module: tensor 'readout.bias' holds NaN"):
        nmdeploy.load(module, input_format=GRADED)


def test_a_checkpoint_is_the_network_that_is_built_of_its_tensors() -> None:
    network = nmdeploy.load(CHECKPOINT)
    config, tensors = checkpoint.read_content(CHECKPOINT)
    builder = NetworkBuilder(config.dt)
    before = builder.input(config.inputs, network.input.format)
    for index in range(config.layers):
        neuron = network.populations[f"block{index}"]
        builder.population(neuron, f"block{index}")
        builder.connect(before, f"block{index}", tensors[f"blocks.{index}.synapse.weight"])
        if index and config.residual:
            raise AssertionError("the digits have no residual edges")
        before = f"block{index}"
    builder.population(Integrator(np.ones(config.outputs)), "readout")
    builder.connect(before, "readout", tensors["readout.weight"], tensors["readout.bias"])
    assert builder.build(readout=config.readout) == network


@pytest.mark.parametrize("source", [3, None, np.eye(2), QuantizedLIF(0, 0, 0, 0, 0)])
def test_other_objects_are_refused_by_their_type(source: object) -> None:
    with pytest.raises(BadOption, match=f"type {type(source).__name__} is no source of a network: give a path"):
        nmdeploy.load(source)


def test_objects_are_taken_by_the_importer_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file declares which objects it takes."""
    from nmdeploy import importers

    builder = started()
    builder.connect("input", "hidden", np.ones((2, 3)))
    network = builder.build()

    class Own:
        def takes(self, source: object) -> bool:
            return source == "mine" or isinstance(source, bytes)

        def load_object(self, source: object, options: ReadOptions, input_format: Any = None) -> Network:
            assert (source, options.dt, input_format) == (b"mine", 0.5, None)
            return network

    found = importers._modules()
    monkeypatch.setattr(importers, "_modules", lambda: [*found, Own()])
    assert nmdeploy.load(b"mine", dt=0.5) is network


def test_every_function_takes_what_load_takes(tmp_path: Path) -> None:
    graph = as_nir(nmdeploy.load(trained("lif-hard", 2), input_format=BINARY))
    network = nmdeploy.load(graph, dt=DT)
    x = np.random.default_rng(0).random((4, 20, 3)) < 0.4
    arrays = {"inputs": x, "labels": np.array([0, 1, 1, 0])}
    exported = nmdeploy.export(graph, tmp_path / "a.nir", data=arrays, dt=DT)
    assert exported.network == nmdeploy.export(network, tmp_path / "b.nir", data=x).network
    data = nmdeploy.load_data(x, network.input)
    assert nmdeploy.quantize(network, "loihi2", x) == nmdeploy.quantize(network, "loihi2", data) == exported.network
    assert nmdeploy.run(exported.network, x) == nmdeploy.run(exported.network, data)
    assert nmdeploy.check(graph, "loihi2", DT) == nmdeploy.check(network, "loihi2")
    assert nmdeploy.check(network, "loihi2").deployable
    model = tmp_path / "a.nir"
    accuracies = nmdeploy.verify(model, arrays, "compiled", graph, dt=DT).accuracy
    assert (
        accuracies == nmdeploy.verify(model, arrays, "compiled", network).accuracy and accuracies["float"] is not None
    )
    assert nmdeploy.report(model, arrays, floats=network).samples == 4
    assert nmdeploy.simulate(model, arrays, tmp_path / "r.h5", samples=2).totals.samples == 2
    with pytest.raises(NmdeployError, match="is not the network that the model came from: its dt"):
        nmdeploy.verify(model, arrays, "compiled", graph, dt=DT / 2)


def test_arrays_are_checked_as_files_are(tmp_path: Path) -> None:
    network = nmdeploy.load(CHECKPOINT)
    of_file = nmdeploy.load_data(CALIBRATION, network.input)
    with np.load(CALIBRATION) as held:
        of_arrays = nmdeploy.load_data(dict(held), network.input)
    assert of_arrays.codes.dtype == of_file.codes.dtype and np.array_equal(of_arrays.codes, of_file.codes)
    for given_, words in (
        (np.ones((2, 3)), "'inputs' has shape"),
        ([[1], [1, 2]], "'inputs' is no array of numbers"),
        ({"x": np.ones(3)}, "holds no array 'inputs'"),
        (np.full((1, 1, 1), np.nan), "nan in sample 0"),
        ({"inputs": np.ones((2, 3, 1)), "labels": [1]}, "'labels' 1"),
    ):
        with pytest.raises(BadData, match=f"the arrays: .*{words}"):
            nmdeploy.load_data(given_, network.input)


def test_the_classes_of_a_network_are_imported_when_they_are_used() -> None:
    for name in nmdeploy.CLASSES:
        assert getattr(nmdeploy, name).__name__ == name
    code = "import sys, nmdeploy; assert not set(sys.modules) & {'numpy', 'nir', 'torch'}; nmdeploy.NetworkBuilder"
    code += "; sys.exit(any(name in sys.modules for name in ('torch', 'nir', 'h5py')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
