"""Integrate-and-fire with soft reset."""

from __future__ import annotations

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Trained
from nmdeploy.models.catalog._folding import one_state, per_channel, threshold
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def population(trained: Trained) -> DenseStateSpace:
    """Return one state without decay; the threshold is subtracted."""
    vth = threshold(trained)
    reset = {"reset_condition": "each", "reset_action": "soft", "r": vth[:, None]}
    return DenseStateSpace(**one_state(np.ones_like(vth), vth, **reset))


MODEL = NeuronModel(
    name="if",
    summary="integrate-and-fire: no leak, the threshold is subtracted",
    equation="""
U <- U + a
s = H(U - V_th)
U <- U - V_th s
""",
    citation="Rueckauer, Lungu, Hu, Pfeiffer, Liu, Frontiers in Neuroscience 11, 2017 (reset by subtraction).",
    chosen="""
- The threshold is learned, one per neuron, through softplus: it stays positive.
- Soft reset subtracts one threshold and keeps the rest: a neuron far above it spikes in every step.
- The reset's feedback carries the spike's surrogate gradient, so that training runs step by step.
- Normalization acts on the synaptic sum and folds into the weights and the population's own input bias.
""",
    hardware="""
A population `dense_state_space` with one state. One step of latency. Intel's fixed-point LIF resets to zero. Loihi 1
has no soft reset, and on Loihi 2 it takes a neuron program.
""",
    module="nmdeploy.models.modules.integrate_and_fire:IF",
    shapes=per_channel("threshold_raw"),
    population=population,
    normalizes="current",
)
