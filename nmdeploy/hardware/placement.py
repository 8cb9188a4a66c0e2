"""Places cores on the mesh of tiles, and counts how far spikes travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nmdeploy.hardware.partition import Cuts, met, outgoing_edges
from nmdeploy.hardware.profile import Chip
from nmdeploy.network.network import QuantizedNetwork

Tile = tuple[int, int]


class Traffic(NamedTuple):
    """Means for one spike of a population: messages (target cores), hops east or west, hops north or south."""

    messages: float
    east_west: float
    north_south: float


def tile_of(core: int, chip: Chip) -> Tile:
    """Tile (column, row) of a core: rows are filled as a snake, so that consecutive cores are neighbours.

    Cores beyond the mesh continue in further rows.
    """
    row, column = divmod(core // chip.cores_per_tile.required_value, chip.mesh_columns.required_value)
    return (column if row % 2 == 0 else chip.mesh_columns.required_value - 1 - column), row


def place(cuts: Cuts, chip: Chip) -> dict[str, list[Tile]]:
    """The tile of each range of each population, in the order of the populations: sources first."""
    placed: dict[str, list[Tile]] = {}
    core = 0
    for name, ranges in cuts.items():
        placed[name] = [tile_of(core + i, chip) for i in range(len(ranges))]
        core += len(ranges)
    return placed


def traffic(network: QuantizedNetwork, population: str, cuts: Cuts, tiles: Mapping[str, list[Tile]]) -> Traffic:
    """How far a spike of a population travels: it goes to each core that holds one of its synapses, x first, then y.

    Every output of the population counts the same.
    """
    neuron = network.populations[population]
    outputs = neuron.output_size // max(neuron.size, 1)
    total = np.zeros(3)
    for edge in outgoing_edges(network, population):
        reached = met(network, edge, cuts)
        targets = np.array(tiles[network.target[edge.target]])
        for (first, last), tile in zip(cuts[population], tiles[population], strict=True):
            spikes = reached[:, first * outputs : last * outputs].sum(1)
            hops = np.abs(targets - np.array(tile))
            total += [spikes.sum(), spikes @ hops[:, 0], spikes @ hops[:, 1]]
    return Traffic(*(total / max(neuron.output_size, 1)).tolist())
