"""NIR graphs step by step, as its equations say under explicit Euler, in plain NumPy and without nmdeploy's code.

Every value is computed when it is asked for: that of a node at a step from those of the nodes before it. An edge in
`late` closes a loop and carries the value of the step before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def _linear(node: Any, x: Array) -> Array:
    weight = node.weight.reshape(node.weight.shape[-2:])
    return weight @ x.ravel() + (node.bias.ravel() if hasattr(node, "bias") else 0.0)


def _leak(node: Any, tau: Array, v: Array, drive: Array, dt: float) -> Array:
    return v + dt / tau * (node.v_leak.ravel() - v + node.r.ravel() * drive)


def _lif(node: Any, state: dict[str, Array], x: Array, dt: float) -> tuple[dict[str, Array], Array]:
    v = _leak(node, node.tau.ravel(), state["v"], x, dt)
    s = v > node.v_threshold.ravel()
    return {"v": np.where(s, node.v_reset.ravel(), v)}, s.astype(float)


def _li(node: Any, state: dict[str, Array], x: Array, dt: float) -> tuple[dict[str, Array], Array]:
    v = _leak(node, node.tau.ravel(), state["v"], x, dt)
    return {"v": v}, v


def _i(node: Any, state: dict[str, Array], x: Array, dt: float) -> tuple[dict[str, Array], Array]:
    v = state["v"] + dt * node.r.ravel() * x
    return {"v": v}, v


def _cuba_li(node: Any, state: dict[str, Array], x: Array, dt: float) -> tuple[dict[str, Array], Array]:
    i = state["i"] + dt / node.tau_syn.ravel() * (node.w_in.ravel() * x - state["i"])
    v = _leak(node, node.tau_mem.ravel(), state["v"], i, dt)
    return {"i": i, "v": v}, v


STATEFUL: dict[str, Callable[..., tuple[dict[str, Array], Array]]] = {
    "LIF": _lif,
    "LI": _li,
    "I": _i,
    "CubaLI": _cuba_li,
}
PLAIN: dict[str, Callable[[Any, Array], Array]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Scale": lambda node, x: node.scale.ravel() * x,
    "Threshold": lambda node, x: (x > node.threshold.ravel()).astype(float),
    "Flatten": lambda node, x: x,
    "Output": lambda node, x: x,
}


class Simulation:
    """Values of every node of a graph, for one sample (steps, channels)."""

    def __init__(self, graph: Any, sample: Array, dt: float, late: tuple[tuple[str, str], ...] = ()) -> None:
        self.graph, self.sample, self.dt, self.late = graph, sample, dt, late
        self.known: dict[tuple[str, int], Any] = {}

    def of(self, name: str) -> Array:
        """Return all values of a node, (steps, channels)."""
        return np.stack([self.value(name, t) for t in range(len(self.sample))])

    def value(self, name: str, t: int) -> Array:
        """Return a node's output at a step."""
        return self._at(name, t)[1]

    def _at(self, name: str, t: int) -> Any:
        if (name, t) not in self.known:
            self.known[name, t] = self._computed(name, t)
        return self.known[name, t]

    def _computed(self, name: str, t: int) -> Any:
        node = self.graph.nodes[name]
        kind = type(node).__name__
        if kind == "Input":
            return None, self.sample[t]
        sources = [source for source, target in self.graph.edges if target == name]
        if kind == "Delay":
            steps = np.rint(node.delay.ravel() / self.dt).astype(int)
            (source,) = sources
            return None, np.array(
                [
                    self.value(source, t - d)[i] if t >= d else 0.0
                    for i, d in enumerate(np.broadcast_to(steps, self._size(source)))
                ]
            )
        arriving = sum(self._sent(source, name, t) for source in sources)
        if kind in PLAIN:
            return None, PLAIN[kind](node, arriving)
        before = self._at(name, t - 1)[0] if t else {"i": 0.0 * arriving, "v": 0.0 * arriving}
        return STATEFUL[kind](node, before, arriving, self.dt)

    def _sent(self, source: str, target: str, t: int) -> Array:
        if (source, target) not in self.late:
            return self.value(source, t)
        return self.value(source, t - 1) if t else np.zeros(self._size(source))

    def _size(self, name: str) -> int:
        node = self.graph.nodes[name]
        return int(np.prod(next(iter(node.output_type.values()))))
