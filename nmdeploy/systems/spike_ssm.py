"""S4D into a LIF soma with refractory soft reset."""

from __future__ import annotations

from nmdeploy.neurons.state_space import StateSpace
from nmdeploy.systems import Option, Options, System, Trained, plain
from nmdeploy.systems._folding import leak, s4d, s4d_shapes, sigmoid, softplus, threshold


def population(trained: Trained) -> StateSpace:
    """S4D into a leaky soma; the threshold is subtracted, and the refractory variable raised."""
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
    """Tensors of a trained neuron."""
    names = ("threshold_raw", "leak_logit", "refractory_logit", "magnitude_raw")
    fitted = {"predictor.weight": (channels, 17)} if options["approximation"] == "predicted" else {}
    return s4d_shapes(channels, states, options) | dict.fromkeys(names, (channels,)) | fitted


SYSTEM = System(
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
    source=(
        "Zhong, Zhao, Wang et al., SPikE-SSM: a sparse, precise, and efficient spiking state space model "
        "for long sequences learning, 2024 (arXiv 2410.17268)."
    ),
    chosen="""
- The paper predicts the membrane without its resets, by a network that a separate step has fitted, to train in
  parallel. That is approximate. Trained is the exact recurrence, the memory before it in parallel.
  `approximation="predicted"` offers the idea by name: a causal depthwise convolution of 16 steps, fitted by least
  squares to the exact membrane (`nmdeploy.models.predicted.fit`); `spike_disagreement` there measures how many of its
  spikes differ. Deployed is always the exact recurrence.
- The paper's refractory soft reset has a variable of its own that decays and acts on the membrane; here w is
  subtracted from v before the threshold and does not enter v.
- V_th and the magnitude are learned through softplus, leak and rho through a sigmoid, each per neuron.
- Normalization acts on the memory's output y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states, a soma and an adaptation register. Per step and neuron 6 N + 3
multiplications, 6 N + 3 additions, one comparison, two more additions after a spike. One step of latency.
""",
    module="nmdeploy.models.s4d_neurons:RefractoryS4D",
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
