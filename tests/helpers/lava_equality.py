"""Comparison of networks in the reference and in Lava: every spike, every state, and the coverage."""

from __future__ import annotations

import math
from collections import Counter

from figures import Figures
from networks import Case, coverage
from requires_lava import require_lava

from nmdeploy.analysis.comparison import compare
from nmdeploy.backends import lava, reference


def assert_equal_in_lava(cases: list[Case], figures: Figures) -> Counter[str]:
    """Assert 0 mismatches in all cases, and return what they covered."""
    require_lava()
    expected = [reference.run(case.network, case.inputs, trace="states") for case in cases]
    actual = lava.run_many([(case.network, case.inputs) for case in cases])
    found = [compare(a, b) for a, b in zip(expected, actual, strict=True)]
    wrong = {case.name: c.first_divergence for case, c in zip(cases, found, strict=True) if c.mismatches}
    seen = coverage(cases, expected)
    compared = sum(c.values_compared for c in found)
    figures(f"{len(cases)} networks ({kinds(cases)}): {compared} values compared with Lava, {len(wrong)} differ")
    figures("  covered: " + ", ".join(f"{what}: {number}" for what, number in sorted(seen.items())))
    assert not wrong
    return seen


def kinds(cases: list[Case]) -> str:
    """Return the beginnings of the names, before their seed."""
    found = dict.fromkeys(
        case.name.rpartition("-")[0] for case in cases if case.name[-1].isdigit() and "-" in case.name
    )
    return ", ".join(found) if len(found) < 20 else "edge cases"


def assert_covered(seen: Counter[str], wanted: tuple[str, ...], cases: int) -> None:
    """Assert that every mechanism occurred, and that at least 90 % of the networks were alive."""
    assert not [what for what in wanted if not seen[what]]
    assert seen["alive"] >= math.ceil(0.9 * cases)
