"""S4D into a LIF soma with learnable threshold."""

from __future__ import annotations

from nmdeploy.neurons.state_space import StateSpace
from nmdeploy.systems import Option, Options, System, Trained
from nmdeploy.systems._folding import leak, s4d, s4d_shapes, threshold


def population(trained: Trained) -> StateSpace:
    """S4D into a leaky soma; the threshold is subtracted."""
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
    """Tensors of a trained neuron."""
    fitted = {"predictor.weight": (channels, 17)} if options["approximation"] == "predicted" else {}
    return s4d_shapes(channels, states, options) | {"threshold_raw": (channels,), "leak_logit": (channels,)} | fitted


SYSTEM = System(
    name="spiking-ssm",
    summary="S4D into a leaky integrate-and-fire soma with learnable threshold",
    equation="""
y = norm(S4D(a))
v <- leak v + y
s = H(v - V_th)
v <- v - V_th s
""",
    source=(
        "Shen, Wang, Zhang, Wang, Chen, SpikingSSMs: learning long sequences with sparse and parallel "
        "spiking state space models, 2024 (arXiv 2408.14909)."
    ),
    chosen="""
- The paper predicts the membrane without its resets, by a network that a separate step has fitted, to train in
  parallel. That is approximate. Trained is the exact recurrence, the memory before it in parallel.
  `approximation="predicted"` offers the idea by name: a causal depthwise convolution of 16 steps, fitted by least
  squares to the exact membrane (`nmdeploy.models.predicted.fit`); `spike_disagreement` there measures how many of its
  spikes differ. Deployed is always the exact recurrence.
- V_th is learned through softplus, the leak through a sigmoid, each per neuron.
- Normalization acts on the memory's output y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states and a soma. Per step and neuron 6 N + 2 multiplications, 6 N + 2
additions, one comparison, one subtraction after a spike. One step of latency.
""",
    module="nmdeploy.models.s4d_neurons:LeakyS4D",
    shapes=shapes,
    population=population,
    options=(
        Option(
            "approximation",
            "none",
            "training: the exact recurrence, or the membrane predicted by a fitted convolution",
            ("none", "predicted"),
        ),
    ),
)
