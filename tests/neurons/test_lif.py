"""Ends of the LIF's stored formats, and what its quantizer refuses."""

from __future__ import annotations

import numpy as np
import pytest

from nmdeploy.errors import BadOption, DoesNotFit, OverflowPossible, UnsupportedParameter
from nmdeploy.neurons.base import QuantizationConfig, QuantizationContext
from nmdeploy.neurons.lif import LIF, QuantizedLIF


def stored(**fields: int) -> QuantizedLIF:
    return QuantizedLIF(**({"du": 0, "dv": 0, "vth": 0, "bias_mant": 0, "bias_exp": 0} | fields))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("du", 0, 4095), ("dv", 0, 4095), ("vth", 0, 131071), ("bias_mant", -4096, 4095), ("bias_exp", 0, 7)],
)
def test_ends_of_the_formats(name: str, low: int, high: int) -> None:
    assert getattr(stored(**{name: low}), name) == low
    assert getattr(stored(**{name: high}), name) == high
    for value in (low - 1, high + 1):
        with pytest.raises(BadOption, match=f"{name} = {value}"):
            stored(**{name: value})


def drive(size: int = 1, a_max: float = 1.0, peak: float = 1.0) -> QuantizationContext:
    one = np.ones(size)
    return QuantizationContext(
        scale=one, frac=7, a_max=a_max * one, ranges={"u": peak * one, "y": peak * one}, frac_max=15
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"v_reset": [0.3]}, "v_reset = 0.3"),
        ({"alpha": [1.5]}, "alpha = 1.5"),
        ({"beta": [-0.1]}, "beta = -0.1"),
        ({"v_threshold": [-1.0]}, "v_threshold = -1"),
    ],
)
def test_refused_parameters(fields: dict, message: str) -> None:
    neuron = LIF(**({"alpha": [0.5], "beta": [0.9], "v_threshold": [1.0]} | fields))
    with pytest.raises(UnsupportedParameter, match=message):
        neuron.quantize("n", drive(), QuantizationConfig())


def test_rule_loihi_has_24_bits() -> None:
    with pytest.raises(DoesNotFit, match="24-bit states, not 16"):
        LIF([0.5], 0.9, 1.0).quantize("n", drive(), QuantizationConfig(state_bits=16))


def test_decays_that_leave_their_range_are_reported() -> None:
    _, notes = LIF([0.0], 1 - 1e-5, 1.0).quantize("n", drive(), QuantizationConfig())
    assert "12-bit range" in notes[0]


@pytest.mark.parametrize("a_max", [0.1, 1.0, 3.0, 100.0, 1e6])
def test_scales_keep_u_in_range(a_max: float) -> None:
    quantized, _ = LIF([0.5], 0.9, 1.0).quantize("n", drive(a_max=a_max, peak=2.0), QuantizationConfig())
    assert isinstance(quantized, QuantizedLIF)
    quantized.check_overflow("n", np.array([int(np.ceil(a_max * 2.0**quantized.frac_in))]))
    assert a_max * 2.0 ** (quantized.frac_in + 6) <= 1 << 24


def largest_u(du: int, a: int) -> int:
    """The largest value that a constant sum drives u to, in unbounded integers."""
    u = peak = 0
    for _ in range(60_000):
        u = (u * (4095 - du) >> 12) + (a << 6)
        peak = max(peak, u)
        u -= (1 << 24) if u > 1 << 23 else 0
    return peak


@pytest.mark.parametrize("du", [0, 1, 100, 4095])
def test_the_proof_is_sound_and_close(du: int) -> None:
    """At the largest sum that the proof accepts u stays within 32 bits; at 5 % more it does not."""
    neuron = stored(du=du)
    low, high = 1, 1 << 26
    while high - low > 1:
        middle = (low + high) // 2
        try:
            neuron.check_overflow("n", np.array([middle]))
            low = middle
        except OverflowPossible:
            high = middle
    with pytest.raises(OverflowPossible, match="lower the weight exponent"):
        neuron.check_overflow("n", np.array([high]))
    assert largest_u(du, low) < 1 << 31 <= largest_u(du, high * 21 // 20)
