"""Bounds hold: of random expressions, of every family over long runs; and they are not far from the exact ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from edge_cases import driven_cases, small_cases
from engine_analysis import outside, proved, reaching
from equal_runs import random_codes
from formula_neuron import formula_case
from formula_trees import Tree, numbers, tree_formula
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import MODELS, Case, dense_case, lif_case, state_space_case
from networks_windowed import windowed_case

from nmdeploy.backends import reference
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import V_LIMIT, VTH_MAX, QuantizedLIF

MAKERS: dict[str, Callable[[int], Case]] = {
    **MODELS,
    "any lif": lif_case,
    "any diagonal": state_space_case,
    "any dense": dense_case,
    "any windows": windowed_case,
}


def extreme_codes(case: Case, steps: int) -> np.ndarray:
    """Random codes, codes at their ends for the whole sample, and ends in turn."""
    form, size = case.network.input.format, case.network.input.size
    codes = random_codes(case.network, 5, 6, steps)
    codes[0], codes[1] = form.max, form.min
    codes[2, ::2], codes[2, 1::2] = form.max, form.min
    codes[3] = np.where(np.arange(size) % 2, form.max, form.min)
    codes[4] = np.where(np.arange(steps)[:, None] % 20 < 10, form.max, form.min)
    return codes


@settings(max_examples=25, deadline=None, derandomize=True)
@given(trees=st.lists(numbers(4), min_size=12, max_size=12), width=st.sampled_from([1, 3, 5]))
def test_values_of_random_expressions_lie_within_their_bounds(trees: list[Tree], width: int) -> None:
    case = formula_case({f"r{index}": tree_formula(tree) for index, tree in enumerate(trees)}, width=width)
    recording = reference.run(case.network, extreme_codes(case, 25), trace="states")
    assert not list(outside(case.network, recording))


@pytest.mark.parametrize("maker", MAKERS)
def test_states_of_a_family_lie_within_their_bounds_over_long_runs(maker: str) -> None:
    case = MAKERS[maker](1000)
    recording = reference.run(case.network, extreme_codes(case, 500), trace="states")
    assert not list(outside(case.network, recording))


@pytest.mark.slow
@pytest.mark.parametrize("maker", MAKERS)
def test_states_of_more_networks_lie_within_their_bounds(maker: str) -> None:
    for seed in range(3):
        case = MAKERS[maker](seed)
        recording = reference.run(case.network, extreme_codes(case, 200), trace="states")
        assert not list(outside(case.network, recording)), seed


def test_states_of_edges_lie_within_their_bounds() -> None:
    for case in [*driven_cases(), *small_cases()[::4]]:
        long = replace(case, inputs=np.tile(case.inputs, (1, 10, 1)))
        assert not list(outside(long.network, reference.run(long.network, long.inputs, trace="states"))), case.name


# -- closed forms

SLOW = 1000


def supremum(factor: int, drive: int) -> int:
    """Where ``u <- rz(u * factor, 12) + drive`` ends, from 0 on."""
    u = 0
    while (after := (abs(u) * factor >> 12) * (1 if u > 0 else -1) + drive) != u:
        u = after
    return u


def near(exact: int, decay: int, limit: float) -> float:
    """What a bound may be at most: of a slow decay 17 times the exact one, or the register's limit."""
    return min(1.1 * abs(exact) + 16, limit) if decay >= SLOW else max(17.0 * abs(exact) + 2, limit)


@pytest.mark.parametrize("du", [1, 2, 10, 100, 500, 1000, 3000, 4094, 4095])
@pytest.mark.parametrize("a", [1, -1, 3, 77, -1000])
def test_the_current_of_lif_is_bounded_by_little_more_than_it_reaches(du: int, a: int) -> None:
    exact = supremum(4095 - du, a << 6)
    if 17 * abs(exact) >= 1 << 23:
        pytest.skip("it could wrap")
    neuron = QuantizedLIF(du=du, dv=4095, vth=VTH_MAX, bias_mant=np.zeros(1, int), bias_exp=0)
    low, high = proved(reaching(neuron, [a]).network, "n").of("u")
    nearest, far = (float(high.max()), float(low.min())) if a > 0 else (-float(low.min()), -float(high.max()))
    assert abs(exact) <= nearest <= near(exact, du, 0 if du < SLOW else V_LIMIT) and far == 0


@pytest.mark.parametrize("dv", [0, 1, 7, 100, 1000, 4095, 4096])
@pytest.mark.parametrize("bits", [8, 16, 24])
def test_a_leaky_integrator_is_bounded_by_little_more_than_it_reaches(dv: int, bits: int) -> None:
    limit = (1 << bits - 1) - 1
    for a, bias in ((5, 0), (-3, 0), (1, -2), (100, 100)):
        exact = max(abs(supremum(4096 - dv, end)) if dv else limit for end in (a + bias, bias) if end)
        found = proved(reaching(QuantizedIntegrator(dv, np.array([bias]), bits), [a]).network, "n")
        assert min(exact, limit) <= found.of("v").magnitude <= near(exact, dv, limit)
        assert exact <= limit or not found.never("v_saturations")


@pytest.mark.parametrize("bits", [8, 16, 24, 25, 26, 31])
def test_an_integrator_without_a_leak_reaches_its_limit(bits: int) -> None:
    """Beyond 24 bits too, to which bounds are narrowed where that holds."""
    found = proved(reaching(QuantizedIntegrator(0, np.array([0]), bits), [1]).network, "n")
    assert found.of("v").magnitude == 2 ** (bits - 1) - 1 and not found.never("v_saturations")


@pytest.mark.parametrize("vth", [0, 5, 1000, VTH_MAX])
def test_the_membrane_of_lif_ends_at_its_threshold(vth: int) -> None:
    """What is above starts again at 0."""
    neuron = QuantizedLIF(du=4095, dv=0, vth=vth, bias_mant=np.zeros(1, int), bias_exp=0)
    low, high = proved(reaching(neuron, [1 << 15]).network, "n").of("v")
    assert high.max() == min(vth << 6, V_LIMIT) and low.min() == 0


def test_a_counter_of_silent_steps_ends_at_its_start() -> None:
    neuron = QuantizedLIF(du=100, dv=0, vth=7, bias_mant=np.zeros(1, int), bias_exp=0, refractory_steps=5)
    found = proved(reaching(neuron, [1 << 15]).network, "n")
    assert found.bounds[found.step.registers["2"].old.node].magnitude == 5


@pytest.mark.parametrize("maker", ["lif-soft", "binary-s4d", "psn-sliding"])
def test_every_neuron_has_its_own_bound(maker: str) -> None:
    case = MODELS[maker](1000)
    name = next(iter(case.network.populations))
    found = proved(case.network, name)
    widths = [found.of(state).high - found.of(state).low for state in found.step.recorded]
    assert any(len(np.unique(width)) > 1 for width in widths if len(width) > 1)
