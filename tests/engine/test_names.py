"""Names of nodes mean nothing to the compiled engine: a synapse may be named like a register or the time."""

from __future__ import annotations

import numpy as np
import pytest

import nmdeploy
from nmdeploy import LIF, NetworkBuilder
from nmdeploy.engine.trace.step import STEP, STEPS


@pytest.mark.parametrize("names", [("0", "1", "2", "3"), ("3", "0", "1", "2"), (STEP, STEPS, "sum 0", "kernel")])
def test_any_name_gives_the_same_spikes(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    builder = NetworkBuilder(1e-3)
    x = builder.input(12)
    first = builder.population(LIF(np.full(20, 0.8), 0.9, 1.0), names[2])  # type: ignore[arg-type]
    second = builder.population(LIF(np.full(5, 0.8), 0.9, 1.0), names[3])  # type: ignore[arg-type]
    builder.connect(x, first, rng.normal(0, 0.3, (20, 12)), name=names[0])
    builder.connect(first, second, rng.normal(0, 0.3, (5, 20)), name=names[1])
    samples = rng.random((4, 24, 12)) < 0.7
    model = nmdeploy.quantize(builder.build(), data=samples)
    expected, actual = (
        nmdeploy.run(model, samples, backend=each, trace="states") for each in ("reference", "compiled")
    )
    assert expected.output.any()
    np.testing.assert_array_equal(actual.output, expected.output)
