"""Parallel multi-compartment spiking neuron."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Trained
from nmdeploy.models.catalog._folding import s4d, s4d_shapes
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """Return S4D into a soma without leak that loses every whole threshold at once."""
    soma = {"soma": True, "rectify": True, "leak": 1.0, "reset_condition": "each", "reset_action": "modulo"}
    return StateSpace(**s4d(trained), v_threshold=1.0, **soma)  # type: ignore[arg-type]


MODEL = NeuronModel(
    name="pmsn",
    summary="multi-compartment linear dynamics into an integrate-and-fire soma, parallel in training",
    equation="""
y = norm(S4D(a))
v <- v + max(y, 0)
s = H(v - 1)
v <- v - (ceil(v) - 1)  where s
""",
    citation=(
        "Chen, Wu, Zhang, Tan, PMSN: a parallel multi-compartment spiking neuron for multi-scale temporal "
        "processing, 2024 (arXiv 2408.14917)."
    ),
    chosen="""
- The compartments are the S4D block's complex states.
- The paper counts in parallel: `V = cumsum(max(y, 0))`, with a spike where `floor(V / theta)` grows. That equals a
  binary soft reset only while every input stays below the threshold. Take .4, 2.3, .1, .2, .6 and theta = 1. The soft
  reset has 1.7 left after its first spike and spikes again in the next step; the count does not. The count is trained
  and deployed. It has its own reset action, `modulo`, which removes `ceil(V / theta) - 1` thresholds at once, so that V
  stays in (0, theta]. With it the parallel form is exact.
- theta is 1 and fixed: the normalization before it learns the scale.
- H is strict: a membrane of exactly 1 does not spike. The reset agrees: it leaves exactly 1 of 2.
- The amount that the reset removes is piecewise constant; neither form gives it a gradient.
- Normalization acts on the dynamics' output y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states and a soma. The threshold is a power of two, so that the reset is a
bit mask. One step of latency.
""",
    module="nmdeploy.models.modules.s4d_neurons:CountingS4D",
    shapes=s4d_shapes,
    population=population,
    parallel="exact",
)
