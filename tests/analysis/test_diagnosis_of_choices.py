"""Choices of the quantizer are no faults, but a fault beside them is; assumed facts are doubted if they matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nmdeploy
from nmdeploy.analysis import finding as f
from nmdeploy.analysis.diagnosis import Diagnosis
from nmdeploy.analysis.reading_back import read
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.reports.diagnosis import diagnosis_lines
from nmdeploy.samples.source import Data

SIZE, INPUTS, STEPS = 12, 10, 200
SLOW = 1 - 0.6 / 4096
"""Factor whose code is 1 instead of 0.6: without a drive, its steady gain is 0.6 of the float network's."""


def samples(rate: float = 0.3) -> Data:
    codes = (np.random.default_rng(1).random((4, STEPS, INPUTS)) < rate).astype(np.int64)
    return Data(codes, None, np.full(4, STEPS))


def network(neuron: Any, bias: Any = None) -> Network:
    builder = nmdeploy.NetworkBuilder(1e-3)
    x = builder.input(INPUTS)
    name = builder.population(neuron, "n")
    builder.connect(x, name, np.random.default_rng(0).uniform(0.2, 1.0, (SIZE, INPUTS)), bias, name="s")
    return builder.build()


def driven() -> tuple[Network, QuantizedNetwork]:
    """A slow membrane, whose drive is scaled by 1.67."""
    floats = network(LIF(np.zeros(SIZE), np.full(SIZE, SLOW), np.full(SIZE, 20.0), np.full(SIZE, 0.05)))
    factor = floats.populations["n"].rounded_decays()[1]
    ranges = calibrate(floats, samples().codes)
    wider = {"n": {name: values * factor for name, values in ranges["n"].items()}}
    assert factor == pytest.approx(1 / 0.6)
    return floats, quantize_network(floats, QuantizationConfig(), ranges=wider, drives={"n": factor})


def with_terms() -> tuple[Network, QuantizedNetwork]:
    """A bias behind a filter, in two bias synapses."""
    neuron = LIF(np.full(SIZE, 0.6), np.full(SIZE, 0.9), np.full(SIZE, 20.0))
    floats = network(neuron, np.random.default_rng(3).normal(0, 0.3, SIZE))
    model = quantize_network(floats, QuantizationConfig(), ranges=calibrate(floats, samples().codes))
    assert "s.bias2" in model.synapses
    return floats, model


def spoilt(model: QuantizedNetwork, name: str, field: str, index: int, value: Any) -> QuantizedNetwork:
    codes = np.array(getattr(model.nodes[name], field))
    codes[index] = value(codes[index])
    node: Any = replace(model.nodes[name], **{field: codes})  # type: ignore[type-var]
    return replace(model, nodes={**model.nodes, name: node})


def first(found: Diagnosis) -> tuple[str, str, tuple[int, ...]]:
    named = found.findings[0]
    return named.tensor, named.fault, named.neurons


def test_a_scaled_drive_is_no_fault() -> None:
    floats, model = driven()
    held = read(model, floats)
    assert np.array_equal(held.source.populations["n"].tensor("beta"), held.tensors["n"]["beta"].values)
    for source in (floats, None):
        assert not [each for each in nmdeploy.diagnose(model, samples(), source).findings if each.origin == f.CHANGED]


def test_an_exact_drive_is_read_as_it_is() -> None:
    floats, _ = driven()
    exact = quantize_network(floats, QuantizationConfig(), ranges=calibrate(floats, samples().codes))
    assert read(exact, floats).source is floats


@pytest.mark.parametrize(
    ("name", "field", "value", "named"),
    [
        ("s", "weight", lambda row: row // 8, ("s weight", f.ROW_SCALED, (5,))),
        ("s", "weight", lambda row: -row // 2, ("s weight", f.SIGN_FLIPPED, (5,))),
        ("n", "vth", lambda code: code * 5, ("v_threshold", f.THRESHOLD_OFF, (5,))),
        ("n", "dv", lambda code: 200, ("beta", f.DECAY_OFF, (5,))),
        ("n", "bias_mant", lambda code: -4000, ("bias", f.BIAS_OFF, (5,))),
    ],
)
def test_a_fault_beside_a_scaled_drive_is_named(name: str, field: str, value: Any, named: Any) -> None:
    floats, model = driven()
    if field == "weight":  # half the weights in both networks: a code of either sign has one bit less
        half, synapse = model.nodes["s"].weight // 2, floats.nodes["s"]  # type: ignore[union-attr]
        codes: Any = replace(model.nodes["s"], sign_mode="mixed", weight=half)  # type: ignore[type-var]
        weights: Any = replace(synapse, weight=synapse.weight / 2)  # type: ignore[union-attr, type-var]
        model = replace(model, nodes={**model.nodes, "s": codes})
        floats = replace(floats, nodes={**floats.nodes, "s": weights})
    assert first(nmdeploy.diagnose(spoilt(model, name, field, 5, value), samples(), floats)) == named


def test_further_bias_synapses_are_one_bias() -> None:
    floats, model = with_terms()
    held = read(model, floats)
    neuron = model.populations["n"]
    units = np.abs(held.weights["s"].bias - floats.synapses["s"].bias) * neuron.scale * 2.0**neuron.frac_in  # type: ignore[operator]
    assert (units <= 0.5 + 1e-9).all() and set(held.weights) == {"s"}
    for source in (floats, None):
        assert nmdeploy.diagnose(model, samples(), source).findings == ()


def test_a_fault_of_the_bias_is_named() -> None:
    floats, model = with_terms()
    found = nmdeploy.diagnose(spoilt(model, "s", "bias", 5, lambda code: -128), samples(), floats)
    assert first(found) == ("s bias", f.BIAS_OFF, (5,)) and found.findings[0].origin == f.CHANGED


def test_a_fault_of_a_further_bias_synapse_is_named() -> None:
    floats, model = with_terms()
    term: Any = model.nodes["s.bias2"]
    moved = replace(term, bias_exp=term.bias_exp + 9, bias_frac=term.bias_frac - 9)
    found = nmdeploy.diagnose(replace(model, nodes={**model.nodes, "s.bias2": moved}), samples(), floats)
    assert first(found)[:2] == ("s bias", f.BIAS_OFF) and found.findings[0].origin == f.CHANGED


def from_nir(path: Path, options: ReadOptions) -> tuple[Network, Data]:
    """Two layers with r = tau / dt; the second one fires in every step if the first resets to zero."""
    rng = np.random.default_rng(0)
    tau = np.full(8, 5e-3)

    def lif(threshold: float) -> nir.LIF:
        return nir.LIF(tau=tau, r=np.ones(8), v_leak=np.zeros(8), v_threshold=np.full(8, threshold))

    nodes = {
        "input": nir.Input(np.array([8])),
        "fc1": nir.Linear(rng.uniform(0.5, 1.0, (8, 8))),
        "lif1": lif(0.3),
        "fc2": nir.Linear(np.full((8, 8), 4.0)),
        "lif2": lif(0.2),
        "output": nir.Output(np.array([8])),
    }
    nir.write(path, nir.NIRGraph(nodes, list(zip(nodes, list(nodes)[1:], strict=False))))
    codes = np.ones((3, 40, 8), np.int64)
    return nmdeploy.load(path, dt=1e-3, options=options), Data(codes, None, np.full(3, 40))


def test_an_assumed_reset_is_doubted_where_a_layer_is_off(tmp_path: Path) -> None:
    floats, data = from_nir(tmp_path / "n.nir", ReadOptions())
    model = nmdeploy.quantize(floats, data=data)
    for source in (None, floats):
        found = nmdeploy.diagnose(model, data, source)
        assert f.ALWAYS_SPIKES in {layer.state for layer in found.layers}
        assert [(each.object, each.property) for each in found.assumed][:2] == [("lif1", "reset"), ("lif2", "reset")]
        given = [option.option for option in found.options]
        assert given.index("--from") < given.index("--reset")
        assert "Assumed when the source was read, and doubtful now:" in list(diagnosis_lines(found))


def test_a_reset_that_was_said_is_not_doubted_and_the_options_work(tmp_path: Path) -> None:
    for options in (ReadOptions(resets={"": "subtract"}), ReadOptions(framework="sinabs")):
        floats, data = from_nir(tmp_path / "n.nir", options)
        assert {neuron.kind for neuron in floats.populations.values()} == {"dense_state_space"}
        found = nmdeploy.diagnose(nmdeploy.quantize(floats, data=data), data)
        assert "reset" not in {each.property for each in found.assumed}
        assert not {"--from", "--reset"} & {option.option for option in found.options}


def test_assumed_facts_of_a_layer_that_is_fine_are_not_shown(tmp_path: Path) -> None:
    floats, data = from_nir(tmp_path / "n.nir", ReadOptions())
    fewer = replace(data, codes=(np.random.default_rng(2).random(data.codes.shape) < 0.1).astype(np.int64))
    found = nmdeploy.diagnose(nmdeploy.quantize(floats, data=fewer), fewer)
    assert {layer.state for layer in found.layers} == {"active"} and found.assumed == () and found.options == ()
