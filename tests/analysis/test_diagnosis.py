"""A planted fault is named first, by population and kind; of an unspoilt network nothing is named."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
from family_examples import examples, inputs
from family_examples import network as network_of
from figures import Figures
from shared import CALIBRATION, CHECKPOINT, Cli, Model

import nmdeploy
from nmdeploy import pipeline
from nmdeploy.analysis import finding as f
from nmdeploy.analysis.alone import run_source
from nmdeploy.analysis.diagnosis import Diagnosis
from nmdeploy.analysis.tensor_deviations import CODE
from nmdeploy.analysis.weights import dequantized_weights, weights_of
from nmdeploy.errors import BadOption
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.neurons.lif import LIF
from nmdeploy.reports.diagnosis import diagnosis_lines
from nmdeploy.samples.source import Data

SEEDS = range(5)
NEEDED = 54


def first(found: Diagnosis) -> tuple[str, str]:
    """Return population and fault of the first finding."""
    return (found.findings[0].population, found.findings[0].fault) if found.findings else ("", "")


@pytest.mark.slow
def test_planted_faults_are_named_first(figures: Figures) -> None:
    """Six faults, five seeds, in the float network and in the integers."""
    named: Counter[str] = Counter()
    for spoil in (planted.in_floats, planted.in_integers):
        for fault in planted.FAULTS:
            for seed in SEEDS:
                case = spoil(fault, seed)
                found = nmdeploy.diagnose(case.model, case.data, case.source)
                named[spoil.__name__] += first(found) == (case.population, case.fault)
    total = sum(named.values())
    figures(
        f"diagnose: planted faults named first: {total} of 60 "
        f"({named['in_floats']} of 30 in the float network, {named['in_integers']} of 30 in the integers)"
    )
    assert total >= NEEDED


@pytest.mark.slow
def test_nothing_is_named_of_unspoilt_twins(figures: Figures) -> None:
    """With the float network and without it."""
    twins = [planted.unspoilt(seed) for seed in SEEDS]
    found = [nmdeploy.diagnose(twin.model, twin.data, source) for twin in twins for source in (twin.source, None)]
    figures(
        f"diagnose: findings on the unspoilt twins: {sum(len(each.findings) for each in found)} of {len(found)} runs"
    )
    assert [each.findings for each in found if each.findings] == []


@pytest.mark.parametrize("fault", planted.FAULTS)
def test_a_model_of_a_spoilt_network_beside_the_good_one(fault: str) -> None:
    """The model was exported from another network than the one that it is compared with."""
    case, good = planted.in_floats(fault, 1), planted.network(1)
    assert first(nmdeploy.diagnose(case.model, case.data, good)) == (case.population, fault)
    found = nmdeploy.diagnose(pipeline.quantize(good, data=case.data), case.data, case.source)
    assert first(found)[0] == case.population


def everything() -> Any:
    return [pytest.param(neuron, id=f"{number}-{neuron.kind}") for number, neuron in enumerate(examples())]


@pytest.mark.parametrize("neuron", everything())
def test_tensors_read_back_within_a_code(neuron: Any) -> None:
    """Quantized and read as real numbers, every tensor of every family is the source's, rounded."""
    network = network_of(neuron)
    codes = inputs()
    data = Data(codes, None, np.full(len(codes), codes.shape[1]))
    quantized = pipeline.quantize(network, data=data)
    for name, tensor in neuron.rounded(quantized.populations["n"]).tensors.items():
        assert (np.abs(tensor.values - tensor.exact) <= CODE * np.asarray(tensor.unit) + 1e-12).all(), name
    held, source = dequantized_weights(quantized, "synapse"), weights_of(network.synapses["synapse"])
    error = held.rows.matrix(np.asarray) - source.rows.matrix(np.asarray)
    assert (np.abs(error) <= CODE * held.unit[:, None]).all()


@pytest.mark.parametrize("neuron", everything()[:40:5])
def test_every_family_is_diagnosed(neuron: Any) -> None:
    """A layer of each family is shown, with and without the source, as JSON values."""
    network, codes = network_of(neuron), inputs()
    data = Data(codes, None, np.full(len(codes), codes.shape[1]))
    model = pipeline.quantize(network, data=data)
    for source in (network, None):
        values = nmdeploy.diagnose(model, data, source).to_json()
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert [layer["name"] for layer in values["layers"]] == ["n"]


@pytest.mark.parametrize("neuron", everything()[::4])
def test_a_layer_alone_does_what_it_does_in_the_network(neuron: Any) -> None:
    """The float population on its own inputs equals the run, and so do the integers, whose inputs are the samples."""
    network, codes = network_of(neuron), inputs()
    lengths = np.arange(len(codes)) + 41
    data = Data(codes, None, lengths)
    sent = run_source(network, data)
    alone = sent.alone(neuron, {"synapse": network.synapses["synapse"]})
    assert np.array_equal(alone, sent.activity["n"].outputs)
    quantized = pipeline.quantize(network, data=data)
    spikes = pipeline.run(quantized, data, "reference", "states").layers["n"].spikes
    if spikes is not None:
        valid = (np.arange(codes.shape[1]) < lengths[:, None])[..., None]
        scaled = np.ldexp(spikes.astype(float), -quantized.populations["n"].output_frac) * valid
        assert np.array_equal(sent.integers_alone("n", quantized), scaled)


def test_rounding_to_few_bits_is_named_with_the_option_that_helps() -> None:
    network = nmdeploy.load(CHECKPOINT)
    data = nmdeploy.load_data(CALIBRATION, network.input).first(6)
    coarse = nmdeploy.quantize(network, data=data, options=pipeline.FormatOverrides(weight_bits=2))
    found = nmdeploy.diagnose(coarse, data, network)
    assert {each.origin for each in found.findings} == {f.ROUNDING}
    assert found.findings[0].spikes is not None and found.options[0].option == "--weight-bits"
    fine = nmdeploy.quantize(network, data=data, options=pipeline.FormatOverrides(weight_bits=8))
    assert nmdeploy.diagnose(fine, data, network).findings == ()


def test_restored_spikes_are_counted() -> None:
    case = planted.in_integers(f.SIGN_FLIPPED, 0)
    found = nmdeploy.diagnose(case.model, case.data, case.source)
    exact = pipeline.run(pipeline.quantize(case.source, data=case.data), case.data, trace="spikes").layers["hidden1"]
    assert exact.spikes is not None and found.findings[0].spikes is not None
    assert 0.5 * exact.spikes.sum() < found.findings[0].spikes <= 1.2 * exact.spikes.sum()
    states = {layer.name: layer.state for layer in found.layers}
    assert states["hidden1"] == "silent" and states["hidden2"] == "nothing arrives"


def test_saturated_states_are_counted_and_named() -> None:
    case = planted.unspoilt(1)
    node: Any = case.model.nodes["hidden1"]
    most = {"bias_mant": 4095, "bias_exp": 7, "vth": (1 << 17) - 1, "dv": 0}
    driven = replace(node, **{name: np.full(node.size, value) for name, value in most.items()})
    model = replace(case.model, nodes={**case.model.nodes, "hidden1": driven})
    found = nmdeploy.diagnose(model, case.data)
    limited = [each for each in found.findings if each.fault == f.AT_LIMIT]
    assert [each.population for each in limited] == ["hidden1"] and found.layers[0].limits["v_saturations"] > 0


@pytest.mark.parametrize("alone", [True, False])
def test_a_threshold_over_the_bound_is_named_without_siblings(alone: bool) -> None:
    """Three neurons have no statistics, but a threshold over all that the weights add up to is out of reach."""
    builder = NetworkBuilder(1e-3)
    x = builder.input(6)
    hidden = builder.population(LIF(alpha=np.zeros(3), beta=np.full(3, 0.9), v_threshold=np.array([1, 1, 50.0])), "few")
    builder.connect(x, hidden, np.full((3, 6), 0.2))
    network = builder.build()
    data = Data((np.random.default_rng(0).random((4, 40, 6)) < 0.3).astype(np.int64), None, np.full(4, 40))
    model = pipeline.quantize(network, data=data)
    (found,) = nmdeploy.diagnose(model, data, None if alone else network).findings
    assert (found.population, found.fault, found.neurons, found.origin) == ("few", f.OUT_OF_REACH, (2,), f.NETWORK)
    assert found.factor == pytest.approx(50 / (1.2 * (1 - 0.9**40) / 0.1), rel=0.05)
    assert "if every input came in every step and excited it" in found.text


def test_the_command(cli: Cli, digits_model: Model) -> None:
    given = ("--data", digits_model.data, "--checkpoint", CHECKPOINT)
    result = cli("diagnose", digits_model.path, *given, "--samples", 3)
    assert result.exit_code == 0 and "nothing to name" in result.output and "as the float network" in result.output
    values = json.loads(cli("diagnose", digits_model.path, *given, "--samples", 3, "--json").output)
    assert values["samples"] == 3 and values["findings"] == []
    wrong = cli("diagnose", digits_model.path, "--data", digits_model.data, "--checkpoint", digits_model.path)
    assert wrong.exit_code == 2 and "is quantized" in wrong.output


def test_the_text_names_fault_cause_and_options() -> None:
    case = planted.in_integers(f.OUT_OF_REACH, 1)
    found = nmdeploy.diagnose(case.model, case.data, case.source)
    lines = list(diagnosis_lines(found))
    assert lines[0].startswith("1 finding, first 'hidden1': threshold out of reach (8 samples, 480 steps")
    assert "1. hidden1: threshold out of reach (v_threshold)" in lines
    assert "neuron 5: the threshold is" in " ".join(line.strip() for line in lines)
    assert lines[-2:] == [
        "This would help, most helpful first:",
        "  - export the model again: these integers are not those of the checkpoint",
    ]


def test_mistakes_are_one_line() -> None:
    case = planted.unspoilt(0)
    with pytest.raises(BadOption, match="--samples 0"):
        nmdeploy.diagnose(case.model, case.data, samples=0)
    with pytest.raises(BadOption, match="its dt is"):
        nmdeploy.diagnose(case.model, case.data, replace(case.source, dt=1.0))
    with pytest.raises(BadOption, match="is the time step of --checkpoint"):
        nmdeploy.diagnose(case.model, case.data, dt=1e-3)
