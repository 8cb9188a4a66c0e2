"""Delays of NIR: steps per channel, and the synapses into which channels of different delay split.

A ``Delay`` node holds seconds per channel. Where the channels of a synapse wait for different times, it becomes one
synapse per number of steps, each with the weights that wait for so long. Their sum is the synapse:
``a(t) = sum over d of W_d s(t - d)``. A ``Delay`` after a synapse delays its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.nir_nodes import ROUNDING, Values
from nmdeploy.neurons.base import FloatArray, IntArray

DELAY_MAX = 1 << 16


def steps_of(name: str, seconds: npt.NDArray[np.float64], dt: float, channels: int) -> IntArray:
    """Return the steps of length `dt` that a ``Delay`` node holds each of its channels back, (channels,)."""
    if seconds.size not in (1, channels):
        raise UnsupportedParameter(
            f"node {name!r}: {seconds.size} delays meet {channels} channels: give one, or one for each channel"
        )
    exact = seconds.ravel() / dt
    whole = (exact >= 0) & (exact <= DELAY_MAX) & (np.abs(exact - np.rint(exact)) <= ROUNDING * np.maximum(exact, 1))
    if not whole.all():
        raise UnsupportedParameter(
            f"node {name!r}: delay = {float(seconds.ravel()[~whole][0]):g} s: takes a whole number of steps of {dt:g} "
            f"s for each channel, 0 to {DELAY_MAX}: round it, or give the --dt that the network was trained with"
        )
    return np.broadcast_to(np.rint(exact).astype(np.int64), channels)


def total_steps(delays: Mapping[str, Values], dt: float, channels: int) -> IntArray:
    """Return the steps of several ``Delay`` nodes in a row, (channels,)."""
    steps = (steps_of(name, values["delay"], dt, channels) for name, values in delays.items())
    return sum(steps, start=np.zeros(channels, np.int64))


def parts_by_delay(weight: FloatArray, steps: IntArray) -> Iterator[tuple[int, FloatArray]]:
    """Yield each number of steps with the weights that wait for it, the others 0.

    Parameters
    ----------
    weight : (rows, columns)
    steps : (rows, columns)
        Without weights at some number of steps, there is no part for it; there is always one part.
    """
    present = np.unique(steps[weight != 0])
    if len(present) <= 1:
        yield int(present[0]) if len(present) else int(steps.min(initial=0)), weight
        return
    for chosen in present:
        yield int(chosen), np.where(steps == chosen, weight, 0.0)
