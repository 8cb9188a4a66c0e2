"""Random float networks of every family, for the tests of NIR files."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import BINARY, Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import Dense

Rng = np.random.Generator


def random_neuron(rng: Rng, size: int) -> Any:
    """Draw a float population of a random family, with any reset, refractory period and bias."""
    steps = int(rng.choice([0, 0, 1, 4]))
    if rng.random() < 0.5:
        alpha, beta = rng.choice([0.0, 0.5, 0.9], size if rng.random() < 0.5 else 1), rng.choice([0.7, 0.95, 1.0], 1)
        return LIF(alpha, beta, rng.uniform(0.2, 2, size), rng.normal(size=size) * rng.choice([0, 0.1]), 0.0, steps)
    states, action = int(rng.integers(1, 6)), str(rng.choice(["none", "hard", "soft"]))
    poles = rng.uniform(0.3, 0.99, (size, states)) * np.exp(1j * rng.choice([0, 1]) * rng.uniform(0, 3, (size, states)))
    return StateSpace(
        a=poles,
        b=rng.uniform(0.1, 1, (size, states)),
        c=rng.normal(size=(size, states)) + 1j * rng.normal(size=(size, states)) * rng.choice([0, 1]),
        d=rng.normal(size=size) * rng.choice([0, 1]),
        v_threshold=0.5,
        bias=rng.normal(size=size) * 0.1,
        reset_action=action,
        reset_condition="never" if action == "none" else "any",
        r=0.1 * rng.normal(size=(size, states)),
        refractory_steps=steps,
        refractory_mode=str(rng.choice(["hold", "mask"])),
    )


def random_network(rng: Rng) -> Network:
    """Draw layers of random families with residual and delayed edges, recurrences, and sometimes an integrator."""
    shape = ((5,), (2, 3))[int(rng.integers(2))]
    number = FixedPoint(3, 1, signed=False) if rng.random() < 0.2 else BINARY
    nodes: dict[str, Any] = {"input": Input(shape, number)}
    edges: list[Edge] = []
    size, before, residual = int(np.prod(shape)), "input", ""
    for layer in range(int(rng.integers(1, 4))):
        name, new = f"block{layer}", int(rng.integers(2, 9)) if rng.random() < 0.5 else size
        bias = rng.normal(size=new) * 0.1 if rng.random() < 0.4 else None
        nodes |= {f"{name}.in": Dense(rng.normal(size=(new, size)), bias), name: random_neuron(rng, new)}
        edges += [Edge(before, f"{name}.in", int(rng.choice([0, 0, 2])) if layer == 0 else 0), Edge(f"{name}.in", name)]
        if residual and nodes[residual].size == size:
            edges.append(Edge(residual, f"{name}.in"))
        if rng.random() < 0.4:
            nodes[f"{name}.back"] = Dense(rng.normal(size=(new, new)) * 0.3)
            edges += [Edge(name, f"{name}.back", int(rng.choice([1, 1, 3]))), Edge(f"{name}.back", name)]
        residual, before, size = (before if before != "input" else ""), name, new
    if rng.random() < 0.4:
        nodes |= {"fc": Dense(rng.normal(size=(3, size))), "out": Integrator(rng.choice([0.0, 0.9, 1.0], 3), 0.1)}
        edges += [Edge(before, "fc"), Edge("fc", "out")]
        before = "out"
    return Network(nodes, tuple(edges), float(rng.choice([1e-3, 1e-4, 1 / 49])), before, "last")


def quantized(network: Network, rng: Rng, samples: int = 4, steps: int = 20) -> QuantizedNetwork:
    """Return the network's integers, with scales from random spikes."""
    x = (rng.random((samples, steps, network.input.size)) < 0.4).astype(float)
    x = x * network.input.format.dequantize(network.input.format.max)
    return quantize_network(network, QuantizationConfig(), ranges=calibrate(network, x))


def small_network() -> QuantizedNetwork:
    """Return a small network of every family."""
    rng = np.random.default_rng(1)
    nodes = {
        "input": Input((3,)),
        "s0": Dense(rng.normal(size=(4, 3))),
        "ssm": StateSpace(
            a=np.full((4, 2), 0.9 * np.exp(0.3j)), b=0.3, c=rng.normal(size=(4, 2)), d=0.1, v_threshold=0.5, bias=0.1
        ),
        "s1": Dense(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.1),
        "lif": LIF(np.full(5, 0.5), 0.9, 1.0),
        "s2": Dense(rng.normal(size=(2, 5))),
        "out": Integrator(np.full(2, 0.9)),
    }
    return quantized(Network(nodes, chain(nodes), 1e-3, "out", "last"), rng)


def chain(nodes: dict[str, Any]) -> tuple[Edge, ...]:
    """Return edges from each node to the next."""
    names = list(nodes)
    return tuple(Edge(a, b) for a, b in pairwise(names))
