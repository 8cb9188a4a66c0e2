"""Tensors of an integer population beside those of the float network.

A difference counts from `COEFFICIENT`, `THRESHOLD`, `GAIN` and `BIAS` on: smaller ones are what a quantizer may do. One
that is larger than a code is no rounding: the integers were changed, or come from another network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.activity import Activity
from nmdeploy.analysis.dynamics import Dynamics
from nmdeploy.analysis.finding import CHANGED, ROUNDING, Finding, times, which
from nmdeploy.analysis.siblings import ONE_STEP
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.rounded import RoundedTensor

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
COEFFICIENT, THRESHOLD, GAIN, BIAS = 0.25, 0.1, 0.25, 0.2
"""Relative change of a coefficient, a threshold and a steady gain; a bias's steady membrane in thresholds."""
NEAR_ONE = 0.02
"""Least distance from the unit circle to which a change of coupled states is compared."""
RARE = 0.1
"""Share of the float network's spikes up to which a threshold is out of reach."""
CODE = 1.01
"""Codes that rounding may move a number by: a pole is moved to the nearest code inside the unit circle."""


@dataclass(frozen=True, eq=False)
class Compared:
    """One tensor of a population in both networks."""

    population: str
    tensor: str
    held: RoundedTensor
    dynamics: Dynamics | None
    activity: Activity
    exact: Activity

    @property
    def size(self) -> int:
        return self.activity.size

    def _by_neuron(self, values: Array) -> Array:
        return values.reshape(self.size, -1)

    @property
    def rounded(self) -> Mask:
        """(H,) True if rounding alone makes the difference."""
        difference = np.abs(self.held.values - self.held.exact)
        return np.asarray(self._by_neuron(difference <= CODE * np.asarray(self.held.unit)).all(1))

    def findings(self) -> Iterator[Finding]:
        compare = Compared._poles if self.tensor == "a" else _BY_MEASURE[self.held.measure]
        at, fault, text, factor = compare(self)
        for origin, part in ((CHANGED, at & ~self.rounded), (ROUNDING, at & self.rounded)):
            if part.any():
                where = tuple(int(each) for each in np.flatnonzero(part))
                cause = "" if origin == CHANGED else ", by rounding"
                words = f"{which(where, self.size)}: {text(part)}{cause}"
                yield Finding(self.population, fault(part), self.tensor, where, words, origin, factor(part))

    def _two(self) -> tuple[FloatArray, FloatArray]:
        """(H,) the integers' value of each neuron, and the source's, where they differ most."""
        one, other = self._by_neuron(self.held.values), self._by_neuron(self.held.exact)
        worst = np.abs(one - other).argmax(1)[:, None]
        return np.take_along_axis(one, worst, 1)[:, 0], np.take_along_axis(other, worst, 1)[:, 0]

    def _threshold(self) -> Any:
        one, other = self._two()
        at = np.abs(one - other) > THRESHOLD * np.abs(other)
        ratio = one / np.where(other == 0, np.finfo(float).tiny, other)
        peak = self.activity.peak

        def unreached(part: Mask) -> bool:
            rare = self.activity.rates[part] <= RARE * self.exact.rates[part]
            return bool(rare.all() and (one > other)[part].all())

        def text(part: Mask) -> str:
            index = first_of(part, np.abs(one - other))
            words = f"the threshold is {times(float(ratio[index]))} the source's {other[index]:.3g}"
            if peak is None or not unreached(part) or peak[index] <= 0:
                return words
            over = one[index] / peak[index]
            return f"{words}, and {over:.3g} times the largest membrane: it never spikes" if over > 1 else words

        return (
            at,
            lambda part: f.OUT_OF_REACH if unreached(part) else f.THRESHOLD_OFF,
            text,
            lambda part: float(ratio[first_of(part, np.abs(one - other))]),
        )

    def _decay(self) -> Any:
        one, other = self._two()
        gain = (1 - other + 1e-9) / (1 - one + 1e-9)
        at = np.abs(np.log(np.maximum(gain, 1e-12))) > np.log1p(GAIN)

        def short(part: Mask) -> bool:
            return bool(((one < ONE_STEP) & (other >= ONE_STEP))[part].all())

        def text(part: Mask) -> str:
            index = first_of(part, np.abs(one - other))
            words = f"the factor per step is {one[index]:.5g}, the source's {other[index]:.5g}"
            if short(part):
                return f"{words}: the time constant is under dt, and the neuron keeps next to nothing"
            return f"{words}: the steady gain is {times(float(gain[index]))} the source's"

        return (
            at,
            lambda part: f.TAU_UNDER_DT if short(part) else f.DECAY_OFF,
            text,
            lambda part: float(gain[first_of(part, np.abs(one - other))]),
        )

    def _poles(self) -> Any:
        """Poles of a state space: their shift as a share of their distance from the unit circle."""
        difference = np.abs(self.held.values - self.held.exact)
        if self.held.exact.ndim == 2:
            size = [np.abs(values).max(1) for values in (self.held.values, self.held.exact)]
            distance = np.maximum(np.abs(1 - np.abs(self.held.exact)), 1e-6)
        else:
            size = [np.abs(np.linalg.eigvals(values)).max(1) for values in (self.held.values, self.held.exact)]
            distance = np.maximum(np.abs(1 - size[1]), NEAR_ONE)[:, None, None]
        share = self._by_neuron(difference / distance).max(1)

        def short(part: Mask) -> bool:
            return bool(((size[0] < ONE_STEP) & (size[1] >= ONE_STEP))[part].all())

        def text(part: Mask) -> str:
            index = first_of(part, share)
            words = f"the slowest state keeps {size[0][index]:.5g} per step, the source's {size[1][index]:.5g}"
            return f"{words}: the time constant is under dt" if short(part) else words

        return (
            share > GAIN,
            lambda part: f.TAU_UNDER_DT if short(part) else f.DECAY_OFF,
            text,
            lambda part: float(share[first_of(part, share)]),
        )

    def _bias(self) -> Any:
        one, other = self._two()
        gains, scale = np.ones(self.size), np.ones(self.size)
        if self.dynamics is not None:
            gains = self.dynamics.bias_gain if self.tensor == "bias" else np.abs(self.dynamics.gain)
            scale = scale_of(self.dynamics, self.exact)
        share = np.abs(one - other) * gains / scale
        return (
            share > BIAS,
            lambda part: f.BIAS_OFF,
            lambda part: bias_text(one, other, share, first_of(part, share)),
            lambda part: float(share[first_of(part, share)]),
        )

    def _coefficient(self) -> Any:
        one, other = self._by_neuron(self.held.values), self._by_neuron(self.held.exact)
        norms = np.linalg.norm(other, axis=1)
        error = np.linalg.norm(one - other, axis=1) / np.where(norms > 0, norms, 1.0)
        return (
            (error > COEFFICIENT) & (np.abs(one - other).max(1) > 0),
            lambda part: f.COEFFICIENT_OFF,
            lambda part: f"coefficient {self.tensor} is off by {float(error[part].max()):.0%}",
            lambda part: float(error[part].max()),
        )


_BY_MEASURE: dict[str, Any] = {
    "threshold": Compared._threshold,
    "decay": Compared._decay,
    "bias": Compared._bias,
    "coefficient": Compared._coefficient,
}


def scale_of(dynamics: Dynamics, activity: Activity) -> FloatArray:
    """(H,) threshold of each neuron, or the usual membrane of a population that does not spike."""
    if dynamics.threshold is not None:
        return np.asarray(np.maximum(np.abs(dynamics.threshold), 1e-12))
    usual = 0.0 if activity.peak is None else float(np.median(np.abs(activity.peak)))
    return np.full(activity.size, usual or 1.0)


def first_of(part: Mask, size: FloatArray) -> int:
    """Return the index of the largest value of a part."""
    return int(np.flatnonzero(part)[np.argmax(size[part])])


def bias_text(one: FloatArray, other: FloatArray, share: FloatArray, index: int) -> str:
    return (
        f"the bias is {one[index]:.4g}, the source's {other[index]:.4g}: it moves the membrane by {share[index]:.3g} "
        "thresholds more or less"
    )
