"""Faults that a network's own numbers show: a neuron whose numbers are far from those of its siblings.

A number is far from its siblings if it lies more than `SIGMAS` robust standard deviations (1.4826 times the median
absolute deviation) from their median. Only what shows in the activity is named, time constants under one step excepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.finding import NETWORK, Finding, times, which
from nmdeploy.analysis.own_numbers import Numbers
from nmdeploy.neurons.base import FloatArray

Mask = npt.NDArray[np.bool_]
SIGMAS = 5.0
EXTREME = 8.0
"""Robust standard deviations from which on a number is named even if the activity does not show it."""
SIBLINGS_MIN = 5
LOG_FLOOR = 0.3
"""Least standard deviation of a logarithm: siblings that are equal do not make a factor of 2 an outlier."""
SHARE_FLOOR = 0.1
ONE_STEP = float(np.exp(-1.0))
"""Factor per step of a time constant of one step."""
NOTHING = 0.15
FAN_IN_MIN = 8
"""Inputs from which on the signs of a row say something about it."""


def far(values: FloatArray, floor: Any) -> FloatArray:
    """Return the distance of each value from the median of all, in robust standard deviations; 0 for few values.

    >>> far(np.array([1.0, 1.1, 0.9, 1.0, 1.0, 5.0]), 0.1).round(1).tolist()
    [0.0, 1.0, -1.0, 0.0, 0.0, 40.0]
    """
    if len(values) < SIBLINGS_MIN:
        return np.zeros(len(values))
    distance = values - np.median(values)
    return np.asarray(distance / np.maximum(1.4826 * float(np.median(np.abs(distance))), floor))


def far_in_log(values: FloatArray, spread: Any = 0.0, sigmas: float = SIGMAS) -> Mask:
    """Return True for each magnitude whose logarithm is far from those of its siblings; 0 is left out.

    `spread` is the standard deviation of the logarithm that each has by chance.
    """
    found = np.zeros(len(values), bool)
    positive = values > 0
    spreads = np.maximum(np.broadcast_to(spread, values.shape)[positive], LOG_FLOOR)
    found[positive] = np.abs(far(np.log(values[positive]), spreads)) > sigmas
    return found


def shows(n: Numbers) -> Mask:
    """(H,) True for a neuron that is the least or the most active one; all neurons of a population without spikes."""
    rates = n.activity.rates
    if not n.activity.spiking:
        return np.ones(n.size, bool)
    return np.asarray(((rates == rates.min()) | (rates == rates.max())) & bool(rates.any()))


def neuron_findings(n: Numbers) -> Iterator[Finding]:
    """Yield the faults of single neurons, or of a population's time constants."""
    yield from _short(n)
    yield from _rows(n)
    yield from _thresholds(n)
    yield from _biases(n)
    yield from _signs(n)
    yield from _decays(n)


def finding_of(n: Numbers, fault: str, tensor: str, at: Mask, text: str, factor: float) -> Finding:
    where = tuple(int(neuron) for neuron in np.flatnonzero(at))
    return Finding(n.name, fault, tensor, where, f"{which(where, n.size)}: {text}", NETWORK, factor)


def steps_of(factor: float) -> float:
    """Return the time constant, in steps, of a factor per step."""
    return -1 / float(np.log(factor)) if 0 < factor < 1 else (0.0 if factor <= 0 else float("inf"))


def _lasts(n: Numbers, factors: FloatArray) -> FloatArray:
    """Return the time constants in steps; a leak of 0 lasts twice as long as the sample does."""
    return np.asarray(1 / (-np.log(np.clip(factors, 1e-9, 1.0)) + 0.5 / n.steps))


def _short(n: Numbers) -> Iterator[Finding]:
    """Time constants below one step: all, those far from their siblings, and those that keep next to nothing."""
    for tensor, factors in n.dynamics.decays.items() if n.dynamics else ():
        structural = tensor == "a" and not factors.any()  # a delay line forgets by design
        apart = far_in_log(_lasts(n, factors)) | (factors < NOTHING) | bool(np.median(factors) < ONE_STEP)
        at = (factors < ONE_STEP) & apart & np.full(n.size, not structural)
        if at.any():
            steps = steps_of(float(factors[at].min()))
            text = (
                f"a time constant of {steps:.2g} steps ({steps * n.dt:.2g} s) is under dt = {n.dt:g} s: the neuron "
                "keeps next to nothing from one step to the next"
            )
            yield finding_of(n, f.TAU_UNDER_DT, tensor, at, text, max(steps, 1e-3))


def _rows(n: Numbers) -> Iterator[Finding]:
    for synapse, held in n.weights.items():
        norms = np.sqrt(n.by_neuron(held.norms**2))
        usual = float(np.median(norms[norms > 0])) if norms.any() else 0.0
        fan_in = n.by_neuron(held.by_row(held.rows.codes != 0))
        by_chance = 1 / np.sqrt(np.maximum(fan_in, 1))  # rows of few weights differ more
        empty = (norms == 0) & bool(usual > 0) & n.activity.spiking
        at = (far_in_log(norms, by_chance) | empty) & shows(n) | far_in_log(norms, by_chance, EXTREME)
        at &= ~_pruned(n, norms)
        if at.any():
            worst = _worst(norms[at] / usual)
            text = f"the weights are {times(worst)} those of the other neurons, so that it {_effect(n, at)}"
            yield finding_of(n, f.ROW_SCALED, f"{synapse} weight", at, text, worst)


def _pruned(n: Numbers, norms: FloatArray) -> Mask:
    """Return True for empty rows of a population in which they are usual, or that other synapses feed."""
    empty = norms == 0
    return np.asarray(empty & bool(np.mean(empty) > 0.1 or len(n.weights) > 1))


def _worst(ratios: FloatArray) -> float:
    return float(ratios[np.argmax(np.abs(np.log(np.maximum(ratios, 1e-12))))])


def _effect(n: Numbers, at: Mask) -> str:
    if not n.activity.spiking:
        return "dominates or vanishes in the readout"
    if n.activity.silent[at].all():
        return "never spikes"
    rates = n.activity.rates
    if (rates[at] == rates.max()).any():
        return "spikes more than all others"
    return "spikes less than all others" if (rates[at] == rates.min()).any() else "is out of proportion to them"


def _thresholds(n: Numbers) -> Iterator[Finding]:
    threshold = None if n.dynamics is None else n.dynamics.threshold
    if threshold is None:
        return
    usual = float(np.median(threshold))
    at = far_in_log(threshold) & shows(n) | far_in_log(threshold, sigmas=EXTREME)
    if not at.any():
        return
    worst = _worst(threshold[at] / usual)
    if n.activity.silent[at].all() and worst > 1:
        text = f"the threshold is {worst:.3g} times that of the other neurons{_reach(n, at)}: it never spikes"
        yield finding_of(n, f.OUT_OF_REACH, "v_threshold", at, text, worst)
    else:
        text = f"the threshold is {times(worst)} that of the other neurons: it {_effect(n, at)}"
        yield finding_of(n, f.THRESHOLD_OFF, "v_threshold", at, text, worst)


def _reach(n: Numbers, at: Mask) -> str:
    """Return by what factor the threshold lies over the largest membrane of these neurons, in words."""
    peak = n.activity.peak
    if peak is None or n.dynamics is None or n.dynamics.threshold is None:
        return ""
    most = float(peak[at].max())
    return f", and {float(n.dynamics.threshold[at].min()) / most:.3g} times the largest membrane" if most > 0 else ""


def _biases(n: Numbers) -> Iterator[Finding]:
    for tensor, values in n.biases().items():
        apart = np.abs(values - np.median(values))
        at = (np.abs(far(values, SHARE_FLOOR)) > SIGMAS) & (((apart > 1) & shows(n)) | (apart > 3))
        at &= np.abs(far(values * n.scale / n.gain_of(tensor), 1e-12)) > SIGMAS  # the number itself, not its gain
        if at.any():
            worst = float(values[at][np.argmax(np.abs(values[at]))])
            unit = "thresholds" if n.activity.spiking else "times the usual output"
            text = (
                f"the bias alone moves the membrane to {worst:.3g} {unit}, that of the other neurons to "
                f"{float(np.median(values)):.2g}: it {_effect(n, at)}"
            )
            yield finding_of(n, f.BIAS_OFF, tensor, at, text, worst)


def _signs(n: Numbers) -> Iterator[Finding]:
    """Rows whose drive has the other sign than that of almost all siblings."""
    share = balance(n)
    middle = float(np.median(share))
    inputs = max(held.rows.shape[1] for held in n.weights.values())
    if not n.activity.spiking or abs(middle) < 0.2 or inputs < FAN_IN_MIN:
        return
    opposite = share * np.sign(middle) < -0.4 * abs(middle)
    at = opposite & (np.abs(far(share, SHARE_FLOOR)) > SIGMAS - 1)
    at &= n.activity.silent if middle > 0 else n.activity.rates == n.activity.rates.max()
    if at.any() and n.activity.rates.any():
        worst = float(share[at].min() if middle > 0 else share[at].max())
        text = (
            f"what arrives adds up to {worst:.2g} of its magnitude, that of the other neurons to {middle:.2g}: the "
            f"signs of the weights look flipped, and it {_effect(n, at)}"
        )
        yield finding_of(n, f.SIGN_FLIPPED, largest_synapse(n), at, text, worst / middle)


def balance(n: Numbers) -> FloatArray:
    """(H,) mean synaptic sum as a share of that of the weights' magnitudes, -1 to 1."""
    whole = n.drive(magnitude=True)
    return np.asarray(n.drive() / np.where(whole > 0, whole, 1.0))


def largest_synapse(n: Numbers) -> str:
    norms = {name: float(np.sum(held.norms)) for name, held in n.weights.items()}
    return f"{max(norms, key=norms.__getitem__)} weight"


def _decays(n: Numbers) -> Iterator[Finding]:
    for tensor, factors in n.dynamics.decays.items() if n.dynamics else ():
        lasts = _lasts(n, factors)
        # A factor over 1 grows by design.
        at = far_in_log(lasts) & (factors >= ONE_STEP) & (factors <= 1)
        if tensor == "a" and n.tensors[tensor].shape[1] > 1:
            at &= shows(n)  # several states make many time constants
        if at.any():
            usual = float(np.median(lasts))
            worst = _worst(lasts[at] / usual)
            text = (
                f"a time constant of {steps_of(float(factors[at][0])):.3g} steps is {times(worst)} that of the other "
                "neurons"
            )
            yield finding_of(n, f.DECAY_OFF, tensor, at, text, worst)
