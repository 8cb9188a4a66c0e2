"""The second form of a step, for small sums: taken within its limits only, and equal to the reference at every edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equal_runs import both
from statement_runs import interpreted_differences

from nmdeploy.backends import compiled, reference
from nmdeploy.engine.bounds.fixed_point import analyse
from nmdeploy.engine.bounds.interval_arithmetic import F32_EXACT, Bound
from nmdeploy.engine.bounds.simplification import simplify
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.lower import small_sums
from nmdeploy.engine.lower.lanes import Lane, LaneChoice
from nmdeploy.engine.trace.step import trace
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

NEURONS, FRAC_B = 5, 4
CODE = FixedPoint(16, 0, signed=True)


def network(inputs: int = 1, rounding: str = "per-product", states: int = 4) -> QuantizedNetwork:
    """Return neurons whose sum is the sum of the input codes, and whose largest products exceed 24 bits."""
    rng, shape = np.random.default_rng(3), (NEURONS, states)

    def codes(most: int) -> Any:
        return rng.integers(-most, most, shape)

    neuron = QuantizedStateSpace(
        rounding=rounding, state_bits=24, coefficient_bits=16, frac_a=15, frac_b=FRAC_B, frac_c=15, frac_d=8,
        a_re=codes(22_000), a_im=codes(22_000), b_re=np.full(shape, 32_767), b_im=codes(32_767), c_re=codes(30_000),
        c_im=codes(30_000), d=rng.integers(-100, 100, NEURONS), bias=np.zeros(NEURONS, np.int64),
        vth=rng.integers(-1000, 1000, NEURONS),
    )  # fmt: skip
    weight = np.ones((NEURONS, inputs), np.int64)
    nodes = {"input": Input((inputs,), CODE), "fc": QuantizedDense(weight, 8, 0, "mixed", 0), "n": neuron}
    return QuantizedNetwork(nodes, (Edge("input", "fc"), Edge("fc", "n")), 1e-3, "n")


def forms(made: QuantizedNetwork, limit: int = 1 << 15) -> tuple[LaneChoice, small_sums.SmallSums | None]:
    """Return the lanes of the population's step, and its second form, if sums reach `limit`."""
    step = trace(made.populations["n"], {"fc": made.synapses["fc"]})
    ends = np.full(NEURONS, float(limit))
    simpler, bounds = simplify(step, analyse(step, {"fc": Bound(-ends, ends)}))
    choice = LaneChoice(simpler, bounds, True)
    return choice, small_sums.small_sums(simpler, choice)


def limit_of(made: small_sums.SmallSums) -> int:
    """Return the limit of the sums, alike for all neurons here."""
    (condition,) = made.beyond
    assert condition.node.op == "gt"
    values = np.unique(condition.node.args[1].node.value)
    assert len(values) == 1
    return int(values[0])


def run(made: QuantizedNetwork, codes: Sequence[int]) -> None:
    both(made, np.array(codes, np.int64).reshape(1, -1, 1))


@pytest.mark.parametrize("states", [4, 16])
def test_the_form_has_no_float64_per_state_and_the_largest_limit_that_allows_it(states: int) -> None:
    choice, found = forms(network(states=states))
    assert found is not None
    wide, small = (
        [n for n in c.nodes if n.op in ("rz", "add") and np.prod(n.dims) > 1] for c in (choice, found.choice)
    )
    assert any(choice.lane(node) == Lane.F64 for node in wide)
    assert all(found.choice.lane(node) == Lane.F32 for node in small)
    limit = limit_of(found)
    assert limit in (1 << 14, 1 << 13, 1 << 12, 1 << 11)
    assert largest_update(states, limit) <= F32_EXACT < largest_update(states, 2 * limit)


def largest_update(states: int, limit: int) -> float:
    """Return the largest magnitude of an update, before it saturates: of A x + B a for a sum of `limit`."""
    neuron: Any = network(states=states).populations["n"]
    turned = (np.abs(neuron.a_re) + np.abs(neuron.a_im)) * (2.0**23 - 1) / 2.0**15
    entered = np.maximum(np.abs(neuron.b_re), np.abs(neuron.b_im)).reshape(turned.shape) * limit / 2.0**FRAC_B
    return float((turned + entered).max())


def test_no_second_form_where_the_first_needs_none_or_the_second_helps_nothing() -> None:
    assert forms(network(), limit=1000)[1] is None
    assert forms(network(), limit=1 << 27)[1] is None


def test_every_edge_of_the_limit_equals_the_reference() -> None:
    made = network()
    found = forms(made)[1]
    assert found is not None
    limit = limit_of(found)
    edges = [sign * (limit + more) for sign in (1, -1) for more in (-1, 0, 1)]
    powers = [sign * (1 << power) + more for sign in (1, -1) for power in range(15) for more in (-1, 0, 1)]
    codes = [code for edge in (*edges, *powers, 32_767, -32_768, 0) for code in (edge, 0, edge, -edge, 1, edge)]
    run(made, np.clip(codes, -32_768, 32_767).tolist())


@pytest.mark.parametrize("rounding", ["per-product", "per-sum"])
@pytest.mark.parametrize("seed", range(4))
def test_random_sums_of_all_sizes_equal_the_reference(seed: int, rounding: str) -> None:
    rng = np.random.default_rng(seed)
    sizes = np.ldexp(1.0, rng.integers(0, 16, (3, 200, 2)))
    codes = np.clip(np.rint(rng.normal(size=sizes.shape) * sizes), -32_768, 32_767).astype(np.int64)
    both(network(2, rounding), codes)


@pytest.mark.parametrize("rounding", ["per-product", "per-sum"])
def test_the_statements_of_both_forms_are_the_step(rounding: str) -> None:
    assert not interpreted_differences(network(2, rounding, 6), "n", 300, 1)


def test_the_limit_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the condition, sums beyond the limit are computed in lanes that do not hold their products."""
    made = network()
    codes = np.random.default_rng(0).choice([-1, 1], 400) * np.arange(8193, 8593)
    expected = reference.run(made, codes.reshape(1, -1, 1), trace="states").layers["n"].states
    kept = small_sums._beyond
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path))
    monkeypatch.setattr(small_sums, "_beyond", lambda node, limit, neurons: kept(node, 1000 * limit, neurons))
    found = compiled.run(made, codes.reshape(1, -1, 1), trace="states").layers["n"].states
    assert any((found[name] != values).any() for name, values in expected.items())
