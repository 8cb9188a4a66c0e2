"""LIF with dendritic heterogeneity."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Option, Options, Trained, plain
from nmdeploy.models.catalog._folding import leak, sigmoid, threshold
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """Return one real state per branch, each with its own synaptic sum, and a soma."""
    alpha, beta, vth = sigmoid(plain(trained, "branch_logit")), leak(trained), threshold(trained)
    h, branches = alpha.shape
    dynamics: dict[str, Any] = {
        "a": alpha,
        "b": (1 - alpha)[..., None] * np.eye(branches),
        "c": np.repeat((1 - beta)[:, None, None], branches, 2),
        "d": np.zeros((h, 1, branches)),
    }
    return StateSpace(
        **dynamics,
        v_threshold=vth,
        soma=True,
        leak=beta,
        reset_condition="each",
        reset_action="soft",
        soma_r=vth,
    )


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    return {"branch_logit": (channels, options["branches"]), "leak_logit": (channels,), "threshold_raw": (channels,)}


MODEL = NeuronModel(
    name="dh-lif",
    summary="dendritic branches with time constants of their own, into one soma",
    equation="""
i_d <- alpha_d i_d + (1 - alpha_d) a_d          branches d = 1 ... D
v <- beta v + (1 - beta) sum over d of i_d
s = H(v - V_th)
v <- v - V_th s
""",
    citation=(
        "Zheng, Zheng, Hu et al., Temporal dendritic heterogeneity incorporated with spiking neural "
        "networks for learning multi-timescale dynamics, Nature Communications 15, 2024."
    ),
    chosen="""
- Every branch receives every input through weights of its own. The paper's sparse masks, which give each branch a part
  of the inputs, correspond to zero weights.
- The authors subtract V_th in the step after a spike, undecayed. Here V_th is subtracted after the spike, and the soma
  decays after that: the next step lacks beta V_th. The authors' form would subtract V_th / beta here.
- alpha and beta are learned through a sigmoid, V_th through softplus (0.25 at first).
  Branch time constants start log-uniformly between 1.2 and 64 steps, those of the soma between 1.2 and 16.
- The reset's feedback carries the spike's surrogate gradient, so that training runs step by step.
- Normalization acts on each branch's synaptic sum and folds into the weights and the population's own input biases.
""",
    hardware="""
A population `state_space` with D real states, D synaptic sums and a soma; D times the synapses of a LIF layer.
One step of latency.
""",
    module="nmdeploy.models.modules.compartments:DendriticLIF",
    shapes=shapes,
    population=population,
    options=(Option("branches", 4, "dendritic branches D per neuron", least=1),),
    normalizes="current",
    inputs=lambda options: int(options["branches"]),
)
