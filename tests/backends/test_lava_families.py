"""Every mechanism of every family, quantized from its float population, equals Lava in every spike and state."""

from __future__ import annotations

import pytest
from family_examples import examples, inputs, quantized
from figures import Figures
from requires_lava import require_lava

from nmdeploy.analysis.comparison import compare
from nmdeploy.backends import lava, reference


@pytest.mark.slow
def test_quantized_examples_equal_lava(figures: Figures) -> None:
    require_lava()
    networks = [quantized(neuron) for neuron in examples()]
    actual = lava.run_many([(q, inputs()[:2]) for q in networks])
    found = [compare(reference.run(q, inputs()[:2], trace="states"), r) for q, r in zip(networks, actual, strict=True)]
    figures(f"{len(found)} examples of all families: {sum(c.values_compared for c in found)} values compared with Lava")
    assert not [c.first_divergence for c in found if c.mismatches]
