"""Importer of NIR files: dense synapses and populations with and without spikes, feedforward or recurrent.

NIR defines differential equations. A step is explicit Euler with the time step ``dt`` that the network was trained
with, which the file does not hold, unless an option says otherwise (`nmdeploy.importers.meaning`). With synaptic sum a:

    LIF      V <- V + dt/tau (v_leak - V + r a)
    CubaLIF  I <- I + dt/tau_syn (w_in a - I),  then  V <- V + dt/tau_mem (v_leak - V + r I)   with the new I
    IF       V <- V + dt r a
    LI       as LIF, no spikes;   I  as IF, no spikes
    s = H(V - v_threshold), strict;  V <- v_reset where s, in the same step

Options choose other resets (`nmdeploy.importers.resets`), exponential decays, where 1 - exp(-dt/tau) takes the place of
dt/tau, and the meaning of a framework (`nmdeploy.importers.frameworks`).

The constants before a fold into the incoming synapses. The membrane is counted from where it starts: at `v_reset`, in
Norse at `v_leak`. Frameworks that export IF with r = 1 and add a full input per step (Norse,
Sinabs) mean dt = 1: pass that. A loop has the delay of its Delay nodes, and one step without any.

The readout is the sum of the output's spikes. If a synapse feeds the Output directly, it is the sum of the synapse's
values: an integrator that forgets within a step is appended. For LI, CubaLI and I it is the last membrane. Where these
feed synapses, and before a Threshold, `nmdeploy.importers.nir_values` gives them their meaning; delays that differ by
channel are in `nmdeploy.importers.nir_delays`.

Inputs are binary spikes, until calibration data or an option say otherwise. Leading axes of length 1, which exports
from a sample batch leave in shapes, do not count.
Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy import nir_io
from nmdeploy._util.foreign import is_instance
from nmdeploy._util.open_file import hdf5_holds
from nmdeploy.errors import UnsupportedParameter, prefix_errors
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import refuse_options, refuse_other_dt
from nmdeploy.importers.meaning import Meaning, require_populations
from nmdeploy.importers.nir_delays import parts_by_delay, total_steps
from nmdeploy.importers.nir_nodes import (
    DIAGONAL_MAX,
    MAKE,
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
from nmdeploy.importers.nir_reading import SPIKING, read_as
from nmdeploy.importers.nir_time import Nodes, doubt, meaning_of
from nmdeploy.importers.nir_topology import Shape, Topology, Wire, check_wires, feedback, flat_graph, topology
from nmdeploy.importers.nir_values import MAKE as MAKE_VALUES
from nmdeploy.importers.nir_values import join_thresholds
from nmdeploy.importers.readings import with_reading
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.graph import BINARY, MEMBRANE, strip_batch
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import By
from nmdeploy.neurons.base import FloatArray, IntArray
from nmdeploy.neurons.filtered_integrator import sending
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.nir_io.file import is_sealed, load_bytes, read_tree
from nmdeploy.nir_io.tree import Tree

SUFFIXES = (".nir",)
MAKERS = MAKE | MAKE_VALUES

Path = str | os.PathLike[str]


def load(path: Path, options: ReadOptions = ReadOptions()) -> Network:
    """Return the float network of a NIR file.

    Parameters
    ----------
    path : str or path
        NIR graph in HDF5. Its usual suffix is ``.nir``, and any other is read as well.
    options : ReadOptions
        What NIR cannot say: at least the time step. Files written by nmdeploy hold it.

    Raises
    ------
    BadFile
        The file is missing, damaged or not NIR.
    BadOption
        Nothing says the time step, or a reset names no spiking population.
    UnsupportedParameter
        A node, a field or a value has no deployed meaning. Nothing is dropped silently.
    """
    content = load_bytes(path)
    if is_sealed(content):
        return _load_ours(path, content, options)
    return _load_foreign(str(path), f"NIR file {path}", nir_io.foreign_tree(path, content), options)


def recognizes(path: Path) -> bool:
    """Return True for an HDF5 file with a NIR graph, whatever its name ends with."""
    return hdf5_holds(path, "node")


def takes(source: object) -> bool:
    """Return True for a ``nir.NIRGraph``."""
    return is_instance(source, "nir", "NIRGraph")


def load_object(graph: Any, options: ReadOptions = ReadOptions(), input_format: FixedPoint | None = None) -> Network:
    """Return the float network of a ``nir.NIRGraph``, as `load` would of its file.

    Parameters
    ----------
    graph : nir.NIRGraph
    options : ReadOptions
        What NIR cannot say: at least the time step.
    input_format : FixedPoint, optional
        Of the inputs; binary spikes if left out.
    """
    name = "the NIR graph"
    tree = nir_io.foreign_tree(name, nir_io.graph_bytes(name, graph))
    return _load_foreign(name, name, tree, options, input_format)


def _load_foreign(
    name: str, source: str, tree: Tree, options: ReadOptions, input_format: FixedPoint | None = None
) -> Network:
    with prefix_errors(name), np.errstate(all="ignore"):
        graph = join_thresholds(topology(name, tree))
        require_populations(options, graph.of(*SPIKING))
        nodes: Nodes = {
            node: (graph.types[node], graph.values[node])
            for node in graph.of(*POPULATIONS)
            if "r" in graph.values[node]
        }
        how = meaning_of(name, options, nodes)
        suspected = doubt(how, nodes)
    with prefix_errors(name if suspected is None else f"{name}: {suspected}"), np.errstate(all="ignore"):
        network = _Import(graph, how).network(input_format or BINARY, options.readout)
        _require_one_zero(network, nodes, how)
        by: By = "assumed" if input_format is None else "option"
        return read_as(network, source, how, nodes, bool(graph.of("Delay")), by)


def _require_one_zero(network: Network, nodes: Nodes, how: Meaning) -> None:
    """Refuse to read the membranes of neurons that start at unlike values."""
    kind, values = nodes.get(network.output, ("", {}))
    if kind not in SPIKING or not network.readout.startswith(MEMBRANE):
        return
    start = how.start(values)
    if np.ptp(start) > 0:
        raise UnsupportedParameter(
            f"node {network.output!r}: readout {network.readout}: membranes are counted from where they start, which "
            f"is {start.min():g} to {start.max():g} here: give --readout sum, or train it with one v_reset"
        )


def _load_ours(path: Path, content: bytes, options: ReadOptions) -> Network:
    """Return the float network of the primitives of a file that nmdeploy wrote; it says everything itself."""
    dt, codes = _of_ours(path)
    refuse_other_dt(path, options.dt, dt)
    refuse_options(path, options)
    with prefix_errors(path):
        graph = join_thresholds(topology(path, read_tree(path, content)))
        network = _Import(graph, Meaning(ReadOptions(dt=dt), dt, "source")).network(codes)
        return with_reading(network, f"nmdeploy's own file {path}")


def problems(path: Path, options: ReadOptions = ReadOptions()) -> list[tuple[str, str, str | None]]:
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
        if neuron.kind not in ("lif", "integrator", "filtered_integrator") or neuron.nir_losses():
            raise UnsupportedParameter(
                f"{path}: node {name!r}: NIR's primitives lack part of this {neuron.kind} population: the file is "
                "quantized already: use it unchanged"
            )
    return q.dt, q.input.format


@dataclass(frozen=True)
class _Link:
    """A synapse into one population: its weights, the wires that feed it, and the passing nodes after it."""

    name: str
    target: str
    weight: FloatArray
    bias: FloatArray | None
    wires: tuple[Wire, ...]
    after: tuple[str, ...] = ()


class _Import:
    """Network under construction from the nodes of a flat graph."""

    def __init__(self, graph: Topology, how: Meaning) -> None:
        self.graph = graph
        self.how = how
        self.entry, self.exit = (self._only(kind) for kind in ("Input", "Output"))
        check_wires(graph)
        self.names = graph.of(*POPULATIONS)
        self.output = self._output()
        self.values_of = {
            name for name in graph.of(*SILENT) if any(wire.target != self.exit for wire in graph.outgoing(name))
        }
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
            after = wire.via if types[wire.source] in SYNAPSES else ()
            links.append(_Link(name, target, weight, bias, tuple(wires), after))
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
        shapes = {strip_batch(value.shape) for value in values.values() if value.size > 1} or {(row,) for row in rows}
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
                takes, matrix = link.weight.shape[1], self.graph.types[wire.target] in ("Affine", "Linear")
                arriving = self._arriving(wire, takes)
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

    def _arriving(self, wire: Wire, takes: int) -> Shape:
        """Return the shape in which a source's values arrive at weights for `takes` values.

        Frameworks count a Flatten's dimensions with the batch axis or without it. If they give one row of values only
        with the other count, that is the meaning.
        """
        shape = self.shapes[wire.source]
        counts = [shape, (1, *strip_batch(shape)), strip_batch(shape)]
        readings, problem = [], None
        for counted in counts:
            try:
                readings.append(self.graph.shape_after(wire, counted))
            except UnsupportedParameter as error:
                problem = problem or error
        if problem and not readings:
            raise problem
        return next((reading for reading in readings if reading[-1] == math.prod(reading) == takes), readings[0])

    def _delays(self) -> dict[tuple[str, Wire], IntArray]:
        """Steps from each wire through each link, (rows, columns).

        They are those of the Delay nodes. A loop without any has one step.
        """
        delays = {(link.name, wire): self._steps(link, wire) for link in self.links for wire in link.wires}
        delayed: dict[tuple[str, str], bool] = {}
        for link in self.links:
            for wire in link.wires:
                pair = wire.source, link.target
                delayed[pair] = delayed.get(pair, True) and bool(delays[link.name, wire].min() > 0)
        late = feedback(delayed, self.entry)
        return {
            (link.name, wire): np.maximum(delays[link.name, wire], int((wire.source, link.target) in late))
            for link in self.links
            for wire in link.wires
        }

    def _steps(self, link: _Link, wire: Wire) -> IntArray:
        rows, columns = link.weight.shape
        before = total_steps(self.graph.delays(wire.via), self.how.dt, columns)
        after = total_steps(self.graph.delays(link.after), self.how.dt, rows)
        if link.bias is not None and (after * link.bias).any():
            raise UnsupportedParameter(
                f"node {link.name!r}: its bias reaches {link.target!r} through a Delay, which would hold back a "
                "constant: put the Delay before a synapse"
            )
        return after[:, None] + before

    def _population(self, name: str) -> Population:
        size = math.prod(self.shapes[name])
        if name == self.exit:
            return Population(Integrator(beta=np.zeros(size)), np.ones(size))
        values = {key: np.broadcast_to(value.ravel(), size) for key, value in self.graph.values[name].items()}
        made = population(name, MAKERS[self.graph.types[name]], values, self.how)
        return Population(sending(made.neuron), made.scale) if name in self.values_of else made

    def _connect(self, builder: NetworkBuilder, link: _Link, delays: Mapping[Wire, IntArray]) -> None:
        """Connect a link: as one synapse, and further ones for what cannot share it."""
        together = _shared(link, delays, self.values_of)
        bias, first = link.bias, link.name
        if together:
            steps = [int(delays[wire].flat[0]) for wire in together]
            builder.connect([wire.source for wire in together], link.target, link.weight, bias, steps, first)
            bias, first = None, ""
        for number, wire in enumerate(link.wires):
            for waits, part in parts_by_delay(link.weight, delays[wire]) if wire not in together else ():
                name = first or f"{link.name}.{wire.source}_{number}_delay{waits}"
                builder.connect(wire.source, link.target, part, bias, waits, name)
                bias, first = None, ""

    def network(self, codes: FixedPoint, readout: str | None = None) -> Network:
        """Return the whole float network, for input codes of that format, by default with NIR's readout rule."""
        shape = self.shapes[self.entry]
        only_batch = math.prod(shape) == shape[-1]
        builder = NetworkBuilder(self.how.dt)
        builder.input(shape[-1:] if only_batch else shape, codes, self.entry)
        scale = {}
        for name in self.names:
            made = self._population(name)
            scale[name] = made.scale
            builder.population(made.neuron, name)
        delays = self._delays()
        for link in self.links:
            weight, bias = _folded(link, scale[link.target])
            steps = {wire: delays[link.name, wire] for wire in link.wires}
            self._connect(builder, replace(link, weight=weight, bias=bias), steps)
        usual = "last" if self.graph.types[self.output] in SILENT else "sum"
        return builder.build(self.output, readout or usual)


def _shared(link: _Link, delays: Mapping[Wire, IntArray], apart: set[str]) -> list[Wire]:
    """Return the wires that share one synapse: one per source of spikes, all its channels with one delay."""
    shared = {
        wire.source: wire
        for wire in reversed(link.wires)
        if (delays[wire] == delays[wire].flat[0]).all() and (wire.source not in apart or len(link.wires) == 1)
    }
    return [wire for wire in link.wires if shared.get(wire.source) == wire]


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
