"""Summary of a network, float or integer, for a Python prompt and for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nmdeploy._util.shown import Summary, counted, named

if TYPE_CHECKING:
    from nmdeploy.fixedpoint import FixedPoint
    from nmdeploy.network.graph import Graph

HEADER = ("population", "kind", "neurons", "reads (synapses: outputs x inputs)")


def graph_summary(title: str, graph: Graph, more: Sequence[str] = ()) -> Summary:
    """Return input, populations, readout, dt and `more` facts of a network, and a row per population."""
    populations = {name: node for name, node in graph.nodes.items() if node.role == "population"}
    neurons = sum(node.size for node in populations.values())
    facts = (
        f"{counted(graph.input.size, 'input channel')} ({format_text(graph.input.format)})",
        f"{counted(len(populations), 'population')} with {counted(neurons, 'neuron')}: "
        + named([f"{name} ({node.kind}, {node.size})" for name, node in populations.items()]),
        f"readout {graph.readout!r} of {graph.output!r}",
        f"dt {graph.dt:g} s",
        *more,
    )
    rows = [(name, node.kind, node.size, _reads(graph, name)) for name, node in populations.items()]
    return Summary(title, facts, HEADER, rows)


def format_text(form: FixedPoint) -> str:
    """Return the values that a number format holds, in words."""
    if (form.min, form.max, form.frac) == (0, 1, 0):
        return "spikes, 0 or 1"
    low, high = form.min * form.step, form.max * form.step
    return f"values {low:g} to {high:g} in steps of {form.step:g}"


def _reads(graph: Graph, population: str) -> str:
    """Return the sources of a population, each with the size of the synapses."""
    return "; ".join(
        f"{' + '.join(_sources(graph, edge.source))}: {_synapses(graph.nodes[edge.source])}"
        for edge in graph.incoming[population]
    )


def _sources(graph: Graph, synapse: str) -> Iterator[str]:
    for edge in graph.incoming[synapse]:
        yield f"{edge.source} (delay {edge.delay})" if edge.delay else edge.source


def _synapses(node: Any) -> str:
    outputs, inputs = node.shape
    return f"{node.kind} {outputs} x {inputs}"
