"""Float32 lanes: what is computed in them, at their limit and one beside it, and that products round towards zero."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from engine_analysis import proved, reaching
from equal_runs import both
from formula_neuron import FormulaNeuron, formula_case
from hypothesis import given, settings
from hypothesis import strategies as st
from networks_build import Case

from nmdeploy.backends import embedded
from nmdeploy.engine.kinds import Kinds
from nmdeploy.engine.planning import program
from nmdeploy.neurons.base import Moment, Registers
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.ops import rz, saturate, wrap24

SINGLE, WRAP = 1 << 24, 1 << 23


def held(case: Case) -> dict[str, str]:
    """In which lanes each formula's value is kept, in a case whose runs agree."""
    both(case.network, case.inputs)
    population = program(case.network, "states").populations["n"]
    names = [*case.network.populations["n"].formulas]  # type: ignore[attr-defined]
    return dict(zip(names, (register.kind for register in population.layout.registers[2:]), strict=True))


def formulas(**found: Any) -> FormulaNeuron:
    return FormulaNeuron(1, 1, {"rounded": lambda e: rz(e.a * 3, 7), **found}, inputs=1)


def up(factor: int, bits: int) -> int:
    """Just under 2**24: its product with an odd factor is one less than a multiple of 2**bits."""
    return SINGLE - (1 << bits) - pow(factor, -1, 1 << bits) % (1 << bits)


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_24_bits(sign: int, beyond: int) -> None:
    """2**24 + 1 is the first integer that float32 does not hold."""
    case = reaching(formulas(r=lambda e: e.a + 0, s=lambda e: e.a * 1), [sign * (SINGLE + beyond)])
    kinds = held(case)
    assert kinds["r"] == kinds["s"] == ("s" if beyond <= 0 else "f")


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_and_differences_at_24_bits(sign: int, beyond: int) -> None:
    half = sign * (SINGLE // 2 + beyond)

    def near(e: Any) -> Any:
        return (e.a << 12) + np.where(e.a == 0, 0, half)

    kinds = held(reaching(formulas(r=near, t=lambda e: near(e) - e.a), [sign * (1 << 11)]))
    assert kinds["r"] == ("s" if beyond <= 0 else "f")


def test_a_nearest_product_would_be_wrong() -> None:
    """What the next test multiplies: rounded to nearest, float32 gives the next integer."""
    for factor, bits in ((3071, 12), (4095, 12), (32767, 15)):
        value = up(factor, bits)
        assert np.trunc(np.float32(value) * np.float32(factor / 2**bits)) != rz(value * factor, bits)


@pytest.mark.parametrize("bits", [1, 3, 6, 11, 12, 15])
@pytest.mark.parametrize("sign", [1, -1])
def test_products_round_towards_zero(bits: int, sign: int) -> None:
    """Literal factors, a parameter, and one that two registers have between them; each product ends in ones."""
    top = (1 << bits) - 1

    def parameter(e: Any) -> Any:
        return rz(e.a * (e.z * 0 + top), bits)

    values = {
        "literal": lambda e: rz(e.a * top, bits),
        "parameter": parameter,
        "below": lambda e: rz(e.a * (top // 2 | 1), bits),
        "negative": lambda e: rz(e.a * -top, bits),
        "square": lambda e: rz(e.a * rz(e.a, 24 - bits), bits),
        "rest": lambda e: rz(e.a * top, bits) - rz(e.a * (top // 2), bits),
    }
    for factor in (top, top // 2 | 1):
        kinds = held(reaching(formulas(**values), [sign * up(factor, bits)]))
        assert kinds["literal"] == kinds["parameter"] == "s"


@pytest.mark.parametrize("bits", [3, 12])
def test_a_constant_that_is_chosen_is_not_multiplied_beforehand(bits: int) -> None:
    """A compiler that multiplies both sides of a choice must round as the processor does."""
    factor = (1 << bits) - 1
    level = up(factor, bits)
    values = {"r": lambda e: rz(np.where(e.a > 0, level, e.a) * factor, bits)}
    values |= {"s": lambda e: rz(np.where(e.a > 0, level, -level) * factor, bits)}
    assert held(reaching(formulas(**values), [5])) == {"rounded": "s", "r": "s", "s": "s"}


def test_a_rounded_product_beyond_24_bits_is_not_taken() -> None:
    assert held(reaching(formulas(r=lambda e: rz(e.a * 4097, 12)), [SINGLE]))["rounded"] == "f"


def test_a_wider_value_stands_beside_narrow_ones() -> None:
    """A sum of many states, compared, chosen and clipped."""
    values = {
        "wide": lambda e: e.a * 3 + 1,
        "back": lambda e: rz(e.a * 3 + 1 - e.a * 2, 1),
        "clip": lambda e: saturate(e.a * 3 + 1, WRAP - 1)[0],
        "clipped": lambda e: saturate(e.a * 3 + 1, WRAP - 1)[1],
        "more": lambda e: e.a * 3 > SINGLE + 1,
        "bits": lambda e: (e.a & 255) + rz(e.a, 3),
    }
    kinds = held(reaching(FormulaNeuron(1, 1, values, inputs=1), [WRAP + 5]))
    assert kinds["wide"] == "f"


@pytest.mark.parametrize("reached", [WRAP - 1, WRAP, WRAP + 1, -WRAP, -WRAP - 1, SINGLE, -SINGLE])
def test_a_side_that_is_not_taken_may_not_fit(reached: int) -> None:
    """The correction of `wrap24` reaches 2**25 where it is not taken."""
    kinds = held(reaching(formulas(u=lambda e: wrap24(e.a)[0], wraps=lambda e: wrap24(e.a)[1]), [reached]))
    assert kinds["u"] == "s"


@pytest.mark.parametrize("du", [0, 1, 1024, 4095])
@pytest.mark.parametrize("a", [(1 << 17) - 1, 1 << 17, (1 << 17) + 1, -(1 << 17)])
def test_lif_is_narrow_and_wraps_as_it_should(du: int, a: int) -> None:
    """However slow its decay: between wraps its current stays within 24 bits."""
    neuron = QuantizedLIF(du=du, dv=7, vth=VTH_MAX, bias_mant=np.zeros(1, int), bias_exp=0)
    case = reaching(neuron, [a], [1] * 40 + [0] * 5)
    both(case.network, case.inputs)
    kinds = [register.kind for register in program(case.network).populations["n"].layout.registers]
    assert kinds[:2] == ["s", "s"]


@dataclass(frozen=True, eq=False)
class Before(FormulaNeuron):
    """Its formulas see the registers as they were before the step."""

    def advance(self, registers: Registers, a: Any, now: Moment) -> tuple[Registers, Any, list[Any]]:
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


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_clips_of_what_does_not_fit(sign: int, beyond: int) -> None:
    """Both ends at once, of which the outer one alone would fit."""
    for limit in (SINGLE - 1, SINGLE, SINGLE + 1):
        low = {"r": lambda e, m=limit: np.minimum(np.maximum(e.a, -m), 5)}
        high = {"r": lambda e, m=limit: np.maximum(np.minimum(e.a, m), -5)}
        for found in (low, high):
            flag = {"clips": lambda e, f=found["r"]: f(e) != e.a}
            held(reaching(formulas(**found, **flag), [sign * (limit + beyond)]))


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
    values = {"rounded": lambda e: rz(e.a * 3, 1), "r": lambda e: (e.a * weight).sum(-1)}
    case = reaching(FormulaNeuron(1, 1, values, inputs=1), [sign])
    assert held(case) == {"rounded": "s", "r": "f"}
    step, bounds, _ = proved(case.network, "n")
    sums = [node for node in bounds if node.op == "sum"]
    assert [Kinds(step, bounds, single=True).adds_words(node) for node in sums] == [fits]


@pytest.mark.parametrize("end", [-7, -1, 0, 1, 7])
@pytest.mark.parametrize("scale", [1, 1 << 26])
def test_clips_at_ends_of_every_sign(end: int, scale: int) -> None:
    values = {
        "low": lambda e: np.maximum(e.a * scale, end),
        "high": lambda e: np.minimum(e.a * scale, end),
        "both": lambda e: np.minimum(np.maximum(e.a * scale, end), end + 3),
        "crossed": lambda e: np.minimum(np.maximum(e.a * scale, end + 3), end),
        "zero": lambda e: np.maximum(rz(e.a * scale, 2) * -1, 0),
    }
    values |= {f"is {name}": lambda e, f=values[name]: f(e) != e.a * scale for name in ("low", "high", "both")}
    codes = np.arange(-9, 10)
    for sign in (1, -1):
        case = reaching(FormulaNeuron(19, 1, values, inputs=1), [sign * int(code) for code in codes])
        both(case.network, case.inputs)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(-SINGLE, SINGLE),
    st.lists(st.tuples(st.integers(-(1 << 16), 1 << 16), st.integers(0, 20)), min_size=1, max_size=4),
)
def test_any_products(a: int, factors: list[tuple[int, int]]) -> None:
    values = {f"{i}": lambda e, m=m, k=k: rz(e.a * m, k) for i, (m, k) in enumerate(factors)}
    held(reaching(FormulaNeuron(1, 1, values, inputs=1), [a]))


def test_the_rounding_of_the_caller_is_left_as_it_was() -> None:
    case = reaching(formulas(), [77])
    rounding = ctypes.CDLL(None).fegetround
    before = rounding()
    embedded.engine(case.network, "none").threads = 1  # in this very thread
    embedded.run(case.network, case.inputs)
    assert rounding() == before == 0
    assert np.float32(1) / np.float32(3) * np.float32(3) == np.float32(1)
