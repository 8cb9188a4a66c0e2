"""S4D with binary spikes and no reset."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Option, Trained
from nmdeploy.models.catalog._folding import s4d, s4d_shapes
from nmdeploy.neurons.state_space.diagonal import StateSpace

SMALLEST = 1e-6

MODEL = NeuronModel(
    name="binary-s4d",
    summary="S4D, then a Heaviside function; never reset",
    equation="""
x <- exp(dt A) x + A^-1 (exp(dt A) - I) a
y = 2 Re(C x) + D a
s = H(norm(y))
""",
    citation=(
        "Stan, Rhodes, Learning long sequences in spiking neural networks, Scientific Reports 14, 2024; "
        "Gu, Goel, Gupta, Re, On the parameterization and initialization of diagonal state space models, "
        "NeurIPS 2022."
    ),
    chosen="""
- A is S4D-Lin at first, B = 1, zero-order hold. Each stored complex state represents a conjugate pair, hence the
  factor 2.
- Stan and Rhodes put a gated spiking unit (GSU), which mixes the channels, after the spikes. It is not part of the
  neuron and is left out: the synapses of the next block mix the channels.
- The threshold is 0, and the normalization's shift acts as the threshold. It starts at -1, so that about one neuron in
  six spikes.
- Training computes blocks of steps by matrix products; the form step by step has the same spikes.
- Normalization acts on y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states. One step of latency.
""",
    module="nmdeploy.models.modules.s4d_neurons:BinaryS4D",
    shapes=s4d_shapes,
    population=lambda trained: population(trained),
    options=(
        Option("dt_min", 0.01, "smallest step size at first", least=SMALLEST),
        Option("dt_max", 0.2, "largest step size at first, at least dt_min", least=SMALLEST),
    ),
    parallel="exact",
)


def population(trained: Trained) -> StateSpace:
    """Return S4D with threshold 0."""
    return StateSpace(**s4d(trained), v_threshold=0.0)  # type: ignore[arg-type]
