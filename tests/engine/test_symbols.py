"""What a step does to symbols is what NumPy does to arrays: compiled values of expressions equal the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from equal_runs import both
from formula_neuron import Formula, formula_case
from formula_trees import Tree, numbers, tree_formula
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.neurons.ops import rz, saturate, select, shift, take, wrap24

TABLE = np.array([5, -3, 77, 0, 1 << 20, -9, 2, 8])
WIDTHS = (1, 2, 3, 4, 5, 9)

ARITHMETIC: dict[str, Formula] = {
    "sum": lambda e: e.x + e.p + 3,
    "difference": lambda e: 7 - e.x - e.y[..., None],
    "product": lambda e: e.x * e.p * e.a[..., :1],
    "large product": lambda e: e.x * 123456789 * 98765,
    "too large for float64": lambda e: (e.x * 123456789 * 98765 + 1) - e.x * 123456789 * 98765,
    "negated": lambda e: -e.x + np.negative(e.y)[..., None],
    "doubled": lambda e: e.x << 3,
    "halved": lambda e: e.x >> 1,
    "halved by more than it has": lambda e: e.x >> 40,
    "shifted by each neuron's own": lambda e: (e.x << np.abs(e.p)) + (e.x >> np.abs(e.z)),
    "power of two of each state": lambda e: 1 << (e.x & 15),
    "remainder": lambda e: e.x % 7 + e.x % 8 + np.remainder(e.y, 10)[..., None],
    "smaller": lambda e: np.minimum(e.x, e.p * 20),
    "larger": lambda e: np.maximum(np.maximum(e.x, -4), e.y[..., None]),
    "magnitude": lambda e: np.abs(e.x) + abs(e.y)[..., None],
    "sign": lambda e: np.sign(e.x) * 3 + np.sign(e.p),
    "bits": lambda e: (e.x & 12) + (np.abs(e.x) | 5) + (np.abs(e.x) ^ e.y[..., None] & 63),
    "bits of what is negative": lambda e: (e.x | 3) + (e.x ^ 5),
    "inverted": lambda e: ~e.x,
    "nothing": lambda e: e.x - e.x + (e.x == e.x),
    "ones": lambda e: e.x * 1 + 0 - 0 + (e.x << 0),
    "rounded towards zero": lambda e: rz(e.x, 2) + rz(e.x * e.p, 5),
    "rounded not at all": lambda e: rz(e.x, 0),
    "shifted": lambda e: shift(e.x, -2) + shift(e.x, 2),
    "saturated": lambda e: saturate(e.x, 100)[0] + saturate(e.x, LIMITS)[1],
    "wrapped": lambda e: wrap24(e.x << 15)[0] + wrap24(e.x << 15)[1],
}
LIMITS = 499
BOOLEANS: dict[str, Formula] = {
    "compared": lambda e: (e.x > e.p) & (e.x >= -20) | (e.x < -100) ^ (e.x <= 3),
    "equal": lambda e: (e.x == e.p) | (e.x != 4),
    "sum of booleans": lambda e: e.flag + (e.x < 0),
    "product of booleans": lambda e: e.flag * (e.x < 100),
    "boolean and number": lambda e: e.flag + 1,
    "boolean times number": lambda e: e.flag * e.x,
    "number less boolean": lambda e: e.x - e.flag,
    "booleans compared": lambda e: (e.flag == (e.x > 50)) & (e.flag != (e.x > 60)) | (e.flag < (e.x > 0)),
    "boolean compared with a number": lambda e: (e.flag == 1) | (e.flag > 1) | (e.flag == 0),
    "not": lambda e: ~e.flag,
    "not not": lambda e: ~~e.flag ^ e.flag,
    "logical": lambda e: np.logical_and(e.x, e.p) | np.logical_or(e.flag, e.y[..., None]),
    "logical not": lambda e: np.logical_not(e.x) ^ np.logical_xor(e.x, e.flag),
    "least boolean": lambda e: np.minimum(e.flag, e.x > 0) | np.maximum(e.flag, e.x < 0),
    "masked by a parameter": lambda e: e.flag & (e.p > 0),
    "masked by a constant": lambda e: (e.flag & True) | (e.flag & False) | (e.flag | False),
    "a number as boolean": lambda e: e.x.astype(bool),
    "a boolean as number": lambda e: e.flag.astype(np.int64) + e.x.astype(np.int64),
}
CHOICES: dict[str, Formula] = {
    "where": lambda e: np.where(e.flag, e.x, e.p),
    "where of numbers": lambda e: np.where(e.x, e.x, 9),
    "where both are the same": lambda e: np.where(e.flag, e.x, e.x),
    "where of constants": lambda e: np.where(e.flag, 5, -5),
    "where of booleans": lambda e: np.where(e.flag, e.x > 9, e.x < -9),
    "where of a boolean and 0": lambda e: np.where(e.flag, e.x > 9, 0) + np.where(e.flag, 1, e.x > 9),
    "where of a boolean and 7": lambda e: np.where(e.x > 0, e.flag, 7),
    "where it is false": lambda e: np.where(e.flag, False, e.x > 0) | np.where(e.x < 0, True, e.flag),
    "where a parameter says so": lambda e: np.where(e.p > 0, e.x, -e.x),
    "where a constant says so": lambda e: select(True, e.x, 3) + select(False, e.x, 3),
    "by the step": lambda e: np.where(e.t % 3 == 1, e.x, e.t),
    "only once": lambda e: np.where((e.t > 3) & (e.t < 5), e.x, 0) + (e.t == 2),
    "step of a period": lambda e: e.x * (e.t % 4) + (e.t << 2) - (e.t >> 1),
    "nested": lambda e: np.where(e.x > 9, np.where(e.x > 90, 1, 2), np.where(e.flag, 3, e.x)),
}
VIEWS: dict[str, Formula] = {
    "summed": lambda e: e.x.sum(-1),
    "summed by NumPy": lambda e: np.sum(e.x * e.p, -1),
    "booleans summed": lambda e: e.flag.sum(-1),
    "any": lambda e: e.flag.any(-1),
    "any number": lambda e: (e.x & 1).any(-1, keepdims=True),
    "any by NumPy": lambda e: np.any(e.x > 300, -1),
    "first": lambda e: e.x[..., 0] - e.a[:, :, -1],
    "last kept": lambda e: e.x[..., -1:] + e.x,
    "part": lambda e: e.x[..., 1:].sum(-1) if e.x.shape[-1] > 1 else e.y,
    "every second": lambda e: e.x[:, :, ::2].sum(-1),
    "new axis": lambda e: e.y[..., None] + e.x,
    "new axes": lambda e: e.x[:, :, None] * e.m,
    "matrix": lambda e: (e.m * e.x[:, :, None]).sum(-1),
    "matrix the other way": lambda e: (e.m * e.x[:, :, :, None]).sum(-1),
    "matrix of what a sum gave": lambda e: (e.m * (e.x - e.x.sum(-1)[..., None])[:, :, None]).sum(-1),
    "sum of sums": lambda e: (e.m * e.x[:, :, None]).sum(-1).sum(-1),
    "one axis more": lambda e: e.x[..., None],
    "merged and apart": lambda e: (e.a.reshape(1 if len(e.a) == 1 else len(e.a), -1)).reshape(e.a.shape),
    "like": lambda e: np.zeros_like(e.x) + np.ones_like(e.y)[..., None] + np.full_like(e.x, 4),
    "like booleans": lambda e: np.zeros_like(e.x, bool) | np.ones_like(e.flag) & np.full_like(e.flag, e.t == 3),
    "taken": lambda e: take(TABLE, e.x & 7),
    "taken from each neuron's own": lambda e: take(e.p, e.t % e.p.shape[1]) + e.y,
    "shape": lambda e: e.x * e.x.shape[-1] + e.x.ndim + np.ndim(e.y) + np.shape(e.x)[2],
}
SINGLE: dict[str, Formula] = {
    "all true": lambda e: e.flag | True,
    "taken by all alike": lambda e: take(TABLE, e.t % 8) + e.x,
}
ALL = {"arithmetic": ARITHMETIC, "booleans": BOOLEANS, "choices": CHOICES, "views": VIEWS}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("group", ALL)
def test_operations(group: str, width: int) -> None:
    case = formula_case(ALL[group], width=width, neurons=9)
    both(case.network, case.inputs)


@pytest.mark.parametrize("name", SINGLE)
def test_single_operations(name: str) -> None:
    for width in (1, 3, 9):
        case = formula_case({name: SINGLE[name]}, width=width)
        both(case.network, case.inputs)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    trees=st.lists(numbers(4), min_size=8, max_size=8),
    width=st.sampled_from(WIDTHS),
    neurons=st.sampled_from([1, 7, 9, 33]),
)
def test_random_expressions(trees: list[Tree], width: int, neurons: int) -> None:
    formulas = {f"r{index}": tree_formula(tree) for index, tree in enumerate(trees)}
    case = formula_case(formulas, width=width, neurons=neurons)
    both(case.network, case.inputs)
