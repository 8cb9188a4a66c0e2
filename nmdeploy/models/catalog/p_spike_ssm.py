"""S4D with stochastic spikes."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Trained
from nmdeploy.models.catalog._folding import s4d, s4d_shapes
from nmdeploy.neurons.state_space.diagonal import StateSpace


def population(trained: Trained) -> StateSpace:
    """Return S4D whose y is the probability of a spike."""
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
- Training draws new bits from torch's generator for every batch. Evaluation and deployment compare y with `random16 /
  65536` of the counter-based generator of docs/arithmetic.md, keyed by (block, neuron, step). Every backend and every
  sample draws the same bits. The seed is the block's index, 0 for the first. A model file holds it as `seed` of the
  population's node.
- The gradient is that of the clamp: 1 if the probability lies inside (0, 1), else 0.
- Normalization acts on y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states. Each output takes the 32-bit hashes of `random16` in each step. One
step of latency. A chip with a random generator of its own draws other bits. The model's accuracy can then be compared,
its spikes cannot.
""",
    module="nmdeploy.models.modules.s4d_neurons:StochasticS4D",
    shapes=s4d_shapes,
    population=population,
    parallel="exact",
)
