"""Importing NIR: what each field means, and that what has no meaning here is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from nir_networks import chain, quantized

from nmdeploy import nir_io
from nmdeploy.errors import BadFile, BadOption, UnsupportedParameter
from nmdeploy.importers import nir as importer
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.synapses.dense import Dense

DT = 1e-3
ones = np.ones


def cuba(n: int = 3, **changes: Any) -> nir.CubaLIF:
    """A CubaLIF population."""
    values = {
        "tau_syn": 2e-3,
        "tau_mem": 1e-2,
        "r": 2.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
        "v_reset": 0.0,
        "w_in": 3.0,
    }
    return nir.CubaLIF(**{key: np.broadcast_to(np.asarray(v, float), (n,)) for key, v in (values | changes).items()})


def lif(n: int = 3, **changes: Any) -> nir.LIF:
    """A LIF population."""
    values = {"tau": 1e-2, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{key: np.broadcast_to(np.asarray(v, float), (n,)) for key, v in (values | changes).items()})


def graph(nodes: dict[str, Any], *more: tuple[str, str], size: int = 2, out: int = 3) -> nir.NIRGraph:
    """Input, the nodes in a row, Output; and further edges."""
    everything = {"input": nir.Input(np.array([size])), **nodes, "output": nir.Output(np.array([out]))}
    edges = [(e.source, e.target) for e in chain(everything)]
    return nir.NIRGraph(everything, [*edges, *more], type_check=False)


def affine(outputs: int = 3, inputs: int = 2, seed: int = 0) -> nir.Affine:
    """Random weights and biases."""
    rng = np.random.default_rng(seed)
    return nir.Affine(rng.normal(size=(outputs, inputs)), rng.normal(size=outputs) * 0.1)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Network]:
    """Write a graph and import it."""

    def write_and_load(g: nir.NIRGraph, dt: float | None = DT) -> Network:
        nir.write(tmp_path / "graph.nir", g)
        return importer.load(tmp_path / "graph.nir", ReadOptions(dt=dt))

    return write_and_load


def euler(node: Any, a: Any, dt: float) -> Any:
    """Spikes of a CubaLIF or LIF for currents a (steps, H), as NIR's equations say, step by step."""
    current, v, spikes = np.zeros(a.shape[1]), np.array(node.v_reset), []
    for row in a:
        if isinstance(node, nir.CubaLIF):
            current = current + dt / node.tau_syn * (node.w_in * row - current)
            v = v + dt / node.tau_mem * (node.v_leak - v + node.r * current)
        elif isinstance(node, nir.LIF):
            v = v + dt / node.tau * (node.v_leak - v + node.r * row)
        else:
            v = v + dt * node.r * row
        s = v > node.v_threshold
        v = np.where(s, node.v_reset, v)
        spikes.append(s)
    return np.stack(spikes)


@pytest.mark.parametrize(
    "node",
    [
        cuba(),
        cuba(v_leak=0.3, tau_mem=[5e-3, 1e-2, 2e-2]),
        cuba(v_leak=0.3, v_reset=0.3, w_in=[1.0, 2.0, 4.0]),
        cuba(v_leak=-0.2, v_reset=[-0.2, 0.0, -0.2], r=[1.0, -2.0, 3.0]),
        cuba(tau_syn=DT),
        lif(r=9.0),
        lif(r=9.0, v_leak=0.2, v_reset=0.2),
        lif(r=9.0, v_leak=0.1, v_reset=-0.3),
        cuba(v_leak=0.3, v_reset=-0.2),
        nir.IF(r=np.array([100.0, 200.0, 300.0]), v_threshold=ones(3), v_reset=np.full(3, -0.3)),
        lif(tau=DT, v_threshold=0.6),
        nir.IF(r=np.array([100.0, 200.0, 300.0]), v_threshold=ones(3), v_reset=np.zeros(3)),
    ],
)
def test_a_population_takes_nirs_euler_step(load: Callable[..., Network], node: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((300, 2)) < 0.5).astype(float)
    synapse = nir.Affine(rng.normal(size=(3, 2)) * 3, rng.normal(size=3) * 0.3)
    network = load(graph({"fc": synapse, "n": node}))
    expected = euler(node, x @ synapse.weight.T + synapse.bias, DT)
    found = run_float(network, x[None]).spikes["n"][0]
    assert expected.any() and not expected.all()
    assert (found != expected).sum() == 0
    assert network.readout == "sum"
    filtered = isinstance(node, nir.CubaLIF) and (node.tau_syn > DT).any()
    assert (network.synapses["fc"].bias is not None) == filtered


def test_a_silent_output_is_an_integrator(load: Callable[..., Network]) -> None:
    fc, x = affine(), (np.random.default_rng(0).random((20, 2)) < 0.5).astype(float)
    a = x @ fc.weight.T + fc.bias
    li = nir.LI(tau=ones(3) * 0.01, r=ones(3) * 4, v_leak=ones(3) * 0.5)
    for node, readout, expected in (
        (li, "last", lambda v, row: v + 0.1 * (0.5 - v + 4 * row)),
        (nir.I(r=ones(3) * 7), "last", lambda v, row: v + DT * 7 * row),
        (None, "sum", lambda v, row: row),
    ):
        network = load(graph({"fc": fc} | ({"n": node} if node else {})))
        v, found = np.zeros(3), run_float(network, x[None]).output[0]
        for row, output in zip(a, found, strict=True):
            v = expected(v, row)
            assert np.allclose(output, v)
        assert network.readout == readout


def test_recurrence_subgraphs_and_feedback(load: Callable[..., Network]) -> None:
    nodes = {
        "fc": affine(),
        "n": lif(),
        "fc2": affine(3, 3),
        "n2": lif(),
        "back": affine(3, 3, 1),
        "rec": affine(3, 3, 2),
    }
    g = graph({k: nodes[k] for k in ("fc", "n", "fc2", "n2")})
    g.nodes |= {"back": nodes["back"], "rec": nodes["rec"]}
    g.edges += [("n2", "back"), ("back", "n"), ("n", "rec"), ("rec", "n")]
    network = load(g)
    assert {(e.source, e.target) for e in network.edges if e.delay == 1} == {("n2", "back"), ("n", "rec")}
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "lif": lif(), "w_rec": affine(3, 3), "output": nir.Output(np.array([3]))},
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    network = load(graph({"fc": affine(), "rnn": inner, "fc2": affine(3, 3), "n2": lif()}))
    assert Edge("rnn.lif", "rnn.w_rec", 1) in network.edges
    assert Edge("rnn.lif", "fc2") in network.edges
    delayed = graph({"fc": affine(), "n": lif(), "d": nir.Delay(ones(3) * 3e-3), "fc2": affine(3, 3), "n2": lif()})
    assert Edge("n", "fc2", 3) in load(delayed).edges


def test_direct_connections_scales_and_flatten(load: Callable[..., Network]) -> None:
    g = graph({"n": lif(2), "scale": nir.Scale(np.array([2.0, 3.0])), "m": lif(2)}, out=2)
    network = load(g)
    assert np.allclose(network.synapses["input.n"].weight, np.eye(2) * 0.2)
    assert np.allclose(network.synapses["scale"].weight, np.diag([2, 3]) * 0.2)
    flat = nir.Flatten({"input": np.array([2, 2])}, 0, -1)
    g = graph({"flat": flat, "fc": affine(3, 4), "n": lif()})
    g.nodes["input"] = nir.Input(np.array([2, 2]))
    assert load(g).input.shape == (2, 2)
    g = graph({"fc": affine(), "n": lif()})
    g.nodes["input"] = nir.Input(np.array([1, 2]))
    assert load(g).input.shape == (2,)


def without(g: nir.NIRGraph, *edges: tuple[str, str]) -> nir.NIRGraph:
    """The graph without some edges."""
    g.edges = [edge for edge in g.edges if edge not in edges]
    return g


two = {"fc": affine(), "n": lif(), "fc2": affine(3, 3), "n2": lif()}
REFUSED: list[tuple[nir.NIRGraph, str]] = [
    (graph({"fc": affine(), "n": lif(tau=0.0)}), "node 'n': tau = 0"),
    (graph({"fc": affine(), "n": lif(tau=-1.0)}), "node 'n': tau = -1"),
    (graph({"fc": affine(), "n": lif(tau=1e-4)}), "shorter than dt"),
    (graph({"fc": affine(), "n": cuba(tau_syn=1e-4)}), "tau_syn"),
    (graph({"fc": affine(), "n": lif(r=np.nan)}), "node 'n': r = nan"),
    (graph({"fc": affine(), "n": lif(v_threshold=np.inf)}), "v_threshold = inf"),
    (graph({"fc": nir.Affine(np.full((3, 2), np.nan), ones(3)), "n": lif()}), "node 'fc': weight = nan"),
    (graph({"fc": nir.Affine(np.full((3, 2), 1e300), ones(3)), "n": lif(r=1e300)}), "not finite"),
    (graph({"fc": nir.Affine(ones((3, 2)), ones(4)), "n": lif()}), "node 'fc'"),
    (graph({"fc": affine(), "n": lif(4)}), "node 'n'"),
    (graph({"fc": affine(3, 5), "n": lif()}), "node 'fc'"),
    (graph({"fc": affine(), "n": lif()}, out=5), "node 'output'"),
    (graph({"fc": affine(), "fc2": affine(3, 3), "n": lif()}), "without a neuron in between"),
    (graph({"fc": affine(), "d": nir.Delay(ones(3) * DT), "n": lif()}), "Delay before a synapse"),
    (graph({"d": nir.Delay(np.array([DT, 2.5 * DT])), "fc": affine(), "n": lif()}), r"node 'd': delay = 0\.0025 s"),
    (graph({"d": nir.Delay(np.array([DT, 2 * DT, DT])), "fc": affine(), "n": lif()}), "node 'd'"),
    (graph({"d": nir.Delay(ones(2) * 1.5 * DT), "fc": affine(), "n": lif()}), "whole number of steps"),
    (graph(two, ("fc2", "output")), "2 nodes feed the output"),
    (without(graph(two), ("n", "fc2")), "not connected"),
    (without(graph(two), ("n2", "output")), "0 nodes feed the output"),
    (without(graph({"fc": affine()}), ("input", "fc"), ("fc", "output")), "not connected"),
    (graph({"fc": affine(), "n": lif(), "in2": nir.Input(np.array([3]))}), "2 Input nodes"),
    (graph(two, ("input", "output")), "remove the edge"),
]


@pytest.mark.parametrize(("g", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_has_no_meaning_is_refused_by_name(load: Callable[..., Network], g: Any, message: str) -> None:
    with pytest.raises(UnsupportedParameter, match=message) as error:
        load(g)
    assert "\n" not in str(error.value) and "graph.nir" in str(error.value)


def test_an_ambiguous_loop_is_refused(load: Callable[..., Network]) -> None:
    g = graph({"a": affine(), "n": lif(), "ab": affine(3, 3), "m": lif()})
    g.nodes |= {"b": affine(), "ba": affine(3, 3)}
    g.edges += [("input", "b"), ("b", "m"), ("m", "ba"), ("ba", "n")]
    with pytest.raises(UnsupportedParameter, match="equally far"):
        load(g)


def test_unknown_and_missing_fields_are_refused(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "graph.nir"
    for change, message in (
        (lambda f: f.__setitem__("node/nodes/n/noise", 1.0), "'noise' is no field of LIF"),
        (lambda f: f.__delitem__("node/nodes/n/tau"), "LIF without 'tau'"),
        (lambda f: f.__setitem__("node/nodes/x/type", "Linear"), "Linear without 'weight'"),
        (lambda f: f.__setitem__("node/nodes/x/weight", 1.0), "has no type"),
        (lambda f: f.__setitem__("node/nodes/y", h5py.SoftLink("/node")), "a link"),
        (lambda f: f.__setitem__("node/nodes/y", h5py.ExternalLink("/etc/passwd", "/")), "a link"),
        (lambda f: f.__setitem__("node/nodes/y", f["node"]), "loop"),
        (lambda f: f.__delitem__("node"), "no NIR graph"),
    ):
        nir.write(path, graph({"fc": affine(), "n": lif()}))
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises((BadFile, UnsupportedParameter), match=message):
            importer.load(path, ReadOptions(dt=DT))


def test_the_time_step_is_asked_for(load: Callable[..., Network], tmp_path: Path) -> None:
    g = graph({"fc": affine(), "n": lif()})
    with pytest.raises(BadOption, match="--dt"):
        load(g, None)
    for dt in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadOption, match="--dt"):
            load(g, dt)
    nodes = {"input": Input((3,)), "fc": Dense(ones((4, 3))), "n": LIF(np.full(4, 0.5), 0.9, 1.0)}
    q = quantized(Network(nodes, chain(nodes), 2e-3, "n"), np.random.default_rng(0))
    nir_io.write(q, tmp_path / "ours.nir")
    network = importer.load(tmp_path / "ours.nir")
    assert network.dt == 2e-3
    assert np.allclose(network.populations["n"].alpha, (4095 - q.populations["n"].du) / 4096)
    with pytest.raises(BadOption, match=r"0\.002"):
        importer.load(tmp_path / "ours.nir", ReadOptions(dt=1e-3))


def test_every_node_is_checked_by_itself(tmp_path: Path) -> None:
    nir.write(tmp_path / "a.nir", graph({"fc": affine(), "n": nir.SumPool2d(ones(2), ones(2), ones(2))}))
    found = {name: problem for name, _, problem in importer.problems(tmp_path / "a.nir")}
    assert found["fc"] is None and "SumPool2d" in str(found["n"])
    nir.write(tmp_path / "a.nir", graph({"fc": affine(), "n": lif()}))
    assert importer.problems(tmp_path / "a.nir") == []


def test_a_synapse_may_feed_two_populations(load: Callable[..., Network]) -> None:
    g = graph({"fc": affine(), "n": lif(), "fc2": affine(3, 3), "m": lif(r=5.0)}, ("fc", "m"))
    network = load(g)
    weights = {name: synapse.weight for name, synapse in network.synapses.items()}
    assert np.allclose(weights["fc.m"], weights["fc"] * 2.5)
    assert isinstance(load(graph({"fc": affine()})).populations["output"], Integrator)
