"""Every option that a diagnosis offers against rounding, followed: the finding is gone afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nmdeploy
from nmdeploy import pipeline
from nmdeploy.analysis import finding as f
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.pipeline import FormatOverrides
from nmdeploy.samples.source import Data

SIZE = 8


def network(neuron: Any, weight: Any, dt: float = 1e-3) -> Network:
    builder = NetworkBuilder(dt)
    x, n = builder.input(weight.shape[1]), builder.population(neuron, "n")
    builder.connect(x, n, weight)
    return builder.build()


def data(channels: int, rate: float, steps: int) -> Data:
    codes = (np.random.default_rng(0).random((3, steps, channels)) < rate).astype(np.int64)
    return Data(codes, None, np.full(3, steps))


def soft_reset(beta: float) -> DenseStateSpace:
    """A LIF neuron with a soft reset, as a state-space neuron."""
    one = np.ones((SIZE, 1))
    soft: dict[str, Any] = {"reset_condition": "each", "reset_action": "soft", "r": 1.0}
    return DenseStateSpace(a=np.full((SIZE, 1, 1), beta), b=one, c=one, d=0.0, v_threshold=np.ones(SIZE), **soft)


WEIGHT = np.random.default_rng(0).uniform(0, 0.06, (SIZE, 20))


@pytest.mark.parametrize(
    ("beta", "field", "few", "more", "fault", "tensor"),
    [
        (0.95, "coefficient_bits", 4, 16, f.COEFFICIENT_OFF, "a"),
        (0.95, "coefficient_frac", 4, 14, f.COEFFICIENT_OFF, "a"),
        (1 - 1.4 / 4096, "coefficient_frac", None, 14, f.COEFFICIENT_OFF, "a"),
        (0.95, "state_bits", 8, 24, f.STATES_ROUNDED, "states"),
        (0.95, "state_bits", 10, 24, f.STATES_ROUNDED, "states"),
        (0.95, "weight_bits", 2, 8, f.WEIGHTS_OFF, "n.synapse weight"),
    ],
)
def test_more_bits(beta: float, field: str, few: int | None, more: int, fault: str, tensor: str) -> None:
    floats, samples = network(soft_reset(beta), WEIGHT), data(20, 0.1, 1000)
    model = nmdeploy.quantize(floats, data=samples, options=FormatOverrides(**{field: few}))
    found = nmdeploy.diagnose(model, samples, floats)
    first = found.findings[0]
    assert (first.fault, first.tensor, first.origin) == (fault, tensor, f.ROUNDING)
    assert found.options[0].option == "--" + field.replace("_", "-")
    better = nmdeploy.quantize(floats, data=samples, options=FormatOverrides(**{field: more}))
    assert (fault, tensor) not in {(e.fault, e.tensor) for e in nmdeploy.diagnose(better, samples, floats).findings}


def test_calibration_data() -> None:
    rng = np.random.default_rng(0)
    floats = network(LIF(np.full(SIZE, 0.9), 0.97, 1.0), rng.uniform(0, 0.03, (SIZE, 200)))  # type: ignore[arg-type]
    samples = data(200, 0.02, 200)
    found = nmdeploy.diagnose(pipeline.quantize(floats), samples, floats)
    assert found.findings[0].fault == f.STATES_ROUNDED and found.options[0].option == "--data"
    assert nmdeploy.diagnose(pipeline.quantize(floats, data=samples), samples, floats).findings == ()


def test_decays_of_a_lif_as_those_of_a_state_space_neuron_or_a_larger_dt() -> None:
    weight, samples = WEIGHT / 3, data(20, 0.1, 1000)
    floats = network(LIF(np.zeros(SIZE), 1 - 0.4 / 4096, 1.0), weight)  # type: ignore[arg-type]
    found = nmdeploy.diagnose(nmdeploy.quantize(floats, data=samples), samples, floats)
    assert found.findings[0].fault == f.DECAY_OFF
    assert "a larger --dt, or the state_space neuron" in found.options[0].text
    larger = network(LIF(np.zeros(SIZE), (1 - 0.4 / 4096) ** 1000, 1.0), WEIGHT, dt=1.0)  # type: ignore[arg-type]
    wider = network(soft_reset(1 - 0.4 / 4096), weight)
    for other, options in (
        (larger, FormatOverrides()),
        (wider, FormatOverrides(coefficient_bits=24, coefficient_frac=22)),
    ):
        model = nmdeploy.quantize(other, data=samples, options=options)
        named = {each.fault for each in nmdeploy.diagnose(model, samples, other).findings}
        assert not named & {f.DECAY_OFF, f.COEFFICIENT_OFF}


def test_states_at_their_limit_and_samples_with_more_activity() -> None:
    floats, narrow = network(soft_reset(0.99), 10 * WEIGHT), FormatOverrides(state_bits=12)
    quiet, loud = data(20, 0.005, 200), data(20, 0.9, 200)
    for calibration, limited in ((quiet, True), (loud, False)):
        found = nmdeploy.diagnose(nmdeploy.quantize(floats, data=calibration, options=narrow), loud, floats)
        assert (f.AT_LIMIT in {each.fault for each in found.findings}) == limited
        assert not limited or "--data" in {option.option for option in found.options}


def test_a_time_constant_under_dt_and_the_dt_of_the_training() -> None:
    """The network as it was read with a dt that is 1,000 times too large, and with that of its training."""
    samples = data(20, 0.3, 200)
    faults = []
    for dt in (1.0, 1e-3):
        beta = max(1 - dt / 0.02, 0.0)
        floats = network(LIF(np.zeros(SIZE), beta, 1.0), WEIGHT, dt)  # type: ignore[arg-type]
        found = nmdeploy.diagnose(nmdeploy.quantize(floats, data=samples), samples, floats)
        faults.append({each.fault for each in found.findings})
        assert f.TAU_UNDER_DT not in faults[-1] or "--dt" in {option.option for option in found.options}
    assert f.TAU_UNDER_DT in faults[0] and not faults[1]


def test_nothing_but_the_source_helps_against_what_was_changed() -> None:
    floats, samples = network(soft_reset(0.9), WEIGHT), data(20, 0.3, 200)
    model = nmdeploy.quantize(floats, data=samples)
    synapse: Any = model.nodes["n.synapse"]
    changed = replace(model, nodes={**model.nodes, "n.synapse": replace(synapse, weight=synapse.weight // 3)})
    found = nmdeploy.diagnose(changed, samples, floats)
    assert found.findings[0].origin == f.CHANGED
    assert [option.option for option in found.options][:1] == [""] and "export the model again" in found.options[0].text
    assert nmdeploy.diagnose(nmdeploy.quantize(floats, data=samples), samples, floats).findings == ()
