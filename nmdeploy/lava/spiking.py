"""Spiking functions of docs/arithmetic.md, before any refractory period."""

from collections.abc import Callable

import numpy as np

from nmdeploy.lava.mechanisms import Mechanisms
from nmdeploy.lava.rounding import Booleans, Integers, rz, sat

MASK = 0xFFFFFFFF


def h32(x: Integers) -> Integers:
    """Return the hash of 32-bit numbers, held in 64 bits; products are cut to 32 bits."""
    low = x & MASK
    for _ in range(2):
        # 32 times 27 bits: the product stays under 2**63.
        low = (((low >> 16) ^ low) * 0x45D9F3B) & MASK
    return (low >> 16) ^ low


def random16(seed: int, entries: int, step: int) -> Integers:
    """Return 16 random bits per output entry, (entries,), which depend on seed, entry and `step` alone."""
    index = np.arange(entries, dtype=np.int64)
    return h32(h32(h32(np.array(seed & MASK, np.int64)) ^ index) ^ step) >> 16


def _binary(m: Mechanisms, mu: Integers, step: int, crossed: Booleans) -> Integers:
    return np.asarray(mu > m.vth, np.int64)


def _ternary(m: Mechanisms, mu: Integers, step: int, crossed: Booleans) -> Integers:
    return np.asarray(mu > m.vth, np.int64) - np.asarray(mu < -m.vth, np.int64)


def _graded(m: Mechanisms, mu: Integers, step: int, crossed: Booleans) -> Integers:
    return np.where(np.abs(mu) > m.vth, sat(rz(mu, m.graded_shift), m.graded_bits), 0)


def _stochastic(m: Mechanisms, mu: Integers, step: int, crossed: Booleans) -> Integers:
    bits = random16(m.seed, mu.size, step).reshape(mu.shape)
    return np.asarray(mu > (m.vth * bits) >> 16, np.int64)


def _phase(m: Mechanisms, mu: Integers, step: int, crossed: Booleans) -> Integers:
    return np.asarray((mu >= m.vth) & crossed, np.int64)


_FUNCTIONS: dict[str, Callable[[Mechanisms, Integers, int, Booleans], Integers]] = {
    "binary": _binary,
    "ternary": _ternary,
    "graded": _graded,
    "stochastic": _stochastic,
    "phase": _phase,
}


def fire(mechanisms: Mechanisms, mu: Integers, step: int, crossed: Booleans) -> Integers:
    """Return the raw spikes, (H, p).

    Parameters
    ----------
    mechanisms : Mechanisms
        Spiking function and threshold.
    mu : array of int, shape (neurons, outputs)
        Membrane.
    step : int
        The population's own step.
    crossed : array of bool
        True where the imaginary part of the one state became 0 or more in this step. Only `phase` reads it.
    """
    return _FUNCTIONS[mechanisms.spike](mechanisms, mu, step, crossed)
