"""Current-based leaky integrate-and-fire, Loihi's rule."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Trained, plain
from nmdeploy.models.catalog._folding import leak, per_channel, sigmoid, threshold
from nmdeploy.neurons.lif import LIF


def population(trained: Trained) -> LIF:
    """Loihi's rule."""
    return LIF(sigmoid(plain(trained, "current_logit")), leak(trained), threshold(trained))


MODEL = NeuronModel(
    name="cuba-lif",
    summary="current-based leaky integrate-and-fire, Loihi's rule",
    equation="""
u <- alpha u + a
v <- beta v + u
s = H(v - V_th)
v <- 0 where s
""",
    citation="Davies et al., Loihi, IEEE Micro 38(1), 2018; lava-nc 0.10.0, lava.proc.lif.",
    chosen="""
- alpha and beta are learned through a sigmoid, V_th through softplus, each per neuron; the time constant of alpha
  starts log-uniformly between 1.2 and 16 steps, that of beta between 1.2 and 64.
- The current runs on through a spike, as on Loihi; only the membrane is reset, to 0.
- The reset's feedback carries the spike's surrogate gradient, so that training runs step by step.
- Normalization acts on the synaptic sum and folds into the weights and a bias of the synapses: the population's own
  bias would enter v after the filter.
""",
    hardware="""
A population `lif`: Loihi's own neuron, bit for bit Intel's. One step of latency.
""",
    module="nmdeploy.models.modules.integrate_and_fire:CubaLIF",
    shapes=per_channel("threshold_raw", "leak_logit", "current_logit"),
    population=population,
    normalizes="current",
)
