"""Networks from NIR files: LIF, CubaLIF and IF populations with Linear and Affine synapses, feedforward or recurrent.

NIR states differential equations; a step is explicit Euler with the time step ``dt`` that the network was trained with,
which the file does not hold. With synaptic sum a:

    LIF      V <- V + dt/tau (v_leak - V + r a)
    CubaLIF  I <- I + dt/tau_syn (w_in a - I),  then  V <- V + dt/tau_mem (v_leak - V + r I)   with the new I
    IF       V <- V + dt r a
    LI       as LIF, no spikes;   I  as IF, no spikes
    s = H(V - v_threshold), strict;  V <- v_reset where s, in the same step

The constants before a fold into the incoming synapses; the membrane is counted from `v_reset`, where it also starts;
`v_reset` must be 0 or equal to `v_leak`. Frameworks that export IF with r = 1 and add a full input each step (Norse,
Sinabs) mean dt = 1: pass that. A loop has the delay that its Delay nodes state, and one step if none does.

The readout is the sum of the output's spikes. Where a synapse feeds the Output directly it is the sum of its values: an
integrator that forgets within a step is appended. For LI and I, which can only be the output, it is the last membrane.
Inputs are binary spikes. Leading axes of length 1, which exports from a sample batch leave in shapes, are dropped.

Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy import nir_io
from nmdeploy.errors import BadFile, BadOption, UnsupportedParameter, prefix_errors
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import refuse_other_dt
from nmdeploy.importers.nir_nodes import (
    DIAGONAL_MAX,
    POPULATIONS,
    SILENT,
    SYNAPSES,
    WEIGHTS,
    Population,
    integers,
    numbers,
    one_to_one,
    population,
)
from nmdeploy.importers.nir_topology import Shape, Topology, Wire, check_wires, feedback, flat_graph, topology
from nmdeploy.network.graph import BINARY, Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.nir_io.file import is_sealed, load_bytes, read_tree
from nmdeploy.synapses.sparse import weights_of

SUFFIXES = (".nir",)

Path = str | os.PathLike[str]


def load(path: Path, *, dt: float | None = None) -> Network:
    """The float network of a NIR file.

    Parameters
    ----------
    path : str or path
    dt : float, optional
        Seconds a step. NIR files hold none; files written by nmdeploy do.

    Raises
    ------
    BadFile
        The file is missing, damaged or no NIR.
    BadOption
        `dt` is missing, or no positive number.
    UnsupportedParameter
        A node, a field or a value has no deployed meaning; nothing is dropped silently.
    """
    content = load_bytes(path)
    ours = is_sealed(content)
    stored, codes = _of_ours(path) if ours else (None, BINARY)
    tree = read_tree(path, content) if ours else nir_io.foreign_tree(path, content)
    with prefix_errors(path):
        graph = topology(path, tree)
        return _Import(graph, _time_step(path, dt, stored)).network(codes)


def problems(path: Path, *, dt: float | None = None) -> list[tuple[str, str, str | None]]:
    """Every node with its type and what is wrong with its own fields; empty if nothing is, or the file is ours."""
    content = load_bytes(path)
    if is_sealed(content):
        return []
    with prefix_errors(path):
        nodes, _ = flat_graph(path, nir_io.foreign_tree(path, content))
    found: list[tuple[str, str, str | None]] = []
    for name, fields in nodes.items():
        try:
            numbers(name, fields)
            found.append((name, fields["type"], None))
        except UnsupportedParameter as error:
            found.append((name, fields["type"], str(error)))
    return found if any(problem for _, _, problem in found) else []


def _of_ours(path: Path) -> tuple[float, FixedPoint]:
    """Time step and input format of a file of ours; refused where its NIR primitives do not say everything."""
    q = nir_io.read(path)
    for name, neuron in q.populations.items():
        silent: int = getattr(neuron, "refractory_steps", 0)
        if neuron.kind not in ("lif", "integrator") or silent:
            raise UnsupportedParameter(
                f"{path}: node {name!r}: NIR's primitives do not say all of this {neuron.kind} population: the file is "
                "quantized already: use it as it is"
            )
    return q.dt, q.input.format


def _time_step(path: Path, dt: float | None, stored: float | None) -> float:
    chosen = stored if dt is None else dt
    if chosen is None:
        raise BadOption(
            f"{path}: a NIR file holds no time step: give the one it was trained with in seconds, e.g. --dt 1e-4 "
            "(snnTorch exports for 1e-4; files whose IF nodes have r = 1 mean --dt 1)"
        )
    if not (math.isfinite(chosen) and chosen > 0):
        raise BadOption(f"--dt {chosen:g}: a time step is a finite number of seconds over 0")
    if stored is not None:
        refuse_other_dt(path, dt, stored)
    return float(chosen)


@dataclass(frozen=True)
class _Link:
    """A synapse into one population: what it multiplies by, and the wires that feed it."""

    name: str
    target: str
    weight: FloatArray
    bias: FloatArray | None
    wires: tuple[Wire, ...]


class _Import:
    """Puts the nodes of a flat graph together."""

    def __init__(self, graph: Topology, dt: float) -> None:
        self.graph = graph
        self.dt = dt
        self.entry, self.exit = (self._only(kind) for kind in ("Input", "Output"))
        check_wires(graph)
        self.names = graph.of(*POPULATIONS)
        self.output = self._output()
        self.links = [link for name in self.names for link in self._links(name)]
        self.shapes = {self.entry: integers(self.entry, "shape", graph.values[self.entry])}
        self.shapes |= {name: self._shape(name) for name in self.names}
        self._check_shapes()

    def _only(self, kind: str) -> str:
        found = self.graph.of(kind)
        if len(found) != 1:
            merge = f"merge them into one {kind} with all channels" if found else f"add one {kind}"
            raise UnsupportedParameter(
                f"the graph has {len(found)} {kind} nodes {found[:4]}: exactly one is supported: {merge}"
            )
        return found[0]

    def _output(self) -> str:
        """The population that is read out; where synapses feed the Output, it becomes one."""
        sources = [wire.source for wire in self.graph.into(self.exit)]
        if sources and all(self.graph.types[source] in SYNAPSES for source in sources):
            self.names.append(self.exit)
            return self.exit
        if len(sources) != 1:
            remedy = "read them out through Linear nodes, or keep one" if sources else "connect one"
            raise UnsupportedParameter(
                f"node {self.exit!r}: {len(sources)} nodes feed the output: exactly one is supported: {remedy}"
            )
        return sources[0]

    def _links(self, target: str) -> list[_Link]:
        """Every synapse into a population; a direct connection becomes one-to-one synapses."""
        types, links = self.graph.types, []
        for wire in self.graph.into(target):
            name, wires = f"{wire.source}.{target}", [wire]
            if types[wire.source] in SYNAPSES:
                weight, bias = WEIGHTS[types[wire.source]](wire.source, self.graph.values[wire.source])
                name = wire.source if self.graph.outgoing(wire.source)[0].target == target else name
                wires = self.graph.into(wire.source)
            else:
                size = max(self._largest(wire.source), self._largest(target))
                weight, bias = one_to_one(name, np.broadcast_to(1.0, min(size, DIAGONAL_MAX + 1)))
            links.append(_Link(name, target, weight, bias, tuple(wires)))
        return links

    def _largest(self, name: str) -> int:
        values = self.graph.values[name]
        return (
            math.prod(integers(name, "shape", values)) if name == self.entry else max(v.size for v in values.values())
        )

    def _shape(self, name: str) -> Shape:
        """A population's shape: that of its parameters, or where these are scalars its number of synaptic sums."""
        rows = {link.weight.shape[0] for link in self.links if link.target == name}
        values = {} if name == self.exit else self.graph.values[name]
        shapes = {value.shape for value in values.values() if value.size > 1} or {(row,) for row in rows}
        sizes = {math.prod(shape) for shape in shapes}
        if len(shapes) != 1 or not rows <= sizes:
            raise UnsupportedParameter(
                f"node {name!r}: parameters of shapes {sorted(shapes)} meet {sorted(rows)} synaptic sums: "
                "give all the same number"
            )
        return shapes.pop()

    def _check_shapes(self) -> None:
        for link in self.links:
            for wire in link.wires:
                arriving, takes = self.graph.shape_after(wire, self.shapes[wire.source]), link.weight.shape[1]
                matrix = self.graph.types[wire.target] in ("Affine", "Linear")
                if math.prod(arriving) != takes or (matrix and arriving[-1] != takes):
                    raise UnsupportedParameter(
                        f"node {link.name!r}: {wire.source!r} sends values of shape {arriving} to weights for {takes}: "
                        "put a Flatten between, or export the file again"
                    )
        expected = integers(self.exit, "shape", self.graph.values[self.exit])
        if math.prod(expected) != math.prod(self.shapes[self.output]):
            raise UnsupportedParameter(
                f"node {self.exit!r}: shape {expected}, where {self.shapes[self.output]} arrives: export the file again"
            )

    def _edges(self) -> list[Edge]:
        delays = {(link.name, wire): self.graph.steps(wire, self.dt) for link in self.links for wire in link.wires}
        delayed: dict[tuple[str, str], bool] = {}
        for link in self.links:
            for wire in link.wires:
                pair = wire.source, link.target
                delayed[pair] = delayed.get(pair, True) and delays[link.name, wire] > 0
        late = feedback(delayed, self.entry)
        edges = []
        for link in self.links:
            for wire in link.wires:
                delay = delays[link.name, wire] or int((wire.source, link.target) in late)
                edges.append(Edge(wire.source, link.name, delay))
            edges.append(Edge(link.name, link.target))
        return edges

    def _population(self, name: str) -> Population:
        size = math.prod(self.shapes[name])
        if name == self.exit:
            return Population(Integrator(beta=np.zeros(size)), np.ones(size))
        values = {key: np.broadcast_to(value.ravel(), size) for key, value in self.graph.values[name].items()}
        return population(name, self.graph.types[name], values, self.dt)

    def network(self, codes: FixedPoint) -> Network:
        """The whole float network, for input codes of that format."""
        shape = self.shapes[self.entry]
        only_batch = math.prod(shape) == shape[-1]
        nodes: dict[str, Any] = {self.entry: Input(shape[-1:] if only_batch else shape, codes)}
        for name in self.names:
            made = self._population(name)
            bias = np.zeros(made.scale.size)
            filtered = isinstance(made.neuron, LIF) and bool(made.neuron.alpha.any())
            for link in (link for link in self.links if link.target == name):
                weight, own = _folded(link, made.scale)
                bias = bias if own is None or filtered else bias + own
                _add(nodes, link.name, weights_of(weight, own if filtered else None))
            _add(nodes, name, replace(made.neuron, bias=made.neuron.bias + bias))
        readout = "last" if self.graph.types[self.output] in SILENT else "sum"
        return Network(nodes, tuple(self._edges()), self.dt, self.output, readout)


def _folded(link: _Link, scale: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Weights and bias of a synapse times the factor of its population."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        weight = link.weight * scale[:, None]
        bias = None if link.bias is None else link.bias * scale
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        raise UnsupportedParameter(
            f"node {link.name!r}: its weights times the resistances of {link.target!r} are not finite: rescale them"
        )
    return weight, bias


def _add(nodes: dict[str, Any], name: str, node: Any) -> None:
    if name in nodes:
        raise BadFile(f"node {name!r}: this name is needed for two nodes: rename it")
    nodes[name] = node
