"""What every neuron family keeps, whichever the folder holds: a new file inherits these tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nmdeploy import families
from nmdeploy.backends.reference import run
from nmdeploy.floatrun import run_float
from nmdeploy.network import Edge, Input, Network
from nmdeploy.neurons.base import Formats, Neuron
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space import StateSpace
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import Dense

SIZE, CHANNELS, STEPS = 12, 4, 60


def poles(states: int = 3) -> Any:
    return np.exp(-0.1 * (0.5 + 1j * np.pi * np.arange(states))) * np.ones((SIZE, 1))


def examples() -> list[Neuron]:
    """Float populations of every family, with each of their mechanisms."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=(SIZE, 3)) + 1j * rng.normal(size=(SIZE, 3))
    ones = np.ones(SIZE)
    found: list[Neuron] = [
        LIF(0.5 * ones, 0.9, 1.0),
        LIF(0.0 * ones, 0.8, 0.7, bias=rng.normal(0, 0.1, SIZE), refractory_steps=2),
        Integrator(ones, rng.normal(size=SIZE)),
        Integrator(0.9 * ones),
    ]
    base = {"a": poles(), "b": 0.1, "c": c, "d": rng.normal(size=SIZE), "v_threshold": 0.4 * ones, "bias": 0.1}
    for action in ("none", "hard", "soft"):
        r = 0.0 if action == "hard" else 0.05 * c.conj()
        for mode in ("hold", "mask"):
            found.append(StateSpace(**base, reset_action=action, r=r, refractory_steps=3, refractory_mode=mode))
        found.append(StateSpace(**base, reset_action=action, r=r))
    return found


def network(neuron: Neuron) -> Network:
    weight = np.random.default_rng(1).normal(size=(neuron.size, CHANNELS))
    return Network(
        {"input": Input((CHANNELS,)), "synapse": Dense(weight), "n": neuron},
        (Edge("input", "synapse"), Edge("synapse", "n")),
        1e-3,
        "n",
        "sum" if neuron.spiking else "last",
    )


def inputs() -> Any:
    return (np.random.default_rng(2).random((20, STEPS, CHANNELS)) < 0.3).astype(np.int64)


def test_examples_cover_every_family() -> None:
    assert {neuron.kind for neuron in examples()} == set(families.neurons()) == set(families.quantized_neurons())


@pytest.mark.parametrize("rounding", ["per-product", "per-sum"])
@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_integers_follow_the_float_population(neuron: Neuron, rounding: str) -> None:
    floats = network(neuron)
    q = quantize_network(floats, Formats(state_rounding=rounding), extremes=calibrate(floats, inputs()))
    found, wanted = run(q, inputs(), trace="states"), run_float(floats, inputs(), trace=True)
    if neuron.spiking:
        assert 0.02 < wanted.spikes["n"].mean() < 0.8
        assert (found.layers["n"].spikes != wanted.spikes["n"]).mean() < 0.05
    name = neuron.membrane_name
    membrane, integer = wanted.membranes["n"], q.populations["n"].real(name, found.layers["n"].states[name])
    assert np.corrcoef(membrane.ravel(), integer.ravel())[0, 1] > 0.97
    assert not any(found.total("n", flag) for flag in q.populations["n"].flags)


@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_json_round_trip(neuron: Neuron) -> None:
    floats = network(neuron)
    quantized = quantize_network(floats, Formats(), extremes=calibrate(floats, inputs())).populations["n"]
    assert families.from_json("n", json.loads(json.dumps(quantized.to_json()))) == quantized
    assert quantized.footprint_bits > 0 and quantized.real_states >= 1
    assert set(quantized.recorded) <= {*quantized.blocks, *quantized.registers}


@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_silence_changes_nothing_but_what_biases_do(neuron: Neuron) -> None:
    floats = network(neuron)
    q = quantize_network(floats, Formats(), extremes=calibrate(floats, inputs()))
    silent = run(q, np.zeros((1, 5, CHANNELS), np.int64), trace="states")
    biased = np.any(getattr(neuron, "bias", 0.0))
    assert biased or not any(np.any(values) for values in silent.layers["n"].states.values())
