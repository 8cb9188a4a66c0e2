"""The statements of a population's step: their text, and their meaning, which is the reference's step.

After a change that is meant to change the texts: ``NMDEPLOY_UPDATE_GOLDEN=1 pytest tests/engine/test_statements.py``;
read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statement_runs
from engine_analysis import reaching
from formula_neuron import FormulaNeuron, formula_case
from formula_trees import Tree, numbers, tree_formula
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import MODELS, Case, dense_case, lif_case, state_space_case
from networks_values import values_case
from networks_windowed import windowed_case
from statement_runs import interpreted_differences

from nmdeploy.engine.llvm.compilation import lower_population
from nmdeploy.engine.llvm.population import SPELLINGS
from nmdeploy.engine.lower.statements import Choice, Loop, Statement
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.ops import rz, saturate, take, wrap24
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace

GOLDEN = Path(__file__).parent.parent / "golden" / "statements"
SEEDS = 2


def lif(du: int, vth: int) -> QuantizedLIF:
    return QuantizedLIF(du=du, dv=7, vth=vth, bias_mant=np.zeros(1, int), bias_exp=0)


def state_space(rounding: str) -> QuantizedStateSpace:
    """One neuron with five states, which a loop runs over, of parameters that any reader can multiply."""
    ones = np.ones((1, 5), int)
    return QuantizedStateSpace(
        rounding=rounding,
        state_bits=24,
        coefficient_bits=16,
        frac_a=12,
        frac_b=4,
        frac_c=15,
        frac_d=4,
        a_re=3000 * ones,
        a_im=1000 * ones,
        b_re=3 * ones[..., None],
        b_im=5 * ones[..., None],
        c_re=7 * ones[:, None],
        c_im=9 * ones[:, None],
        d=np.full((1, 1, 1), 11),
        bias=np.full((1, 1), 13),
        vth=np.full((1, 1), 99),
    )


POPULATIONS = {
    "lif": (lif(1024, 100), [1000], "none"),
    "lif-overflows": (lif(0, VTH_MAX), [1 << 18], "states"),
    "per-product": (state_space("per-product"), [1000], "none"),
    "per-sum": (state_space("per-sum"), [1000], "none"),
    "small-sums": (state_space("per-product"), [1 << 27], "none"),
}
FAMILIES = MODELS | {
    "state-space": state_space_case,
    "dense": dense_case,
    "loud-lif": lif_case,
    "windowed": windowed_case,
    "values": values_case,
}


def every(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Yield all statements, those of loops too."""
    for each in statements:
        yield each
        yield from every(each.body) if isinstance(each, Loop) else ()
        yield from every((*each.large, *each.small)) if isinstance(each, Choice) else ()


@pytest.mark.parametrize("name", POPULATIONS)
def test_texts(name: str) -> None:
    neuron, sums, level = POPULATIONS[name]
    text, path = str(lower_population(reaching(neuron, sums).network, "n", level)[2]), GOLDEN / f"{name}.txt"
    if os.environ.get("NMDEPLOY_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def equal(case: Case, steps: int = 24, seed: int = 0) -> None:
    """Compare every population of a network on random sums within their bounds, the bounds themselves among them."""
    for name in case.network.populations:
        assert not interpreted_differences(case.network, name, steps, seed), (case.name, name)


@pytest.mark.parametrize("name", POPULATIONS)
def test_populations_with_a_text_equal_the_reference(name: str) -> None:
    neuron, sums, _ = POPULATIONS[name]
    equal(reaching(neuron, sums), 60)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_equal_the_reference(family: str) -> None:
    for seed in range(SEEDS):
        equal(FAMILIES[family](seed), seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_more_of_each_family(family: str) -> None:
    for seed in range(SEEDS, 6 * SEEDS):
        equal(FAMILIES[family](seed), 40, seed)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    trees=st.lists(numbers(4), min_size=6, max_size=6),
    width=st.sampled_from([1, 2, 4, 5, 9]),
    neurons=st.sampled_from([1, 9, 33]),
)
def test_expressions_equal_the_reference(trees: list[Tree], width: int, neurons: int) -> None:
    formulas = {f"r{index}": tree_formula(tree) for index, tree in enumerate(trees)}
    equal(formula_case(formulas, width=width, neurons=neurons), 8)


@pytest.mark.parametrize("bits", [15, 22, 23, 24, 25, 30])
def test_values_beside_powers_of_two_equal_the_reference(bits: int) -> None:
    """Sums of 2**bits and beside it, whose products reach 2**53 and beyond, clipped, wrapped, rounded and compared."""
    formulas: dict[str, Any] = {
        "rounded": lambda e: rz(e.a * 4095, 12) + rz(e.a * -3, 1),
        "square": lambda e: rz(e.a * e.a, bits // 2),
        "beyond": lambda e: rz((e.a << 20) + e.a, 7) - (e.a >> 3),
        "clipped": lambda e: saturate(e.a, (1 << 23) - 1)[0] + saturate(e.a - 5, 1 << bits)[1],
        "one side": lambda e: np.minimum(e.a, (1 << bits) - 1) + np.maximum(e.a, -(1 << bits)),
        "wrapped": lambda e: wrap24(rz(e.a, 1))[0] + wrap24(rz(e.a, 1))[1],
        "compared": lambda e: (e.a >= (1 << bits)) + (e.a != -(1 << bits)) * 2 + np.sign(e.a) * 4,
        "remainder": lambda e: (e.a % 1000) + np.abs(e.a) + (e.a & 255),
    }
    for sign in (1, -1):
        sums = [sign * ((1 << bits) + beside) for beside in (-1, 0, 1)]
        equal(reaching(FormulaNeuron(3, 1, formulas, inputs=1), sums), 12)


TABLES: dict[str, Any] = {
    "of all": lambda e: take(np.array([5, -3, 1 << 20, 0]), e.x & 3) + take(np.array([5, 7]), e.t & 1),
    "of each": lambda e: take(e.p, e.t % 2) + e.y,
}


def test_tables_equal_the_reference() -> None:
    equal(formula_case(TABLES, neurons=9))


def test_every_kind_of_statement_is_met() -> None:
    cases = [lif_case(0), state_space_case(0), formula_case(TABLES), reaching(*POPULATIONS["small-sums"][:2])]
    lowered = [lower_population(each.network, name, "states")[2] for each in cases for name in each.network.populations]
    met = [each for one in lowered for each in every((*one.block, *one.step))]
    assert {type(each) for each in met} == set(SPELLINGS)


@pytest.mark.parametrize("change", ["nearest", "floor", "clip"])
def test_another_meaning_of_one_statement_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of 4095 and the sum is one less than a multiple of 4096, which the nearest float32 is."""
    formulas: dict[str, Any] = {"rounded": lambda e: rz(e.a * 4095, 12), "clipped": lambda e: saturate(e.a, 500)[0]}
    case = reaching(FormulaNeuron(2, 1, formulas, inputs=1), [(1 << 24) - 4095, 4095 - (1 << 24)])
    equal(case, 60)
    if change == "nearest":
        monkeypatch.setattr(statement_runs, "mul_rz", lambda x, y: x * y)
    elif change == "floor":
        monkeypatch.setitem(statement_runs.OPERATIONS, "trunc", np.floor)
    else:
        monkeypatch.setattr(statement_runs.Interpreter, "_clip", lambda self, s: self._value(s.value))
    assert interpreted_differences(case.network, "n", 60, 0)
