"""Topology of a foreign NIR graph, with subgraphs flattened, passing nodes removed and loops found.

This module reads only names, shapes and types. ``nmdeploy.importers.nir_nodes`` gives the nodes their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from nmdeploy.errors import BadFile, UnsupportedParameter
from nmdeploy.importers.nir_nodes import (
    PASSING,
    POPULATIONS,
    PORT,
    SYNAPSES,
    Values,
    integers,
    numbers,
)
from nmdeploy.network.graph import strip_batch
from nmdeploy.nir_io.tree import Tree

Shape = tuple[int, ...]
Nodes = dict[str, Tree]
Edges = dict[tuple[str, str], None]

LONGEST = 16
"""Largest number of passing nodes in a row."""


@dataclass(frozen=True)
class Wire:
    """A connection between two nodes that compute, and the names of the passing nodes on its way."""

    source: str
    target: str
    via: tuple[str, ...] = ()


@dataclass
class Topology:
    """A flat graph: the type and the numbers of each node, and the wires between those that compute."""

    types: dict[str, str]
    values: dict[str, Values]
    wires: list[Wire]

    def into(self, target: str) -> list[Wire]:
        """Return the wires that end at a node."""
        return [wire for wire in self.wires if wire.target == target]

    def outgoing(self, source: str) -> list[Wire]:
        """Return the wires that start at a node."""
        return [wire for wire in self.wires if wire.source == source]

    def of(self, *types: str) -> list[str]:
        """Return the names of the nodes of some types, in the order of the file."""
        return [name for name, kind in self.types.items() if kind in types]

    def shape_after(self, wire: Wire, shape: Shape) -> Shape:
        """Return the shape in which values of `shape` arrive at a wire's end.

        A node on the way with another shape is refused. Leading axes of length 1 do not count.
        """
        for name in wire.via:
            kind, values = self.types[name], self.values[name]
            if kind == "Flatten":
                shape = _flattened(name, values, shape)
            else:
                expected = integers(name, "shape", values) if kind == PORT else values["delay"].shape
                if strip_batch(expected) != strip_batch(shape) and prod(expected) != 1:
                    raise UnsupportedParameter(
                        f"node {name!r}: shape {expected}, but {wire.source!r} sends {shape}: export the file again"
                    )
        return shape

    def delays(self, via: tuple[str, ...]) -> dict[str, Values]:
        """Return the Delay nodes among passing nodes, with their values."""
        return {name: self.values[name] for name in via if self.types[name] == "Delay"}


def topology(path: object, tree: Tree) -> Topology:
    """Return the flat graph of a NIR file's tree.

    Raises
    ------
    BadFile
        The tree holds no graph, or is damaged.
    UnsupportedParameter
        A node or an edge has no meaning in nmdeploy.
    """
    nodes, edges = flat_graph(path, tree)
    types = {name: fields["type"] for name, fields in nodes.items()}
    values = {name: numbers(name, fields) for name, fields in nodes.items()}
    wires = list(_wires(types, edges))
    on_the_way = {name for wire in wires for name in wire.via}
    for name, kind in types.items():
        if kind in PASSING and name not in on_the_way:
            raise UnsupportedParameter(f"node {name!r} ({kind}) is not connected on both sides: connect or remove it")
    return Topology(types, values, wires)


def check_wires(graph: Topology) -> None:
    """Refuse connections that have no meaning in nmdeploy's networks, and nodes that lead nowhere."""
    types = graph.types
    for wire in graph.wires:
        before, after = types[wire.source], types[wire.target]
        where = f"node {wire.source!r} ({before}) feeds {wire.target!r} ({after})"
        if after == "Input" or before == "Output" or (before, after) == ("Input", "Output"):
            raise UnsupportedParameter(f"{where}: remove the edge")
        if before in SYNAPSES and after in SYNAPSES:
            raise UnsupportedParameter(f"{where} without a neuron in between: multiply their weights into one node")
        if after == "Output" and graph.delays(wire.via):
            raise UnsupportedParameter(f"{where} through a Delay: put the Delay before a synapse")
    for name in graph.of("Input", *SYNAPSES, *POPULATIONS):
        fed, feeds = types[name] == "Input" or graph.into(name), types[name] in POPULATIONS or graph.outgoing(name)
        if not (fed and feeds):
            raise UnsupportedParameter(
                f"node {name!r} ({types[name]}) is not connected on both sides: connect or remove it"
            )


def flat_graph(path: object, tree: Tree) -> tuple[Nodes, Edges]:
    """Return the nodes (their fields, as in the file) and edges; those of subgraphs have dotted names."""
    root = tree.get("node")
    if not isinstance(root, dict) or not isinstance(root.get("nodes"), dict):
        raise BadFile(f"{path}: holds no NIR graph at 'node/nodes': check that it is a .nir file")
    nodes: Nodes = {}
    edges: Edges = {}
    _flatten(root, "", nodes, edges)
    return nodes, edges


def _flatten(graph: Tree, prefix: str, nodes: Nodes, edges: Edges) -> None:
    """Add a graph's nodes and edges; edges meet a subgraph at its ``Input`` and ``Output``."""
    enters, leaves = {}, {}
    for key, fields in graph["nodes"].items():
        name = prefix + key
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise BadFile(f"node {name!r}: has no type: the file is damaged: export it again")
        if fields["type"] == "NIRGraph" and isinstance(fields.get("nodes"), dict):
            _flatten(fields, f"{name}.", nodes, edges)
            enters[key], leaves[key] = (_port(name, fields, kind, nodes) for kind in ("Input", "Output"))
        else:
            _add(nodes, name, fields)
            enters[key] = leaves[key] = name
    for source, target in _pairs(graph.get("edges"), prefix):
        for key in (source, target):
            if key not in enters:
                raise BadFile(f"edge {source!r} -> {target!r}: there is no node {key!r}: export the file again")
        if (leaves[source], enters[target]) in edges:
            raise UnsupportedParameter(f"edge {source!r} -> {target!r} occurs twice, which NIR forbids: remove one")
        edges[leaves[source], enters[target]] = None


def _add(nodes: Nodes, name: str, fields: Tree) -> None:
    if name in nodes:
        raise UnsupportedParameter(f"node {name!r}: with subgraphs flattened two nodes have this name: rename one")
    nodes[name] = fields


def _port(name: str, graph: Tree, kind: str, nodes: Nodes) -> str:
    """Return the one ``Input`` or ``Output`` of a subgraph, made a passing node."""
    found = [key for key, fields in graph["nodes"].items() if fields["type"] == kind]
    if len(found) != 1:
        raise UnsupportedParameter(
            f"node {name!r}: a subgraph with {len(found)} {kind} nodes: exactly one is supported"
        )
    port = f"{name}.{found[0]}"
    nodes[port] = nodes[port] | {"type": PORT}
    return port


def _pairs(edges: Any, prefix: str) -> list[tuple[str, str]]:
    if isinstance(edges, np.ndarray) and edges.size == 0:
        return []
    graph = prefix.rstrip(".") or "node"
    if not isinstance(edges, list) or not all(isinstance(e, list) and len(e) == 2 for e in edges):
        raise BadFile(f"graph {graph!r}: its edges are no list of pairs of names: export the file again")
    if not all(isinstance(name, str) for edge in edges for name in edge):
        raise BadFile(f"graph {graph!r}: its edges hold what is no name: export the file again")
    return [(source, target) for source, target in edges]


def _wires(types: Mapping[str, str], edges: Edges) -> Iterator[Wire]:
    """Follow every edge out of a computing node through the passing ones."""
    onward: dict[str, list[str]] = {name: [] for name in types}
    for source, target in edges:
        onward[source].append(target)
    for source, target in edges:
        if types[source] not in PASSING:
            yield from _follow(types, onward, Wire(source, target))


def _follow(types: Mapping[str, str], onward: Mapping[str, list[str]], wire: Wire) -> Iterator[Wire]:
    if types[wire.target] not in PASSING:
        yield wire
    elif wire.target in wire.via or len(wire.via) >= LONGEST:
        raise UnsupportedParameter(
            f"node {wire.target!r}: in a loop, or after {LONGEST} others, without a neuron: remove it"
        )
    else:
        for target in onward[wire.target]:
            yield from _follow(types, onward, Wire(wire.source, target, (*wire.via, wire.target)))


def _flattened(name: str, values: Values, shape: Shape) -> Shape:
    rank = len(shape)
    (start, *_), (end, *_) = (integers(name, key, values, -rank, rank - 1) for key in ("start_dim", "end_dim"))
    start, end = start % rank, end % rank
    if start > end:
        raise UnsupportedParameter(f"node {name!r}: start_dim {start} lies after end_dim {end}: export the file again")
    return (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])


def feedback(links: Mapping[tuple[str, str], bool], entry: str) -> set[tuple[str, str]]:
    """Return the links that close a loop and get one step of delay, as in NIR's recurrence.

    A link of a loop is feedback if it leads to the same population, or to one nearer to the input (fewer synapses).

    Parameters
    ----------
    links : mapping of (source, target) population to bool
        True if the link already has a ``Delay``.
    entry : str
        The input's name.

    Raises
    ------
    UnsupportedParameter
        The populations of a loop are equally far from the input: the late edge is not defined.
    """
    distance = _distances(links, entry)
    onward: dict[str, list[str]] = {}
    for source, target in (pair for pair, delayed in links.items() if not delayed):
        onward.setdefault(source, []).append(target)
    found = set()
    for source, targets in onward.items():
        for target in targets:
            if source in _reached(onward, target) and distance[target] <= distance[source]:
                if source != target and distance[target] == distance[source]:
                    raise UnsupportedParameter(
                        f"nodes {source!r} and {target!r} form a loop equally far from the input: which of its edges "
                        "is late is not defined: put a Delay node of one dt on the feedback edge"
                    )
                found.add((source, target))
    return found


def _distances(links: Mapping[tuple[str, str], bool], entry: str) -> dict[str, float]:
    distance = {name: float("inf") for pair in links for name in pair} | {entry: 0.0}
    front = [entry]
    while front:
        source = front.pop(0)
        for a, b in links:
            if a == source and distance[b] == float("inf"):
                distance[b] = distance[a] + 1
                front.append(b)
    return distance


def _reached(onward: Mapping[str, list[str]], start: str) -> set[str]:
    found, front = {start}, [start]
    while front:
        new = [name for name in onward.get(front.pop(), []) if name not in found]
        found.update(new)
        front += new
    return found
