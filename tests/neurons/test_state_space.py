"""Poles stay inside the unit circle; scales use their widths; refusals name their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.errors import BadOption, OverflowPossible, UnsupportedParameter
from nmdeploy.neurons.base import QuantizationConfig, QuantizationContext
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace, StateSpace, quantize_poles

LIMIT = 2**15 - 1


@settings(max_examples=300, deadline=None)
@given(
    radius=st.one_of(st.floats(0, 1, exclude_max=True), st.floats(0.999, 1, exclude_max=True)),
    angle=st.floats(-np.pi, np.pi),
    frac=st.integers(4, 14),
)
def test_a_stable_pole_stays_stable(radius: float, angle: float, frac: int) -> None:
    a = np.array([[radius * np.exp(1j * angle)]])
    codes, notes = quantize_poles("n", a, frac, LIMIT)
    re, im = int(codes[0, 0].real), int(codes[0, 0].imag)
    stable = np.abs(a)[0, 0] < 1  # of the array: of the number alone, the last bit may be another one
    if stable:
        assert re * re + im * im < 1 << (2 * frac)
    assert abs(codes[0, 0] / 2**frac - a[0, 0]) < 2.0 ** (1 - frac)
    naive = np.rint(a.real * 2**frac) ** 2 + np.rint(a.imag * 2**frac) ** 2 >= 1 << (2 * frac)
    assert bool(notes) == bool(naive[0, 0] and stable)


def test_what_was_done_about_it_is_reported() -> None:
    a = np.array([[0.99999 + 0j, 0.5], [0.99999j, -0.99999]])
    codes, notes = quantize_poles("block0", a, 12, LIMIT)
    assert "block0" in notes[0] and "3 of 4 stable poles" in notes[0]
    assert np.abs(codes).max() < 4096


def test_an_unstable_pole_may_stay_unstable() -> None:
    codes, notes = quantize_poles("n", np.array([[1.1 + 0.2j]]), 12, LIMIT)
    assert abs(codes[0, 0]) > 4096 and not notes


def test_a_pole_beyond_its_format_is_refused() -> None:
    with pytest.raises(UnsupportedParameter, match=r"limit 7\.99"):
        quantize_poles("n", np.array([[9.0 + 0j]]), 12, LIMIT)


def population(**fields: object) -> QuantizedStateSpace:
    one = np.ones((1, 1), int)
    base = {
        "rounding": "per-product",
        "state_bits": 24,
        "coefficient_bits": 16,
        "frac_a": 12,
        "frac_b": 0,
        "frac_c": 15,
        "frac_d": 15,
        **dict.fromkeys(("a_re", "a_im", "b_re", "b_im", "c_re", "c_im"), one),
        "d": [0],
        "bias": [0],
        "vth": [0],
    }
    return QuantizedStateSpace(**(base | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rounding": "up"}, "'up' is unknown"),
        ({"reset_action": "x"}, "'x' is unknown"),
        ({"refractory_mode": "x"}, "'x' is unknown"),
        ({"state_bits": 1}, "state_bits = 1"),
        ({"state_bits": 33}, "state_bits = 33"),
        ({"refractory_steps": -1}, "refractory_steps = -1"),
        ({"a_re": [[32769]]}, "a_re = 32769 exceeds 16 bits"),
        ({"frac_a": 32}, "0 to 31"),
        ({"rounding": "per-sum", "frac_b": 13}, "frac_b <= frac_a"),
        ({"rounding": "per-sum", "frac_d": 16}, "frac_d <= frac_c"),
    ],
)
def test_refusals(fields: dict, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        population(**fields)


def test_y_must_stay_within_32_bits() -> None:
    population(c_re=[[32767]], frac_c=15).check_overflow("n", np.array([100]))
    with pytest.raises(OverflowPossible, match=r"limit 2\*\*31"):
        population(c_re=[[32767]], frac_c=2).check_overflow("n", np.array([100]))


@pytest.mark.parametrize("reset_action", ["none", "hard", "soft"])
def test_static_bounds_hold_or_are_refused(reset_action: str) -> None:
    a = np.full((2, 2), 0.9 + 0.1j)
    neuron = StateSpace(
        a=a,
        b=0.5,
        c=1.0 + 0j,
        d=[0, 0],
        v_threshold=1.0,
        reset_action=reset_action,
        reset_condition="never" if reset_action == "none" else "any",
        r=0.25,
    )
    if reset_action == "soft":
        with pytest.raises(BadOption, match="no static bound"):
            neuron.bounds("n", np.ones(2))
    else:
        assert (neuron.bounds("n", np.ones(2))["x"] >= 1 / (1 - np.abs(a)) - 1e-9).all()
    with pytest.raises(BadOption, match="give calibration data"):
        StateSpace(a=a * 1.2, b=0.5, c=1.0 + 0j, d=[0, 0], v_threshold=1.0).bounds("n", np.ones(2))


@pytest.mark.parametrize("threshold", [1e6, 1e30, -1e30])
def test_a_threshold_out_of_reach_is_kept_out_of_reach(threshold: float) -> None:
    """It does not wrap: the neuron never fires, or always, and the export says so."""
    neuron = StateSpace(a=np.full((2, 2), 0.9 + 0.1j), b=0.5, c=1.0 + 0j, d=[0.5, 0], v_threshold=threshold)
    context = QuantizationContext(np.ones(2), 7, np.ones(2), {"x": np.full((2, 2), 5.0)}, 15)
    quantized, notes = neuron.quantize("n", context, QuantizationConfig())
    assert isinstance(quantized, QuantizedStateSpace)
    quantized.check_overflow("n", np.full(2, 1 << 7))
    assert np.all(np.sign(quantized.vth) == np.sign(threshold)) and np.abs(quantized.vth).max() < 1 << 31
    assert bool(notes) == bool((np.abs(quantized.vth) == (1 << 31) - 1).any())


@pytest.mark.parametrize("action", ["hard", "soft"])
def test_a_reset_that_calibration_never_saw_still_fits(action: str) -> None:
    neuron = StateSpace(
        a=np.full((2, 2), 0.9 + 0.1j),
        b=0.5,
        c=1.0 + 0j,
        d=[0, 0],
        v_threshold=1e3,
        reset_action=action,
        reset_condition="any",
        r=500.0,
    )
    context = QuantizationContext(np.ones(2), 7, np.ones(2), {"x": np.full((2, 2), 1e-3)}, 15)
    quantized, _ = neuron.quantize("n", context, QuantizationConfig())
    assert isinstance(quantized, QuantizedStateSpace)
    assert np.abs(quantized.r_re).max() <= quantized.limit
