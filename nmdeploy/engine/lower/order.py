"""Order in which nodes run, and the nodes that must run step by step."""

from __future__ import annotations

from collections.abc import Mapping

from nmdeploy.network.graph import Graph


def components(network: Graph) -> list[tuple[list[str], bool]]:
    """Return groups of nodes, sources first, each with a flag for a feedback loop.

    All nodes that feed a population of a loop belong to the loop: they run in the same steps.
    """
    follows = _reachable(network)
    group: dict[str, frozenset[str]] = {}
    for name in network.order:
        group[name] = frozenset({name} | {other for other in follows[name] if name in follows[other]})
    for synapse, target in network.target.items():
        if len(group[target]) > 1 and synapse not in group[target]:
            joined = group[target] | group[synapse]
            group |= dict.fromkeys(joined, joined)
    return _sorted(network, group)


def _reachable(network: Graph) -> dict[str, set[str]]:
    """Return the nodes that each node leads to; a node itself is among them only if a loop leads back."""
    found: dict[str, set[str]] = {name: set() for name in network.order}
    changed = True
    while changed:
        changed = False
        for edge in network.edges:
            behind = {edge.target} | found[edge.target]
            changed |= not behind <= found[edge.source]
            found[edge.source] |= behind
    return found


def _sorted(network: Graph, group: Mapping[str, frozenset[str]]) -> list[tuple[list[str], bool]]:
    left, done = list(dict.fromkeys(group[name] for name in network.order)), set[str]()
    ordered = []
    while left:
        ready = next(
            g for g in left if all(e.source in done or e.source in g for name in g for e in network.incoming[name])
        )
        left.remove(ready)
        done |= ready
        ordered.append(([name for name in network.order if name in ready], len(ready) > 1))
    return ordered
