"""What every neuron family keeps, whichever the folder holds: a new file inherits these tests."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from family_examples import CHANNELS, examples, inputs, network, quantized

from nmdeploy._util.fields import build, split
from nmdeploy.backends.reference import run
from nmdeploy.network import families
from nmdeploy.network.float_run import run_float
from nmdeploy.neurons.base import Neuron, QuantizationConfig


def test_examples_cover_every_family() -> None:
    assert {neuron.kind for neuron in examples()} == set(families.neurons()) == set(families.quantized_neurons())


@pytest.mark.parametrize("rounding", ["per-product", "per-sum"])
@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_integers_follow_the_float_population(neuron: Neuron, rounding: str) -> None:
    floats = network(neuron)
    q = quantized(neuron, QuantizationConfig(state_rounding=rounding))
    found, wanted = run(q, inputs(), trace="states"), run_float(floats, inputs(), trace=True)
    if neuron.spiking:
        codes = np.ldexp(wanted.spikes["n"].astype(float), q.populations["n"].output_frac)
        assert 0.02 < (codes != 0).mean() < 0.8
        assert (found.layers["n"].spikes != codes).mean() < 0.05
    name = neuron.membrane_name
    membrane, integer = wanted.membranes["n"], q.populations["n"].dequantize_state(name, found.layers["n"].states[name])
    assert np.corrcoef(membrane.ravel(), integer.ravel())[0, 1] > 0.97
    assert not any(found.total("n", flag) for flag in q.populations["n"].flags)


@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_fields_round_trip(neuron: Neuron) -> None:
    population = quantized(neuron).populations["n"]
    plain, arrays = split(population)
    assert build(families.quantized("n", population.kind), json.loads(json.dumps(plain)) | arrays) == population
    assert population.footprint_bits > 0 and population.real_states >= 0
    assert set(population.recorded) <= {*population.state_registers, *population.neuron_registers}


@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_silence_changes_nothing_but_what_biases_do(neuron: Neuron) -> None:
    q = quantized(neuron)
    silent = run(q, np.zeros((1, 5, CHANNELS), np.int64), trace="states")
    biased = np.any(getattr(getattr(neuron, "dynamics", neuron), "bias", 0.0))
    assert biased or not any(np.any(values) for values in silent.layers["n"].states.values())


@pytest.mark.parametrize("neuron", [n for n in examples() if hasattr(n, "r")], ids=lambda n: n.kind)
def test_what_no_reset_reads_may_have_any_size(neuron: Neuron) -> None:
    """A reset's target stays in the checkpoint when the reset is switched off."""
    off = {"reset_action": "none", "reset_condition": "never", "refractory": 0}
    known = {name: value for name, value in off.items() if hasattr(neuron, name)}
    large = replace(neuron, **known, r=neuron.r * 1e9)  # type: ignore[attr-defined, type-var]
    small = replace(neuron, **known)  # type: ignore[type-var]
    assert quantized(large).populations["n"] == quantized(small).populations["n"]
