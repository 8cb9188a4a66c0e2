"""S4D into a LIF soma with learnable threshold."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Options, Trained
from nmdeploy.models.catalog._folding import (
    APPROXIMATION,
    PREDICTED,
    leak,
    predictor_shapes,
    s4d,
    s4d_shapes,
    threshold,
)
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """Return S4D into a leaky soma; the threshold is subtracted."""
    vth = threshold(trained)
    return StateSpace(
        **s4d(trained),
        v_threshold=vth,
        soma=True,
        leak=leak(trained),
        reset_condition="each",
        reset_action="soft",
        soma_r=vth,
    )


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    learned = s4d_shapes(channels, states, options) | dict.fromkeys(("threshold_raw", "leak_logit"), (channels,))
    return learned | predictor_shapes(options, channels)


MODEL = NeuronModel(
    name="spiking-ssm",
    summary="S4D into a leaky integrate-and-fire soma with learnable threshold",
    equation="""
y = norm(S4D(a))
v <- leak v + y
s = H(v - V_th)
v <- v - V_th s
""",
    citation=(
        "Shen, Wang, Zhang, Wang, Chen, SpikingSSMs: learning long sequences with sparse and parallel "
        "spiking state space models, 2024 (arXiv 2408.14909)."
    ),
    chosen=PREDICTED
    + """
- V_th is learned through softplus, the leak through a sigmoid, each per neuron.
- Normalization acts on the dynamics' output y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states and a soma. One step of latency.
""",
    module="nmdeploy.models.modules.s4d_neurons:LeakyS4D",
    shapes=shapes,
    population=population,
    options=(APPROXIMATION,),
)
