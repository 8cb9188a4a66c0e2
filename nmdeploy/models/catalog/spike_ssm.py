"""S4D into a LIF soma with refractory soft reset."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Options, Trained, plain
from nmdeploy.models.catalog._folding import (
    APPROXIMATION,
    PREDICTED,
    leak,
    predictor_shapes,
    s4d,
    s4d_shapes,
    sigmoid,
    softplus,
    threshold,
)
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """Return S4D into a leaky soma whose spike subtracts the threshold and raises the refractory variable."""
    vth = threshold(trained)
    return StateSpace(
        **s4d(trained),
        v_threshold=vth,
        soma=True,
        leak=leak(trained),
        reset_condition="each",
        reset_action="soft",
        soma_r=vth,
        adaptation=True,
        adaptation_leak=sigmoid(plain(trained, "refractory_logit")),
        adaptation_jump=softplus(plain(trained, "magnitude_raw")),
    )


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    names = ("threshold_raw", "leak_logit", "refractory_logit", "magnitude_raw")
    learned = s4d_shapes(channels, states, options) | dict.fromkeys(names, (channels,))
    return learned | predictor_shapes(options, channels)


MODEL = NeuronModel(
    name="spike-ssm",
    summary="S4D into a leaky integrate-and-fire soma, with a refractory variable that decays",
    equation="""
y = norm(S4D(a))
v <- leak v + y
w <- rho w
s = H(v - w - V_th)
v <- v - V_th s
w <- w + magnitude s
""",
    citation=(
        "Zhong, Zhao, Wang et al., SPikE-SSM: a sparse, precise, and efficient spiking state space model "
        "for long sequences learning, 2024 (arXiv 2410.17268)."
    ),
    chosen=PREDICTED
    + """
- The paper's refractory soft reset has a variable of its own that decays and acts on the membrane. Here w is
  subtracted from v before the threshold and does not enter v. In v, the leak would sum it up over the steps, and both
  decays would set its duration. Here rho alone sets it, as for a raised threshold.
- V_th and the magnitude are learned through softplus, leak and rho through a sigmoid, each per neuron.
- Normalization acts on the dynamics' output y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states, a soma and an adaptation register. One step of latency.
""",
    module="nmdeploy.models.modules.s4d_neurons:RefractoryS4D",
    shapes=shapes,
    population=population,
    options=(APPROXIMATION,),
)
