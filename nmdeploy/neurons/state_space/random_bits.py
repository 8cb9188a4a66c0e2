"""Counter-based random bits: the same seed, neuron and step give the same bits in every backend, in any order.

The hash is the 32-bit finalizer of Thomas Mueller (H2 database, ``CompareMode``); its products stay under ``2**59``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MASK = (1 << 32) - 1
FACTOR = 0x45D9F3B


def h32(x: Any) -> Any:
    """32 well mixed bits of a 32-bit x, elementwise.

    >>> h32(0), h32(1)
    (0, 824515495)
    """
    x = (((x >> 16) ^ x) * FACTOR) & MASK
    x = (((x >> 16) ^ x) * FACTOR) & MASK
    return (x >> 16) ^ x


def random16(seed: int, index: Any, step: int) -> Any:
    """Uniform integers 0 to 65535: ``h32(h32(h32(seed) ^ index) ^ step) >> 16``.

    Parameters
    ----------
    seed : int, 0 to 2**32 - 1
        Of the population.
    index : int or array of int
        Of the output.
    step : int
        The population's own.
    """
    return h32(h32(h32(seed) ^ np.asarray(index, np.int64)) ^ step) >> 16
