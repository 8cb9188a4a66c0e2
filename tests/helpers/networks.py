"""Random quantized networks that are alive: every layer spikes, registers wrap and clip, resets and holds happen."""

from __future__ import annotations

from networks_build import Case, random_case
from networks_coverage import coverage, is_alive
from networks_models import MODELS
from networks_neurons import DENSE_STATES, LIF, LOUD_LIF, STATE_SPACE

__all__ = ["MODELS", "Case", "coverage", "dense_case", "is_alive", "lif_case", "random_case", "state_space_case"]


def lif_case(seed: int) -> Case:
    """Return a LIF network, with weight exponents up to the wrap of u and the clip of v."""
    return random_case(seed, LIF if seed % 3 else LOUD_LIF)


def state_space_case(seed: int) -> Case:
    """Return a state-space network with diagonal dynamics, over all combinations of mechanisms."""
    return random_case(seed, STATE_SPACE)


def dense_case(seed: int) -> Case:
    """Return a state-space network with dense dynamics, over all combinations of mechanisms."""
    return random_case(seed, DENSE_STATES)
