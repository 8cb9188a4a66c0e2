"""Bounds are the exact ones where docs/engine.md says so: comparisons, choices, countdowns, at and beside each end."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_analysis import proved, reaching
from formula_neuron import FormulaNeuron

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
REACHED = (6, -6)
LIMITS = range(-8, 9)


def bounds(formulas: dict[str, Callable[[Any], Any]], reached: int) -> dict[str, tuple[int, int]]:
    """What is proved of formulas of a sum ``a`` between 0 and `reached`."""
    made = {name: lambda e, f=formula: f(e.a) for name, formula in formulas.items()}
    found = proved(reaching(FormulaNeuron(1, 1, made, inputs=1), [reached]).network, "n")
    return {name: (int(found.of(name).low.min()), int(found.of(name).high.max())) for name in formulas}


def exact(formula: Callable[[Any], Any], reached: int) -> tuple[int, int]:
    """The same of every integer that the sum can be."""
    values = formula(np.arange(min(0, reached), max(0, reached) + 1))
    return int(np.min(values)), int(np.max(values))


def assert_exact(formulas: dict[str, Callable[[Any], Any]]) -> None:
    for reached in REACHED:
        for name, found in bounds(formulas, reached).items():
            assert found == exact(formulas[name], reached), (name, reached)


@pytest.mark.parametrize("sign", COMPARISONS)
def test_comparisons_that_always_or_never_hold(sign: str) -> None:
    compare = COMPARISONS[sign]
    found = {f"a {sign} {limit}": lambda a, c=limit: compare(a, c) for limit in LIMITS}
    found |= {f"{limit} {sign} a": lambda a, c=limit: compare(np.full_like(a, c), a) for limit in LIMITS}
    assert_exact(found)


@pytest.mark.parametrize("sign", [">", ">=", "<", "<="])
def test_both_sides_of_a_choice_under_its_condition(sign: str) -> None:
    compare = COMPARISONS[sign]
    found: dict[str, Callable[[Any], Any]] = {}
    for limit in LIMITS:
        found |= {
            f"yes {limit}": lambda a, c=limit: np.where(compare(a, c), a, c),
            f"no {limit}": lambda a, c=limit: np.where(compare(a, c), c, a),
            f"not {limit}": lambda a, c=limit: np.where(~compare(a, c), a, c),
            f"less {limit}": lambda a, c=limit: np.where(compare(a, c), a - 3, 1),
            f"and {limit}": lambda a, c=limit: np.where(compare(a, c) & (a < 4), a, c),
            f"or {limit}": lambda a, c=limit: np.where(compare(a, c) | (a > 4), c, a),
        }
    assert_exact(found)


def counted(x: Any) -> Any:
    return x - (x != 0)


def test_countdowns_from_any_start() -> None:
    assert_exact({f"from {more}": lambda a, m=more: counted(a + m) for more in (0, 1, 2, 7)})
