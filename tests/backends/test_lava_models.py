"""The reference against Lava on random live networks of every model; a file of its own, so that workers share."""

from __future__ import annotations

import pytest
from figures import Figures
from lava_equality import assert_covered, assert_equal_in_lava
from networks import MODELS


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_20_networks_of_a_model(model: str, figures: Figures) -> None:
    seen = assert_equal_in_lava([MODELS[model](seed) for seed in range(20)], figures)
    assert_covered(seen, (), 20)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 1200, 20))
@pytest.mark.parametrize("model", MODELS)
def test_200_more_networks_of_a_model(model: str, first: int, figures: Figures) -> None:
    seen = assert_equal_in_lava([MODELS[model](seed) for seed in range(first, first + 20)], figures)
    assert_covered(seen, (), 20)
