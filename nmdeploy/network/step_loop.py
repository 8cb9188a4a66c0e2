"""Loop over steps that float and integer runs share: one step of every node, sources first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
    for _ in each_step(graph, inputs, start, advance, on_synapse, lengths):
        pass


def each_step(
    graph: Graph,
    inputs: Array,
    start: Mapping[str, Any],
    advance: Advance,
    on_synapse: OnSynapse | None = None,
    lengths: npt.NDArray[np.int64] | None = None,
) -> Iterator[int]:
    """Do as `run_steps` does; yield each step after it has run."""
    loop = StepLoop(graph, len(inputs), inputs.dtype, start, advance, on_synapse)
    last = inputs.shape[1]
    steps = last if lengths is None or not graph.timing.drain_steps else lengths[:, None]
    for step in range(last + graph.timing.drain_steps):
        loop.step(inputs[:, step] if step < last else None, last, steps)
        yield step


class StepLoop:
    """Steps of a batch of `samples` in values of `dtype`, one by one; other parameters as for `run_steps`."""

    def __init__(
        self,
        graph: Graph,
        samples: int,
        dtype: Any,
        start: Mapping[str, Any],
        advance: Advance,
        on_synapse: OnSynapse | None = None,
    ) -> None:
        self.graph, self.state, self.advance, self.on_synapse = graph, dict(start), advance, on_synapse
        self.samples, self.dtype, self.next = samples, dtype, 0
        out = {name: offset + graph.timing.output_latency[name] for name, offset in graph.timing.start_offset.items()}
        self.ways = {
            name: [(e.source, e.delay + graph.timing.start_offset[name] - out[e.source]) for e in graph.incoming[name]]
            for name in graph.order
        }
        most = max((behind for ways in self.ways.values() for _, behind in ways), default=0)
        self.history: deque[dict[str, Array]] = deque(maxlen=most + 1)
        self.zero = {name: self._zeros(node) for name, node in graph.nodes.items() if node.role != "synapse"}
        self.nothing = {
            name: np.zeros((self.samples, node.input_size), self.dtype)
            for name, node in graph.nodes.items()
            if node.role == "population"
        }
        self.history.extend([self.zero] * (most + 1))

    def _zeros(self, node: Any) -> Array:
        return np.zeros((self.samples, node.output_size), self.dtype)

    def step(self, arriving: Any, last: int, steps: Any) -> None:
        """Run the next step of every node that has one then.

        Parameters
        ----------
        arriving : (samples, channels), or None after the last step
            Inputs of the step.
        last : int
            Steps of the longest sample.
        steps : int, or (samples, 1) int
            Steps of each sample.
        """
        graph, now, step = self.graph, dict(self.zero), self.next
        self.next += 1
        self.history.append(now)
        sums: dict[str, Array] = {}
        for name in graph.order:
            node, own = graph.nodes[name], step - graph.timing.start_offset[name]
            if not 0 <= own < last + graph.timing.output_latency[name]:
                continue
            if node.role == "synapse":
                sent = np.asarray(sum(self.history[-1 - behind][source] for source, behind in self.ways[name]))
                if self.on_synapse:
                    self.on_synapse(name, sent, own)
                sums[name] = node.apply(sent)
            elif isinstance(node, Input):
                now[name] = arriving
            else:
                a = sum((sums[source] for source, _ in self.ways[name] if source in sums), start=self.nothing[name])
                self.state[name], output = self.advance(name, self.state[name], a, StepTime(own, steps))
                if own >= graph.timing.output_latency[name]:
                    now[name] = output.astype(self.dtype)
