"""S4D whose output is the membrane, with a fixed refractory period."""

from __future__ import annotations

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Option, Trained
from nmdeploy.models.catalog._folding import s4d, s4d_shapes
from nmdeploy.neurons.state_space.diagonal import StateSpace

MODES = {"raw": "mask-raw", "emitted": "mask"}


def population(trained: Trained) -> StateSpace:
    """Return S4D with threshold theta that is silent for length - 1 steps, in the meaning that was trained."""
    options = trained.options
    return StateSpace(
        **s4d(trained),
        v_threshold=np.full_like(trained.shift, options["theta"]),
        refractory_steps=options["length"] - 1,
        refractory_mode=MODES[options["refractory"]],
    )


MODEL = NeuronModel(
    name="fixed-refractory-ssm",
    summary="S4D whose output is the membrane, never reset; a fixed refractory period silences it",
    equation="""
y = norm(S4D(a))
raw = H(y - theta)
s[t] = raw[t] and no raw[t - i], 0 < i < r          refractory = raw
s[t] = raw[t] and no s[t - i],   0 < i < r          refractory = emitted
""",
    citation=(
        "Zhang, Revisiting reset mechanisms in spiking neural networks for sequential modeling: specialized "
        "discretization for binary activated RNN (SpikingFRssm, equations 18 to 27)."
    ),
    chosen="""
- The source calls its convolution and a refractory period identical. They are not: the convolution reads raw spikes, a
  refractory period those sent. They differ if a raw spike is at least r after the last one sent and less than r after
  a suppressed one. With r = 5, raw spikes at 0, 3, 6 give {0} and {0, 6}. Both are offered, `raw` (the source's) and
  `emitted`. Each has a parallel form that equals its steps. For `raw` it is a running count. For `emitted` it is jumps
  from each spike to the next possible one, doubled until they span all steps. The trained meaning is deployed.
- The source's linear refractory function is a third meaning. It is `y + m (t' - r)` for t' <= r steps after a spike,
  with m the largest y so far. For y = .6 .7 .8 .9 1.3 1.4 1.5 it fires at step 0 and, inside the period, at step 4. It
  is not deployed; `nmdeploy.models.modules.fixed_refractory.difference_rates` measures how often the three differ.
- Training multiplies the raw spike by `1 - s` of each spike that counts in the r - 1 steps before. Those spikes carry
  their surrogate gradient, so a spike learns from the spikes that it silences. (The source has a surrogate gradient at
  the convolution instead; without either, training stalls.) The choice of emitted spikes itself is taken as given.
- theta and r are options, 0.5 and 5; neither is learned.
- Normalization acts on y and folds into C, D and a bias.
""",
    hardware="""
A population `state_space` with N complex states and refractory mode `mask-raw` or `mask`. The dynamics continues, and
a counter suppresses the output. One step of latency. At most one spike in r steps.
""",
    module="nmdeploy.models.modules.fixed_refractory:FixedRefractoryS4D",
    shapes=s4d_shapes,
    population=population,
    options=(
        Option("theta", 0.5, "threshold"),
        Option("length", 5, "r: a spike silences the next r - 1 steps", least=1),
        Option("refractory", "raw", "spikes that silence: all raw ones, or those sent", ("raw", "emitted")),
    ),
    parallel="exact",
)
