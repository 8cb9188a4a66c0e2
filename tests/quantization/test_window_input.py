"""The approximate form of windows: equal at a window's end, measured elsewhere, refused where it means nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from shared import CHECKPOINT
from windows import windowed_of

from nmdeploy import pipeline
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.neurons.state_space.windowed import WindowedStateSpace
from nmdeploy.quantization.window_input import send_once, window_factors
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense

H, CHANNELS, R = 5, 4, 5
RNG = np.random.default_rng(7)
INPUTS = (RNG.random((12, 30, CHANNELS)) < 0.4).astype(np.int64)


def memory(rng: np.random.Generator) -> dict[str, Any]:
    a = np.exp(-0.1 * (0.5 + 1j * np.pi * np.arange(3))) * np.ones((H, 1))
    return {"a": a, "b": 0.3, "c": rng.normal(size=(H, 3)) + 1j * rng.normal(size=(H, 3)), "d": 0.0}


def network(*receivers: tuple[str, Any], bias: bool = False) -> Network:
    """Input, windows, mixer, gate, and receivers one behind the other."""
    rng = np.random.default_rng(3)
    kernel = rng.normal(0.5, 0.5, (H, R))
    nodes: dict[str, Any] = {
        "i": Input((CHANNELS,)),
        "w.s": Dense(rng.normal(size=(H, CHANNELS))),
        "w": windowed_of(**memory(rng), kernel=kernel, v_threshold=np.full(H, 0.3)),
        "g.s": Dense(rng.normal(size=(2 * H, H)), rng.normal(size=2 * H)),
        "g": GatedLinearUnit(H),
    }
    for name, neuron in receivers:
        weight = np.eye(H) if neuron.size == H else rng.normal(size=(neuron.size, H))
        nodes |= {f"{name}.s": Dense(weight, rng.normal(size=neuron.size) if bias else None), name: neuron}
    names = list(nodes)
    edges = tuple(Edge(one, other) for one, other in pairwise(names))
    return Network(nodes, edges, 1e-3, names[-1], "last")


def spiking() -> StateSpace:
    return StateSpace(**memory(np.random.default_rng(4)), v_threshold=np.ones(H))


def test_the_factor_is_that_of_the_formula() -> None:
    a = np.array([0.9 * np.exp(0.3j), 0.5, -0.7])
    assert np.allclose(window_factors(a, R), (1 - a**R) / ((1 - a) * a ** (R - 1)))


@pytest.mark.parametrize("receiver", [spiking(), Integrator(np.full(3, 0.9)), Integrator(np.ones(3))])
def test_states_are_equal_at_the_end_of_each_window(receiver: Any) -> None:
    """Multiples of the window; the readout's own bias goes on in every step."""
    exact = network(("n", receiver), bias=receiver.kind == "integrator")
    scaled, notes = send_once(exact)
    one, other = (run_float(each, INPUTS, trace=True).membranes["n"] for each in (exact, scaled))
    assert np.allclose(one[:, R - 1 :: R], other[:, R - 1 :: R])
    assert not np.allclose(one, other)
    assert "at most" in notes[0] and "approximate" in notes[0]
    if receiver.kind == "integrator":
        assert f"{float(window_factors(receiver.beta, R)[0]):.3g} times" in notes[0]


def test_senders_send_once() -> None:
    last = Integrator(np.full(3, 0.9))
    scaled, _ = send_once(network(("v", _windowed()), ("o", last)))
    assert [scaled.nodes[name].send_once for name in ("w", "g", "v")] == [True] * 3
    assert scaled.nodes["g"].window == R
    spikes = run_float(scaled, INPUTS).spikes["v"]
    assert spikes[:, ::R].any() and not np.delete(spikes, np.s_[::R], 1).any()
    assert set(scaled.timing.hold_steps.values()) == {1}


def _windowed(r: int = R) -> WindowedStateSpace:
    rng = np.random.default_rng(6)
    return windowed_of(**memory(rng), kernel=rng.normal(0.5, 0.5, (H, r)), v_threshold=np.full(H, 0.3))


def test_the_export_says_what_the_approximation_changes() -> None:
    floats = network(("v", _windowed()), ("o", Integrator(np.full(3, 0.9))))
    labels = np.arange(len(INPUTS)) % 3
    data = Data(INPUTS, labels, np.full(len(INPUTS), 30))
    q = pipeline.quantize(floats, "loihi2", data, window_input="scaled")
    said = "\n".join(q.notes)
    assert "sent once" in said and "% of the spikes (12 samples)" in said and "accuracy with exact windows 0." in said
    recording = pipeline.run(q, data)
    for name in ("g", "v", "o"):
        counts = recording.layers[name].counts
        assert np.array_equal(counts["synaptic_operations"], counts["synaptic_operations_computed"])
    bare = pipeline.quantize(floats, "loihi2", replace(data, labels=None), window_input="scaled")
    assert "accuracy" not in "\n".join(bare.notes)
    with pytest.raises(BadOption, match="window input 'both' does not exist"):
        pipeline.quantize(floats, "loihi2", data, window_input="both")


def test_the_command_line_refuses_what_has_no_windows(cli: Any, tmp_path: Any) -> None:
    arguments = ("--window-input", "scaled", "-o", tmp_path / "m.nir")
    result = cli("export", CHECKPOINT, *arguments)
    assert result.exit_code == 2 and "no population of the network has windows" in result.output
    assert not (tmp_path / "m.nir").exists()


def with_edge(floats: Network, *edges: Edge, **nodes: Any) -> Network:
    return replace(floats, nodes=dict(floats.nodes) | nodes, edges=(*floats.edges, *edges))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: network(("n", LIF(np.zeros(H), 0.9, 1.0))), UnsupportedParameter, r"'n' \(lif\).*diagonal dynamics"),
        (lambda: network(("n", _held())), UnsupportedParameter, r"'n' \(state_space\).*without reset or hold"),
        (lambda: network(("n", _forgetful())), UnsupportedParameter, "'n': a state decays"),
        (lambda: network(("n", spiking()), bias=True), UnsupportedParameter, r"'n\.s': its bias"),
        (
            lambda: network(("n", replace(spiking(), input_bias=0.1))),
            UnsupportedParameter,
            "'n': its input bias arrives in every step",
        ),
        (
            lambda: with_edge(network(("n", spiking())), Edge("i", "x"), Edge("x", "n"), x=Dense(np.ones((H, 4)))),
            UnsupportedParameter,
            "'n': .*all of its inputs in the same windows",
        ),
        (
            lambda: Network(
                {"i": Input((H,)), "s": Dense(np.eye(H)), "n": spiking()}, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n"
            ),
            BadOption,
            "no population of the network has windows",
        ),
    ],
)
def test_refusals(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        send_once(make())


def _held() -> StateSpace:
    return replace(spiking(), refractory_steps=2, refractory_mode="hold")


def _forgetful() -> StateSpace:
    return replace(spiking(), a=np.zeros((H, 3)))
