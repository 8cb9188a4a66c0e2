"""The compiled backend equals the reference in half of 10^9 values: random live networks of every model."""

from __future__ import annotations

import pytest
from compiled_volume import LONG, NAMED, compare_many
from figures import Figures


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("model", NAMED)
def test_many_values_of_a_model(model: str, times: int, figures: Figures) -> None:
    compare_many(model, NAMED[model], "models", figures, times)
