"""Populations driven by exact synaptic sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from networks_build import Case

from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.synapses.dense import QuantizedDense

PATTERN = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0])


def driven(name: str, neuron: Any, sums: Any, pattern: Any = PATTERN) -> Case:
    """Return a population whose synaptic sums are exactly `sums` where the pattern has a 1."""
    sums = np.asarray(sums, np.int64)
    high, low = sums >> 10, (sums & 1023)[:, None]
    parts = {
        "excitatory": QuantizedDense(np.clip(high, 0, 255)[:, None], 8, 0, "excitatory", 10),
        "inhibitory": QuantizedDense(np.clip(high, -255, 0)[:, None], 8, 0, "inhibitory", 10),
        "middle": QuantizedDense(low >> 4, 8, 0, "mixed", 4),
        "low": QuantizedDense(low & 15, 8, 0, "mixed", 0),
    }
    nodes = {"input": Input((1,)), **parts, "n": neuron}
    edges = [Edge("input", part) for part in parts] + [Edge(part, "n") for part in parts]
    return Case(name, QuantizedNetwork(nodes, tuple(edges), 1e-3, "n"), np.asarray(pattern)[None, :, None])


def around(*values: int) -> list[int]:
    """Return each value, its neighbours, and the negatives of all."""
    near = [v + d for v in values for d in (-1, 0, 1)]
    return near + [-v for v in near]


def beside(cases: list[Case], together: int = 30) -> list[Case]:
    """Return the same populations, many per network, on the inputs of the first case; they run faster.

    All cases have one input node.
    """
    return [_beside(cases[first : first + together]) for first in range(0, len(cases), together)]


def _beside(cases: list[Case]) -> Case:
    nodes: dict[str, Any] = {"input": cases[0].network.input}
    edges = []
    for index, case in enumerate(cases):
        name = {node: "input" if node == "input" else f"{index}.{node}" for node in case.network.nodes}
        nodes |= {name[node]: value for node, value in case.network.nodes.items() if node != "input"}
        edges += [Edge(name[edge.source], name[edge.target], edge.delay) for edge in case.network.edges]
    network = QuantizedNetwork(nodes, tuple(edges), 1e-3, f"0.{cases[0].network.output}")
    return Case(f"{len(cases)} beside {cases[0].name}", network, cases[0].inputs)
