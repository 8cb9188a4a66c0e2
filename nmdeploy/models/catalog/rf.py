"""Resonate-and-fire, Lava's rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Trained, plain
from nmdeploy.models.catalog._folding import per_channel, sigmoid, threshold
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """Return one complex state; the input enters its real part."""
    turn = 2j * np.pi * np.exp(-plain(trained, "log_period"))
    a = sigmoid(plain(trained, "decay_logit")) * np.exp(turn)
    one = np.ones_like(a)[:, None]
    dynamics: dict[str, Any] = {"a": a[:, None], "b": one, "c": one, "d": 0 * a.real}
    return StateSpace(**dynamics, v_threshold=threshold(trained), spike="phase")


MODEL = NeuronModel(
    name="rf",
    summary="resonate-and-fire: a damped oscillator that spikes at a phase, Lava's rule",
    equation="""
z' = z,  z <- lambda exp(2 pi i / period) z + a
s = Re z >= V_th and Im z >= 0 and Im z' < 0
""",
    citation="Izhikevich, Resonate-and-fire neurons, Neural Networks 14, 2001; lava-nc 0.10.0, lava.proc.rf.",
    chosen="""
- The spike is Lava's: new Re z at or above the threshold, Im z rising through 0. Nothing is reset.
- The input enters Re z only: one synaptic sum per neuron.
- The spike is a product of three conditions. In training each has its own surrogate gradient.
- lambda is learned through a sigmoid (it stays stable), the period through exp, V_th through softplus. The time
  constant starts log-uniformly between 4 and 64 steps, the period between 3 and 32.
- The condition reads the old Im z, so that training runs step by step.
- Normalization acts on the synaptic sum and folds into the weights and the population's own input bias.
""",
    hardware="""
A population `state_space` with one state, bit for bit Lava's fixed-point RF. One step of latency; at most one spike per
period.
""",
    module="nmdeploy.models.modules.compartments:ResonateAndFire",
    shapes=per_channel("decay_logit", "log_period", "threshold_raw"),
    population=population,
    normalizes="current",
)
