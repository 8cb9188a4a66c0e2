"""Counts of docs/metrics.md as sums of what the kernels counted, and of steps where events do not matter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nmdeploy.engine.lower.layout import SYNAPSE_COUNTERS
from nmdeploy.neurons.base import IntArray

if TYPE_CHECKING:
    from nmdeploy.engine.lower.program import Program

ONCE = 1
"""The period of a step; a longer one is that of a window, which counts when it has begun."""
Terms = list[tuple[str | int, str, int]]
"""A metric as a sum: (node, counter, factor), or (steps of a period, "", factor) for the periods of a sample."""


class Counts:
    """The metrics of a program, each as a sum of columns.

    Attributes
    ----------
    columns : mapping of node to slice
        Places of each node's counters in the array of all counters.
    width : int
        Columns of that array.
    """

    def __init__(self, program: Program) -> None:
        sizes = {name: len(made.layout.counters) for name, made in program.populations.items()}
        sizes |= dict.fromkeys(program.synapses, len(SYNAPSE_COUNTERS))
        ends = dict(zip(sizes, itertools.accumulate(sizes.values()), strict=True))
        self.program, self.width = program, sum(sizes.values())
        self.columns = {name: slice(ends[name] - sizes[name], ends[name]) for name in sizes}
        metrics = {name: dict(self._metrics(name)) for name in program.populations}
        terms = [terms for held in metrics.values() for terms in held.values()]
        self.periods = sorted({key for each in terms for key, _, _ in each if isinstance(key, int)})
        self.period_steps = np.array(self.periods)
        self.names = [(name, metric) for name, held in metrics.items() for metric in held]
        self.starts = np.cumsum([0, *map(len, terms[:-1])])
        self.places = np.array([self._column(node, counter) for each in terms for node, counter, _ in each])
        self.factors = np.array([factor for each in terms for _, _, factor in each], np.int64)

    def of(self, counted: IntArray, lengths: IntArray) -> dict[str, dict[str, IntArray]]:
        """Return the counts (samples,) by population and metric, of counters (samples, columns) and lengths."""
        begun = -(-lengths[:, None] // self.period_steps)
        terms = np.concatenate([counted, begun], 1)[:, self.places] * self.factors
        sums = np.ascontiguousarray(np.add.reduceat(terms, self.starts, axis=1).T)
        found: dict[str, dict[str, IntArray]] = {name: {} for name in self.program.populations}
        for (name, metric), each in zip(self.names, sums, strict=True):
            found[name][metric] = each
        return found

    def _column(self, node: str | int, counter: str) -> int:
        if isinstance(node, int):
            return self.width + self.periods.index(node)
        made = self.program.populations.get(node)
        return self.columns[node].start + (SYNAPSE_COUNTERS if made is None else made.layout.counters).index(counter)

    def _metrics(self, name: str) -> Iterator[tuple[str, Terms]]:
        made, network = self.program.populations[name], self.program.network
        neuron, nothing = network.populations[name], (ONCE, "", 0)
        synapses = [(edge.source, network.synapses[edge.source]) for edge in network.incoming[name]]
        rows = {each: self.program.synapses[each].form for each, _ in synapses}
        # Rows of equal length count events: each stands for as many operations.
        per_event = {each: 1 if rows[each].counted else int(synapse.fan_out[0]) for each, synapse in synapses}
        sent = (name, "events_sent", 1) if neuron.feeds_synapses else (made.form.send_steps, "", neuron.output_size)
        yield "spikes", [(name, "events", 1) if neuron.spiking else nothing]
        yield "events_sent", [sent]
        yield "input_events", [nothing, *((each, "input_events", 1) for each in rows)]
        for metric in ("synaptic_operations", "synaptic_operations_computed"):
            yield metric, [nothing, *((each, metric, per_event[each]) for each in rows)]
        yield (
            "bias_operations",
            [nothing, *((rows[each].hold_steps, "", synapse.bias_synapses) for each, synapse in synapses)],
        )
        dense = [(ONCE, "", synapse.shape[0] * synapse.shape[1]) for _, synapse in synapses]
        yield "dense_synaptic_operations", [nothing, *dense]
        yield "neuron_updates", [(ONCE, "", neuron.size)]
        yield "neuron_updates_active", [(name, "active", 1)]
        for flag in neuron.flags:
            yield flag, [(name, flag, 1)]
