"""Random networks with populations that send their membrane as a value: a spiking layer, such a layer, a readout."""

from __future__ import annotations

from typing import Any

import numpy as np
from networks import Case
from networks_build import Builder, Rng, random_dense, random_inputs
from networks_neurons import LIF

from nmdeploy.network.graph import Edge
from nmdeploy.neurons.filtered_integrator import QuantizedFilteredIntegrator


def values(rng: Rng, size: int, feeds: bool) -> QuantizedFilteredIntegrator:
    """Draw a population; its states are narrow enough to saturate at times."""
    return QuantizedFilteredIntegrator(
        du=rng.choice([0, 1, 500, 4095, 4096], size),
        dv=rng.choice([0, 1, 500, 4096], size),
        in_shift=int(rng.integers(0, 9)),
        input_bias=rng.integers(-99, 100, size),
        bias=rng.integers(-99, 100, size),
        out_factor=rng.integers(0, 1 << 9, size),
        out_shift=int(rng.integers(0, 14)),
        out_bits=8 if feeds else 24,
        feeds=feeds,
        state_bits=int(rng.choice([16, 24])),
    )


def values_case(seed: int) -> Case:
    """Return LIF neurons, a hidden layer of values, LIF neurons again, and a readout behind a filter."""
    rng = np.random.default_rng(seed)
    builder = Builder(rng, *random_inputs(rng, int(rng.integers(40, 80)), 2))
    size = int(rng.integers(8, 41))
    builder.add("first", LIF, size, ["input"])
    nodes: dict[str, Any] = builder.nodes
    nodes |= {"hidden.synapse": random_dense(rng, size, size, (0, 3)), "hidden": values(rng, size, True)}
    nodes |= {"readout.synapse": random_dense(rng, 5, size, (-3, 0), s_max=127), "readout": values(rng, 5, False)}
    ways = (("first", "hidden"), ("hidden", "readout"))
    builder.edges += [e for a, b in ways for e in (Edge(a, f"{b}.synapse"), Edge(f"{b}.synapse", b))]
    return builder.case(f"values-{seed}", "readout")
