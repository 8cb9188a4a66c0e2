"""Graph that both networks share: an input, edges, and their order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from nmdeploy._util.frozen import Frozen
from nmdeploy._util.shown import Shown, Summary
from nmdeploy.errors import BadFile, BadOption, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.components import components
from nmdeploy.network.summary import graph_summary
from nmdeploy.network.timing import Timing, require_aligned, timing_of
from nmdeploy.neurons.base import Emits

RULES = ("sum", "last", "max", "mean")
MEMBRANE = "membrane-"
READOUTS = (*RULES, *(f"{MEMBRANE}{rule}" for rule in ("last", "max", "sum")))
"""Rules that make one value per class of the outputs of all steps, or of the membranes before their reset."""
BINARY = FixedPoint(bits=1, frac=0, signed=False)


def strip_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its leading axes of length 1, which a batch of one sample leaves in shapes.

    The last axis stays.

    >>> strip_batch((1, 2, 3)), strip_batch((1, 1))
    ((2, 3), (1,))
    """
    ones = next((axis for axis, size in enumerate(shape[:-1]) if size != 1), len(shape) - 1)
    return shape[max(ones, 0) :]


@dataclass(frozen=True)
class Input:
    """The entry of the samples: their shape per step, and the format of their codes (binary spikes by default)."""

    shape: tuple[int, ...]
    format: FixedPoint = BINARY

    kind: ClassVar[str] = "input"
    role: ClassVar[str] = "input"
    output_latency: ClassVar[int] = 0

    @property
    def size(self) -> int:
        """Number of channels."""
        return int(math.prod(self.shape))

    @property
    def output_size(self) -> int:
        """Number of channels."""
        return self.size

    @property
    def emits(self) -> Emits:
        """Spikes (0, 1), or codes of the format as events."""
        return "binary" if (self.format.min, self.format.max) == (0, 1) else "graded"

    @property
    def output_max(self) -> int:
        """Largest magnitude of a code."""
        return max(self.format.max, -self.format.min)

    @property
    def output_frac(self) -> int:
        """Fraction bits of a code."""
        return self.format.frac

    def hold_steps(self, arriving: int) -> int:
        """Return the steps over which its output is constant."""
        return 1

    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON values."""
        return {"kind": self.kind, "shape": list(self.shape), "format": self.format.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Input:
        """Build the input that `to_json` described; `BadFile` for an unknown field."""
        for name in set(values) - {"kind", "shape", "format"}:
            raise BadFile(f"field {name!r} of the input is unknown here: update nmdeploy")
        return cls(tuple(values["shape"]), FixedPoint(**values["format"]))


@dataclass(frozen=True)
class Edge:
    """Connection from `source` to `target`, with `delay` in steps of the trained network."""

    source: str
    target: str
    delay: int = 0


class Graph(Frozen, Shown):
    """Topology that both networks share; `nodes` maps names to nodes, `edges` connect them."""

    nodes: Mapping[str, Any]
    edges: tuple[Edge, ...]
    dt: float
    output: str
    readout: str

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show."""
        return graph_summary(type(self).__name__, self)

    def _check(self, neuron: type, synapse: type) -> None:
        object.__setattr__(self, "nodes", dict(self.nodes))
        object.__setattr__(self, "edges", tuple(self.edges))
        if self.readout not in READOUTS:
            raise BadOption(f"readout rule {self.readout!r} is unknown: choose one of {READOUTS}")
        inputs = [name for name, node in self.nodes.items() if isinstance(node, Input)]
        if len(inputs) != 1:
            raise BadFile(f"the network has {len(inputs)} inputs: exactly one is supported")
        pairs = Counter((edge.source, edge.target) for edge in self.edges)
        for source, target in (pair for pair, count in pairs.items() if count > 1):
            raise BadFile(f"edge {source!r} -> {target!r} occurs twice: give each a synapse of its own")
        for edge in self.edges:
            self._check_edge(edge, neuron, synapse)
        if not isinstance(self.nodes.get(self.output), neuron):
            raise BadFile(f"output {self.output!r} is no neuron population of the network: name one of its populations")
        self._check_readout()
        _ = self.order

    def _check_readout(self) -> None:
        kind = self.nodes[self.output].kind
        if self.reads_membrane and self.nodes[self.output].membrane_register is None:
            raise UnsupportedParameter(
                f"node {self.output!r}: --readout {self.readout}: this {kind} population gives no membrane from before "
                f"its reset: choose one of {', '.join(RULES)}"
            )

    @property
    def reads_membrane(self) -> bool:
        """True if the readout is of membranes, not of outputs."""
        return self.readout.startswith(MEMBRANE)

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
        given = source.shape[0] if into_neuron else source.output_size
        sizes = (given, target.input_size if into_neuron else target.shape[1])
        if sizes[0] != sizes[1]:
            raise BadFile(f"edge {edge.source!r} -> {edge.target!r}: {sizes[0]} values meet {sizes[1]} places")

    @cached_property
    def input_name(self) -> str:
        """Name of the input node."""
        return next(name for name, node in self.nodes.items() if isinstance(node, Input))

    @property
    def input(self) -> Input:
        """Input node."""
        node = self.nodes[self.input_name]
        assert isinstance(node, Input)
        return node

    @cached_property
    def incoming(self) -> dict[str, list[Edge]]:
        """Incoming edges by node."""
        found: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found

    @cached_property
    def target(self) -> dict[str, str]:
        """Population that each synapse feeds."""
        return {e.source: e.target for e in self.edges if self.nodes[e.source].role == "synapse"}

    @cached_property
    def outgoing(self) -> dict[str, list[Edge]]:
        """Outgoing edges by node."""
        found: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.source].append(edge)
        return found

    @cached_property
    def components(self) -> dict[str, int]:
        """Number of each node's strongly connected component, over edges of any delay: the nodes of a loop share it."""
        return components({name: [edge.target for edge in edges] for name, edges in self.outgoing.items()})

    def closes_loop(self, edge: Edge) -> bool:
        """Return True for a delayed edge of the network whose target leads back to its source."""
        return edge.delay > 0 and self.components[edge.source] == self.components[edge.target]

    @cached_property
    def order(self) -> list[str]:
        """Node names, sources first, along all edges that close no loop.

        A node comes in the first round in which all of its sources are done, and each round is in the order of `nodes`.

        Raises
        ------
        UnsupportedParameter
            The network has a loop without delay.
        """
        place = {name: index for index, name in enumerate(self.nodes)}
        onward = {name: [e.target for e in es if not self.closes_loop(e)] for name, es in self.outgoing.items()}
        waiting = Counter(target for targets in onward.values() for target in targets)
        done: list[str] = []
        ready = [name for name in self.nodes if not waiting[name]]
        while ready:
            done += ready
            reached = Counter(target for name in ready for target in onward[name])
            waiting.subtract(reached)
            ready = sorted((name for name in reached if not waiting[name]), key=place.__getitem__)
        left = self.nodes.keys() - done
        if left:
            raise UnsupportedParameter(f"nodes {sorted(left)} form a loop without a delay: give its feedback edge one")
        return done

    @cached_property
    def timing(self) -> Timing:
        """Start, latency and alignment of every node."""
        return timing_of(self)

    @property
    def latency(self) -> int:
        """Steps from an input to the output that it causes, on the chip."""
        return self.timing.latency

    @property
    def output_delay(self) -> int:
        """Steps after an input until its output is known, if synapses take no time: those of windows."""
        return self.timing.start_offset[self.output] + self.timing.output_latency[self.output]

    def require_aligned(self) -> None:
        """Refuse, with `UnsupportedParameter`, the first feedback that would have to be faster than a synapse."""
        for edge in self.edges:
            require_aligned(edge, self.timing.inserted_delays)

    def of_type(self, kinds: type | tuple[type, ...]) -> Iterable[tuple[str, Any]]:
        """Return names and nodes of the given type, in topological order."""
        return ((name, self.nodes[name]) for name in self.order if isinstance(self.nodes[name], kinds))
