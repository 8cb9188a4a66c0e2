"""Float32 lanes: what is computed in them, at their limit and one beside it, and that products round towards zero."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from engine_analysis import reaching
from equal_runs import both
from float32_lanes import SINGLE, formulas, held_lanes, rounding_lanes
from formula_neuron import FormulaNeuron
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.backends import compiled
from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.ops import rz, saturate, wrap24

WRAP = 1 << 23


def up(factor: int, bits: int) -> int:
    """Just under 2**24: its product with an odd factor is one less than a multiple of 2**bits."""
    return SINGLE - (1 << bits) - pow(factor, -1, 1 << bits) % (1 << bits)


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_24_bits(sign: int, beyond: int) -> None:
    """2**24 + 1 is the first integer that float32 does not hold."""
    case = reaching(formulas(r=lambda e: e.a + 0, s=lambda e: e.a * 1), [sign * (SINGLE + beyond)])
    lanes = held_lanes(case)
    assert lanes["r"] == lanes["s"] == (Lane.F32 if beyond <= 0 else Lane.F64)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_and_differences_at_24_bits(sign: int, beyond: int) -> None:
    half = sign * (SINGLE // 2 + beyond)

    def near(e: Any) -> Any:
        return (e.a << 12) + np.where(e.a == 0, 0, half)

    lanes = held_lanes(reaching(formulas(r=near, t=lambda e: near(e) - e.a), [sign * (1 << 11)]))
    assert lanes["r"] == (Lane.F32 if beyond <= 0 else Lane.F64)


@pytest.mark.parametrize("by", [1, 6, 12])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_shifted_value_needs_the_digits_of_the_value(sign: int, beyond: int, by: int) -> None:
    """A multiple of 2**by up to 2**(24 + by) is a float32; its sum with a value of smaller steps need not be."""
    case = reaching(
        formulas(
            product=lambda e: rz((e.a << by) * 5, by + 3),
            difference=lambda e: rz(((e.a << by) - (e.a << by - 1)) * 3, by + 2),
            shifted=lambda e: e.a << by,
            mixed=lambda e: (e.a << by) + e.z * 0 + np.where(e.a == 0, 0, 1),
        ),
        [sign * (SINGLE + beyond)],
    )
    held_lanes(case)
    assert rounding_lanes(case)["product"] == (Lane.F32 if beyond <= 0 else Lane.F64)


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
        lanes = held_lanes(reaching(formulas(**values), [sign * up(factor, bits)]))
        assert lanes["literal"] == lanes["parameter"] == Lane.F32


@pytest.mark.parametrize("bits", [3, 12])
def test_a_constant_that_is_chosen_is_not_multiplied_beforehand(bits: int) -> None:
    """A compiler that multiplies both sides of a choice must round as the processor does."""
    factor = (1 << bits) - 1
    level = up(factor, bits)
    values = {"r": lambda e: rz(np.where(e.a > 0, level, e.a) * factor, bits)}
    values |= {"s": lambda e: rz(np.where(e.a > 0, level, -level) * factor, bits)}
    assert held_lanes(reaching(formulas(**values), [5])) == {"rounded": Lane.F32, "r": Lane.F32, "s": Lane.F32}


@pytest.mark.parametrize(("a", "factor", "bits"), [(SINGLE, 4097, 12), ((SINGLE + 1) * 2 // 5 + 1, 5, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_rounded_product_beyond_24_bits_is_not_taken(a: int, factor: int, bits: int, sign: int) -> None:
    """One beyond, too: cut off behind 24 bits, 2**24 + 1 would be 2**24."""
    case = reaching(formulas(r=lambda e: rz(e.a * factor, bits), s=lambda e: rz(e.a * factor, bits + 1)), [sign * a])
    assert held_lanes(case)["r"] == rounding_lanes(case)["r"] == Lane.F64
    assert rounding_lanes(case)["s"] == (Lane.F32 if a <= SINGLE else Lane.F64)
    assert held_lanes(reaching(formulas(r=lambda e: rz(e.a * 5, 1)), [sign * 6710886])) == {
        "rounded": Lane.F32,
        "r": Lane.F32,
    }


@pytest.mark.parametrize("beyond", [-1, 0, 1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_factors_at_24_bits(sign: int, beyond: int) -> None:
    """A product is rounded in float32 lanes only if both factors fit them."""
    case = reaching(formulas(r=lambda e: rz(e.a * 7, 3)), [sign * (SINGLE + beyond)])
    held_lanes(case)
    assert rounding_lanes(case)["r"] == (Lane.F32 if beyond <= 0 else Lane.F64)


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_comparisons_at_24_bits(sign: int, beyond: int) -> None:
    """Of values in lanes of their own kind, and against the next integer."""
    limit = sign * (SINGLE + beyond)
    values = {f"{c} {d}": lambda e, c=c, d=d: compared(e.a + sign, limit + d)[c] for c in range(4) for d in (-1, 0, 1)}
    held_lanes(reaching(formulas(**values), [limit - sign]))


def compared(a: Any, b: int) -> list[Any]:
    return [a > b, a >= b, a == b, np.where(a < b, a, b)]


def test_a_side_of_two_choices_is_as_wide_as_the_wider() -> None:
    """Taken by one only where it is small, by the other beyond 24 bits too."""

    def both_take(e: Any) -> Any:
        side = e.a + (SINGLE - 5)
        return np.where(e.a > 5, 0, side) - np.where(e.y[..., None] > 3, side, 1)

    assert held_lanes(reaching(formulas(r=both_take), [8])) == {"rounded": Lane.F32, "r": Lane.F64}


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
    lanes = held_lanes(reaching(FormulaNeuron(1, 1, values, inputs=1), [WRAP + 5]))
    assert lanes["wide"] == Lane.F64


@pytest.mark.parametrize("reached", [WRAP - 1, WRAP, WRAP + 1, -WRAP, -WRAP - 1, SINGLE, -SINGLE])
def test_a_side_that_is_not_taken_may_not_fit(reached: int) -> None:
    """The correction of `wrap24` reaches 2**25 where it is not taken."""
    lanes = held_lanes(reaching(formulas(u=lambda e: wrap24(e.a)[0], wraps=lambda e: wrap24(e.a)[1]), [reached]))
    assert lanes["u"] == Lane.F32


@pytest.mark.parametrize("du", [0, 1, 1024, 4095])
@pytest.mark.parametrize("a", [(1 << 17) - 1, 1 << 17, (1 << 17) + 1, -(1 << 17)])
def test_lif_is_narrow_and_wraps_as_it_should(du: int, a: int) -> None:
    """However slow its decay: between wraps its current stays within 24 bits."""
    neuron = QuantizedLIF(du=du, dv=7, vth=VTH_MAX, bias_mant=np.zeros(1, int), bias_exp=0)
    case = reaching(neuron, [a], [1] * 40 + [0] * 5)
    both(case.network, case.inputs)
    lanes = [register.lane for register in compile_network(case.network).populations["n"].layout.registers]
    assert lanes[:2] == [Lane.F32, Lane.F32]


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_clips_of_what_does_not_fit(sign: int, beyond: int) -> None:
    """Both ends at once, of which the outer one alone would fit; what is clipped lies on either side of 0."""
    for limit in (SINGLE - 1, SINGLE, SINGLE + 1):
        low = lambda x, m=limit: np.minimum(np.maximum(x, -m), 5)  # noqa: E731
        high = lambda x, m=limit: np.maximum(np.minimum(x, m), -5)  # noqa: E731
        for clip in (low, high):
            values = {"r": lambda e, f=clip: f(e.a - sign * 8), "clips": lambda e, f=clip: differs(f, e.a - sign * 8)}
            held_lanes(reaching(formulas(**values), [sign * (limit + beyond + 8)]))


def differs(clip: Any, x: Any) -> Any:
    return clip(x) != x


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
    held_lanes(reaching(FormulaNeuron(1, 1, values, inputs=1), [a]))


def test_the_rounding_of_the_caller_is_left_as_it_was() -> None:
    case = reaching(formulas(), [77])
    rounding = ctypes.CDLL(None).fegetround
    before = rounding()
    compiled.engine(case.network, "none").threads = 1  # in this very thread
    compiled.run(case.network, case.inputs)
    assert rounding() == before == 0
    assert np.float32(1) / np.float32(3) * np.float32(3) == np.float32(1)


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_a_shift_of_all_neurons_alike_is_a_literal(bits: int) -> None:
    """It is one rounding then, in float32 lanes, although other constants are parameters in memory."""
    case = reaching(formulas(r=lambda e: rz(e.a * 7, np.full((1, 1), bits))), [1000])
    held_lanes(case)
    assert rounding_lanes(case)["r"] == Lane.F32
