"""NIR's populations without spikes, ``LI``, ``I`` and ``CubaLI``, where they feed on, and ``Threshold``.

Explicit Euler with step dt, with synaptic sum a; ``--decay`` and ``--from`` change the shares of a step:

    CubaLI     I <- I + dt/tau_syn (w_in a - I),  then  V <- V + dt/tau_mem (v_leak - V + r I)   with the new I
    Threshold  s = H(x - threshold), strict, of all that arrives; nothing is reset

A ``Threshold`` after one population without spikes reads its membrane, so that the two are one population whose states
no spike resets. Any other ``Threshold`` is a neuron that forgets within a step. A population without spikes that feeds
synapses sends its membrane as a graded value in every step.
Source: nir 1.0.8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.importers.meaning import Meaning
from nmdeploy.importers.nir_nodes import READ, SILENT, Make, Population, Values
from nmdeploy.importers.nir_topology import Topology, Wire
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.filtered_integrator import FilteredIntegrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def join_thresholds(graph: Topology) -> Topology:
    """Return the graph in which each ``Threshold`` after one population without spikes is one population with it.

    It has the threshold's name, its own copy of the states, and a type of `READ`. A population that feeds others as
    well stays.
    """
    types, values, wires = dict(graph.types), dict(graph.values), list(graph.wires)
    for name in graph.of("Threshold"):
        arriving = [wire for wire in wires if wire.target == name]
        if len(arriving) != 1 or types[arriving[0].source] not in SILENT or graph.delays(arriving[0].via):
            continue
        read = arriving[0].source
        types[name] = READ[types[read]]
        values[name] = _shaped(values[read], values[name]["threshold"])
        wires.remove(arriving[0])
        wires += [Wire(wire.source, name, wire.via) for wire in wires if wire.target == read]
        if not any(wire.source == read for wire in wires):
            wires = [wire for wire in wires if wire.target != read]
            del types[read], values[read]
    return Topology(types, values, wires)


def _shaped(values: Values, threshold: FloatArray) -> Values:
    """Return the values of a population in the shape of the threshold after it, and the threshold."""
    shaped = {key: v.reshape(threshold.shape) if v.size == threshold.size else v for key, v in values.items()}
    return shaped | {"threshold": threshold}


def _cuba_li(name: str, p: Values, how: Meaning) -> Population:
    enters, leak = how.share(p["tau_syn"]), how.share(p["tau_mem"])
    neuron = FilteredIntegrator(1 - enters, 1 - leak, bias=leak * p["v_leak"])
    return Population(neuron, how.gain("CubaLI", p, enters, leak))


def _threshold(name: str, p: Values, how: Meaning) -> Population:
    none = np.zeros_like(p["threshold"])
    return Population(LIF(alpha=none, beta=none, v_threshold=p["threshold"]), np.ones_like(none))


def _state(beta: FloatArray, p: Values, **changes: Any) -> DenseStateSpace:
    """Return neurons of one real state each, x <- beta x + a, that spike above the threshold without a reset."""
    ones = np.ones((beta.size, 1))
    fields = {"a": beta[:, None, None], "b": ones, "c": ones, "d": np.zeros(beta.size), "v_threshold": p["threshold"]}
    return DenseStateSpace(**fields | changes)


def _li_read(name: str, p: Values, how: Meaning) -> Population:
    leak = how.share(p["tau"])
    return Population(
        _state(1 - leak, p, input_bias=(leak * p["v_leak"])[:, None]), how.gain("LI", p, np.ones_like(leak), leak)
    )


def _i_read(name: str, p: Values, how: Meaning) -> Population:
    ones = np.ones_like(p["r"])
    return Population(_state(ones, p), how.gain("I", p, ones, 0 * ones))


def _cuba_li_read(name: str, p: Values, how: Meaning) -> Population:
    """The current is the state, and the membrane the soma that integrates it."""
    enters, leak = how.share(p["tau_syn"]), how.share(p["tau_mem"])
    soma = {"soma": True, "leak": 1 - leak, "bias": leak * p["v_leak"]}
    return Population(_state(1 - enters, p, **soma), how.gain("CubaLI", p, enters, leak))


MAKE: dict[str, Make] = {
    "CubaLI": _cuba_li,
    "Threshold": _threshold,
    READ["LI"]: _li_read,
    READ["I"]: _i_read,
    READ["CubaLI"]: _cuba_li_read,
}
