"""Every combination of mechanisms is refused with its reason, or equals Lava in every spike and state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from figures import Figures
from mechanisms import Mechanisms, combinations, legal, refusals
from networks_build import Case
from networks_neurons import random_spiking
from requires_lava import require_lava
from simulated import simulated

from nmdeploy.analysis.comparison import compare, values
from nmdeploy.backends import lava, reference
from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.state_space.dense import QuantizedDenseStateSpace
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

FORMATS = {"rounding": "per-product", "state_bits": 24, "coefficient_bits": 16}
FRACTIONS = dict.fromkeys(("frac_a", "frac_b", "frac_c", "frac_d"), 8)
TOGETHER = 30  # populations side by side in one network


def smallest(m: Mechanisms) -> Any:
    """One neuron with the combination."""
    n, p = m.states, m.outputs
    shared = {**FORMATS, **FRACTIONS, "d": np.zeros((1, p, 1)), "bias": 0, "vth": 1, "refractory_steps": 2, **m.fields}
    if m.kind == "state_space":
        b = dict.fromkeys(("b_re", "b_im"), np.ones((1, n, 1), int))
        c = dict.fromkeys(("c_re", "c_im"), np.ones((1, p, n), int))
        return QuantizedStateSpace(**shared, a_re=np.ones((1, n)), a_im=np.ones((1, n)), **b, **c)
    ones = {"a": np.ones((1, n, n), int), "b": np.ones((1, n, 1), int), "c": np.ones((1, p, n), int)}
    return QuantizedDenseStateSpace(**shared, **ones)


def test_what_has_no_meaning_is_refused_with_the_reason(figures: Figures) -> None:
    refused = 0
    for m in combinations():
        reasons = refusals(m)
        try:
            smallest(m)
        except BadOption as error:
            refused += 1
            assert any(all(word in str(error) for word in words) for words in reasons), f"{m.name}: {error}"
        else:
            assert not reasons, f"{m.name} is accepted"
    figures(f"{refused} of {len(list(combinations()))} combinations of mechanisms are refused, each with its reason")


def side_by_side(chosen: list[Mechanisms], first: int) -> Case:
    """One small population for each combination, all on one input; alternating widths, refractory periods, inputs."""
    number = FixedPoint(3, 0, signed=True)
    nodes: dict[str, Any] = {"input": Input((3,), number)}
    edges = []
    for index, m in enumerate(chosen):
        rng = np.random.default_rng(first + index)
        q = 1 + index % 2
        draft = random_spiking(rng, m.kind, 3, q, m)
        level = 1 << int(rng.integers(4, 9))
        nodes[f"{m.name}.s"] = QuantizedDense(rng.integers(-128, 128, (3 * q, 3)), 8, 0, "mixed", -1)
        nodes[m.name] = draft.at(level)
        edges += [Edge("input", f"{m.name}.s"), Edge(f"{m.name}.s", m.name)]
    inputs = np.random.default_rng(first).integers(-4, 4, (1, 40, 3))
    return Case(f"mechanisms-{first}", QuantizedNetwork(nodes, tuple(edges), 1e-3, chosen[0].name), inputs)


def groups(chosen: list[Mechanisms]) -> list[Case]:
    return [side_by_side(chosen[i : i + TOGETHER], i) for i in range(0, len(chosen), TOGETHER)]


def assert_equal_in_lava(cases: list[Case], figures: Figures) -> None:
    require_lava()
    expected = [reference.run(case.network, case.inputs, trace="states") for case in cases]
    actual = lava.run_many([(case.network, case.inputs) for case in cases])
    found = [compare(a, b) for a, b in zip(expected, actual, strict=True)]
    layers = [layer for recording in expected for layer in recording.layers.values()]
    spiking = sum(bool((layer.spikes != 0).any()) for layer in layers)
    compared = sum(c.values_compared for c in found)
    figures(f"{len(layers)} combinations of mechanisms, {spiking} spike: {compared} values compared with Lava")
    assert not [c.first_divergence for c in found if c.mismatches]
    assert spiking >= 0.9 * len(layers)


@pytest.mark.slow
def test_every_40th_combination_equals_lava(figures: Figures) -> None:
    assert_equal_in_lava(groups(legal()[::40]), figures)


@pytest.mark.slow
def test_every_combination_equals_lava(figures: Figures) -> None:
    assert_equal_in_lava(groups(legal()), figures)


def assert_equal_to_the_simulator(case: Case) -> None:
    recording = reference.run(case.network, case.inputs, trace="states")
    traces, overflows = simulated(case)
    for name, kind, array in values(recording):
        np.testing.assert_array_equal(array.astype(np.int64), traces[f"{name}|{kind}"], err_msg=f"{name} {kind}")
    for name, neuron in case.network.populations.items():
        counted = {flag: recording.total(name, flag) for flag in neuron.flags}
        assert counted == {flag: overflows[name][flag] for flag in neuron.flags}, name


def test_every_twelfth_combination_equals_the_simulator() -> None:
    for case in groups(legal()[5::12]):
        assert_equal_to_the_simulator(case)


@pytest.mark.slow
def test_every_combination_equals_the_simulator() -> None:
    for case in groups(legal()):
        assert_equal_to_the_simulator(case)
