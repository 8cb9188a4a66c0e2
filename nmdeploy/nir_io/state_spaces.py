"""The linear part of state-space populations and gates as NIR primitives; notes name the parts that NIR lacks.

Each real state is an integrator ``I`` (r = 1/dt). With ``v <- v + x`` each step, ``Scale(A - 1)`` on the loop gives ``x
<- A x + B a``. Neurons with several inputs or outputs have ``Linear`` nodes in place of ``Scale``. Coefficients that
are all zero are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.neurons.base import FloatArray
from nmdeploy.nir_io.primitives import NO_LEAK, Primitives, exact


@dataclass(frozen=True)
class _Builder:
    """Builder of the nodes of one population, which are named after it."""

    graph: Primitives
    name: str
    n: Any
    target: str

    def couple(self, source: str, target: str, values: FloatArray) -> None:
        """Add a ``Scale`` between two states."""
        node = self.graph.add(f"{self.name}.{source}_{target}", "Scale", scale=exact(values))
        self.graph.connect(f"{self.name}.{source}", node)
        self.graph.connect(node, f"{self.name}.{target}")

    def enter(self, target: str, values: FloatArray, into: str | None = None) -> None:
        """Connect the inputs to a state or an output, with values (H, q) or (H*p, q)."""
        node = f"{self.name}.in_{target}"
        if self.n.inputs == 1 and values.shape[0] == self.n.size:
            self.graph.add(node, "Scale", scale=exact(values[:, 0]))
        else:
            self.graph.add(node, "Linear", weight=exact(_blocks(values, self.n.size, self.n.inputs)))
        self.graph.enters[self.name].append(node)
        self.graph.connect(node, into or f"{self.name}.{target}")

    def leave(self, source: str, values: FloatArray) -> None:
        """Connect a state to the outputs, with values (H, p)."""
        node = f"{self.name}.{source}_out"
        if self.n.outputs == 1:
            self.graph.add(node, "Scale", scale=exact(values[:, 0]))
        else:
            self.graph.add(node, "Linear", weight=exact(_blocks(values.reshape(-1, 1), self.n.size, 1)))
        self.graph.connect(f"{self.name}.{source}", node)
        self.graph.connect(node, self.target)

    def state(self, state: str, decay: FloatArray) -> None:
        """Add an integrator with its loop."""
        self.graph.add(f"{self.name}.{state}", "I", r=np.full(self.n.size, 1 / self.graph.dt))
        self.couple(state, state, decay - 1)


def _blocks(values: FloatArray, size: int, inputs: int) -> FloatArray:
    """Return (size * rows, inputs) as a matrix (size * rows, size * inputs).

    Each neuron has its own inputs only.
    """
    rows = values.shape[0] // size
    matrix = np.zeros((size * rows, size * inputs))
    for h in range(size):
        matrix[h * rows : (h + 1) * rows, h * inputs : (h + 1) * inputs] = values[h * rows : (h + 1) * rows]
    return matrix


def _ends(graph: Primitives, name: str, n: Any) -> _Builder:
    """Add the threshold, the soma before it, and the feedthrough; return the builder for the states."""
    graph.enters[name], graph.leaves[name] = [], name
    bias, vth = (np.ldexp(values.astype(np.float64), -n.frac_y).ravel() for values in (n.bias, n.vth))
    graph.add(name, "Threshold", threshold=exact(vth if n.soma else vth - bias))
    builder = _Builder(graph, name, n, f"{name}.v" if n.soma else name)
    if n.soma:
        _add_soma(graph, name, n, bias)
    if n.d.any():
        d = np.ldexp(n.d.astype(np.float64), n.frac_in - n.frac_d - n.frac_y[..., None]).reshape(-1, n.inputs)
        builder.enter("out", d, builder.target)
    return builder


def _add_soma(graph: Primitives, name: str, n: Any, bias: FloatArray) -> None:
    """Add a leaky integrator ``LI``, or ``I`` without leak, that takes y; its bias is the leak's target."""
    tau = np.where(n.leak < 4096, 4096.0 / np.maximum(4096 - n.leak, 1), NO_LEAK).ravel()
    if (n.leak == 4096).all() and not bias.any():
        graph.add(f"{name}.v", "I", r=np.full(tau.size, 1 / graph.dt))
    else:
        graph.add(f"{name}.v", "LI", tau=tau * graph.dt, r=tau, v_leak=bias * tau)
    graph.connect(f"{name}.v", name)


def _add_diagonal(graph: Primitives, name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Add N pairs of integrators, or N if all coefficients are real."""
    builder = _ends(graph, name, n)
    for state in range(n.states_per_neuron):
        _add_complex(builder, state)
    return _input_bias(name, n, into_synapse)


def _add_windowed(graph: Primitives, name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Add the dynamics alone, with threshold 0: the threshold of a window is in units of the window's own sum."""
    return _add_diagonal(graph, name, replace(n.dynamics, vth=np.zeros_like(n.dynamics.bias)), into_synapse)


def _input_bias(name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Return the bias that the synapse is to carry."""
    bias = n.input_bias
    if not bias.any():
        return None
    if not into_synapse:
        raise UnsupportedParameter(
            f"node {name!r}: its input bias needs dense synapses in a NIR file: connect it through one"
        )
    return np.asarray(np.ldexp(bias.astype(np.float64), -n.frac_in).ravel())


def _add_complex(builder: _Builder, state: int) -> None:
    n = builder.n
    a_re, a_im = (np.ldexp(code[:, state].astype(np.float64), -n.frac_a) for code in (n.a_re, n.a_im))
    frac_x = n.frac_x[:, state, None]
    enter, leave = n.frac_in - n.frac_b - frac_x, frac_x - n.frac_c - n.frac_y
    b_re, b_im = (np.ldexp(code[:, state].astype(np.float64), enter) for code in (n.b_re, n.b_im))
    c_re, c_im = (np.ldexp(code[:, :, state].astype(np.float64), leave) for code in (n.c_re, n.c_im))
    re, im = f"re{state}", f"im{state}"
    is_complex = bool(a_im.any() or b_im.any() or c_im.any())
    for part in (re, im)[: 1 + is_complex]:
        builder.state(part, a_re)
    for source, target, values in ((im, re, -a_im), (re, im, a_im)):
        if values.any():
            builder.couple(source, target, values)
    _add_ways(builder, ((re, b_re, c_re), (im, b_im, -c_im))[: 1 + is_complex], needed=state == 0)


def _add_ways(builder: _Builder, states: Any, needed: bool) -> None:
    """Add the ways in and out of each state (name, b, c) that are not zero, and with `needed` always the first ones."""
    for index, (state, b, c) in enumerate(states):
        if b.any() or (needed and index == 0):
            builder.enter(state, b)
        if c.any() or (needed and index == 0):
            builder.leave(state, c)


def _add_dense(graph: Primitives, name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Add N integrators that feed each other."""
    builder = _ends(graph, name, n)
    a = np.ldexp(n.a.astype(np.float64), -n.frac_a)
    for state in range(n.states_per_neuron):
        builder.state(f"x{state}", a[:, state, state])
    for target, source in ((i, j) for i in range(n.states_per_neuron) for j in range(n.states_per_neuron) if i != j):
        # exact if the states of a neuron share one scale, else a power of two between them
        values = np.ldexp(a[:, target, source], n.frac_x[:, source] - n.frac_x[:, target])
        if values.any():
            builder.couple(f"x{source}", f"x{target}", values)
    _add_ways(builder, list(_dense_ways(n)), needed=True)
    return _input_bias(name, n, into_synapse)


def _dense_ways(n: Any) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    for state in range(n.states_per_neuron):
        frac_x = n.frac_x[:, state, None]
        b = np.ldexp(n.b[:, state].astype(np.float64), n.frac_in - n.frac_b - frac_x)
        yield f"x{state}", b, np.ldexp(n.c[:, :, state].astype(np.float64), frac_x - n.frac_c - n.frac_y)


def _add_gate(graph: Primitives, name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Add a ``Linear`` that passes each neuron's value: the sigmoid has no primitive."""
    weight = np.zeros((n.size, 2 * n.size))
    weight[np.arange(n.size), 2 * np.arange(n.size)] = 1.0
    graph.add(name, "Linear", weight=exact(weight))
    graph.enters[name], graph.leaves[name] = [name], name
    return None


AddStateSpace = Callable[[Primitives, str, Any, bool], "FloatArray | None"]
STATE_SPACES: dict[str, AddStateSpace] = {
    "state_space": _add_diagonal,
    "dense_state_space": _add_dense,
    "windowed_state_space": _add_windowed,
    "gated_linear_unit": _add_gate,
}
