"""Faults that a network's own numbers show of a whole population: why it is silent, or fires in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.finding import Finding
from nmdeploy.analysis.own_numbers import Numbers
from nmdeploy.analysis.siblings import ONE_STEP, balance, finding_of, largest_synapse, steps_of

MOST, NEARLY_ALL = 0.8, 0.9
UNREACHED = 2.0
"""Threshold per bound of the membrane from which on it is named."""


def unreachable(n: Numbers, named: set[int]) -> Iterator[Finding]:
    """Yield the neurons, except the named ones, that no input makes spike: the bound of their membrane is too low."""
    threshold = None if n.dynamics is None else n.dynamics.threshold
    if threshold is None or n.activity.graded or not n.weights:
        return
    reach = n.reach()
    at = (threshold > UNREACHED * reach) & n.activity.silent & (threshold > 0) & (reach > 0)
    at[list(named)] = False
    if at.any():
        factor = float((threshold[at] / reach[at]).max())
        text = f"the threshold is {factor:.3g} times the membrane if every input came in every step and excited it"
        yield finding_of(n, f.OUT_OF_REACH, "v_threshold", at, text, factor)


Check = Callable[[Numbers, list[Numbers]], Iterator[Finding]]


def population_findings(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    """Yield why a whole population that something arrives at is silent, or fires in every step: the first cause."""
    if not n.activity.spiking or not n.reached or n.dynamics is None or n.dynamics.threshold is None:
        return
    silent, always = n.activity.silent, np.mean(n.activity.always) >= NEARLY_ALL
    checks: tuple[Check, ...] = ()
    if np.mean(silent) >= NEARLY_ALL:
        checks = (_decays_of_all, _negative_bias, _negative_drive, *((_unreached,) if silent.all() else ()))
    elif always:
        checks = (_decays_of_all, _positive_bias, _low_threshold)
    for check in checks:
        found = list(check(n, others))
        if found:
            yield from found
            return


def _of_all(n: Numbers, fault: str, tensor: str, text: str, factor: float) -> Finding:
    return finding_of(n, fault, tensor, np.ones(n.size, bool), text, factor)


def _decays_of_all(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    """Decays far from those of all other populations that spike."""
    for tensor, factors in n.dynamics.decays.items() if n.dynamics else ():
        alike = [o.dynamics.decays[tensor] for o in others if o.dynamics and tensor in o.dynamics.decays]
        alike = [each for each in alike if np.median(each) >= ONE_STEP]
        own, rest = steps_of(float(np.median(factors))), [steps_of(float(np.median(each))) for each in alike]
        if not rest or not all(0 < each < np.inf for each in (own, *rest)):
            continue
        if own > 10 * max(rest) or own < min(rest) / 4:
            nearest = max(rest) if own > max(rest) else min(rest)
            text = f"a time constant of {own:.3g} steps, that of the other populations is {nearest:.3g}"
            yield _of_all(n, f.DECAY_OFF, tensor, text, own / nearest)


def _negative_bias(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    total = n.drive() * (n.dynamics.gain if n.dynamics else 1.0) / n.scale
    for tensor, values in n.biases().items():
        middle = float(np.median(values))
        if middle < -0.5 and middle < -0.5 * float(np.median(np.abs(total))):
            text = f"the bias alone moves the membrane to {middle:.3g} thresholds: none ever spikes"
            yield _of_all(n, f.BIAS_OFF, tensor, text, middle)


def _positive_bias(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    for tensor, values in n.biases().items():
        middle = float(np.median(values))
        if middle > 1:
            text = f"the bias alone moves the membrane to {middle:.3g} thresholds: they spike in every step"
            yield _of_all(n, f.BIAS_OFF, tensor, text, middle)


def _negative_drive(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    share = balance(n)
    middle = float(np.median(share))
    if middle < -0.1 and np.mean(share < 0) >= MOST:
        text = f"what arrives adds up to {middle:.2g} of its magnitude: the signs of the weights look flipped"
        yield _of_all(n, f.SIGN_FLIPPED, largest_synapse(n), text, middle)


def _unreached(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    peak, threshold = n.activity.peak, n.dynamics.threshold if n.dynamics else None
    if peak is None or threshold is None or not (peak > 0).any():
        return
    factor = float((threshold[peak > 0] / peak[peak > 0]).min())
    text = f"the threshold is {factor:.3g} times the largest membrane that the samples reach: none ever spikes"
    yield _of_all(n, f.OUT_OF_REACH, "v_threshold", text, factor)


def _low_threshold(n: Numbers, others: list[Numbers]) -> Iterator[Finding]:
    drive = float(np.median(n.drive() / n.scale))
    if drive > 1:
        text = f"what arrives in one step is {drive:.3g} times the threshold: they spike in every step"
        yield _of_all(n, f.THRESHOLD_OFF, "v_threshold", text, 1 / drive)
