"""Adaptive leaky integrate-and-fire (LSNN)."""

from __future__ import annotations

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Option, Trained, plain
from nmdeploy.models.catalog._folding import leak, per_channel, sigmoid, softplus, threshold
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def population(trained: Trained) -> DenseStateSpace:
    """Return states U and b with y = U - beta b.

    The step reads b after its decay, so a spike's contribution to b is divided by that decay.
    """
    alpha, rho = leak(trained), sigmoid(plain(trained, "adaptation_logit"))
    beta, vth = softplus(plain(trained, "strength_raw")), threshold(trained)
    zero, one = np.zeros_like(vth), np.ones_like(vth)
    soft = trained.options["reset"] == "soft"
    jump = -(1 - rho) / rho
    # A hard reset of U alone: the action `linear` keeps b and clears U.
    keeps = np.stack([np.stack([zero, zero], -1), np.stack([zero, one], -1)], 1)
    return DenseStateSpace(
        a=np.stack([np.stack([alpha, zero], -1), np.stack([zero, rho], -1)], 1),
        b=np.stack([one, zero], -1),
        c=np.stack([one, -beta], -1),
        d=zero,
        v_threshold=vth,
        reset_condition="each" if soft else "any",
        reset_action="soft" if soft else "linear",
        r=np.stack([vth if soft else zero, jump], -1),
        m=np.zeros_like(keeps) if soft else keeps,
    )


MODEL = NeuronModel(
    name="alif",
    summary="adaptive threshold: each spike raises it for a while (LSNN)",
    equation="""
U <- alpha U + a
b <- rho b + (1 - rho) s        s of the step before
s = H(U - (b0 + beta b))
U <- U - b0 s                   reset = soft
U <- 0 where s                  reset = hard
""",
    citation=(
        "Bellec, Salaj, Subramoney, Legenstein, Maass, Long short-term memory and learning-to-learn in "
        "networks of spiking neurons, NeurIPS 2018."
    ),
    chosen="""
- LSNN subtracts the threshold `b0 + beta b`. Here only the baseline b0 is subtracted (`reset="soft"`), which is
  constant, and the adaptation acts on the threshold alone. `reset="hard"` sets U to 0.
- alpha and rho are learned through a sigmoid, b0 and beta through softplus, each per neuron. Time constants start
  log-uniformly: of U between 1.2 and 64 steps, of b between 4 and 64.
- A spike raises the threshold from the next step on. The deployed b is the one after the step's spike. It decays once
  before it is read, so a spike adds `(1 - rho) / rho`.
- Normalization acts on the synaptic sum and folds into the weights and the population's own input bias.
""",
    hardware="""
A population `dense_state_space` with two states, A diagonal. One step of latency.
""",
    module="nmdeploy.models.modules.integrate_and_fire:ALIF",
    shapes=per_channel("threshold_raw", "leak_logit", "adaptation_logit", "strength_raw"),
    population=population,
    options=(Option("reset", "soft", "effect of a spike on U: subtract b0, or set U to 0", ("soft", "hard")),),
    normalizes="current",
)
