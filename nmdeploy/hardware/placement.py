"""Placement of cores on the interconnect, and the events that their messages cause."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import numpy as np

from nmdeploy.hardware.interconnects import Interconnect, Place
from nmdeploy.hardware.partition import Cuts, met, outgoing_edges
from nmdeploy.network.network import QuantizedNetwork

Traffic = Mapping[str, float]
"""Events of the interconnect by name, means per spike of a population."""


def place(cuts: Cuts, interconnect: Interconnect) -> dict[str, list[Place]]:
    """Return the place of each range of each population, in the order of the populations: sources first."""
    places = iter(interconnect.place(sum(map(len, cuts.values()))))
    return {name: [next(places) for _ in ranges] for name, ranges in cuts.items()}


def traffic(
    network: QuantizedNetwork,
    population: str,
    cuts: Cuts,
    places: Mapping[str, list[Place]],
    interconnect: Interconnect,
) -> Traffic:
    """Count the events of the interconnect per spike of a population: one message to each core with its synapses.

    Each output of the population has the same weight in the mean.
    """
    neuron = network.populations[population]
    outputs = neuron.output_size // max(neuron.size, 1)
    total = np.zeros(len(interconnect.events))
    for edge in outgoing_edges(network, population):
        reached = met(network, edge, cuts)
        targets = places[network.target[edge.target]]
        ranges = zip(cuts[population], places[population], strict=True)
        for source, group in groupby(ranges, key=lambda pair: pair[1]):
            hops = np.array([interconnect.hops(source, target) for target in targets])
            for (first, last), _ in group:
                total += reached[:, first * outputs : last * outputs].sum(1) @ hops
    means = (total / max(neuron.output_size, 1)).tolist()
    return dict(zip(interconnect.events, means, strict=True))
