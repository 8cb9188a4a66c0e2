"""Leaky integrate-and-fire with hard reset."""

from __future__ import annotations

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Option, Options, Trained, plain
from nmdeploy.models.catalog._folding import leak, one_state, threshold
from nmdeploy.neurons.base import Neuron
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def population(trained: Trained) -> Neuron:
    """Return Loihi's rule if every reset is to 0, else one state that the reset sets."""
    decay, vth = leak(trained), threshold(trained)
    learned = trained.options["learn_reset"]
    reset = plain(trained, "reset") if learned else np.full_like(vth, trained.options["v_reset"])
    if not reset.any():
        return LIF(alpha=np.zeros_like(vth), beta=decay, v_threshold=vth)
    action = {"reset_condition": "any", "reset_action": "hard", "r": reset[:, None]}
    return DenseStateSpace(**one_state(decay, vth, **action))


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    names = ("threshold_raw", "leak_logit", *(("reset",) if options["learn_reset"] else ()))
    return dict.fromkeys(names, (channels,))


MODEL = NeuronModel(
    name="lif-hard",
    summary="leaky integrate-and-fire, set to V_reset after a spike",
    equation="""
U <- (1 - 1/tau) U + a
s = H(U - V_th)
U <- V_reset where s
""",
    citation=(
        "Wu, Deng, Li, Zhu, Shi, Frontiers in Neuroscience 12, 2018 (iterative LIF); Davies et al., "
        "Loihi, IEEE Micro 38(1), 2018."
    ),
    chosen="""
- V_reset is 0 and fixed (`v_reset`), or learned per neuron (`learn_reset`).
- The input is not scaled by 1/tau. `1 - 1/tau` is learned through a sigmoid, V_th through softplus, each per neuron.
  tau starts log-uniformly between 1.2 and 64 steps.
- H is strict, as Loihi's is.
- The reset is `U (1 - s) + V_reset s`. It carries the spike's surrogate gradient, so that training runs step by step.
- Normalization acts on the synaptic sum and folds into the weights and the population's own bias (`bias` of a `lif`,
  `input_bias` of a `dense_state_space`).
""",
    hardware="""
With V_reset = 0, a population `lif` by Loihi's own rule; its current decay is 4095, so that the current is the
synaptic sum. Otherwise a `dense_state_space` with one state. One step of latency.
""",
    module="nmdeploy.models.modules.integrate_and_fire:LIFHard",
    shapes=shapes,
    population=population,
    options=(
        Option("v_reset", 0.0, "value of the membrane after a spike"),
        Option("learn_reset", False, "each neuron learns its own, which starts at v_reset"),
    ),
    normalizes="current",
)
