"""The widths of docs/metrics.md, added up by hand, are those that populations and synapses report."""

from __future__ import annotations

from typing import Any

import family_examples
import pytest

from nmdeploy.neurons.base import Neuron


def lif(n: Any) -> int:
    return n.size * 105


def integrator(n: Any) -> int:
    return n.size * (2 * n.state_bits + 13)


def filtered_integrator(n: Any) -> int:
    return n.size * (4 * n.state_bits + 2 * 13 + 20)


def gated_linear_unit(n: Any) -> int:
    return n.size * n.output_bits + 65 * 16


def mechanisms(n: Any) -> int:
    """Bits per neuron of what follows the states."""
    q, p, m, k = n.inputs, n.outputs, n.state_bits, n.coefficient_bits
    bits = q * m if n.input_bias.any() else 0
    bits += p * q * k + p * 48
    bits += p * (m + 13) if n.soma else 0
    bits += p * (2 * m + 13) if n.adaptation else 0
    return bits + (p * m if n.soma and n.reset_action in ("hard", "soft", "scale", "linear") else 0)


def state_space(n: Any) -> int:
    q, p, m, k = n.inputs, n.outputs, n.state_bits, n.coefficient_bits
    reset = 0 if n.soma else {"none": 0, "scale": m, "linear": (2 + 2 * p) * m}.get(n.reset_action, 2 * p * m)
    per_state = 2 * m + (2 + 2 * q + 2 * p) * k + reset
    return n.size * (n.states_per_neuron * per_state + mechanisms(n))


def dense_state_space(n: Any) -> int:
    q, p, m, k, states = n.inputs, n.outputs, n.state_bits, n.coefficient_bits, n.states_per_neuron
    reset = 0 if n.soma else {"none": 0, "scale": m, "linear": (states + p) * m}.get(n.reset_action, p * m)
    return n.size * (states * (m + (states + q + p) * k + reset) + mechanisms(n))


def windowed_state_space(n: Any) -> int:
    k = n.dynamics.coefficient_bits
    states = n.states_per_neuron * (2 * n.state_bits + 6 * k)
    after = k + 48 + n.window * k + 32 + 2
    return int(n.size * (states + after))


RULES = (lif, integrator, filtered_integrator, gated_linear_unit, state_space, dense_state_space, windowed_state_space)
BITS = {rule.__name__: rule for rule in RULES}
OWN = [neuron for neuron in family_examples.examples() if type(neuron).__module__.startswith("nmdeploy.")]


@pytest.mark.parametrize("neuron", OWN, ids=lambda neuron: neuron.kind)
def test_widths_of_a_population(neuron: Neuron) -> None:
    population = family_examples.quantized(neuron).populations["n"]
    assert population.footprint_bits == BITS[population.kind](population)


def test_every_family_has_a_rule() -> None:
    assert {neuron.kind for neuron in OWN} == set(BITS)


def test_widths_of_synapses() -> None:
    network = family_examples.quantized(OWN[0])
    dense: Any = network.synapses["synapse"]
    assert dense.bias is None and dense.footprint_bits == dense.bits * dense.weight.size
