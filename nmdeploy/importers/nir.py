"""Networks from NIR files: LIF, CubaLIF and IF populations with Linear and Affine synapses, feedforward or recurrent.

NIR states differential equations; a step is explicit Euler with the step ``dt`` that the network was trained with, which
the file does not hold. With synaptic sum a:

    LIF      V <- V + dt/tau (v_leak - V + r a)
    CubaLIF  I <- I + dt/tau_syn (w_in a - I),  then  V <- V + dt/tau_mem (v_leak - V + r I)   with the new I
    IF       V <- V + dt r a
    LI       as LIF, no spikes;   I  as IF, no spikes
    s = H(V - v_threshold), strict;  V <- v_reset where s, in the same step

The constants before a fold into the incoming synapses; the membrane is counted from `v_reset`, where it also starts.
`v_reset` must be 0 or equal to `v_leak`. Frameworks that export IF with r = 1 and add a full input each step (Norse,
Sinabs, snnTorch) mean dt = 1: pass that. A loop has the delay that its Delay nodes state, and one step if none does.

The readout is the sum of the output's spikes; where a synapse feeds the Output directly, the sum of its values (an
integrator that forgets within a step is appended); for LI and I the last membrane. Inputs are binary spikes. NIR gives
metadata no meaning: it is not read.

Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy import nir_io
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.network import BINARY, Edge, Input, Network
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.nir_file import is_sealed, load_bytes, read_tree
from nmdeploy.nir_topology import POPULATIONS, SYNAPSES, Topology, Values, Wire, feedback, integers, passed_shape, topology
from nmdeploy.synapses.dense import Dense

SUFFIXES = (".nir",)
DIAGONAL_MAX = 4096
DELAY_MAX = 1 << 16
ROUNDING = 1e-6
"""Relative error allowed where a file's float32 time constants meet dt."""

Shape = tuple[int, ...]


def load(path: str | os.PathLike[str], *, dt: float | None = None) -> Network:
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
    stored, entry_format = _of_ours(path) if is_sealed(content) else (None, BINARY)
    tree = read_tree(path, content)
    graph = topology(path, tree)
    return _Import(graph, _time_step(path, dt, stored)).network(entry_format)


def _of_ours(path: str | os.PathLike[str]) -> tuple[float, Any]:
    """Time step and input format of a file of ours; refused where its NIR primitives do not say everything."""
    header = nir_io.read_header(path)
    for name, node in header["nodes"].items():
        if node["kind"] not in ("input", "dense", "lif", "integrator") or node.get("refractory_steps"):
            raise UnsupportedParameter(
                f"node {name!r}: a {node['kind']} population of {path} is not fully described by NIR's primitives: "
                "the file is quantized already: use it as it is"
            )
    entry = next(node for node in header["nodes"].values() if node["kind"] == "input")
    return float(header["dt"]), Input.from_json(entry).format


def _time_step(path: object, dt: float | None, stored: float | None) -> float:
    if dt is None and stored is None:
        raise BadOption(
            f"{path}: a NIR file holds no time step: give the one it was trained with in seconds, e.g. --dt 1e-4 "
            "(snnTorch exports for 1e-4; files whose IF nodes have r = 1 mean --dt 1)"
        )
    chosen = stored if dt is None else dt
    assert chosen is not None
    if not (math.isfinite(chosen) and chosen > 0):
        raise BadOption(f"--dt {chosen:g}: a time step is a finite number of seconds over 0")
    if stored is not None and chosen != stored:
        raise BadOption(f"--dt {chosen:g}: {path} was written for {stored:g} s: leave --dt out")
    return chosen


@dataclass(frozen=True)
class _Population:
    """A population's neuron without the bias of its synapses, and the factor on its incoming weights."""

    neuron: Neuron
    gain: FloatArray


def _euler(name: str, key: str, p: Values, dt: float) -> FloatArray:
    """``dt / tau``, refused outside of (0, 1]."""
    tau = p[key]
    if (tau <= 0).any():
        raise UnsupportedParameter(f"node {name!r}: {key} = {tau.min():g}: a time constant is over 0 s: export it again")
    ratio = dt / tau
    if (ratio > 1 + ROUNDING).any():
        raise UnsupportedParameter(
            f"node {name!r}: {key} = {tau.min():g} s is shorter than dt = {dt:g} s, where Euler's step overshoots: "
            "give the --dt that the network was trained with"
        )
    return np.minimum(ratio, 1.0)


def _fire(name: str, p: Values, alpha: npt.ArrayLike, leak: FloatArray, gain: FloatArray) -> _Population:
    """A spiking population, its membrane counted from `v_reset`; `leak` is dt/tau_mem."""
    v_leak = p.get("v_leak", np.zeros_like(leak))
    other = (p["v_reset"] != 0) & (p["v_reset"] != v_leak)
    if other.any():
        raise UnsupportedParameter(
            f"node {name!r}: v_reset = {p['v_reset'][other][0]:g} with v_leak = {v_leak[other][0]:g}: rule 'loihi' resets to 0: "
            "only 0 or v_leak can be moved there: retrain with such a v_reset"
        )
    bias = leak * (v_leak - p["v_reset"])
    return _Population(LIF(alpha, 1 - leak, p["v_threshold"] - p["v_reset"], bias), gain)  # type: ignore[arg-type]


def _lif(name: str, p: Values, dt: float) -> _Population:
    leak = _euler(name, "tau", p, dt)
    return _fire(name, p, np.zeros_like(leak), leak, leak * p["r"])


def _cuba_lif(name: str, p: Values, dt: float) -> _Population:
    filtered, leak = _euler(name, "tau_syn", p, dt), _euler(name, "tau_mem", p, dt)
    return _fire(name, p, 1 - filtered, leak, filtered * p["w_in"] * leak * p["r"])


def _if(name: str, p: Values, dt: float) -> _Population:
    return _fire(name, p, np.zeros_like(p["r"]), np.zeros_like(p["r"]), dt * p["r"])


def _li(name: str, p: Values, dt: float) -> _Population:
    leak = _euler(name, "tau", p, dt)
    return _Population(Integrator(1 - leak, leak * p["v_leak"]), leak * p["r"])


def _i(name: str, p: Values, dt: float) -> _Population:
    return _Population(Integrator(np.ones_like(p["r"])), dt * p["r"])


MAKE: dict[str, Callable[[str, Values, float], _Population]] = {
    "LIF": _lif,
    "CubaLIF": _cuba_lif,
    "IF": _if,
    "LI": _li,
    "I": _i,
}


def _linear(name: str, values: Values) -> tuple[FloatArray, FloatArray | None]:
    weight, bias = values["weight"], values.get("bias")
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = f"{weight.shape}" if bias is None else f"{weight.shape} and {bias.shape}"
        raise UnsupportedParameter(f"node {name!r}: weight (and bias) of shape {shapes}: give (outputs, inputs) and (outputs,)")
    return weight, bias


def _diagonal(name: str, scale: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    if scale.size > DIAGONAL_MAX:
        raise UnsupportedParameter(f"node {name!r}: {scale.size} one-to-one synapses: up to {DIAGONAL_MAX} are supported")
    return np.diag(scale.ravel()), None


WEIGHTS: dict[str, Callable[[str, Values], tuple[FloatArray, FloatArray | None]]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Scale": lambda name, values: _diagonal(name, values["scale"]),
}


@dataclass(frozen=True)
class _Link:
    """A synapse into one population: what it multiplies by, and the wires that feed it."""

    name: str
    target: str
    weight: FloatArray
    bias: FloatArray | None
    wires: tuple[Wire, ...]


class _Import:
    """Gives the nodes of a flat graph their meaning."""

    def __init__(self, graph: Topology, dt: float) -> None:
        self.graph = graph
        self.dt = dt
        self.entry, self.exit = (self._only(kind) for kind in ("Input", "Output"))
        self.input_shape = integers(self.entry, "shape", graph.values[self.entry])
        self._check_wires()
        self.reads_synapse = any(graph.types[wire.source] in SYNAPSES for wire in graph.into(self.exit))
        self.names = graph.of(*POPULATIONS) + ([self.exit] if self.reads_synapse else [])
        self.links = [link for name in self.names for link in self._links(name)]
        self.shapes: dict[str, Shape] = {self.entry: self.input_shape} | {name: self._shape(name) for name in self.names}
        self._check_shapes()

    def _only(self, kind: str) -> str:
        found = self.graph.of(kind)
        if len(found) != 1:
            raise UnsupportedParameter(f"the graph has {len(found)} {kind} nodes {found[:4]}: exactly one is supported")
        return found[0]

    def _check_wires(self) -> None:
        types = self.graph.types
        for wire in self.graph.wires:
            pair = types[wire.source], types[wire.target]
            if pair[1] == "Input" or pair[0] == "Output" or pair == ("Input", "Output"):
                raise UnsupportedParameter(f"edge {wire.source!r} -> {wire.target!r}: {pair[0]} into {pair[1]}: remove it")
            if pair[0] in SYNAPSES and pair[1] in SYNAPSES:
                raise UnsupportedParameter(
                    f"node {wire.source!r} ({pair[0]}) feeds {wire.target!r} ({pair[1]}) without a neuron in between: "
                    "multiply their weights into one node"
                )
            if pair[0] in SYNAPSES + ("LI", "I") and any(types[name] == "Delay" for name in wire.via):
                raise UnsupportedParameter(f"node {wire.via[0]!r}: a Delay after {wire.source!r}: put it before the synapse")
            if pair[0] in ("LI", "I") and pair[1] != "Output":
                raise UnsupportedParameter(
                    f"node {wire.source!r} ({pair[0]}) feeds {wire.target!r}: a population without spikes can only be the "
                    "output: give it a threshold"
                )
        for name in self.graph.of(*SYNAPSES, *POPULATIONS):
            if not self.graph.into(name) or (types[name] in SYNAPSES and not self.graph.out_of(name)):
                raise UnsupportedParameter(f"node {name!r} ({types[name]}) is not connected on both sides: connect or remove it")

    def _links(self, target: str) -> list[_Link]:
        """Every synapse into a population; a direct connection becomes one-to-one synapses."""
        types, links = self.graph.types, []
        for wire in self.graph.into(target):
            if types[wire.source] in SYNAPSES:
                weight, bias = WEIGHTS[types[wire.source]](wire.source, self.graph.values[wire.source])
                first = self.graph.out_of(wire.source)[0].target == target
                name = wire.source if first else f"{wire.source}.{target}"
                links.append(_Link(name, target, weight, bias, tuple(self.graph.into(wire.source))))
            else:
                size = self.graph.values[target].get("r", np.ones(1)).size
                size = math.prod(self.input_shape) if wire.source == self.entry else size
                weight, bias = _diagonal(target, np.ones(min(size, DIAGONAL_MAX + 1)))
                links.append(_Link(f"{wire.source}.{target}", target, weight, bias, (wire,)))
        return links

    def _shape(self, name: str) -> Shape:
        """A population's shape: that of its parameters, or where these are scalars its number of synaptic sums."""
        values = {} if name == self.exit else self.graph.values[name]
        rows = {link.weight.shape[0] for link in self.links if link.target == name}
        shapes = {value.shape for value in values.values() if value.size > 1} or {(rows.pop(),) if len(rows) == 1 else ()}
        shape = shapes.pop()
        if shapes or any(row != math.prod(shape) for row in rows):
            raise UnsupportedParameter(
                f"node {name!r}: parameters of shapes {sorted({shape, *shapes})} meet synaptic sums of {sorted(rows)} "
                "values: give all the same number"
            )
        return shape

    def _check_shapes(self) -> None:
        for link in self.links:
            for wire in link.wires:
                arriving = passed_shape(self.graph, wire, self.shapes[wire.source])
                one_to_one = self.graph.types[wire.target] not in ("Linear", "Affine")
                if math.prod(arriving) != link.weight.shape[1] or (len(arriving) > 1 and not one_to_one):
                    raise UnsupportedParameter(
                        f"node {link.name!r}: {wire.source!r} sends values of shape {arriving}, its weights take "
                        f"({link.weight.shape[1]},): put a Flatten between, or export it again"
                    )
        last = self.graph.into(self.exit)
        expected = integers(self.exit, "shape", self.graph.values[self.exit])
        size = math.prod(self.shapes[self.exit if self.reads_synapse else last[0].source] if last else ())
        if math.prod(expected) != size:
            raise UnsupportedParameter(f"node {self.exit!r}: shape {expected} where {size} values arrive: export it again")

    def _delay(self, wire: Wire) -> int:
        """Steps of the Delay nodes on a wire."""
        steps = 0
        for name in wire.via:
            if self.graph.types[name] == "Delay":
                seconds = self.graph.values[name]["delay"]
                exact = float(seconds.flat[0]) / self.dt
                uniform = bool((seconds == seconds.flat[0]).all())
                if not uniform or not 0 <= exact <= DELAY_MAX or abs(exact - round(exact)) > ROUNDING * max(exact, 1):
                    raise UnsupportedParameter(
                        f"node {name!r}: delay = {seconds.min():g} to {seconds.max():g} s: must be one whole number of steps "
                        f"of {self.dt:g} s, 0 to {DELAY_MAX}, for all channels"
                    )
                steps += round(exact)
        return steps

    def _edges(self) -> list[Edge]:
        delays = {(link.name, wire): self._delay(wire) for link in self.links for wire in link.wires}
        pairs = {(wire.source, link.target): True for link in self.links for wire in link.wires}
        for link in self.links:
            for wire in link.wires:
                pairs[wire.source, link.target] &= delays[link.name, wire] > 0
        late = feedback(pairs, self.entry)
        edges = []
        for link in self.links:
            for wire in link.wires:
                delay = delays[link.name, wire] or int((wire.source, link.target) in late)
                edges.append(Edge(wire.source, link.name, delay))
            edges.append(Edge(link.name, link.target))
        return edges

    def _population(self, name: str) -> _Population:
        size = math.prod(self.shapes[name])
        if name == self.exit:
            return _Population(Integrator(np.zeros(size)), np.ones(size))
        p = {key: np.broadcast_to(value.ravel(), size) for key, value in self.graph.values[name].items()}
        with np.errstate(over="ignore", invalid="ignore"):
            return MAKE[self.graph.types[name]](name, p, self.dt)

    def network(self, entry_format: Any) -> Network:
        """The whole float network."""
        nodes: dict[str, Any] = {self.entry: Input(self.input_shape, entry_format)}
        for name in self.names:
            population = self._population(name)
            bias = np.zeros(population.gain.size)
            keeps_bias = isinstance(population.neuron, LIF) and bool(population.neuron.alpha.any())
            for link in (link for link in self.links if link.target == name):
                weight, own = self._folded(link, population.gain)
                bias = bias if own is None or keeps_bias else bias + own
                self._add(nodes, link.name, Dense(weight, own if keeps_bias else None))
            self._add(nodes, name, _biased(population.neuron, bias))
        output = self.exit if self.reads_synapse else self._read_population()
        readout = "last" if self.graph.types[output] in ("LI", "I") else "sum"
        return Network(nodes, tuple(self._edges()), self.dt, output, readout)

    def _add(self, nodes: dict[str, Any], name: str, node: Any) -> None:
        if name in nodes:
            raise UnsupportedParameter(f"node {name!r}: this name is needed for two nodes: rename it")
        nodes[name] = node

    def _folded(self, link: _Link, gain: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        with np.errstate(over="ignore", invalid="ignore"):
            weight = link.weight * gain[:, None]
            bias = None if link.bias is None else link.bias * gain
        if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
            raise UnsupportedParameter(
                f"node {link.name!r}: its weights times the resistances of {link.target!r} are not finite: rescale them"
            )
        return weight, bias

    def _read_population(self) -> str:
        sources = [wire.source for wire in self.graph.into(self.exit)]
        if len(sources) != 1:
            raise UnsupportedParameter(f"node {self.exit!r}: {len(sources)} nodes feed the output: exactly one is supported")
        return sources[0]


def _biased(neuron: Neuron, bias: FloatArray) -> Neuron:
    if isinstance(neuron, LIF):
        return LIF(neuron.alpha, neuron.beta, neuron.v_threshold, neuron.bias + bias)
    assert isinstance(neuron, Integrator)
    return Integrator(neuron.beta, neuron.bias + bias)
