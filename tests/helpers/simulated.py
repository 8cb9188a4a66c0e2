"""A case run through the unbounded simulator."""

from __future__ import annotations

from collections import Counter

from networks import Case
from node_fields import node_fields
from simulator import simulate


def simulated(case: Case) -> tuple[dict[str, list[object]], dict[str, Counter[str]]]:
    """Return traces, and overflows summed over the samples."""
    nodes = {name: node_fields(node) for name, node in case.network.nodes.items()}
    edges = [(edge.source, edge.target, edge.delay) for edge in case.network.edges]
    traces: dict[str, list[object]] = {}
    overflows = {name: Counter[str]() for name in case.network.populations}
    for sample in case.inputs.tolist():
        record, found = simulate(nodes, edges, sample)
        for key, steps in record.items():
            traces.setdefault(key, []).append(steps)
        for name, counts in found.items():
            overflows[name].update(counts)
    return traces, overflows
