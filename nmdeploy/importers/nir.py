"""Importer of NIR files with LIF, CubaLIF and IF populations and Linear and Affine synapses, feedforward or recurrent.

NIR defines differential equations. A step is explicit Euler with the time step ``dt`` that the network was trained
with, which the file does not hold. With synaptic sum a:

    LIF      V <- V + dt/tau (v_leak - V + r a)
    CubaLIF  I <- I + dt/tau_syn (w_in a - I),  then  V <- V + dt/tau_mem (v_leak - V + r I)   with the new I
    IF       V <- V + dt r a
    LI       as LIF, no spikes;   I  as IF, no spikes
    s = H(V - v_threshold), strict;  V <- v_reset where s, in the same step

The constants before a fold into the incoming synapses. The membrane is counted from `v_reset`, where it also starts;
`v_reset` must be 0 or equal to `v_leak`. Frameworks that export IF with r = 1 and add a full input per step (Norse,
Sinabs) mean dt = 1: pass that. A loop has the delay of its Delay nodes, and one step without any.

The readout is the sum of the output's spikes. If a synapse feeds the Output directly, it is the sum of the synapse's
values: an integrator that forgets within a step is appended. For LI and I, which can only be the output, it is the last
membrane.

Inputs are binary spikes. Leading axes of length 1, which exports from a sample batch leave in shapes, are dropped.
Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy import nir_io
from nmdeploy._util.foreign import is_instance
from nmdeploy.errors import BadOption, UnsupportedParameter, prefix_errors
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
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.graph import BINARY
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.nir_io.file import is_sealed, load_bytes, read_tree

SUFFIXES = (".nir",)

Path = str | os.PathLike[str]


def load(path: Path, *, dt: float | None = None) -> Network:
    """Return the float network of a NIR file.

    Parameters
    ----------
    path : str or path
        File with the suffix ``.nir``.
    dt : float, optional
        Seconds per step. NIR files hold none; files written by nmdeploy do.

    Raises
    ------
    BadFile
        The file is missing, damaged or not NIR.
    BadOption
        `dt` is missing, or not a positive number.
    UnsupportedParameter
        A node, a field or a value has no deployed meaning. Nothing is dropped silently.
    """
    content = load_bytes(path)
    ours = is_sealed(content)
    stored, codes = _of_ours(path) if ours else (None, BINARY)
    tree = read_tree(path, content) if ours else nir_io.foreign_tree(path, content)
    with prefix_errors(path):
        graph = topology(path, tree)
        return _Import(graph, _time_step(path, dt, stored)).network(codes)


def takes(source: object) -> bool:
    """Return True for a ``nir.NIRGraph``."""
    return is_instance(source, "nir", "NIRGraph")


def load_object(graph: Any, *, dt: float | None = None, input_format: FixedPoint | None = None) -> Network:
    """Return the float network of a ``nir.NIRGraph``, as `load` would of its file.

    Parameters
    ----------
    graph : nir.NIRGraph
    dt : float
        Seconds per step.
    input_format : FixedPoint, optional
        Of the inputs; binary spikes if left out.
    """
    name = "the NIR graph"
    tree = nir_io.foreign_tree(name, nir_io.graph_bytes(name, graph))
    with prefix_errors(name):
        return _Import(topology(name, tree), _time_step(name, dt, None)).network(input_format or BINARY)


def problems(path: Path, *, dt: float | None = None) -> list[tuple[str, str, str | None]]:
    """Return every node with its type and the problem of its own fields, or None.

    The list is empty if no node has a problem, or if nmdeploy wrote the file.
    """
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
    """Return time step and input format of a file that nmdeploy wrote.

    It is refused if its NIR primitives do not hold the whole network.
    """
    q = nir_io.read(path)
    for name, neuron in q.populations.items():
        if neuron.kind not in ("lif", "integrator") or neuron.nir_losses():
            raise UnsupportedParameter(
                f"{path}: node {name!r}: NIR's primitives lack part of this {neuron.kind} population: the file is "
                "quantized already: use it unchanged"
            )
    return q.dt, q.input.format


def _time_step(path: Path, dt: float | None, stored: float | None) -> float:
    chosen = stored if dt is None else dt
    if chosen is None:
        raise BadOption(
            f"{path}: NIR holds no time step: give the one it was trained with in seconds, e.g. --dt 1e-4 "
            "(snnTorch exports for 1e-4; files whose IF nodes have r = 1 mean --dt 1)"
        )
    if not (math.isfinite(chosen) and chosen > 0):
        raise BadOption(f"--dt {chosen:g}: a time step is a finite number of seconds over 0")
    if stored is not None:
        refuse_other_dt(path, dt, stored)
    return float(chosen)


@dataclass(frozen=True)
class _Link:
    """A synapse into one population: its weights, and the wires that feed it."""

    name: str
    target: str
    weight: FloatArray
    bias: FloatArray | None
    wires: tuple[Wire, ...]


class _Import:
    """Network under construction from the nodes of a flat graph."""

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
        """Return the population that is read out; if synapses feed the Output, it becomes one."""
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
        """Return every synapse into a population; a direct connection becomes one-to-one synapses."""
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
        """Return the shape of a population's parameters, or of its synaptic sums if these are scalars."""
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
                f"node {self.exit!r}: shape {expected}, but {self.shapes[self.output]} arrives: export the file again"
            )

    def _delays(self) -> dict[tuple[str, Wire], int]:
        """Steps of each wire into each link: those of its Delay nodes, or one if it closes a loop without any."""
        delays = {(link.name, wire): self.graph.steps(wire, self.dt) for link in self.links for wire in link.wires}
        delayed: dict[tuple[str, str], bool] = {}
        for link in self.links:
            for wire in link.wires:
                pair = wire.source, link.target
                delayed[pair] = delayed.get(pair, True) and delays[link.name, wire] > 0
        late = feedback(delayed, self.entry)
        return {
            (link.name, wire): delays[link.name, wire] or int((wire.source, link.target) in late)
            for link in self.links
            for wire in link.wires
        }

    def _population(self, name: str) -> Population:
        size = math.prod(self.shapes[name])
        if name == self.exit:
            return Population(Integrator(beta=np.zeros(size)), np.ones(size))
        values = {key: np.broadcast_to(value.ravel(), size) for key, value in self.graph.values[name].items()}
        return population(name, self.graph.types[name], values, self.dt)

    def network(self, codes: FixedPoint) -> Network:
        """Return the whole float network, for input codes of that format."""
        shape = self.shapes[self.entry]
        only_batch = math.prod(shape) == shape[-1]
        builder = NetworkBuilder(self.dt)
        builder.input(shape[-1:] if only_batch else shape, codes, self.entry)
        scale = {}
        for name in self.names:
            made = self._population(name)
            scale[name] = made.scale
            builder.population(made.neuron, name)
        delays = self._delays()
        for link in self.links:
            sources = [wire.source for wire in link.wires]
            steps = [delays[link.name, wire] for wire in link.wires]
            builder.connect(sources, link.target, *_folded(link, scale[link.target]), delay=steps, name=link.name)
        readout = "last" if self.graph.types[self.output] in SILENT else "sum"
        return builder.build(self.output, readout)


def _folded(link: _Link, scale: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Return weights and bias of a synapse, times the factor of its population."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        weight = link.weight * scale[:, None]
        bias = None if link.bias is None else link.bias * scale
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        raise UnsupportedParameter(
            f"node {link.name!r}: its weights times the resistances of {link.target!r} are not finite: rescale them"
        )
    return weight, bias
