"""Matrices stay stable when they are rounded; what has no bound or no meaning is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.errors import BadOption, OverflowPossible, UnsupportedParameter
from nmdeploy.neurons.state_space.dense import DenseStateSpace, QuantizedDenseStateSpace, quantize_matrix

LIMIT = 2**15 - 1


def radius(a: Any) -> Any:
    return np.abs(np.linalg.eigvals(a)).max(-1)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    states=st.integers(1, 6),
    frac=st.integers(6, 12),
    near=st.floats(1e-9, 1e-2),
)
def test_a_stable_matrix_stays_stable(seed: int, states: int, frac: int, near: float) -> None:
    a = np.random.default_rng(seed).normal(size=(4, states, states))
    a *= ((1 - near) / radius(a))[:, None, None]
    a = a[np.abs(a).max((1, 2)) * 2**frac < LIMIT]
    codes, notes = quantize_matrix("n", a, frac, LIMIT)
    assert (codes == np.rint(codes)).all() and (radius(codes / 2.0**frac) < 1).all()
    left_alone = (codes == np.rint(a * 2.0**frac)).all((1, 2))
    assert bool(notes) == (not left_alone.all())
    assert (radius(np.rint(a * 2.0**frac) / 2.0**frac)[left_alone] < 1).all()


def test_what_was_done_about_it_is_reported() -> None:
    turned = 0.99999 * np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    codes, notes = quantize_matrix("block0", np.stack([turned, turned / 2]), 8, LIMIT)
    assert "block0" in notes[0] and "1 of 2 neurons" in notes[0]
    assert radius(codes[0] / 256) < 1 and (codes[1] == np.rint(turned / 2 * 256)).all()


def test_an_unstable_matrix_may_stay_unstable() -> None:
    shift = np.eye(3, k=-1)[None]
    codes, notes = quantize_matrix("n", np.concatenate([1.1 * np.eye(3)[None], shift]), 12, LIMIT)
    assert radius(codes[0] / 4096) > 1 and (codes[1] == shift * 4096).all() and not notes


def test_an_integrator_stays_one() -> None:
    codes, notes = quantize_matrix("n", np.ones((2, 1, 1)), 12, LIMIT)
    assert (codes == 4096).all() and not notes


def test_a_coefficient_beyond_its_format_is_refused() -> None:
    with pytest.raises(UnsupportedParameter, match=r"limit 7\.99"):
        quantize_matrix("n", np.full((1, 2, 2), 9.0), 12, LIMIT)


FLOAT: dict[str, Any] = {"b": np.ones((1, 2)), "c": np.ones((1, 2)), "d": 0.0, "v_threshold": 1.0}


def test_static_bounds_hold() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 0.2, (1, 2, 2))
    neuron = DenseStateSpace(a=a, **FLOAT)
    bound = neuron.bounds("n", np.array([3.0]))["x"] * neuron.unit()
    x = np.zeros(2)
    for _ in range(1000):
        x = a[0] @ x + rng.choice([-3.0, 3.0])
        assert (np.abs(x) <= bound[0] + 1e-9).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"a": np.eye(2)[None]},
        {"a": 0.1 * np.eye(2)[None], "soma": True},
        {"a": 0.1 * np.eye(2)[None], "reset_condition": "each", "reset_action": "soft", "r": 1.0},
    ],
    ids=["unstable", "soma", "feedback"],
)
def test_without_a_static_bound_data_is_asked_for(fields: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match=r"'n'.*--data"):
        DenseStateSpace(**FLOAT | fields).bounds("n", np.array([3.0]))


def integers(**fields: Any) -> QuantizedDenseStateSpace:
    ones = {"a": np.ones((1, 2, 2), int), "b": np.ones((1, 2), int), "c": np.ones((1, 2), int)}
    formats = {"rounding": "per-product", "state_bits": 24, "coefficient_bits": 16}
    fractions = dict.fromkeys(("frac_a", "frac_b", "frac_c", "frac_d"), 8)
    return QuantizedDenseStateSpace(**formats | fractions | ones | {"d": 0, "bias": 0, "vth": 1} | fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"spike": "phase"}, "complex state"),
        ({"a": np.full((1, 2, 2), 1 << 15)}, "32768 exceeds 16 bits"),
        ({"r": 1 << 23, "reset_condition": "any", "reset_action": "soft"}, "8388608 exceeds 24 bits"),
        ({"m": 1 << 31}, "2147483648 exceeds 32 bits"),
        ({"rounding": "per-sum", "frac_b": 9}, "frac_b <= frac_a"),
        ({"rounding": "up"}, "'up' is unknown"),
        ({"frac_c": 32}, "outside of 0 to 31"),
    ],
)
def test_refusals_name_the_limit(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadOption, match=words):
        integers(**fields)


def test_sums_that_cannot_be_proved_are_refused() -> None:
    wide = integers(state_bits=32, coefficient_bits=32, a=np.full((1, 2, 2), (1 << 31) - 1))
    with pytest.raises(OverflowPossible, match="limit 2\\*\\*62"):
        wide.check_overflow("n", np.array([1]))
    loud = integers(c=np.full((1, 2), LIMIT), frac_c=0)
    with pytest.raises(OverflowPossible, match=r"y can reach \d+, limit 2\*\*31"):
        loud.check_overflow("n", np.array([1]))
