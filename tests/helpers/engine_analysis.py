"""The engine's proofs about a population, and populations whose sums reach given values exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from equal_runs import both
from networks_build import Case

from nmdeploy.engine.bounds.fixed_point import analyse
from nmdeploy.engine.bounds.interval_arithmetic import Bound, view_bound
from nmdeploy.engine.bounds.simplification import simplify
from nmdeploy.engine.llvm.compilation import compile_network, sum_bound
from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.trace.step import Step, trace
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording
from nmdeploy.synapses.dense import QuantizedDense


class Proved(NamedTuple):
    """A population's traced step, the bounds of its values, and the simplified step."""

    step: Step
    bounds: Any
    simple: Step

    def of(self, state: str) -> Bound:
        """Return the bound of a recorded state, over (neurons or 1, *states)."""
        symbol = self.step.recorded[state]
        return view_bound(symbol, self.bounds[symbol.node])

    def never(self, flag: str) -> bool:
        """Return True if it is proved that nothing is counted."""
        node = self.simple.flags[flag].node
        return bool(node.op == "const" and not node.value)


def proved(network: QuantizedNetwork, name: str) -> Proved:
    """Return the analysis of a population."""
    neuron = network.populations[name]
    incoming = {edge.source: network.synapses[edge.source] for edge in network.incoming[name]}
    step = trace(neuron, incoming)
    width = neuron.input_size // neuron.size
    sums = {each: sum_bound(network, each) for each in incoming}
    if width > 1:
        sums = {each: Bound(*(ends.reshape(neuron.size, width) for ends in b)) for each, b in sums.items()}
    bounds = analyse(step, sums)
    return Proved(step, bounds, simplify(step, bounds)[0])


def outside(network: QuantizedNetwork, recording: Recording) -> Iterator[str]:
    """Yield the recorded states that leave their bounds."""
    for name, layer in recording.layers.items():
        found = proved(network, name)
        for state, values in layer.states.items():
            low, high = found.of(state)
            least, most = values.min((0, 1)), values.max((0, 1))
            if (least < low).any() or (most > high).any():
                yield f"{name} {state}: {int(least.min())} to {int(most.max())}, proved {low.min()} to {high.max()}"


def reaching(neuron: Any, sums: Sequence[int], pattern: Sequence[int] = (1, 0, 1, 1, 0)) -> Case:
    """Return a case whose sums are exactly `sums` where the pattern has a 1, else 0.

    The proved bounds of the sums are these values too.
    """
    wanted = np.asarray(sums, np.int64)
    nodes: dict[str, Any] = {"input": Input((1,)), "n": neuron}
    for part in range(5):
        digit = np.sign(wanted) * (np.abs(wanted) >> 7 * part & 127)
        nodes[f"s{part}"] = QuantizedDense(digit[:, None], 8, 0, "mixed", 7 * part)
    edges = [Edge("input", s) for s in nodes if s[0] == "s"] + [Edge(s, "n") for s in nodes if s[0] == "s"]
    return Case(f"{sums}", QuantizedNetwork(nodes, tuple(edges), 1e-3, "n"), np.asarray(pattern)[None, :, None])


def agreeing(case: Case) -> Program:
    """Return the program of a case, after checking that its runs agree."""
    both(case.network, case.inputs)
    return compile_network(case.network, "states")
