"""The compiled backend equals the reference in half of 10^9 values: random live networks of every system."""

from __future__ import annotations

import pytest
from compiled_volume import NAMED, compare_many
from figures import Figures


@pytest.mark.slow
@pytest.mark.parametrize("system", NAMED)
def test_many_values_of_a_system(system: str, figures: Figures) -> None:
    compare_many(system, NAMED[system], "systems", figures)
