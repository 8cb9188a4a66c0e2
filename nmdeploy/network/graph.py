"""What both networks are made of: an input, edges, and the topology that delays and lookahead follow from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from nmdeploy._util.frozen import Frozen
from nmdeploy.errors import BadFile, BadOption, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint

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
        """Build the input that `to_json` described; `BadFile` for a field that is unknown."""
        for name in set(values) - {"kind", "shape", "format"}:
            raise BadFile(f"field {name!r} of the input is unknown here: update nmdeploy")
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
        given = source.shape[0] if into_neuron else source.size if isinstance(source, Input) else source.output_size
        sizes = (given, target.input_size if into_neuron else target.shape[1])
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
    def incoming(self) -> dict[str, list[Edge]]:
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
            ready = [n for n in left if all(e.source in done for e in self.incoming[n] if e.delay == 0)]
            if not ready:
                raise UnsupportedParameter(
                    f"nodes {sorted(left)} form a loop without a delay: give its feedback edge one"
                )
            for name in ready:
                done[name] = left.pop(name)
        return list(done)

    @cached_property
    def depth(self) -> dict[str, int]:
        """Steps by which each population's first real input is late on the chip.

        It is the longest path from the input: one step a synapse, and the lookahead of each population passed.
        """
        depth: dict[str, int] = {}
        for name in self.order:
            ways = [
                depth[e.source] + self.lookahead(e.source) + self._is_synapse(e.target)
                for e in self.incoming[name]
                if e.delay == 0
            ]
            depth[name] = max(ways, default=0)
        return depth

    def lookahead(self, name: str) -> int:
        """Steps by which a node's output is later than its inputs."""
        return int(getattr(self.nodes[name], "lookahead", 0))

    @cached_property
    def lag(self) -> dict[str, int]:
        """Steps by which each node runs behind the input where synapses take no time: the lookahead before it."""
        lag = dict.fromkeys(self.nodes, 0)
        if any(self.lookahead(name) for name in lag):
            _ = self.inserted_delays  # what cannot be aligned would never settle
        settled = False
        while not settled:
            before = dict(lag)
            for edge in self.edges:
                # An output arrives over a delay at the earliest in the step after the one in which it is known.
                wait = lag[edge.source] + self.lookahead(edge.source) + min(0, 1 - edge.delay)
                lag[edge.target] = max(lag[edge.target], wait)
            for synapse, target in self.target.items():
                lag[synapse] = lag[target]
            settled = lag == before
        return lag

    @property
    def gap(self) -> int:
        """Steps that pass after a sample's last one until its last output is known: 0 without lookahead."""
        return max(self.lag[name] + self.lookahead(name) for name in self.nodes)

    @cached_property
    def windows(self) -> dict[str, int]:
        """Steps r over which each node's output is constant, in windows from step 0 on; 1 for most nodes.

        A synapse with r > 1 is computed, and its sources send, in the steps ``t % r == 0`` only.
        """
        windows: dict[str, int] = {}
        for name in self.order:
            edges = self.incoming[name]
            # A delayed edge closes a loop or shifts the windows.
            arriving = {1 if edge.delay else windows[edge.source] for edge in edges}
            common = arriving.pop() if len(arriving) == 1 else 1
            node = self.nodes[name]
            if not self._is_synapse(name):
                common = 1 if isinstance(node, Input) else node.constant_over(common)
            windows[name] = common
        return windows

    @cached_property
    def target(self) -> dict[str, str]:
        """The population that each synapse feeds."""
        return {e.source: e.target for e in self.edges if self._is_synapse(e.source)}

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
                out = self.depth[edge.source] + self.lookahead(edge.source)
                extra = self.depth[self.target[edge.target]] - out + edge.delay - 1
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
        return self.depth[self.output] + self.lookahead(self.output)

    def of_type(self, kinds: type | tuple[type, ...]) -> Iterable[tuple[str, Any]]:
        """Names and nodes of the given type, in topological order."""
        return ((name, self.nodes[name]) for name in self.order if isinstance(self.nodes[name], kinds))
