"""Drives of populations whose decays are rounded: they stay, or are scaled so that the steady gain stays.

A membrane with factor beta has the steady gain ``1 / (1 - beta)``. If beta is rounded to beta', the gain changes unless
the drive is multiplied by ``(1 - beta') / (1 - beta)``. That keeps the mean, but changes the first steps. Which one is
closer to the float network is measured, on the calibration data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nmdeploy.network.float_run import merge
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, StepTime
from nmdeploy.quantization.post_training import Ranges, calibrate


class Drives(NamedTuple):
    """Choice for all populations.

    Parameters
    ----------
    factors : dict of str to array of shape (H,)
        Factor on the drive, by population; only of those whose drive is scaled.
    ranges : mapping
        Ranges of the populations with these drives; None without data.
    notes : tuple of str
        One line that says what was chosen, if any decay is rounded.
    """

    factors: dict[str, FloatArray]
    ranges: Ranges | None
    notes: tuple[str, ...]


NO_DRIVES = Drives({}, None, ())


@dataclass
class _Trial:
    """Population with rounded decays, once with its drive and once with a scaled one, and what differs."""

    spiking: bool
    neurons: tuple[Neuron, Neuron]
    factor: FloatArray
    states: tuple[Any, ...] = ()
    errors: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    sizes: list[float] = field(default_factory=list)
    ranges: dict[str, FloatArray] = field(default_factory=dict)

    def step(self, a: Any, wanted: Any, now: StepTime, valid: Any) -> None:
        """Advance both by the sums that the float population gets, and compare them with its output."""
        if now.step == 0:
            self.states = tuple(neuron.start(len(a)) for neuron in self.neurons)
        drives = (a, a * self.factor)
        steps = [n.step(s, x, now) for n, s, x in zip(self.neurons, self.states, drives, strict=True)]
        self.states = tuple(state for state, _ in steps)
        if valid.any():
            exact = wanted[valid].astype(np.float64)
            self.sizes.append(float(np.vdot(exact, exact)))
            for errors, (_, output) in zip(self.errors, steps, strict=True):
                errors.append(float(((output[valid] - exact) ** 2).sum()))
            merge(self.ranges, self.neurons[1].observe({key: value[valid] for key, value in steps[1][0].items()}))

    @property
    def differ(self) -> tuple[float, float]:
        """Squared errors of both, summed exactly: the samples come in any order."""
        return math.fsum(self.errors[0]), math.fsum(self.errors[1])

    @property
    def total(self) -> float:
        return math.fsum(self.sizes)

    @property
    def scaled(self) -> bool:
        return self.differ[1] < self.differ[0]

    def text(self, name: str) -> str:
        """Return the choice in words, with the figure of both."""
        low, high = self.factor.min(), self.factor.max()
        by = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
        if self.spiking:
            stays, scaled = (f"{int(count):,} differ" for count in self.differ)
            of = f"of {int(self.total):,} spikes "
        else:
            stays, scaled = (f"error {np.sqrt(d / self.total) if self.total else 0:.2g}" for d in self.differ)
            of = ""
        if self.scaled:
            return f"{name!r} is scaled by {by} ({of}{scaled}; as it was, {stays})"
        return f"{name!r} stays ({of}{stays}; scaled by {by}, {scaled})"


def choose_drives(network: Network, inputs: npt.ArrayLike, lengths: IntArray | None = None) -> Drives:
    """Calibrate, and choose for each population whose decays are rounded, on what the float network sends it.

    Parameters are those of `calibrate`, which runs the float network once.
    """
    trials: dict[str, _Trial] = {}
    for name, neuron in network.populations.items():
        rounded, factor = neuron.rounded_decays()
        if (factor != 1).any():
            trials[name] = _Trial(neuron.spiking, (rounded, rounded.driven(factor)), factor)

    def on_sums(name: str, a: Any, output: Any, now: StepTime, valid: Any) -> None:
        if name in trials:
            trials[name].step(a, output, now, valid)

    ranges = calibrate(network, inputs, lengths, on_sums if trials else None)
    factors = {name: trial.factor for name, trial in trials.items() if trial.scaled}
    scaled = {name: dict(ranges[name]) for name in factors}
    for name, own in scaled.items():
        merge(own, trials[name].ranges)
    said = ", ".join(trial.text(name) for name, trial in trials.items())
    notes = (f"decays have 12 bits; the drive of {said}",) if said else ()
    return Drives(factors, {**ranges, **scaled}, notes)
