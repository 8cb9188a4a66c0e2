"""Conversion of integers to NIR's primitives, the part of a quantized network that other readers read.

Every value is the dequantized one: an integer times a power of two, exact in float32 or float64. NIR needs time
constants and resistances, which are not dyadic numbers. They are float64 values that follow from the integers by one
fixed rule, so that nmdeploy's reader can compute and compare them.

A graph is plain data, laid out as NIR's HDF5 file is: `nodes` maps names to fields (``type`` and arrays), `edges` are
pairs of names. In the discrete reading of NIR (Euler with dt, see ``nmdeploy.importers.nir``) a loop is delayed by one
step. A recurrence of delay 1 therefore needs no ``Delay`` node, and all integrators of a state-space population advance
together.
Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.network.biases import bias_moves_into
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import FloatArray
from nmdeploy.nir_io.primitives import NO_LEAK, Primitives
from nmdeploy.nir_io.state_spaces import STATE_SPACES


def primitives(q: QuantizedNetwork) -> Primitives:
    """Return the NIR graph of a quantized network."""
    graph = Primitives(q.dt)
    for name, node in q.nodes.items():
        if isinstance(node, Input):
            _add_input(graph, name, node)
    for name, neuron in q.populations.items():
        synapses = [q.synapses[edge.source] for edge in q.incoming[name]]
        into_synapse = bias_moves_into("synapse", neuron, synapses)
        left = _adder(neuron, NEURONS)(graph, name, neuron, into_synapse)
        _add_synapses(graph, q, name, left)
    _add_output(graph, q.output, q.populations[q.output].output_size)
    if not any(source == graph.leaves[q.input_name] for source, _ in graph.edges):
        raise UnsupportedParameter(f"node {q.input_name!r}: nothing is connected to it: connect it to a synapse")
    return graph


def _adder(node: Any, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return what adds the primitives of a node's family: the table's function, or the family's own method."""
    return table.get(node.kind, lambda graph, name, node, *more: node.nir_primitives(graph, name, *more))


def _add_input(graph: Primitives, name: str, node: Input) -> None:
    graph.leaves[name] = graph.add(name, "Input", shape=np.array(node.shape, np.int64))
    if len(node.shape) != 1:
        ends = {"start_dim": np.int64(0), "end_dim": np.int64(-1)}
        flat = graph.add(f"{name}.flat", "Flatten", input_type=np.array(node.shape, np.int64), **ends)
        graph.connect(name, flat)
        graph.leaves[name] = flat


def _add_output(graph: Primitives, output: str, size: int) -> None:
    end = graph.add(graph.free("output"), "Output", shape=np.array([size], np.int64))
    graph.connect(graph.leaves[output], end)


def _add_synapses(graph: Primitives, q: QuantizedNetwork, name: str, left: FloatArray | None) -> None:
    """Add the synapses into one population, each as a node of its own; the first one takes over the bias `left`."""
    frac_in = q.populations[name].frac_in
    for edge in q.incoming[name]:
        synapse, targets = q.synapses[edge.source], [e.target for e in q.outgoing[edge.source]]
        node = edge.source if name == targets[0] else f"{edge.source}.{name}"
        _adder(synapse, {})(graph, node, synapse, _input_frac(q, edge.source), frac_in, left)
        left = None
        for target in graph.enters[name]:
            graph.connect(node, target)
        for incoming in q.incoming[edge.source]:
            graph.connect(_delayed(graph, q, incoming, node), node)


def _input_frac(q: QuantizedNetwork, synapse: str) -> int:
    """Fraction bits of what arrives at a synapse."""
    sources: list[Any] = [q.nodes[e.source] for e in q.incoming[synapse]]
    fracs: set[int] = {source.output_frac for source in sources}
    if len(fracs) > 1:
        raise UnsupportedParameter(
            f"node {synapse!r}: its sources have different fraction bits {sorted(fracs)}: give each its own synapse"
        )
    return fracs.pop() if fracs else 0


def _delayed(graph: Primitives, q: QuantizedNetwork, edge: Edge, target: str) -> str:
    """Return the node at which an edge into a synapse starts: its source, or a Delay node after it.

    A loop without a ``Delay`` node has one step of delay, so the edge that closes it needs none for its first step.
    """
    source = graph.leaves.get(edge.source, edge.source)
    if edge.delay == 0 or (edge.delay == 1 and _leads_back(q, edge)):
        return source
    sender: Any = q.nodes[edge.source]
    seconds = np.full(sender.output_size, edge.delay * q.dt)
    delay = graph.add(f"{edge.source}.{target}.delay{edge.delay}", "Delay", delay=seconds)
    graph.connect(source, delay)
    return delay


def _leads_back(q: QuantizedNetwork, edge: Edge) -> bool:
    """Return True if a spike of the edge's target reaches its source within its step.

    All nodes on the way are in a loop with both, so no others are followed.
    """
    loop = q.components[edge.source]
    found, front = {edge.target}, [edge.target]
    while front:
        steps = (e for e in q.outgoing[front.pop()] if e.delay == 0 and q.components[e.target] == loop)
        new = {e.target for e in steps} - found
        found |= new
        front += new
    return edge.source in found


def _leaks(decay: npt.NDArray[np.int64]) -> FloatArray:
    """Return the time constants, in steps, of decays in 1/4096."""
    return np.where(decay > 0, 4096.0 / np.maximum(decay, 1), NO_LEAK)


def _add_lif(graph: Primitives, name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Add an ``IF`` without filter and leak, else a ``CubaLIF``; return the bias that the synapse must carry.

    A LIF without synaptic filter is a ``CubaLIF`` with tau_syn = dt. Norse's reader ignores the ``r`` of ``LIF``, which
    would have to scale the weights off their exact values.
    """
    bias = np.ldexp((n.bias_mant << n.bias_exp).astype(np.float64), -(n.frac_in + 6))
    threshold = np.ldexp(n.vth.astype(np.float64), -n.frac_in)
    tau_mem, tau_syn, zero = _leaks(n.dv), 4096.0 / (n.du + 1), np.zeros(n.size)
    kept = zero if into_synapse else bias
    if (n.du == 4095).all() and not n.dv.any() and not kept.any():
        graph.add(name, "IF", r=np.full(n.size, 1 / graph.dt), v_threshold=threshold, v_reset=zero)
    else:
        graph.add(
            name,
            "CubaLIF",
            tau_syn=tau_syn * graph.dt,
            tau_mem=tau_mem * graph.dt,
            r=tau_mem,
            v_leak=kept * tau_mem,
            v_threshold=threshold,
            v_reset=zero,
            w_in=tau_syn,
        )
    graph.enters[name], graph.leaves[name] = [name], name
    return bias if into_synapse and bias.any() else None


def _add_integrator(graph: Primitives, name: str, n: Any, into_synapse: bool) -> FloatArray | None:
    """Add an ``I`` without leak, else an ``LI``; return the bias that the synapse must carry."""
    bias = np.ldexp(n.bias.astype(np.float64), -n.frac_in)
    kept = np.zeros(n.size) if into_synapse else bias
    tau = _leaks(n.dv)
    if not n.dv.any() and not kept.any():
        graph.add(name, "I", r=np.full(n.size, 1 / graph.dt))
    else:
        graph.add(name, "LI", tau=tau * graph.dt, r=tau, v_leak=kept * tau)
    graph.enters[name], graph.leaves[name] = [name], name
    return bias if into_synapse and bias.any() else None


AddNeuron = Callable[[Primitives, str, Any, bool], "FloatArray | None"]
NEURONS: dict[str, AddNeuron] = {"lif": _add_lif, "integrator": _add_integrator} | STATE_SPACES
