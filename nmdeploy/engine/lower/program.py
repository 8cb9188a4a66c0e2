"""A network as kernels and their arguments, with all that is decided before the first sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nmdeploy.engine.lower.counts import Counts
from nmdeploy.engine.lower.layout import Form, Layout, RowsForm
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray

KERNEL = "kernel"


@dataclass(frozen=True)
class Wires:
    """A node's outputs in memory: `planes` (one per output of a neuron) of `width` entries, `size` of them used."""

    coded: bool
    size: int
    planes: int
    width: int

    @property
    def entries(self) -> int:
        """Entries per row."""
        return self.planes * self.width

    @property
    def stride(self) -> int:
        """Bytes per row."""
        return self.entries * 4 if self.coded else self.entries // 8

    def place(self) -> IntArray:
        """Return the position in a row of each output, in the network's order."""
        neurons = self.size // self.planes
        return (np.arange(self.planes) * self.width + np.arange(neurons)[:, None]).reshape(-1)


@dataclass(frozen=True, eq=False)
class Population:
    """A population's kernel."""

    text: str
    form: Form
    layout: Layout
    blocks: int
    wires: Wires


@dataclass(frozen=True, eq=False)
class Rows:
    """A synapse's kernel and its weights by row, of which the last is zero."""

    text: str
    form: RowsForm
    weights: Any
    fan_out: Any
    inputs: int
    columns: int


@dataclass(frozen=True, eq=False)
class Program:
    """A network's kernels, by node.

    `ranges` of positions in `order` run together. A range with a loop runs step by step.
    """

    network: QuantizedNetwork
    trace: str
    groups: tuple[tuple[tuple[str, ...], bool], ...]
    order: tuple[str, ...]
    ranges: tuple[tuple[int, int, bool], ...]
    populations: Mapping[str, Population]
    synapses: Mapping[str, Rows]
    alternatives: Mapping[str, Rows]
    wires: Mapping[str, Wires]

    def without(self, names: frozenset[str]) -> Program:
        """Return the program of a run in which the sums of some synapses are already available."""
        groups = tuple((tuple(n for n in group if n not in names), loop) for group, loop in self.groups)
        order = tuple(name for group, _ in groups for name in group)
        return replace(self, groups=groups, order=order, ranges=ranges(groups))

    def with_rows(self, rows: Mapping[str, Rows]) -> Program:
        """The program with other rows for some synapses, the choice made."""
        return replace(self, synapses={**self.synapses, **rows}, alternatives={})

    @cached_property
    def counts(self) -> Counts:
        """Counters of the kernels, and the metrics that they add up to."""
        return Counts(self)

    @property
    def texts(self) -> list[str]:
        """Texts of all modules that only this network needs."""
        rows = [*self.synapses.values(), *self.alternatives.values()]
        found = [p.text for p in self.populations.values()] + [r.text for r in rows]
        return [*dict.fromkeys(found)]


def ranges(groups: tuple[tuple[tuple[str, ...], bool], ...]) -> tuple[tuple[int, int, bool], ...]:
    """Return the positions of nodes that run together; a loop runs step by step."""
    found: list[tuple[int, int, bool]] = []
    at = 0
    for names, loop in groups:
        if not loop and found and not found[-1][2]:
            found[-1] = (found[-1][0], at + len(names), False)
        else:
            found.append((at, at + len(names), loop))
        at += len(names)
    return tuple(found)


def is_recorded(network: QuantizedNetwork, name: str, level: str) -> bool:
    """Return True if the outputs of a population become part of the recording."""
    return name == network.output or (level != "none" and network.populations[name].spiking)
