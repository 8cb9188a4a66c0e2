"""Timing of a network: the start of each node, the latency of its output, and the delays that align parallel paths.

In training a spike passes all synapses within one step. On the chip every synapse takes one step. A window of r steps
is decided at its end, so its output is r - 1 steps late in both. `Timing` holds the consequences::

    input ──▶ synapse ──▶ A (window of 3 steps) ──▶ synapse ──▶ B ──▶ synapse ──▶ C (output)
      └──────────────────────────── synapse (skip) ────────────▶ ┘

                       input   A   B   C
    arrival_step           0   1   4   5    chip step of the node's own step 0: synapses and output latencies before it
    start_offset           0   0   2   2    the same if synapses take no time: output latencies alone
    output_latency         0   2   0   0    steps by which its output is later than its input
    hold_steps             1   3   1   1    steps over which its output is constant
    send_steps             1   3   1   1    steps over which it sends once
    inserted_delays        input -> skip: 3  steps that a path waits for the longest one into the same population
    drain_steps            2                steps that pass after a sample's last one until all outputs are known
    latency                5                steps from an input to the output that it causes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmdeploy.errors import UnsupportedParameter

if TYPE_CHECKING:
    from nmdeploy.network.graph import Edge, Graph


@dataclass(frozen=True)
class Timing:
    """Times of every node and edge in steps; the module's docstring has an example.

    Parameters
    ----------
    arrival_step : mapping of node to int
        Chip step in which the first real input arrives, the node's own step 0. It is the longest path from the input,
        with one step per synapse and the output latency of each population on it. A delayed edge that closes a loop
        does not count. A population that only such edges feed has 1.
    start_offset : mapping of node to int
        Steps by which the node runs later than the input if synapses take no time.
    output_latency : mapping of node to int
        Steps by which its output is later than its input.
    hold_steps : mapping of node to int
        Steps over which its output is constant, in windows from the node's step 0 on; 1 for most nodes. A synapse that
        holds is computed in the steps ``t % hold_steps == 0`` only.
    send_steps : mapping of node to int
        Steps over which a node sends once: its `hold_steps`, if every synapse that it feeds keeps its sum over them.
    inserted_delays : mapping of (source, synapse) to int
        Steps to insert so that all paths into a population arrive together; below 0 if a feedback is too fast.
    drain_steps : int
        Steps after a sample's last one until all outputs are known.
    latency : int
        Steps from an input to the output that it causes.
    """

    arrival_step: Mapping[str, int]
    start_offset: Mapping[str, int]
    output_latency: Mapping[str, int]
    hold_steps: Mapping[str, int]
    send_steps: Mapping[str, int]
    inserted_delays: Mapping[tuple[str, str], int]
    drain_steps: int
    latency: int

    def rows(self, name: str, first: int, last: int, steps: int) -> slice:
        """Return a node's own steps, of samples of `steps`, in the steps `first` to `last` (exclusive) of the input."""
        start, stop = (min(max(step - self.start_offset[name], 0), steps) for step in (first, last))
        return slice(start, stop)


def timing_of(graph: Graph) -> Timing:
    """Compute the timing of a network; `UnsupportedParameter` if windows lie in a loop that is too fast."""
    output_latency = {name: node.output_latency for name, node in graph.nodes.items()}
    arrival_step = _arrival_steps(graph, output_latency)
    inserted_delays = {
        (edge.source, edge.target): arrival_step[graph.target[edge.target]]
        - (arrival_step[edge.source] + output_latency[edge.source])
        + edge.delay
        - 1
        for edge in graph.edges
        if edge.target in graph.target
    }
    if any(output_latency.values()):  # the offsets of a loop that cannot be aligned would grow without end
        for edge in graph.edges:
            require_aligned(edge, inserted_delays)
    start_offset, hold_steps = _start_offsets(graph, output_latency), _hold_steps(graph)
    return Timing(
        arrival_step=arrival_step,
        start_offset=start_offset,
        output_latency=output_latency,
        hold_steps=hold_steps,
        send_steps={name: _send_steps(graph, name, hold_steps) for name in graph.nodes},
        inserted_delays=inserted_delays,
        drain_steps=max(start_offset[name] + output_latency[name] for name in graph.nodes),
        latency=arrival_step[graph.output] + output_latency[graph.output],
    )


def require_aligned(edge: Edge, inserted_delays: Mapping[tuple[str, str], int]) -> None:
    """Refuse, with `UnsupportedParameter`, a feedback that would have to be faster than a synapse."""
    extra = inserted_delays.get((edge.source, edge.target), 0)
    if extra < 0:
        raise UnsupportedParameter(
            f"feedback {edge.source!r} -> {edge.target!r} cannot be aligned: the synapse takes 1 step and would have "
            f"{extra + 1}: give the edge a delay of at least {edge.delay - extra} steps (in NIR, a Delay node of that "
            "many dt)"
        )


def _arrival_steps(graph: Graph, output_latency: Mapping[str, int]) -> dict[str, int]:
    steps: dict[str, int] = {}
    for name in graph.order:
        paths = [
            steps[e.source] + output_latency[e.source] + (graph.nodes[e.target].role == "synapse")
            for e in graph.incoming[name]
            if not graph.closes_loop(e)
        ]
        steps[name] = max(paths, default=int(graph.nodes[name].role != "input"))
    return steps


def _start_offsets(graph: Graph, output_latency: Mapping[str, int]) -> dict[str, int]:
    offsets = dict.fromkeys(graph.nodes, 0)
    before: dict[str, int] = {}
    while offsets != before:  # edges come sources first, so that only loops take more than two rounds
        before = dict(offsets)
        for edge in (edge for name in graph.order for edge in graph.outgoing[name]):
            # An output arrives over a delay at the earliest in the step after the one in which it is known.
            wait = offsets[edge.source] + output_latency[edge.source] + min(0, 1 - edge.delay)
            offsets[edge.target] = max(offsets[edge.target], wait)
        for synapse, target in graph.target.items():
            offsets[synapse] = max(offsets[synapse], offsets[target])
    return offsets


def _hold_steps(graph: Graph) -> dict[str, int]:
    held: dict[str, int] = {}
    for name in graph.order:
        # A delayed edge closes a loop or shifts the windows.
        arriving = {1 if edge.delay else held[edge.source] for edge in graph.incoming[name]}
        held[name] = graph.nodes[name].hold_steps(arriving.pop() if len(arriving) == 1 else 1)
    return held


def _send_steps(graph: Graph, name: str, hold_steps: Mapping[str, int]) -> int:
    fed = [hold_steps[edge.target] for edge in graph.outgoing[name]]
    return hold_steps[name] if all(steps == hold_steps[name] for steps in fed) else 1
