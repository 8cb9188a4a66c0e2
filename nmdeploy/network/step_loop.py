"""Loop over steps that float and integer runs share: one step of every node, sources first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network.graph import Graph, Input
from nmdeploy.neurons.base import StepTime

Array = npt.NDArray[Any]
Advance = Callable[[str, Any, Array, StepTime], tuple[Any, Array]]
OnSynapse = Callable[[str, Array, int], None]


def run_steps(
    graph: Graph,
    inputs: Array,
    start: Mapping[str, Any],
    advance: Advance,
    on_synapse: OnSynapse | None = None,
    lengths: npt.NDArray[np.int64] | None = None,
) -> None:
    """Run every step of a batch.

    Each node runs its `start_offset` steps later than the input. The output of a population with an output latency in
    its own step ``t + output_latency`` enters step t of its targets.

    Parameters
    ----------
    graph : Network or QuantizedNetwork
        Network to run.
    inputs : (samples, steps, channels)
        Inputs of the batch.
    start : mapping of population to state
        State of each population at rest.
    advance : callable
        Called for each population and own step with (name, state, synaptic sum, `StepTime`), returns (state', output).
        It is also called for the `output_latency` steps after the last one.
    on_synapse : callable, optional
        Called for each synapse and step with (name, arriving values, step).
    lengths : (samples,) int, optional
        Steps of each sample. Populations with an output latency must not read later steps.
    """
    steps = inputs.shape[1] if lengths is None or not graph.timing.drain_steps else lengths[:, None]
    run = _Run(graph, inputs, dict(start), advance, on_synapse, steps)
    for step in range(inputs.shape[1] + graph.timing.drain_steps):
        run.step(step)


class _Run:
    def __init__(
        self,
        graph: Graph,
        inputs: Array,
        state: dict[str, Any],
        advance: Advance,
        on_synapse: OnSynapse | None,
        steps: Any,
    ) -> None:
        self.graph, self.inputs, self.state, self.steps = graph, inputs, state, steps
        self.advance, self.on_synapse = advance, on_synapse
        self.last = inputs.shape[1]
        out = {name: offset + graph.timing.output_latency[name] for name, offset in graph.timing.start_offset.items()}
        self.ways = {
            name: [(e.source, e.delay + graph.timing.start_offset[name] - out[e.source]) for e in graph.incoming[name]]
            for name in graph.order
        }
        most = max((behind for ways in self.ways.values() for _, behind in ways), default=0)
        self.history: deque[dict[str, Array]] = deque(maxlen=most + 1)
        self.zero = {name: self._zeros(node) for name, node in graph.nodes.items() if node.role != "synapse"}
        self.nothing = {
            name: np.zeros((len(inputs), node.input_size), inputs.dtype)
            for name, node in graph.nodes.items()
            if node.role == "population"
        }
        self.history.extend([self.zero] * (most + 1))

    def _zeros(self, node: Any) -> Array:
        return np.zeros((len(self.inputs), node.output_size), self.inputs.dtype)

    def step(self, step: int) -> None:
        """Run one step of every node that has one now."""
        graph, now = self.graph, dict(self.zero)
        self.history.append(now)
        sums: dict[str, Array] = {}
        for name in graph.order:
            node, own = graph.nodes[name], step - graph.timing.start_offset[name]
            if not 0 <= own < self.last + graph.timing.output_latency[name]:
                continue
            if node.role == "synapse":
                arriving = np.asarray(sum(self.history[-1 - behind][source] for source, behind in self.ways[name]))
                if self.on_synapse:
                    self.on_synapse(name, arriving, own)
                sums[name] = node.apply(arriving)
            elif isinstance(node, Input):
                now[name] = self.inputs[:, own]
            else:
                a = sum((sums[source] for source, _ in self.ways[name] if source in sums), start=self.nothing[name])
                self.state[name], output = self.advance(name, self.state[name], a, StepTime(own, self.steps))
                if own >= graph.timing.output_latency[name]:
                    now[name] = output.astype(self.inputs.dtype)
