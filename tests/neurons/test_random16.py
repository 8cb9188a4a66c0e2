"""The counter-based random bits against unbounded Python integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from simulator_mechanisms import random16 as simulated

from nmdeploy.neurons.state_space.rules import random16

WORDS = st.integers(0, 2**32 - 1)


@given(seed=WORDS, entry=st.integers(0, 1 << 20), step=st.integers(0, 1 << 20))
def test_bits_equal_unbounded_ones(seed: int, entry: int, step: int) -> None:
    assert int(random16(seed, np.array([entry]), step)[0]) == simulated(seed, entry, step)


def test_bits_are_uniform_over_entries_and_steps() -> None:
    drawn = np.array([random16(3, np.arange(200), step) for step in range(200)])
    assert abs(drawn.mean() / 2**16 - 0.5) < 0.01 and drawn.min() >= 0 and drawn.max() < 2**16
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.02
