"""No loss is silent: random networks with extreme values, population by population, against what `export` says.

``pytest -m long`` runs 500 networks and prints the counts.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extreme_networks import extreme_network

from nmdeploy import pipeline
from nmdeploy.backends import reference
from nmdeploy.errors import DoesNotFit
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.samples.source import Data

LOSS = 0.05
NOT_BY_LOSS = ("no event reaches it", "never spikes", "all of its neurons spike")


def alone(network: QuantizedNetwork, name: str, arriving: Any) -> Any:
    """Spikes of one integer population on spikes that arrive at its synapse, by the reference, from a copy of it."""
    synapse = next(edge.source for edge in network.incoming[name])
    shape = network.input.__class__((arriving.shape[2],), network.input.format)
    nodes = {"arriving": shape, synapse: network.nodes[synapse], name: network.nodes[name]}
    edges = tuple(type(network.edges[0])(*ends) for ends in (("arriving", synapse), (synapse, name)))
    single = QuantizedNetwork(nodes, edges, network.dt, name, "sum" if network.populations[name].spiking else "last")
    return reference.run(single, arriving.astype(np.int64), trace="spikes").layers[name].spikes


def losses(network: Network, data: Data, integers: QuantizedNetwork) -> dict[str, tuple[int, int]]:
    """Spikes that differ, and those of the float population, of each spiking population on its float inputs."""
    run, arriving, found = run_float(network, data.codes), np.asarray(data.codes), {}
    for name, neuron in network.populations.items():
        if neuron.spiking:
            spikes = alone(integers, name, arriving)
            found[name] = int((spikes != run.spikes[name]).sum()), int(run.spikes[name].sum())
            arriving = run.spikes[name]
    return found


def count(seeds: range, folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for seed in seeds:
        network, data = extreme_network(seed)
        try:
            made = pipeline.export(network, folder / "model.nir", data=data)
        except DoesNotFit:
            counted["networks refused"] += 1
            continue
        counted["networks"] += 1
        warnings = [line for line in made.assessment.warnings if not any(words in line for words in NOT_BY_LOSS)]
        counted["networks without a warning"] += not made.assessment.warnings
        counted["networks without a warning of loss"] += not warnings
        for name, (differing, spikes) in losses(network, data, made.network).items():
            named = [line for line in warnings if line.startswith(f"population {name!r}: ")]
            held = [name, *(edge.source for edge in network.incoming[name])]
            if differing > LOSS * spikes:
                counted["populations that lose"] += 1
                counted["silent losses"] += not any(f"of {node!r}" in line for line in named for node in held)
            else:
                counted["populations that agree"] += 1
                counted["populations that agree with a warning of loss"] += bool(named)
    return counted


def require(counted: Counter[str], networks: int) -> None:
    print("\n" + "\n".join(f"{name}: {number}" for name, number in sorted(counted.items())))
    assert counted["networks"] + counted["networks refused"] == networks
    assert counted["networks refused"] <= 0.05 * networks
    assert counted["silent losses"] == 0
    assert counted["populations that lose"] >= 0.05 * networks, "the networks must be extreme"
    assert counted["networks without a warning of loss"] >= 0.5 * networks
    agree = counted["populations that agree"]
    assert counted["populations that agree with a warning of loss"] <= 0.1 * agree


@pytest.mark.slow
def test_no_loss_of_30_networks_is_silent(tmp_path: Path) -> None:
    require(count(range(30), tmp_path), 30)


@pytest.mark.long
def test_no_loss_of_500_networks_is_silent(tmp_path: Path) -> None:
    require(count(range(1000, 1500), tmp_path), 500)
