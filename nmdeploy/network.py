"""Networks: the float one that was trained, and the integer one that a chip would hold.

Both are graphs of an input, synapses and neuron populations. An edge into a synapse may carry a delay; a recurrence has
delay 1 in training and on the chip. Several edges into one synapse add their values (a residual connection), several
synapses into one population add their sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile, BadOption, OverflowPossible, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.frozen import Frozen
from nmdeploy.neurons.base import IntArray, Neuron, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse, Synapse

READOUTS = ("sum", "last", "max", "mean")
BINARY = FixedPoint(bits=1, frac=0, signed=False)


@dataclass(frozen=True)
class Input:
    """Where samples enter: their shape a step, and the format of their codes (binary spikes unless told otherwise)."""

    shape: tuple[int, ...]
    format: FixedPoint = BINARY

    kind: ClassVar[str] = "input"

    @property
    def size(self) -> int:
        """Number of channels."""
        return int(np.prod(self.shape))

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        return {"kind": self.kind, "shape": list(self.shape), "format": self.format.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Input:
        """The input that `to_json` described."""
        return cls(tuple(values["shape"]), FixedPoint(**values["format"]))


@dataclass(frozen=True)
class Edge:
    """A connection; `delay` in steps of the trained network."""

    source: str
    target: str
    delay: int = 0


class Graph(Frozen):
    """What both networks share: the topology. `nodes` maps names to nodes, `edges` connect them."""

    nodes: Mapping[str, Any]
    edges: tuple[Edge, ...]
    dt: float
    output: str
    readout: str

    def _check(self, neuron: type, synapse: type) -> None:
        object.__setattr__(self, "nodes", dict(self.nodes))
        object.__setattr__(self, "edges", tuple(self.edges))
        if self.readout not in READOUTS:
            raise BadOption(f"readout rule {self.readout!r} is unknown: choose one of {READOUTS}")
        inputs = [name for name, node in self.nodes.items() if isinstance(node, Input)]
        if len(inputs) != 1:
            raise BadFile(f"the network has {len(inputs)} inputs: exactly one is supported")
        for edge in self.edges:
            self._check_edge(edge, neuron, synapse)
        if not isinstance(self.nodes.get(self.output), neuron):
            raise BadFile(f"output {self.output!r} is no neuron population of the network")
        _ = self.order

    def _check_edge(self, edge: Edge, neuron: type, synapse: type) -> None:
        for name in (edge.source, edge.target):
            if name not in self.nodes:
                raise BadFile(f"edge {edge.source!r} -> {edge.target!r}: there is no node {name!r}")
        source, target = self.nodes[edge.source], self.nodes[edge.target]
        into_synapse = isinstance(source, (Input, neuron)) and isinstance(target, synapse)
        into_neuron = isinstance(source, synapse) and isinstance(target, neuron) and edge.delay == 0
        if edge.delay < 0 or not (into_synapse or into_neuron):
            raise BadFile(
                f"edge {edge.source!r} -> {edge.target!r}: connect populations to synapses (delay 0 or "
                "more) and synapses to populations (delay 0)"
            )
        sizes = (source.shape[0] if into_neuron else source.size, target.size if into_neuron else target.shape[1])
        if sizes[0] != sizes[1]:
            raise BadFile(f"edge {edge.source!r} -> {edge.target!r}: {sizes[0]} values meet {sizes[1]} places")

    @property
    def input_name(self) -> str:
        """Name of the input node."""
        return next(name for name, node in self.nodes.items() if isinstance(node, Input))

    @property
    def input(self) -> Input:
        """The input node."""
        node = self.nodes[self.input_name]
        assert isinstance(node, Input)
        return node

    @cached_property
    def sources(self) -> dict[str, list[Edge]]:
        """Incoming edges by node."""
        found: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found

    @cached_property
    def order(self) -> list[str]:
        """Node names, sources first, along the edges without delay; `UnsupportedParameter` for a loop without one."""
        done: dict[str, None] = {}
        left = dict.fromkeys(self.nodes)
        while left:
            ready = [n for n in left if all(e.source in done for e in self.sources[n] if e.delay == 0)]
            if not ready:
                raise UnsupportedParameter(
                    f"nodes {sorted(left)} form a loop without a delay: give its feedback edge one"
                )
            for name in ready:
                done[name] = left.pop(name)
        return list(done)

    @cached_property
    def depth(self) -> dict[str, int]:
        """Steps by which each population is late on the chip: its longest path from the input, in synapses."""
        depth: dict[str, int] = {}
        for name in self.order:
            ways = [depth[e.source] + (self._is_synapse(e.target)) for e in self.sources[name] if e.delay == 0]
            depth[name] = max(ways, default=0)
        return depth

    def _is_synapse(self, name: str) -> bool:
        return hasattr(self.nodes[name], "apply")

    @cached_property
    def inserted_delays(self) -> dict[tuple[str, str], int]:
        """Steps to insert into each population-synapse edge so that all paths into a population arrive together.

        A synapse takes one step by itself. Raises `UnsupportedParameter` for a feedback that would have to be faster.
        """
        found = {}
        for edge in self.edges:
            if self._is_synapse(edge.target):
                target = next(e.target for e in self.edges if e.source == edge.target)
                extra = self.depth[target] - self.depth[edge.source] + edge.delay - 1
                if extra < 0:
                    raise UnsupportedParameter(
                        f"feedback {edge.source!r} -> {edge.target!r} cannot be aligned: it would need {extra + 1} "
                        f"steps, a synapse takes 1: give it a delay of at least {edge.delay - extra} "
                        "steps (in NIR, a Delay node of that many dt)"
                    )
                found[edge.source, edge.target] = extra
        return found

    @property
    def latency(self) -> int:
        """Steps from an input to the output it causes, on the chip."""
        return self.depth[self.output]

    def of_type(self, kinds: type | tuple[type, ...]) -> Iterable[tuple[str, Any]]:
        """Names and nodes of the given type, in topological order."""
        return ((name, self.nodes[name]) for name in self.order if isinstance(self.nodes[name], kinds))


@dataclass(frozen=True, eq=False)
class Network(Graph):
    """The float network.

    Parameters
    ----------
    nodes : mapping of str to Input, Synapse or Neuron
    edges : sequence of Edge
    dt : float
        Seconds a step.
    output : str
        The population that is read out.
    readout : {"sum", "last", "max", "mean"}
        How its outputs over the steps become one value a class.
    """

    nodes: Mapping[str, Input | Synapse | Neuron]
    edges: tuple[Edge, ...]
    dt: float
    output: str
    readout: str = "sum"

    def __post_init__(self) -> None:
        self._check(Neuron, Synapse)

    @property
    def populations(self) -> dict[str, Neuron]:
        """Neuron populations, sources first."""
        return dict(self.of_type(Neuron))

    @property
    def synapses(self) -> dict[str, Synapse]:
        """Synapses, sources first."""
        return dict(self.of_type(Synapse))


@dataclass(frozen=True, eq=False)
class QuantizedNetwork(Graph):
    """The integer network, with the profile it was quantized for and a line for all that was changed on the way.

    Raises `OverflowPossible` unless every register stays within the width that the arithmetic proves.
    """

    nodes: Mapping[str, Input | QuantizedSynapse | QuantizedNeuron]
    edges: tuple[Edge, ...]
    dt: float
    output: str
    readout: str = "sum"
    profile: str = "loihi2"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check(QuantizedNeuron, QuantizedSynapse)
        object.__setattr__(self, "notes", tuple(self.notes))
        _ = self.inserted_delays
        for name, neuron in self.populations.items():
            neuron.prove(name, self.a_max(name))

    @property
    def populations(self) -> dict[str, QuantizedNeuron]:
        """Neuron populations, sources first."""
        return dict(self.of_type(QuantizedNeuron))

    @property
    def synapses(self) -> dict[str, QuantizedSynapse]:
        """Synapses, sources first."""
        return dict(self.of_type(QuantizedSynapse))

    def s_max(self, synapse: str) -> int:
        """Largest magnitude that can arrive at a synapse: the sum over its sources."""
        return sum(self._largest_output(e.source) for e in self.sources[synapse])

    def _largest_output(self, name: str) -> int:
        node = self.nodes[name]
        if isinstance(node, Input):
            return max(node.format.max, -node.format.min)
        assert isinstance(node, QuantizedNeuron)
        return 1 if node.spiking else (1 << (node.state_bits - 1)) - 1

    def a_max(self, population: str) -> IntArray:
        """Largest possible magnitude of each neuron's synaptic sum, proved from the weights."""
        node = self.nodes[population]
        assert isinstance(node, QuantizedNeuron)
        total = np.zeros(node.size, np.int64)
        for edge in self.sources[population]:
            synapse = self.nodes[edge.source]
            assert isinstance(synapse, QuantizedSynapse)
            total = total + synapse.a_max(self.s_max(edge.source))
        if total.max(initial=0) >= 1 << 31:
            raise OverflowPossible(
                f"node {population!r}: the synaptic sum can reach {int(total.max())}, limit 2**31: "
                "lower the weight exponent"
            )
        return total


def readout_values(
    outputs: npt.NDArray[Any], rule: str, lengths: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[Any]:
    """One value a class: outputs (samples, steps, channels) over the valid steps of each sample, by the rule.

    >>> readout_values(np.array([[[1, 0], [0, 2]]]), "sum").tolist()
    [[1, 2]]
    """
    samples, steps = outputs.shape[:2]
    lengths = np.full(samples, steps) if lengths is None else lengths
    valid = (np.arange(steps) < lengths[:, None])[..., None]
    if rule == "last":
        return np.asarray(outputs[np.arange(samples), lengths - 1])
    if rule == "max":
        lowest = np.iinfo(np.int64).min if outputs.dtype.kind in "iub" else -np.inf
        return np.asarray(np.where(valid, outputs, lowest).max(1))
    total = np.where(valid, outputs, 0).sum(1)
    return np.asarray(total if rule == "sum" else total / lengths[:, None])
