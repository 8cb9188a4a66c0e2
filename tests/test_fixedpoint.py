"""Number formats at every power-of-two edge, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint

BITS = st.integers(1, 32)
FRAC = st.integers(-20, 40)


@given(bits=BITS, frac=FRAC, signed=st.booleans(), code=st.integers(-(2**31), 2**32 - 1))
def test_codes_survive(bits: int, frac: int, signed: bool, code: int) -> None:
    number = FixedPoint(bits, frac, signed)
    code = min(max(code, number.min), number.max)
    assert number.quantize(number.dequantize(code)) == code
    assert Fraction(float(number.dequantize(code))) == Fraction(code) / Fraction(2) ** frac


@pytest.mark.parametrize("bits", range(1, 33))
@pytest.mark.parametrize("signed", [True, False])
def test_ends_of_every_width(bits: int, signed: bool) -> None:
    number = FixedPoint(bits, 0, signed)
    assert (number.min, number.max) == ((-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1))
    assert number.quantize([number.max, number.max + 1, number.min, number.min - 1]).tolist() == [
        *(number.max, number.max),
        *(number.min, number.min),
    ]
    wraps = FixedPoint(bits, 0, signed, overflow="wrap")
    assert wraps.quantize([number.max + 1, number.min - 1]).tolist() == [number.min, number.max]
    assert number.contains([number.min, number.max]) and not number.contains([number.max + 1])


@given(value=st.floats(-1000, 1000), frac=st.integers(0, 12))
def test_roundings(value: float, frac: int) -> None:
    exact = Fraction(value) * 2**frac
    wanted = {"nearest": round(exact), "zero": math.trunc(exact), "floor": math.floor(exact)}
    for rounding, code in wanted.items():
        assert FixedPoint(32, frac, rounding=rounding).quantize(value) == code


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 0}, "0 bits"),
        ({"bits": 33}, "33 bits"),
        ({"bits": 8, "rounding": "up"}, "'up'"),
        ({"bits": 8, "overflow": "x"}, "'x'"),
    ],
)
def test_refusals(fields: dict, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        FixedPoint(**fields)


def test_json_round_trip() -> None:
    number = FixedPoint(5, 4, signed=False, rounding="floor", overflow="wrap")
    assert FixedPoint(**number.to_json()) == number
