"""S4D with stochastic spikes."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Trained
from nmdeploy.models.catalog._folding import s4d, s4d_shapes
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """S4D; y is the probability of a spike."""
    return StateSpace(**s4d(trained), v_threshold=1.0, spike="stochastic", seed=trained.seed)  # type: ignore[arg-type]


MODEL = NeuronModel(
    name="p-spike-ssm",
    summary="S4D whose output is the probability of a spike",
    equation="""
p = clamp(norm(S4D(a)), 0, 1)
s = 1 with probability p
""",
    citation=(
        "Bal, Sengupta, P-SpikeSSM: harnessing probabilistic spiking state space models for long-range "
        "dependency tasks, 2024 (arXiv 2406.02923)."
    ),
    chosen="""
- Training draws from torch's generator, again for every batch. Evaluation and deployment compare y with `random16 /
  65536` of the counter-based generator of docs/arithmetic.md, keyed by (block, neuron, step): every backend draws the
  same bits, and every sample the same. The seed is the block's index, 0 for the first; a model file holds it as
  `seed` of the population's node.
- The gradient is that of the clamp: 1 where the probability lies inside (0, 1), else 0.
- Normalization acts on y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states, and for each output and step the hashes of 32 bits that `random16`
takes. One step of latency. A chip with a
random generator of its own computes other bits: the model's accuracy, not its spikes, can then be compared.
""",
    module="nmdeploy.models.modules.s4d_neurons:StochasticS4D",
    shapes=s4d_shapes,
    population=population,
    parallel="exact",
)
