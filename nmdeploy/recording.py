"""What a run leaves behind: outputs, traces where asked, and event counts per layer and sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.frozen import Frozen
from nmdeploy.neurons.base import IntArray

TRACES = ("none", "spikes", "states")


@dataclass(frozen=True, eq=False)
class Layer(Frozen):
    """One population's part of a recording.

    Parameters
    ----------
    spikes : (samples, steps, H) bool or None
        Where traced, and the population spikes.
    states : mapping of str to array
        (samples, steps, H) or (samples, steps, H, N) codes, where traced.
    counts : mapping of str to (samples,) int
        Events, by metric: docs/metrics.md.
    """

    spikes: npt.NDArray[np.bool_] | None = None
    states: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    counts: Mapping[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Recording(Frozen):
    """A run of a quantized network.

    Parameters
    ----------
    output : (samples, steps, channels)
        The output population's spikes (bool) or values (codes).
    spiking : bool
        Whether the output is spikes.
    layers : mapping of str to Layer
        By population, sources first.
    lengths : (samples,) int
        Valid steps of each sample; what comes after is zero.
    latency : int
        Steps by which the chip is later than the stored, aligned times.
    backend, version, model_sha256 : str
    seed : int
    """

    output: npt.NDArray[Any]
    spiking: bool
    layers: Mapping[str, Layer]
    lengths: IntArray
    latency: int
    backend: str
    version: str
    model_sha256: str = ""
    seed: int = 0

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.output.shape[0])

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return int(self.output.shape[1])

    def total(self, layer: str, metric: str) -> int:
        """A count summed over the samples."""
        return int(np.sum(self.layers[layer].counts[metric]))
