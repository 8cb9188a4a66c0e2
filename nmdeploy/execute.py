"""The loop over steps that float and integer runs share: one step of every node, sources first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network import Graph, Input

Array = npt.NDArray[Any]
Advance = Callable[[str, Any, Array, int], tuple[Any, Array]]
OnSynapse = Callable[[str, Array, int], None]


def run_steps(
    graph: Graph,
    inputs: Array,
    start: Mapping[str, Any],
    advance: Advance,
    on_synapse: OnSynapse | None = None,
) -> None:
    """Run every step of a batch.

    Parameters
    ----------
    graph : Network or QuantizedNetwork
    inputs : (samples, steps, channels)
    start : state of each population at rest
    advance : called for each population and step with (name, state, synaptic sum, step), returns (state', output)
    on_synapse : called for each synapse and step with (name, what arrives, step)
    """
    state = dict(start)
    late = max((edge.delay for edge in graph.edges), default=0)
    history: deque[dict[str, Array]] = deque(maxlen=late + 1)
    zero = {
        name: np.zeros((inputs.shape[0], node.size), inputs.dtype) for name, node in graph.nodes.items() if _sends(node)
    }
    history.extend([zero] * (late + 1))
    for step in range(inputs.shape[1]):
        now: dict[str, Array] = {graph.input_name: inputs[:, step]}
        history.append(now)
        sums: dict[str, Array] = {}
        for name in graph.order:
            node = graph.nodes[name]
            if hasattr(node, "apply"):
                arriving = np.asarray(sum(history[-1 - e.delay][e.source] for e in graph.sources[name]))
                if on_synapse:
                    on_synapse(name, arriving, step)
                sums[name] = node.apply(arriving)
            elif not isinstance(node, Input):
                a = sum((sums[e.source] for e in graph.sources[name]), start=np.zeros_like(zero[name]))
                state[name], output = advance(name, state[name], a, step)
                now[name] = output.astype(inputs.dtype)


def _sends(node: Any) -> bool:
    return not hasattr(node, "apply")
