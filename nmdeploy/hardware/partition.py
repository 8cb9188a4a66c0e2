"""Partition of populations into ranges of neurons that each fit one core."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nmdeploy.hardware.limits import Demand, Outgoing, Usage, payload_bits, usage
from nmdeploy.network.graph import Edge
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray

Range = tuple[int, int]
Cuts = dict[str, list[Range]]


def partition(
    network: QuantizedNetwork, limits: Mapping[str, int | None], cores: int
) -> tuple[Cuts, dict[str, Outgoing]]:
    """Return the ranges of each population, and what it sends to the cores of its targets.

    Each range is the longest that fits. A neuron that exceeds a core alone keeps a core to itself. More target cores
    cost a source more output axons. Cutting is therefore repeated, with the most that each neuron ever sent. It ends
    if nothing changes, or if the ranges number more than 64 times the cores of the chip.
    """
    most = {name: _silent(neuron.size) for name, neuron in network.populations.items()}
    cuts: Cuts = {}
    while True:
        found = {name: cut(Demand(network, name, most[name]), limits) for name in network.populations}
        outgoing = {name: sends(network, name, found) for name in network.populations}
        if found == cuts or sum(map(len, found.values())) > 64 * cores:
            return found, outgoing
        cuts, most = found, {name: _most(most[name], outgoing[name]) for name in network.populations}


def cut(demand: Demand, limits: Mapping[str, int | None]) -> list[Range]:
    """Return the fewest ranges of consecutive neurons that fit, from the first neuron on."""
    ranges, first, size = [], 0, demand.neuron.size
    while first < size:
        last = _longest(demand, limits, first, min(size, first + (limits["neurons"] or size)))
        ranges.append((first, last))
        first = last
    return ranges


def _longest(demand: Demand, limits: Mapping[str, int | None], first: int, most: int) -> int:
    """Return the largest end of a range from `first` that fits; the demand never falls as the range grows."""
    fits, fails = first + 1, most + 1
    while fails - fits > 1:
        middle = most if fails == most + 1 else (fits + fails) // 2
        # Cutting cannot help a neuron that is too large by itself.
        if set(exceeded(usage(demand.between(first, middle), limits))) - {"neuron_bits"}:
            fails = middle
        else:
            fits = middle
    return fits


def exceeded(used: Mapping[str, Usage]) -> list[str]:
    """Return the resources that exceed their limits."""
    return [resource for resource, held in used.items() if held.exceeds_limit]


def sends(network: QuantizedNetwork, population: str, cuts: Mapping[str, list[Range]]) -> Outgoing:
    """Return output axons and delay buffers of each neuron of a population, given the cores of its targets."""
    size = network.populations[population].size
    axons, buffers = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for edge in outgoing_edges(network, population):
        reached = met(network, edge, cuts)
        axons += _by_neuron(np.sum(reached, 0, dtype=np.int64), size)
        buffers += network.timing.inserted_delays[edge.source, edge.target] * _by_neuron(np.any(reached, 0), size)
    return Outgoing(axons, buffers, buffers * max(1, payload_bits(network, population)))


def outgoing_edges(network: QuantizedNetwork, source: str) -> list[Edge]:
    """Return the edges from a population or the input into synapses."""
    return [edge for edge in network.outgoing[source] if edge.target in network.synapses]


def met(network: QuantizedNetwork, edge: Edge, cuts: Mapping[str, list[Range]]) -> IntArray:
    """Return which outputs go to which cores of the edge's target population: (target cores, source outputs) bool."""
    synapse, target = network.synapses[edge.target], network.target[edge.target]
    rows = network.populations[target].input_size // network.populations[target].size
    return np.array([synapse.inputs_met(first * rows, last * rows) for first, last in cuts[target]])


def _by_neuron(outputs: IntArray, neurons: int) -> IntArray:
    return np.asarray(outputs.reshape(neurons, -1).sum(1), np.int64)


def _most(a: Outgoing, b: Outgoing) -> Outgoing:
    pairs = ((a.axons, b.axons), (a.buffers, b.buffers), (a.buffer_bits, b.buffer_bits))
    return Outgoing(*(np.maximum(*pair) for pair in pairs))


def _silent(size: int) -> Outgoing:
    zero = np.zeros(size, np.int64)
    return Outgoing(zero, zero, zero)
