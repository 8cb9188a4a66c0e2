"""The elementary operations against unbounded Python integers, at random and at every power-of-two edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simulator
from hypothesis import given
from hypothesis import strategies as st

from nmdeploy.neurons.ops import rz, saturate, select, shift, wrap24

WIDE = st.integers(-(2**62), 2**62)
EDGES = [sign * (2**k + d) for k in range(62) for d in (-1, 0, 1) for sign in (1, -1)]


def both(function: Callable[..., Any], x: list[int], *rest: Any) -> list[int]:
    """The same result from 64-bit and from unbounded arrays."""
    machine, unbounded = (function(np.array(x, dtype), *rest) for dtype in (np.int64, object))
    machine, unbounded = (r[0] if isinstance(r, tuple) else r for r in (machine, unbounded))
    assert machine.tolist() == unbounded.tolist()
    return [int(v) for v in machine]


@given(x=WIDE, k=st.integers(0, 62))
def test_rz(x: int, k: int) -> None:
    assert both(rz, [x], k) == [simulator.rz(x, k)]


@pytest.mark.parametrize("k", range(62))
def test_rz_at_every_edge(k: int) -> None:
    assert both(rz, EDGES, k) == [simulator.rz(x, k) for x in EDGES]


@given(x=WIDE, bits=st.integers(2, 62))
def test_saturate(x: int, bits: int) -> None:
    limit = 2 ** (bits - 1) - 1
    assert both(saturate, [x], limit) == [max(-limit, min(limit, x))]
    assert bool(saturate(np.array([x]), limit)[1][0]) == (abs(x) > limit)


def test_wrap24_at_every_edge() -> None:
    def once(x: int) -> int:
        return x - 2**24 if x > 2**23 else x + 2**24 if x <= -(2**23) else x

    assert both(wrap24, EDGES) == [once(x) for x in EDGES]
    assert wrap24(np.array(EDGES))[1].tolist() == [once(x) != x for x in EDGES]
    assert once(3 * 2**23 + 1) == 2**23 + 1  # beyond 3 * 2**23 one correction is not enough


@given(x=st.integers(-(2**40), 2**40), e=st.integers(-40, 20))
def test_shift(x: int, e: int) -> None:
    assert both(shift, [x], e) == [simulator.shift(x, e)]


def test_select() -> None:
    assert select(np.array([True, False]), 1, 2).tolist() == [1, 2]
