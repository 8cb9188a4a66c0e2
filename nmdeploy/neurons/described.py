"""Words for a float population: its neuron, reset, comparison at the threshold, and decays per step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np


class Described:
    """Mixin of float populations, which say by `described` how they compute."""

    kind: ClassVar[str]

    def described(self) -> dict[str, str]:
        """Return "neuron", and as far as they apply "reset", "threshold" and "decay", each in a few words."""
        return {"neuron": self.kind}


def span(values: Any) -> str:
    """Return the smallest and the largest value, or the one that all share.

    >>> span([0.5, 0.9]), span(1.0)
    ('0.5 to 0.9', '1')
    """
    low, high = f"{np.min(values):.6g}", f"{np.max(values):.6g}"
    return low if low == high else f"{low} to {high}"


def comparison(v_threshold: Any, at_threshold: bool) -> str:
    """Return the comparison of a membrane with its threshold.

    >>> comparison(1.0, False), comparison(1.0, True)
    ('spikes over 1 (>)', 'spikes at 1 or more (>=)')
    """
    held = span(v_threshold)
    return f"spikes at {held} or more (>=)" if at_threshold else f"spikes over {held} (>)"


def silence(refractory_steps: int) -> str:
    """Return the words for a refractory period, empty without one."""
    unit = "step" if refractory_steps == 1 else "steps"
    return f", then {refractory_steps} silent {unit}" if refractory_steps else ""
