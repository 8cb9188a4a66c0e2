"""Accuracies with their intervals, and warnings at chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmdeploy.analysis.accuracy import Z, accuracies, accuracy_lines, chance_warnings, wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_ends_of_the_interval_solve_its_equation(numbers: tuple[int, int]) -> None:
    """An end p is where the share lies Z standard deviations of p away: ``(share - p)**2 = Z**2 p (1 - p) / n``."""
    right, samples = numbers
    share = right / samples
    low, high = wilson(right, samples)
    assert 0 <= low <= share <= high <= 1
    for p in (low, high):
        assert math.isclose((share - p) ** 2, Z * Z * p * (1 - p) / samples, rel_tol=1e-6, abs_tol=1e-12)


def test_intervals_cover_a_share_as_often_as_they_say() -> None:
    draws = np.random.default_rng(0).binomial(450, 0.9, 4000)
    covered = np.mean([low <= 0.9 <= high for low, high in (wilson(int(right), 450) for right in draws)])
    assert 0.93 < covered < 0.97


def test_accuracies_and_their_line() -> None:
    found = accuracies(450, 433, (436, 434))
    assert found["quantized"] == 433 / 450 and found["float"] == 436 / 450
    assert found["float_rounded_input"] == 434 / 450
    assert found["interval"]["quantized"] == [*wilson(433, 450)]
    assert [*accuracy_lines(found)] == [
        "accuracy of the integers over all samples: 0.9622 (95 %: 0.9403 to 0.9763)",
        "float network: 0.9689 (95 %: 0.9485 to 0.9814); on rounded inputs 0.9644 (95 %: 0.9430 to 0.9780)",
    ]
    assert [*accuracy_lines(accuracies(10, 8, None))][1:] == ["float network: not given"]
    assert [*accuracy_lines(accuracies(10, None, None))] == [
        "accuracy of the integers over all samples: not available (no labels)"
    ]
    assert accuracies(10, None, None)["interval"] == {"float": None, "float_rounded_input": None, "quantized": None}


@pytest.mark.parametrize(
    ("right", "samples", "classes", "warned"),
    [(45, 450, 10, True), (433, 450, 10, False), (1, 4, 2, True), (0, 450, 10, False), (450, 450, 1, False)],
)
def test_an_accuracy_at_chance_is_named(right: int, samples: int, classes: int, warned: bool) -> None:
    lines = [*chance_warnings(accuracies(samples, right, None), classes)]
    assert len(lines) == warned
    assert not lines or f"of the integers, {right / samples:.4f}" in lines[0]
