"""The compiled backend equals the reference on exported networks: calibrated on real sequences, of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from equal_runs import differences
from figures import Figures

from benchmarks import exported
from nmdeploy.analysis.comparison import values
from nmdeploy.backends import compiled, reference

SAMPLES = 6
RATES = 0.01, 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", exported.VARIANTS)
def test_every_value_of_an_exported_network(name: str, figures: Figures) -> None:
    """All states of all steps, sample by sample, and of each layer a rate as in trained networks."""
    network, codes = exported.exported(exported.VARIANTS[name]), exported.codes(SAMPLES).astype(np.int64)
    compared, rates = 0, []
    for sample in range(SAMPLES):
        one = codes[sample : sample + 1]
        expected = reference.run(network, one, trace="states")
        assert not differences(expected, compiled.run(network, one, trace="states"))
        compared += sum(array.size for _, _, array in values(expected))
        rates += [float(layer.spikes.mean()) for layer in expected.layers.values() if layer.spikes is not None]
    figures(f"{name}: {compared:,} values of an exported network equal the reference's")
    assert RATES[0] < min(rates) and max(rates) < RATES[1]
