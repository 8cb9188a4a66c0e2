"""Sliding parallel spiking neuron."""

from __future__ import annotations

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Option, Options, Trained, plain
from nmdeploy.neurons.state_space.dense import DenseStateSpace


def population(trained: Trained) -> DenseStateSpace:
    """Return a shift register of the last k synaptic sums, read by the taps."""
    taps, threshold = plain(trained, "taps"), plain(trained, "threshold")
    h, k = taps.shape
    return DenseStateSpace(
        a=np.tile(np.eye(k, k=-1), (h, 1, 1)),
        b=np.tile(np.eye(k)[0], (h, 1)),
        c=trained.scale[:, None] * taps,
        d=np.zeros(h),
        bias=trained.shift,
        v_threshold=threshold,
    )


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    return {"taps": (channels, options["k"]), "threshold": (channels,)}


MODEL = NeuronModel(
    name="psn-sliding",
    summary="sliding parallel spiking neuron: a learnable temporal filter of order k, no recurrence",
    equation="""
y[t] = sum over j < k of w[j] a[t - j]
s = H(norm(y) - V_th)
""",
    citation=(
        "Fang, Yu, Zhou et al., Parallel spiking neurons with high efficiency and ability to learn "
        "long-term dependencies, NeurIPS 2023."
    ),
    chosen="""
- The taps are one filter per neuron (the paper shares one among a layer's neurons). They start at powers of 1/2, as in
  the paper, with noise.
- The threshold is learned and may have any sign. There is no reset.
- Normalization acts on the filter's output y and folds into the taps and a bias.
""",
    hardware="""
A population `dense_state_space` with k states that shift the last k synaptic sums on. The shift matrix consists of
zeros and ones. A program that does not use this fact pays for a dense matrix (k * k products). One step of latency.
""",
    module="nmdeploy.models.modules.sliding_parallel:SlidingParallel",
    shapes=shapes,
    population=population,
    options=(Option("k", 8, "order: steps that the filter reads, the present one included", least=1),),
    parallel="exact",
)
