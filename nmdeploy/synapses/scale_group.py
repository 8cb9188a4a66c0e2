"""Scale groups: the outputs of a synapse whose weights are multiplied by one common scale.

Weights that several outputs share, as those of a convolution, must have one scale, or they become different codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import FloatArray


@dataclass(frozen=True)
class ScaleGroup:
    """Blocks of consecutive outputs that share a scale.

    Parameters
    ----------
    outputs : int or None
        Outputs of a block: 1 for a scale per row, the positions of a channel for a scale per output channel (channels
        first), None for one scale of the whole population.
    """

    outputs: int | None = 1

    def largest(self, peaks: FloatArray) -> FloatArray:
        """Return for each output the largest of its block's `peaks`.

        >>> ScaleGroup(2).largest(np.array([1.0, 3.0, 2.0, 0.5])).tolist()
        [3.0, 3.0, 2.0, 2.0]
        """
        block = max(self.outputs or peaks.size, 1)
        if peaks.size % block:
            raise BadOption(f"scale group of {block} outputs: {peaks.size} outputs are no multiple: give a divisor")
        return np.repeat(peaks.reshape(-1, block).max(1, initial=0.0), block)


PER_ROW, PER_POPULATION = ScaleGroup(1), ScaleGroup(None)


def shared_peaks(groups: Sequence[ScaleGroup], peaks: FloatArray) -> FloatArray:
    """Return the peaks such that outputs that share a scale in any of `groups` have the same one.

    Blocks that overlap are joined: the peaks grow until nothing changes.
    """
    while True:
        before = peaks
        for group in groups:
            peaks = group.largest(peaks)
        if np.array_equal(before, peaks):
            return peaks
