"""Dense synapses: sign modes at their edges, scales, biases, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.synapses.dense import SIGN_MODES, Dense, QuantizedDense, chip_exponent, code_range

ALL_MODES = QuantizationConfig(sign_modes=SIGN_MODES)


@pytest.mark.parametrize("mode", SIGN_MODES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_fill_what_the_chip_holds(mode: str, bits: int) -> None:
    """docs/arithmetic.md: the weight as Loihi holds it has 8 bits and a sign, mixed ones even."""
    low, high = code_range(mode, bits)
    step = 1 << chip_exponent(mode, bits)
    ends = {"mixed": (-256, 256 - step), "excitatory": (0, 256 - step), "inhibitory": (-256 + step, 0)}[mode]
    assert (low * step, high * step) == ends
    QuantizedDense([[low, high]], bits, 0, mode)
    for code in (low - 1, high + 1):
        with pytest.raises(BadOption, match=f"{bits} bits, {mode}"):
            QuantizedDense([[code]], bits, 0, mode)


@pytest.mark.parametrize("bits", [0, 9, 33])
def test_weight_bits_have_limits(bits: int) -> None:
    with pytest.raises(BadOption, match=f"{bits} weight bits"):
        QuantizedDense([[0]], bits)


@settings(max_examples=100, deadline=None)
@given(
    weight=st.lists(st.lists(st.integers(-128, 127), min_size=3, max_size=3), min_size=1, max_size=4),
    s=st.lists(st.integers(0, 7), min_size=3, max_size=3),
    exponent=st.integers(-8, 12),
    bias=st.integers(-128, 127),
)
def test_sums_and_their_bound(weight: list[list[int]], s: list[int], exponent: int, bias: int) -> None:
    synapse = QuantizedDense(weight, weight_exp=exponent, bias=[bias] * len(weight), bias_exp=2)
    exact = [sum(w * x for w, x in zip(row, s, strict=True)) for row in weight]
    wanted = [(x << exponent if exponent >= 0 else x >> -exponent) + (bias << 2) for x in exact]
    found = synapse.apply(np.array([s], np.int64))[0]
    assert found.tolist() == wanted
    assert (np.abs(found) <= synapse.a_max(7)).all()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1000), bits=st.integers(2, 8), sign=st.sampled_from(SIGN_MODES))
def test_rounding_is_to_the_nearest_code(seed: int, bits: int, sign: str) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(5, 7)) * rng.choice([1e-3, 1.0, 50.0])
    weight = {"mixed": weight, "excitatory": np.abs(weight), "inhibitory": -np.abs(weight)}[sign]
    config = QuantizationConfig(weight_bits=bits, sign_modes=SIGN_MODES)
    synapse, scale = Dense(weight), np.ones(5)
    q = synapse.quantize(scale, synapse.frac(scale, config), 0, config)
    low, high = code_range(q.sign_mode, bits)
    clipped = np.ldexp(weight, q.frac) > high + 0.5
    assert q.sign_mode == (sign if weight.any() else "mixed")
    assert (np.abs(np.ldexp(q.weight.astype(float), -q.frac) - weight) <= 0.5 * 2.0**-q.frac + 1e-12)[~clipped].all()
    assert np.abs(q.weight).max() > max(high, -low) / 2 - 1


def test_a_profile_without_sign_modes_gets_mixed_weights() -> None:
    assert Dense(np.ones((2, 2))).quantize(np.ones(2), 6, 0, QuantizationConfig()).sign_mode == "mixed"
    assert Dense(np.ones((2, 2))).quantize(np.ones(2), 6, 0, ALL_MODES).sign_mode == "excitatory"
    assert Dense(np.zeros((2, 2))).quantize(np.ones(2), 6, 0, ALL_MODES).sign_mode == "mixed"


def test_biases_never_floor() -> None:
    q = Dense(np.eye(2), np.array([1e-3, -3e-3])).quantize(np.ones(2), 6, 0, QuantizationConfig())
    assert q.bias is not None and q.bias_exp >= 0 and q.bias_frac <= 6
    assert q.synapse_count == 2 + int((q.bias != 0).sum())


def test_counts() -> None:
    q = QuantizedDense([[1, 0, 2], [0, 0, 3]], 4, bias=[1, 0])
    assert q.fan_out.tolist() == [1, 0, 2]
    assert (q.synapse_count, q.bias_synapses, q.footprint_bits, q.shape) == (4, 1, 4 * 8, (2, 3))


@pytest.mark.parametrize("exponent", [0, 1, 40, 54, 55, 58, 60, 63, 64, 10**9])
def test_the_largest_sum_is_computed_without_limit(exponent: int) -> None:
    made = QuantizedDense(
        np.array([[100, -27], [0, 0]]), weight_exp=exponent, bias=np.array([-1, 0]), bias_exp=exponent
    )
    wanted = (127 * 3 + 1) << min(exponent, 99)
    assert made.a_max(3).tolist() == [min(wanted, (1 << 63) - 1), 0]
