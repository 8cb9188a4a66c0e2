"""The place of biases, in the population or in a synapse: one rule for everything that makes or writes a network.

A bias of a synaptic sum is a constant that arrives in every step. A population that adds one to its sums by itself
(`adds_bias`) computes the same as a synapse that holds it; only then does a bias move:

- Networks, and so the integers on a chip, hold it in the population. There it has a register, which is wider than a
  weight, and needs no synapse from a unit that sends 1 in every step.
- NIR primitives hold it in the first synapse (``Affine``), if that takes one. Other readers of NIR understand it there,
  but read a constant in ``v_leak`` in two ways.

Any other bias stays. A LIF population with a synaptic filter adds its own after the filter, a gated linear unit none.
`nmdeploy.quantization.bias_terms` adds the bias synapses that make the former exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from nmdeploy.neurons.base import FloatArray, Neuron, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse, Synapse


def bias_moves_into(
    place: Literal["population", "synapse"],
    neuron: Neuron | QuantizedNeuron,
    synapses: Iterable[Synapse | QuantizedSynapse],
) -> bool:
    """Return True if biases of a population's sums move to a place: into the population, or its first synapse."""
    if place == "population":
        return neuron.adds_bias
    return neuron.adds_bias and any(synapse.takes_bias for synapse in list(synapses)[:1])


def place_biases(
    neuron: Neuron, synapses: Mapping[str, Synapse], biases: Mapping[str, FloatArray]
) -> tuple[Neuron, dict[str, Synapse]]:
    """Put the biases of a population's sums in their place.

    Parameters
    ----------
    neuron : Neuron
    synapses : mapping of name to Synapse
        Into the population, without biases.
    biases : mapping of name to array of shape (outputs,)
        Those of some of the synapses.
    """
    if not biases:
        return neuron, dict(synapses)
    if bias_moves_into("population", neuron, synapses.values()):
        return neuron.with_input_bias(sum(biases.values(), start=np.zeros(neuron.input_size))), dict(synapses)
    return neuron, {name: synapse.with_bias(biases.get(name)) for name, synapse in synapses.items()}
