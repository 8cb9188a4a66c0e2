"""The topology of a foreign NIR graph: subgraphs flattened, nodes that only pass values on removed, loops found.

Everything here is about names, shapes and types; ``nmdeploy.importers.nir`` gives the nodes their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile, UnsupportedParameter
from nmdeploy.nir_file import Tree

POPULATIONS = ("CubaLIF", "I", "IF", "LI", "LIF")
SYNAPSES = ("Affine", "Linear", "Scale")
PORT = "port of a subgraph"
PASSING = ("Delay", "Flatten", PORT)
SUPPORTED = ("Input", "Output", *SYNAPSES, *POPULATIONS, *PASSING[:-1], "NIRGraph")

NEEDED: dict[str, tuple[str, ...]] = {
    "Input": ("shape",),
    "Output": ("shape",),
    PORT: ("shape",),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Delay": ("delay",),
    "Flatten": ("start_dim", "end_dim"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "I": ("r",),
}
"""Fields that a node of each type must have."""
DEFAULTS: dict[str, dict[str, float]] = {
    "LIF": {"v_reset": 0.0},
    "IF": {"v_reset": 0.0},
    "CubaLIF": {"v_reset": 0.0, "w_in": 1.0},
}
"""Fields that may be missing, with the value that nir gives them."""
UNUSED = {"Flatten": ("input_type",)}
"""Fields that only repeat what the shapes of other nodes say."""

Values = dict[str, npt.NDArray[np.float64]]


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
        """Wires that end at a node."""
        return [wire for wire in self.wires if wire.target == target]

    def out_of(self, source: str) -> list[Wire]:
        """Wires that start at a node."""
        return [wire for wire in self.wires if wire.source == source]

    def of(self, *types: str) -> list[str]:
        """Names of the nodes of some types, in the order of the file."""
        return [name for name, kind in self.types.items() if kind in types]


def topology(path: object, tree: Tree) -> Topology:
    """The flat graph of a NIR file's tree; `BadFile` or `UnsupportedParameter` for what has no meaning here."""
    root = tree.get("node")
    if not isinstance(root, dict) or not isinstance(root.get("nodes"), dict):
        raise BadFile(f"{path}: holds no NIR graph ('node/nodes'): check that it is a .nir file")
    nodes: dict[str, Tree] = {}
    edges: list[tuple[str, str]] = []
    _flatten(root, "", nodes, edges)
    types = {name: fields["type"] for name, fields in nodes.items()}
    values = {name: numbers(name, fields) for name, fields in nodes.items()}
    return Topology(types, values, list(_wires(types, edges)))


def _flatten(graph: Tree, prefix: str, nodes: dict[str, Tree], edges: list[tuple[str, str]]) -> None:
    """Add a graph's nodes and edges; a subgraph's ``Input`` and ``Output`` become the places where edges meet it."""
    enters, leaves = {}, {}
    for key, fields in graph["nodes"].items():
        name = prefix + key
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise BadFile(f"node {name!r}: has no type: the file is damaged: export it again")
        if fields["type"] == "NIRGraph" and isinstance(fields.get("nodes"), dict):
            _flatten(fields, f"{name}.", nodes, edges)
            enters[key], leaves[key] = (_port(name, fields, kind, nodes) for kind in ("Input", "Output"))
        elif name in nodes:
            raise UnsupportedParameter(f"node {name!r}: two nodes have this name once subgraphs are flattened: rename one")
        else:
            nodes[name] = fields
            enters[key] = leaves[key] = name
    for source, target in _pairs(graph.get("edges"), prefix):
        for key in (source, target):
            if key not in enters:
                raise BadFile(f"edge {source!r} -> {target!r}: there is no node {key!r}: export the file again")
        if (leaves[source], enters[target]) in edges:
            raise UnsupportedParameter(f"edge {source!r} -> {target!r} occurs twice: NIR has no double edges: remove one")
        edges.append((leaves[source], enters[target]))


def _port(name: str, graph: Tree, kind: str, nodes: dict[str, Tree]) -> str:
    """The one ``Input`` or ``Output`` of a subgraph, made a passing node."""
    found = [key for key, fields in graph["nodes"].items() if fields["type"] == kind]
    if len(found) != 1:
        raise UnsupportedParameter(f"node {name!r}: a subgraph with {len(found)} {kind} nodes: exactly one is supported")
    port = f"{name}.{found[0]}"
    nodes[port] = nodes[port] | {"type": PORT}
    return port


def _pairs(edges: Any, prefix: str) -> list[tuple[str, str]]:
    if isinstance(edges, np.ndarray) and edges.size == 0:
        return []
    if not isinstance(edges, list) or not all(isinstance(e, list) and len(e) == 2 for e in edges):
        raise BadFile(f"graph {prefix or 'node'!r}: its edges are no list of pairs of names: export the file again")
    if not all(isinstance(name, str) for edge in edges for name in edge):
        raise BadFile(f"graph {prefix or 'node'!r}: its edges hold what is no name: export the file again")
    return [(source, target) for source, target in edges]


def numbers(name: str, fields: Tree) -> Values:
    """A node's fields as float64 arrays, each known, numeric and finite; missing ones that nir completes completed."""
    kind = fields["type"]
    if kind not in NEEDED:
        raise UnsupportedParameter(
            f"node {name!r}: type {kind!r} is not supported: of NIR's types {', '.join(SUPPORTED)} are: "
            "replace the node, or load the checkpoint it came from"
        )
    defaults, unused = DEFAULTS.get(kind, {}), UNUSED.get(kind, ())
    for field in fields.keys() - {"type", "metadata", *NEEDED[kind], *defaults, *unused}:
        raise UnsupportedParameter(f"node {name!r}: {field!r} is no field of {kind}: remove it")
    for field in NEEDED[kind]:
        if field not in fields:
            raise UnsupportedParameter(f"node {name!r}: {kind} without {field!r}: export the file again")
    given = {key: _numeric(name, key, fields[key]) for key in (*NEEDED[kind], *defaults) if key in fields}
    return {key: np.asarray(value, np.float64) for key, value in defaults.items()} | given


def _numeric(name: str, key: str, value: Any) -> npt.NDArray[np.float64]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise UnsupportedParameter(f"node {name!r}: {key} holds no numbers: export the file again")
    array = value.astype(np.float64)
    if array.size == 0:
        raise UnsupportedParameter(f"node {name!r}: {key} is empty: export the file again")
    finite = np.isfinite(array)
    if not finite.all():
        raise UnsupportedParameter(
            f"node {name!r}: {key} = {array[~finite].flat[0]} in {int((~finite).sum())} of {array.size} places: "
            "only finite values have a meaning: train or export it again"
        )
    return array


def _wires(types: Mapping[str, str], edges: list[tuple[str, str]]) -> Iterator[Wire]:
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
    elif wire.target in wire.via or len(wire.via) > 64:
        raise UnsupportedParameter(f"node {wire.target!r}: a loop without a neuron: remove it")
    else:
        for target in onward[wire.target]:
            yield from _follow(types, onward, Wire(wire.source, target, (*wire.via, wire.target)))


def integers(name: str, key: str, values: Values, low: int = 1, high: int = 1 << 24) -> tuple[int, ...]:
    """A field that holds a shape or a dimension, as integers within limits."""
    array = values[key].ravel()
    if (array != np.floor(array)).any() or array.min() < low or array.max() > high:
        raise UnsupportedParameter(f"node {name!r}: {key} = {array.tolist()}: takes whole numbers from {low} to {high}")
    return tuple(int(value) for value in array)


def passed_shape(graph: Topology, wire: Wire, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which values of `shape` arrive at a wire's end; refuses what does not fit on the way."""
    for name in wire.via:
        values, kind = graph.values[name], graph.types[name]
        if kind == "Flatten":
            shape = _flattened(name, values, shape)
            continue
        expected = integers(name, "shape", values) if kind == PORT else values["delay"].shape
        if kind == "Delay" and values["delay"].size == 1:
            continue
        if expected != shape:
            raise UnsupportedParameter(f"node {name!r}: shape {expected} where {wire.source!r} sends {shape}: export it again")
    return shape


def _flattened(name: str, values: Values, shape: tuple[int, ...]) -> tuple[int, ...]:
    rank = len(shape)
    (start,), (end,) = (integers(name, key, values, -rank, rank - 1) for key in ("start_dim", "end_dim"))
    start, end = start % rank, end % rank
    if start > end:
        raise UnsupportedParameter(f"node {name!r}: start_dim {start} lies after end_dim {end}: export it again")
    return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])


def feedback(links: Mapping[tuple[str, str], bool], entry: str) -> set[tuple[str, str]]:
    """Links that close a loop and get one step of delay, as NIR's recurrence has it.

    Parameters
    ----------
    links : mapping of (source, target) population to whether a ``Delay`` already stands on it
    entry : the input's name

    A link of a loop is feedback if it leads to the same population, or to one nearer to the input (fewer synapses).
    """
    direct = {pair for pair, delayed in links.items() if not delayed}
    distance = _distances(links, entry)
    found = set()
    for source, target in sorted(direct):
        if source == target or (source in _reached(direct, target) and distance[target] < distance[source]):
            found.add((source, target))
        elif source in _reached(direct, target) and distance[target] == distance[source]:
            raise UnsupportedParameter(
                f"nodes {source!r} and {target!r} form a loop at the same distance from the input: which of its edges is "
                "late is not defined: put a Delay node of one dt on the feedback edge"
            )
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


def _reached(links: set[tuple[str, str]], start: str) -> set[str]:
    found, front = {start}, [start]
    while front:
        source = front.pop()
        new = [b for a, b in links if a == source and b not in found]
        found.update(new)
        front += new
    return found
