"""The proof that a state-space population cannot overflow is the same in int64 as in Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmdeploy.errors import NmdeployError
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace


@st.composite
def populations(draw: st.DrawFn) -> QuantizedStateSpace:
    """Codes of any width, so that some sums pass 2**31, 2**62 and 2**63."""
    h, n = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    bits, states = draw(st.sampled_from([8, 16, 24, 32])), draw(st.sampled_from([8, 16, 24, 32]))
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    fracs = {f"frac_{name}": draw(st.integers(0, bits - 1)) for name in "abcd"}
    code = st.one_of(st.sampled_from([low, 0, high]), st.integers(low, high))

    def codes(size: int) -> Any:
        return np.array(draw(st.lists(code, min_size=size, max_size=size)))

    tables = {f"{name}_{part}": codes(h * n).reshape(h, n) for name in "abc" for part in ("re", "im")}
    zeros = np.zeros(h, np.int64)
    try:
        return QuantizedStateSpace(
            rounding="per-product",
            state_bits=states,
            coefficient_bits=bits,
            **fracs,
            **tables,
            d=codes(h),
            bias=zeros,
            vth=zeros,
        )
    except NmdeployError:
        from hypothesis import reject

        reject()


def refusal(call: Any, *arguments: Any) -> str | None:
    try:
        call(*arguments)
    except NmdeployError as error:
        return str(error)
    return None


@given(populations(), st.one_of(st.integers(0, (1 << 31) - 1), st.sampled_from([1, (1 << 31) - 1])))
def test_the_overflows_are_those_of_unlimited_integers(neuron: QuantizedStateSpace, largest: int) -> None:
    a_max = np.full(neuron.input_size, largest)
    assert refusal(neuron.check_overflow, "n", a_max) == refusal(old_check, neuron, "n", a_max)


def old_check(self: QuantizedStateSpace, name: str, a_max: Any) -> None:
    codes = (np.abs(getattr(self, code).astype(object)) for code in self.coefficients)
    a_re, a_im, b_re, b_im, c_re, c_im, d = codes
    a = self.arriving_max(name, a_max)
    inner = (a_re + a_im) * self.limit + ((np.maximum(b_re, b_im) * a).sum(-1) << max(0, self.frac_a - self.frac_b))
    outer = (c_re + c_im).sum(-1) * self.limit + ((d * a).sum(-1) << max(0, self.frac_c - self.frac_d))
    self.check_common_overflow(name, inner.max(initial=0), outer)


@pytest.mark.parametrize(("bits", "exact"), [(16, np.int64), (32, object)])
def test_int64_is_used_where_it_holds_all_sums(bits: int, exact: Any) -> None:
    largest, zeros = np.full((1, 4), (1 << (bits - 1)) - 1), np.zeros(1, np.int64)
    tables = {f"{name}_{part}": largest for name in "abc" for part in ("re", "im")}
    fracs = {f"frac_{name}": 0 for name in "abcd"}
    neuron = QuantizedStateSpace(
        rounding="per-product", state_bits=32, coefficient_bits=bits, **fracs, **tables, d=zeros, bias=zeros, vth=zeros
    )
    assert neuron._type_of_sums(1 << 20) is exact
