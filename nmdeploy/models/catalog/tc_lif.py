"""Two-compartment LIF."""

from __future__ import annotations

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Trained, plain
from nmdeploy.models.catalog._folding import per_channel, sigmoid, threshold
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def population(trained: Trained) -> DenseStateSpace:
    """Return states U_D and U_S.

    A spike's feedback is due in the next step. It is subtracted before A.
    """
    b1, b2 = -sigmoid(plain(trained, "soma_logit")), sigmoid(plain(trained, "dendrite_logit"))
    g, vth, one = plain(trained, "feedback"), threshold(trained), np.ones_like(b1)
    return DenseStateSpace(
        a=np.stack([np.stack([one, b1], -1), np.stack([b2, 1 + b1 * b2], -1)], 1),
        b=np.stack([one, b2], -1),
        c=np.stack([0 * one, one], -1),
        d=0 * one,
        v_threshold=vth,
        reset_condition="each",
        reset_action="soft",
        r=np.stack([g - b1 * vth, vth], -1),
    )


MODEL = NeuronModel(
    name="tc-lif",
    summary="two compartments, dendrite and soma, that drive each other",
    equation="""
U_D <- U_D + b1 U_S + a - g s          s of the step before
U_S <- U_S + b2 U_D - V_th s           the new U_D
s = H(U_S - V_th)
""",
    citation=(
        "Zhang, Yang, Ma, Wu, Li, Tan, TC-LIF: a two-compartment spiking neuron model for long-term "
        "sequential modelling, AAAI 2024."
    ),
    chosen="""
- b1 = -sigmoid and b2 = sigmoid, as in the paper. Both, V_th (softplus) and g (free, 0.5 at first) are learned per
  neuron.
- The soma's update uses the new U_D. As one matrix it is `A = [[1, b1], [b2, 1 + b1 b2]]`, of determinant 1. Without
  spikes the neuron rings without damping. Its feedback keeps it bounded, which the quantizer checks on the calibration
  data.
- The paper subtracts in the next step. A is linear, so the same amount is subtracted after the spike as `r = (g - b1
  V_th, V_th)`, for which `A r = (g, b2 g + V_th)`. The recorded states are those after it.
- The reset's feedback carries the spike's surrogate gradient, so that training runs step by step.
- Normalization acts on the synaptic sum and folds into the weights and the population's own input bias.
""",
    hardware="""
A population `dense_state_space` with two states. One step of latency.
""",
    module="nmdeploy.models.modules.compartments:TwoCompartment",
    shapes=per_channel("soma_logit", "dendrite_logit", "feedback", "threshold_raw"),
    population=population,
    normalizes="current",
)
