"""The reference against Lava on random live networks: every spike and every state. The coverage is printed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
from edge_cases import edge_cases
from figures import Figures
from networks import Case, coverage, lif_case, state_space_case
from requires_lava import require_lava

from nmdeploy.backends import lava, reference
from nmdeploy.verification import compare

LIF_COVERS = (
    *("u_wraps", "v_saturations", "bias", "bias synapse", "recurrent", "inserted delay"),
    *(f"refractory {r}" for r in range(6)),
    *(f"{which} {d}" for which in ("du", "dv") for d in (0, 1, 4095)),
    *(f"{mode} at its edge" for mode in ("mixed", "excitatory", "inhibitory")),
)
STATE_SPACE_COVERS = (
    *(
        "re_saturations",
        "im_saturations",
        "re_reset_saturations",
        "im_reset_saturations",
        "recurrent",
        "inserted delay",
    ),
    *(f"reset {action}" for action in ("none", "hard", "soft")),
    *("refractory hold", "refractory mask", "per-product", "per-sum", "bias synapse", "negative weight_exp"),
)


def assert_equal_in_lava(cases: list[Case], figures: Figures) -> Counter[str]:
    """0 mismatches in all cases; returns what they covered."""
    require_lava()
    expected = [reference.run(case.network, case.inputs, trace="states") for case in cases]
    actual = lava.run_many([(case.network, case.inputs) for case in cases])
    found = [compare(a, b) for a, b in zip(expected, actual, strict=True)]
    wrong = {case.name: c.first_divergence for case, c in zip(cases, found, strict=True) if c.mismatches}
    seen = coverage(cases, expected)
    compared = sum(c.values_compared for c in found)
    what = cases[0].name.rpartition("-")[0] or "edge"
    figures(f"{len(cases)} {what} networks: {compared} values compared with Lava, {len(wrong)} networks differ")
    figures("  covered: " + ", ".join(f"{what}: {number}" for what, number in sorted(seen.items())))
    assert not wrong
    return seen


def assert_covered(seen: Counter[str], wanted: tuple[str, ...], cases: int) -> None:
    """Every mechanism occurred, and at least 90 % of the networks were alive."""
    assert not [what for what in wanted if not seen[what]]
    assert seen["alive"] >= math.ceil(0.9 * cases)


def test_edges(figures: Figures) -> None:
    assert_equal_in_lava(edge_cases(), figures)


@pytest.mark.parametrize(("make", "number"), [(lif_case, 12), (state_space_case, 6)])
def test_a_sample_of_networks(make: Callable[[int], Case], number: int, figures: Figures) -> None:
    seen = assert_equal_in_lava([make(seed) for seed in range(1000, 1000 + number)], figures)
    assert seen["alive"] >= 0.9 * number


@pytest.mark.slow
def test_200_lif_networks(figures: Figures) -> None:
    seen = assert_equal_in_lava([lif_case(seed) for seed in range(200)], figures)
    assert_covered(seen, LIF_COVERS, 200)


@pytest.mark.slow
def test_100_state_space_networks(figures: Figures) -> None:
    seen = assert_equal_in_lava([state_space_case(seed) for seed in range(100)], figures)
    assert_covered(seen, STATE_SPACE_COVERS, 100)
