"""Order in which nodes run, and the nodes that must run step by step."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from nmdeploy.network.graph import Graph


def components(network: Graph) -> list[tuple[list[str], bool]]:
    """Return groups of nodes, sources first, each with a flag for a feedback loop.

    All nodes that feed a population of a loop belong to the loop: they run in the same steps. Of the groups whose
    sources are done, the one whose first node comes first in the network's order is next.
    """
    group = _groups(network)
    members: dict[int, list[str]] = {}
    for name in network.order:
        members.setdefault(group[name], []).append(name)
    place = {number: index for index, number in enumerate(members)}
    return [(members[number], len(members[number]) > 1) for number in _sorted(network, group, place)]


def _groups(network: Graph) -> dict[str, int]:
    """Return the number of each node's group."""
    group = dict(network.components)
    members: dict[int, list[str]] = {}
    for name, number in group.items():
        members.setdefault(number, []).append(name)
    for synapse, target in network.target.items():
        own, joined = group[synapse], group[target]
        if len(members[joined]) > 1 and own != joined:
            group |= dict.fromkeys(members[own], joined)
            members[joined] += members.pop(own)
    return group


def _sorted(network: Graph, group: Mapping[str, int], place: Mapping[int, int]) -> list[int]:
    """Return the groups, sources first; of those whose sources are done, the one with the smallest place is next."""
    between = {(group[edge.source], group[edge.target]) for edge in network.edges}
    onward: dict[int, list[int]] = {number: [] for number in place}
    waiting = dict.fromkeys(place, 0)
    for source, target in between:
        if source != target:
            onward[source].append(target)
            waiting[target] += 1
    ready = [(place[number], number) for number, count in waiting.items() if not count]
    heapify(ready)
    ordered = []
    while ready:
        _, done = heappop(ready)
        ordered.append(done)
        for number in onward[done]:
            waiting[number] -= 1
            if not waiting[number]:
                heappush(ready, (place[number], number))
    return ordered
