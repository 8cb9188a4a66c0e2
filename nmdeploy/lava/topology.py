"""Depths of populations and the delays that align every edge of a network."""

from typing import Any, NamedTuple


class Connection(NamedTuple):
    """One way from a population, or the input, over a synapse into a population."""

    source: str
    synapse: str
    target: str
    delay: int


def connections(nodes: dict[str, Any], edges: list[Any]) -> list[Connection]:
    """Join the edges population -> synapse and synapse -> population.

    Raises
    ------
    ValueError
        An edge names an unknown node or joins two nodes of one sort, or a synapse has not exactly one target.
    """
    targets: dict[str, list[str]] = {name: [] for name, node in nodes.items() if node["kind"] == "dense"}
    incoming = []
    for source, target, delay in edges:
        for name in (source, target):
            if name not in nodes:
                raise ValueError(f"edge {source} -> {target}: there is no node {name!r}")
        if (source in targets) == (target in targets):
            raise ValueError(f"edge {source} -> {target}: an edge joins a population and a synapse")
        if source in targets:
            targets[source].append(target)
        else:
            incoming.append((source, target, int(delay)))
    for synapse, populations in targets.items():
        if len(populations) != 1:
            raise ValueError(f"synapse {synapse!r} feeds {len(populations)} populations; it must feed one")
    return [Connection(source, synapse, targets[synapse][0], delay) for source, synapse, delay in incoming]


def depths(nodes: dict[str, Any], links: list[Connection]) -> dict[str, int]:
    """Longest path of each population from the input, in synapses; the input's is 0.

    A connection with a delay that closes a loop does not count.

    Raises
    ------
    ValueError
        A loop has no delay at all, or a population receives nothing.
    """
    reached = _reachable(links)
    forward = [link for link in links if not (link.delay > 0 and link.source in reached[link.target])]
    depth = {name: int(node["kind"] != "input") for name, node in nodes.items() if node["kind"] != "dense"}
    for population in depth:
        if nodes[population]["kind"] != "input" and not any(link.target == population for link in links):
            raise ValueError(f"population {population!r} receives nothing")
    for _ in depth:
        for link in forward:
            depth[link.target] = max(depth[link.target], depth[link.source] + 1)
    for link in forward:
        if depth[link.target] <= depth[link.source]:
            raise ValueError(f"edge {link.source} -> {link.synapse}: closes a loop without delay; give it 1 or more")
    return depth


def _reachable(links: list[Connection]) -> dict[str, set[str]]:
    """Populations that each population reaches, itself included."""
    reached = {name: {name} for link in links for name in (link.source, link.target)}
    for _ in reached:
        for link in links:
            reached[link.source] |= reached[link.target]
    return reached


def inserted_delay(link: Connection, depth: dict[str, int]) -> int:
    """Steps of delay that `link` needs beyond the one that its synapse takes.

    Raises
    ------
    ValueError
        The connection would have to be faster than a synapse is.
    """
    needed = depth[link.target] - depth[link.source] + link.delay
    if needed < 1:
        raise ValueError(
            f"edge {link.source} -> {link.synapse}: feedback with delay {link.delay} cannot be aligned; "
            f"it needs {link.delay + 1 - needed} or more"
        )
    return needed - 1
