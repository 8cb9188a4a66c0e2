"""The model file: what is written is read, and what other readers see are the dequantized integers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import family_examples
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import lif_case, state_space_case
from nir_networks import chain, quantized, random_network, small_network

from nmdeploy import nir_io
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.nir_io.graph import primitives
from nmdeploy.nir_io.primitives import NO_LEAK
from nmdeploy.quantization.post_training import quantize_network
from nmdeploy.synapses.dense import Dense


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[QuantizedNetwork, Path]:
    """A small network of every family and its file."""
    q, path = small_network(), tmp_path_factory.mktemp("nir") / "small.nir"
    nir_io.write(q, path)
    return q, path


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = quantized(random_network(rng), rng)
    path = tmp_path_factory.mktemp("nir") / "model.nir"
    assert nir_io.write(q, path)
    back = nir_io.read(path)
    assert back == q
    assert list(back.nodes) == list(q.nodes)
    assert nir_io.model_sha256(path) == nir_io.model_sha256(q)
    graph = nir.read(path)
    expected = primitives(q)
    assert set(graph.nodes) == set(expected.nodes)
    assert set(graph.edges) == set(expected.edges)


@pytest.mark.parametrize("case", [lif_case, state_space_case])
@pytest.mark.parametrize("seed", range(6))
def test_integer_networks_survive(case: Any, seed: int, tmp_path: Path) -> None:
    q = case(seed).network
    nir_io.write(q, tmp_path / "model.nir")
    assert nir_io.read(tmp_path / "model.nir") == q
    assert nir.read(tmp_path / "model.nir").nodes


@pytest.mark.parametrize("neuron", family_examples.examples(), ids=lambda n: n.kind)
def test_every_mechanism_of_every_family_survives(neuron: Neuron, tmp_path: Path) -> None:
    q = family_examples.quantized(neuron)
    nir_io.write(q, tmp_path / "model.nir")
    assert nir_io.read(tmp_path / "model.nir") == q
    assert nir.read(tmp_path / "model.nir").nodes


def test_weights_are_the_integers_times_a_power_of_two(small: tuple[QuantizedNetwork, Path]) -> None:
    q, path = small
    graph = nir.read(path)
    for name, synapse in q.synapses.items():
        assert graph.nodes[name].weight.dtype == np.float32
        codes = synapse.rows.matrix(lambda entries: entries)
        assert np.array_equal(np.ldexp(graph.nodes[name].weight.astype(float), synapse.frac), codes)
    lif, node = q.populations["lif"], graph.nodes["lif"]
    assert np.array_equal(np.ldexp(node.v_threshold, lif.frac_in), lif.vth)
    assert np.array_equal(np.rint(4096 * q.dt / node.tau_mem), lif.dv)
    assert np.array_equal(np.rint(4096 * q.dt / node.tau_syn), lif.du + 1)


def run_primitives(graph: nir.NIRGraph, name: str, a: Any, dt: float) -> Any:
    """Spikes of one state-space population's primitives, explicit Euler: all integrators advance together."""
    scales = {key: node.scale for key, node in graph.nodes.items() if isinstance(node, nir.Scale)}
    state = {key: np.zeros(a.shape[1:]) for key, node in graph.nodes.items() if isinstance(node, nir.I)}
    spikes = []
    for step in range(a.shape[0]):
        sent = {key: state[source] * scales[key] for source, key in graph.edges if source in state}
        sent |= {key: a[step] * scales[key] for key in scales if key.startswith(f"{name}.in_")}
        state = {
            key: v + dt * graph.nodes[key].r * sum(sent[source] for source, target in graph.edges if target == key)
            for key, v in state.items()
        }
        sent |= {key: state[source] * scales[key] for source, key in graph.edges if source in state}
        y = sum(sent[source] for source, target in graph.edges if target == name)
        spikes.append(y > graph.nodes[name].threshold)
    return np.stack(spikes)


def test_state_space_primitives_compute_the_dequantized_neuron(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    poles = 0.95 * np.exp(1j * rng.uniform(0, 3, (6, 3)))
    c, d = rng.normal(size=(6, 3)) + 1j * rng.normal(size=(6, 3)), rng.normal(size=6)
    neuron = StateSpace(a=poles, b=0.3, c=c, d=d, v_threshold=0.7, bias=0.2)
    nodes = {"input": Input((4,)), "fc": Dense(rng.normal(size=(6, 4))), "ssm": neuron}
    q = quantized(Network(nodes, chain(nodes), 1e-3, "ssm"), rng)
    nir_io.write(q, tmp_path / "model.nir")
    graph, n = nir.read(tmp_path / "model.nir"), q.populations["ssm"]
    x = (rng.random((200, 4)) < 0.3).astype(float)
    found = run_primitives(graph, "ssm", x @ graph.nodes["fc"].weight.astype(float).T, q.dt)
    unit_x, unit_y, unit_a = np.exp2(-n.frac_x), np.exp2(-n.frac_y), 2.0**-n.frac_in
    expected = StateSpace(
        a=(n.a_re + 1j * n.a_im) / 2**n.frac_a,
        b=(n.b_re + 1j * n.b_im) / 2**n.frac_b * unit_x[..., None] / unit_a,
        c=(n.c_re + 1j * n.c_im) / 2**n.frac_c * unit_y[..., None] / unit_x[:, None],
        d=n.d / 2**n.frac_d * unit_y[..., None] / unit_a,
        v_threshold=n.vth * unit_y,
        bias=n.bias * unit_y,
    )
    weight = Dense(np.ldexp(q.synapses["fc"].weight.astype(float), -q.synapses["fc"].frac))
    floats = Network({**nodes, "fc": weight, "ssm": expected}, q.edges, q.dt, "ssm")
    spikes = run_float(floats, x[None]).spikes["ssm"][0]
    assert 0.05 < spikes.mean() < 0.8
    assert (spikes != found).sum() == 0


def test_size_and_time_of_a_large_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    poles = np.exp(-0.05 * (0.5 + 1j * np.pi * np.arange(64))) * np.ones((512, 1))
    neuron = StateSpace(a=poles, b=0.05, c=rng.normal(size=(512, 64)), d=rng.normal(size=512), v_threshold=0.5)
    nodes = {"input": Input((64,)), "fc": Dense(rng.normal(size=(512, 64))), "ssm": neuron}
    network = Network(nodes, chain(nodes), 1e-3, "ssm")
    q = quantize_network(network, QuantizationConfig())
    path = tmp_path / "large.nir"
    nir_io.write(q, path)
    start = time.process_time()
    nir_io.write(q, path)
    assert nir_io.read(path) == q
    seconds = time.process_time() - start
    print(f"512 x 64: {len(nir.read(path).nodes)} nodes, {path.stat().st_size / 1e6:.1f} MB, {seconds:.2f} s")
    assert path.stat().st_size < 5e6


def test_writing_twice_gives_the_same_bytes(small: tuple[QuantizedNetwork, Path], tmp_path: Path) -> None:
    q, path = small
    nir_io.write(q, tmp_path / "again.nir")
    assert (tmp_path / "again.nir").read_bytes() == path.read_bytes()


def lif_network(neuron: Any, bias: bool = False, dt: float = 1e-4) -> QuantizedNetwork:
    """Input, synapses, one population, quantized."""
    rng = np.random.default_rng(2)
    nodes = {"input": Input((3,)), "fc": Dense(rng.normal(size=(4, 3)), np.full(4, 0.1) if bias else None), "n": neuron}
    return quantized(Network(nodes, chain(nodes), dt, "n"), rng)


@pytest.mark.parametrize(
    ("neuron", "types", "word"),
    [
        (LIF(np.zeros(4), 0.9, 1.0), ["CubaLIF", "Linear"], "dt = 0.0001"),
        (LIF(np.zeros(4), 0.9, 1.0, 0.2), ["CubaLIF", "Affine"], "floating point"),
        (LIF(np.full(4, 0.5), 0.9, 1.0, 0.2), ["CubaLIF", "Linear"], "v_leak"),
        (LIF(np.zeros(4), 1.0, 1.0), ["IF", "Linear"], "IF with r = 1/dt"),
        (LIF(np.zeros(4), 1.0, 1.0, 0.1), ["IF", "Affine"], "IF"),
        (LIF(np.full(4, 0.5), 1.0, 1.0), ["CubaLIF", "Linear"], "without leak"),
        (LIF(np.zeros(4), 0.9, 1.0, refractory_steps=3), ["CubaLIF", "Linear"], "refractory period of 3"),
        (LIF(np.zeros(4), 0.9, [1.0, 2.0, 1.0, 1.0]), ["CubaLIF", "Linear"], "thresholds that differ"),
        (Integrator(np.ones(4)), ["I", "Linear"], "neither knows I"),
        (Integrator(np.ones(4), 0.1), ["I", "Affine"], "neither knows I"),
        (Integrator(np.full(4, 0.5), 0.1), ["Affine", "LI"], "neither knows LI"),
        (
            StateSpace(
                a=np.full((4, 1), 0.9),
                b=1.0,
                c=1.0,
                d=0.0,
                v_threshold=0.5,
                reset_action="soft",
                reset_condition="any",
                r=0.1,
            ),
            None,
            "soft reset",
        ),
    ],
)
def test_primitives_and_notes(neuron: Any, types: list[str] | None, word: str, tmp_path: Path) -> None:
    q = lif_network(neuron)
    notes = nir_io.write(q, tmp_path / "model.nir")
    assert any(word in note for note in notes), notes
    assert nir_io.read(tmp_path / "model.nir") == q
    kinds = sorted(type(node).__name__ for node in nir.read(tmp_path / "model.nir").nodes.values())
    assert types is None or kinds == sorted([*types, "Input", "Output"])


def test_a_bias_that_a_filter_would_smear_stands_in_v_leak() -> None:
    graph = primitives(lif_network(LIF(np.full(4, 0.5), 1.0, 1.0, 0.25)))
    assert np.allclose(graph.nodes["n"]["v_leak"] / NO_LEAK, graph.nodes["n"]["v_threshold"] * 0.25, rtol=1e-3)
    graph = primitives(lif_network(LIF(np.zeros(4), 0.9, 1.0, 0.25), bias=True))
    threshold = graph.nodes["n"]["v_threshold"][0]
    assert np.allclose(graph.nodes["fc"]["bias"], 0.35 * threshold, rtol=0.01)
    assert not graph.nodes["n"]["v_leak"].any()


def test_delays_are_nodes_except_for_the_step_of_a_loop(tmp_path: Path) -> None:
    nodes: dict[str, Any] = {"input": Input((3,)), "fc": Dense(np.ones((4, 3))), "n": LIF(np.zeros(4), 0.9, 1.0)}
    edges = [Edge("input", "fc", 2), *chain(nodes)[1:], Edge("n", "r", 1), Edge("r", "n"), Edge("n", "r3", 3)]
    network = Network(nodes | {"r": Dense(np.eye(4)), "r3": Dense(np.eye(4))}, (*edges, Edge("r3", "n")), 1e-3, "n")
    q = quantized(network, np.random.default_rng(0))
    nir_io.write(q, tmp_path / "model.nir")
    graph = nir.read(tmp_path / "model.nir")
    delays = {key: node.delay.tolist() for key, node in graph.nodes.items() if isinstance(node, nir.Delay)}
    assert delays == {"input.fc.delay2": [0.002] * 3, "n.r3.delay3": [0.003] * 4}
    assert ("n", "r") in graph.edges


def test_names_that_a_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    q = lif_network(LIF(np.zeros(4), 0.9, 1.0))
    for name in ("a/b", ".", ""):
        nodes = {name if key == "fc" else key: node for key, node in q.nodes.items()}
        bad = replace(q, nodes=nodes, edges=chain(nodes))
        with pytest.raises(UnsupportedParameter, match="rename"):
            nir_io.write(bad, tmp_path / "model.nir")
    for dt in (0.0, float("nan")):
        with pytest.raises((UnsupportedParameter, ZeroDivisionError)):
            nir_io.write(replace(q, dt=dt), tmp_path / "model.nir")
    assert not list(tmp_path.iterdir())


def test_describe_is_cheap_and_complete(small: tuple[QuantizedNetwork, Path]) -> None:
    q, path = small
    described = nir_io.describe(path)
    assert described["sha256"] == nir_io.model_sha256(q)
    assert list(described["layers"]) == ["ssm", "lif", "out"]
    assert described["synapses"]["s1"]["shape"] == [5, 4]
    code = f"import sys, nmdeploy.nir_io as n; n.describe({str(path)!r}); assert 'nir' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_describe_lists_a_foreign_graph(tmp_path: Path) -> None:
    nir.write(tmp_path / "foreign.nir", nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3)))))
    described = nir_io.describe(tmp_path / "foreign.nir")
    assert described["format"] == "nir"
    assert described["nodes"]["linear"] == {"type": "Linear", "weight": [2, 3]}


def test_models_are_read_at_the_same_time(tmp_path: Path) -> None:
    """HDF5 takes images of one name for one file, whatever they hold."""
    networks = [case(seed).network for case in (lif_case, state_space_case) for seed in range(2)]
    paths = [tmp_path / f"{index}.nir" for index in range(len(networks))]
    for network, path in zip(networks, paths, strict=True):
        nir_io.write(network, path)
    found: list[bool] = []

    def work(network: QuantizedNetwork, path: Path) -> None:
        for _ in range(4):
            found.append(nir_io.read(path) == network)

    workers = [threading.Thread(target=work, args=each) for each in zip(networks, paths, strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 4 * len(networks)
