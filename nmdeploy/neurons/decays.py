"""Decays of 12 bits: a factor per step becomes an integer in 1/4096, and a slow or fast one is named.

Source: Davies et al., Loihi, IEEE Micro 38(1), 2018; lava-nc 0.10.0, ``lava.proc.lif``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.neurons.base import FloatArray, QuantizationConfig

SLOW_BITS, COEFFICIENT_FRAC_MAX = 4, 30
"""Bits of a slow decay that a state-space neuron is to hold, and the most fraction bits of its coefficients."""


def steady_gain(exact: Any, rounded: Any) -> npt.NDArray[np.float64]:
    """Return ``(1 - rounded) / (1 - exact)``, the factor that keeps the steady gain of a decay; 1 without a leak.

    >>> steady_gain(np.array([0.5, 1.0]), np.array([0.75, 1.0])).tolist()
    [0.5, 1.0]
    """
    leak = 1 - np.asarray(exact, np.float64)
    return np.asarray(np.divide(1 - rounded, leak, out=np.ones(leak.shape), where=leak > 0))


def decay_code(factor: Any) -> npt.NDArray[np.int64]:
    """Return the decay in 1/4096 nearest to a factor per step; 0 is the code of a factor of exactly 1.

    >>> decay_code(np.array([1.0, 0.99999, 0.9, 0.0])).tolist()
    [0, 1, 410, 4096]
    """
    exact = 4096 * (1 - np.asarray(factor, np.float64))
    return np.maximum(np.rint(exact), exact > 0).astype(np.int64)


def decay_notes(name: str, alpha: FloatArray, beta: FloatArray, config: QuantizationConfig) -> list[str]:
    """Return lines on decays that 12 bits do not hold: faster than the fastest one, or slower than the slowest one."""
    notes = []
    fast = int((4096 * (1 - beta) > 4095).sum())
    if fast:
        notes.append(f"node {name!r}: the decay of {fast} membranes rounds to the end of its 12-bit range")
    for what, factors, slow in (
        ("membrane", beta, (beta < 1) & (4096 * (1 - beta) <= 0.5)),
        ("current", alpha, 4096 * (1 - alpha) <= 0.5),
    ):
        if slow.any():
            worst = float(factors[slow].max())
            notes.append(
                f"node {name!r}: the decay of {int(slow.sum())} {what}s is under the 12-bit range: a factor per step "
                f"of {worst:.9g} becomes {4095 / 4096:.6g}: {_remedy(worst, config)}"
            )
    return notes


def _remedy(factor: float, config: QuantizationConfig) -> str:
    """Return what holds a slow decay: the state-space neuron with enough fraction bits, where the chip runs it."""
    frac = SLOW_BITS - int(np.floor(np.log2(1 - factor))) if factor < 1 else 0
    if not config.dense_state_space or frac > COEFFICIENT_FRAC_MAX:
        return "train a shorter time constant, or take longer steps (--dt)"
    if factor == 1:
        return "nmdeploy.DenseStateSpace, with the current as a state, holds it"
    bits = max(frac + 2, config.coefficient_bits)
    return (
        f"nmdeploy.DenseStateSpace with --coefficient-bits {bits} --coefficient-frac {frac} holds it, or train a "
        "shorter time constant"
    )
