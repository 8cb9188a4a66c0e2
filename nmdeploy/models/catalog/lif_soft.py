"""Leaky integrate-and-fire with soft reset."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Trained
from nmdeploy.models.catalog._folding import leak, one_state, per_channel, threshold
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def population(trained: Trained) -> DenseStateSpace:
    """Return one state with decay; the threshold is subtracted."""
    vth = threshold(trained)
    reset = {"reset_condition": "each", "reset_action": "soft", "r": vth[:, None]}
    return DenseStateSpace(**one_state(leak(trained), vth, **reset))


MODEL = NeuronModel(
    name="lif-soft",
    summary="leaky integrate-and-fire, the threshold is subtracted",
    equation="""
U <- (1 - 1/tau) U + a
s = H(U - V_th)
U <- U - V_th s
""",
    citation=(
        "Wu, Deng, Li, Zhu, Shi, Frontiers in Neuroscience 12, 2018 (iterative LIF); Rueckauer et al., "
        "Frontiers in Neuroscience 11, 2017 (reset by subtraction)."
    ),
    chosen="""
- The input is not scaled by 1/tau: `U <- (1 - 1/tau) U + a`. Frameworks with `a / tau` have the same neurons with
  other weights.
- `1 - 1/tau` is learned through a sigmoid, V_th through softplus, each per neuron. tau starts log-uniformly between
  1.2 and 64 steps.
- H is strict: a membrane that equals the threshold does not spike.
- The reset's feedback carries the spike's surrogate gradient, so that training runs step by step.
- Normalization acts on the synaptic sum and folds into the weights and the population's own input bias.
""",
    hardware="""
A population `dense_state_space` with one state. One step of latency. Intel has no fixed-point process with a soft
reset. On Loihi 2 it takes a neuron program.
""",
    module="nmdeploy.models.modules.integrate_and_fire:LIFSoft",
    shapes=per_channel("threshold_raw", "leak_logit"),
    population=population,
    normalizes="current",
)
