"""Float32 lanes over a neuron's states: sums, gathered in 32-bit words up to their limit, and what a loop stores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from engine_analysis import proved, reaching
from equal_runs import both
from float32_lanes import SINGLE, formulas, held_lanes
from formula_neuron import FormulaNeuron, formula_case

from nmdeploy.engine.lower.lanes import Lane, LaneChoice
from nmdeploy.neurons.base import Registers, StepTime
from nmdeploy.neurons.ops import rz, saturate


@pytest.mark.parametrize("weight", [[SINGLE - 1, 2, 2 - SINGLE], [SINGLE - 1, 2, 2 - SINGLE, 0, 0, 0]])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_whose_terms_cancel(weight: list[int], sign: int) -> None:
    """Small, but not on the way there: what counts is the sum of the magnitudes."""
    held_lanes(reaching(formulas(r=lambda e: (e.a + sign * np.array([weight])).sum(-1)), [sign]))


@dataclass(frozen=True, eq=False)
class Before(FormulaNeuron):
    """Its formulas see the registers as they were before the step."""

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        (x,), (y, *_) = registers
        a = a.reshape(len(a), self.neurons, self.inputs)
        given = self.given(x, y, a, now.step)
        x, clipped = saturate(rz(x * 3, 2) + given.p + a[..., :1], 200)
        y, _ = saturate(a[..., 0] - y * 2, 500)
        return ((x,), (y, *[formula(given) for formula in self.formulas.values()])), y > 0, [clipped]


@pytest.mark.parametrize("width", [3, 8])
def test_products_that_are_read_after_their_loop(width: int) -> None:
    """What was stored is not computed again: its registers have changed."""
    values = {
        "first": lambda e: rz((e.x * e.p)[..., :1], 2),
        "one": lambda e: rz((e.x * e.p)[..., 2], 1),
        "square": lambda e: rz((e.x * e.x)[..., 1], 3),
        "again": lambda e: rz((e.x * e.p)[..., ::2], 2).sum(-1),
        "last": lambda e: rz((e.x * 77)[..., -1:], 4) - e.x[..., :1],
    }
    case = formula_case(values, 5, width)
    neuron = Before(5, width, values)
    network = replace(case.network, nodes={**case.network.nodes, "n": neuron})
    both(network, case.inputs)
    for name, value in values.items():
        both(replace(network, nodes={**network.nodes, "n": Before(5, width, {name: value})}), case.inputs)


def test_a_sum_over_what_turned_out_constant() -> None:
    values = {
        "r": lambda e: ((saturate(e.x, 1000)[1] * 1 + e.x * 0) + 0 * e.x).sum(-1),
        "s": lambda e: np.where(e.x > 10**6, e.x, e.a[..., :1] * 3 + 0 * e.x).sum(-1),
        "any": lambda e: (saturate(e.x, 1000)[1] | (e.x * 0 > 0)).any(-1),
    }
    for width in (3, 6):
        for name, value in values.items():
            case = formula_case({name: value}, 5, width)
            both(case.network, case.inputs)


SUMS = {
    "products": lambda e: (rz(e.x * 5, 1) - rz(e.x * 3, 2) + rz(e.x * e.p, 3)).sum(-1),
    "parameters": lambda e: (e.x - e.p).sum(-1) + (e.p - e.x * 2).sum(-1),
    "constants": lambda e: (7 - e.x).sum(-1),
    "input": lambda e: (e.x - e.a[..., :1] + (e.a[..., :1] - 3)).sum(-1),
    "steps": lambda e: (e.x + e.t % 5).sum(-1) - (rz(e.t % 7 * 3, 1) - e.x).sum(-1),
    "choices": lambda e: (np.where(e.flag, e.x - 1, e.p) + np.minimum(e.x, 3)).sum(-1),
    "conditions": lambda e: (e.flag * 3 - e.x).sum(-1),
    "many": lambda e: (e.x * 30_000 - rz(e.x * 29_999, 0)).sum(-1),
    "squares": lambda e: rz((e.x * e.x - rz(e.x * e.p, 2)).sum(-1), 3),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("width", [3, 6])
@pytest.mark.parametrize("neurons", [1, 65])
def test_sums_over_loops(name: str, width: int, neurons: int) -> None:
    """Sums of float32 are gathered in 32-bit integers, whatever their terms are made of."""
    case = formula_case({"rounded": lambda e: rz(e.a[..., 0] * 3, 1), name: SUMS[name]}, neurons, width, seed=width)
    both(case.network, case.inputs)


WORDS = {  # what 127 to 129 terms of up to 2**24 come to, and whether that fits a signed word
    "127 terms": ([SINGLE] * 127, True),
    "one below": ([SINGLE] * 127 + [SINGLE - 1], True),
    "at 2**31": ([SINGLE] * 128, False),
    "one beyond": ([SINGLE] * 128 + [1], False),
    "129 terms": ([SINGLE] * 129, False),
}


@pytest.mark.parametrize("terms", WORDS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("mixed", [False, True])
def test_sums_of_float32_at_31_bits(terms: str, sign: int, mixed: bool) -> None:
    """Gathered in 32-bit integers up to the limit; terms of both signs count by their magnitudes."""
    found, fits = WORDS[terms]
    weight = np.array([found]) * np.where(np.arange(len(found)) % 2, 1 - 2 * mixed, 1)
    case = reaching(formulas(r=lambda e: (e.a * weight).sum(-1)), [sign])
    assert held_lanes(case) == {"rounded": Lane.F32, "r": Lane.F64}
    step, bounds, _ = proved(case.network, "n")
    sums = [node for node in bounds if node.op == "sum"]
    assert [LaneChoice(step, bounds, single=True).adds_words(node) for node in sums] == [fits]
