"""Effects of rounding: what a tensor's integers hold, runs of single populations, and the changes by their measure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import family_examples
import numpy as np
import pytest
from nir_networks import quantized as with_random_scales
from nir_networks import random_network

from nmdeploy import pipeline
from nmdeploy.backends import reference
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.quantization.bias_terms import rest_of_bias
from nmdeploy.quantization.cautions import run_integers
from nmdeploy.quantization.effects import TensorEffect, effects, samples_within
from nmdeploy.quantization.population_runs import (
    record_arrivals,
    run_float_population,
    run_integer_population,
    synaptic_sums,
)
from nmdeploy.recording.types import totals
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense

EXAMPLES = [pytest.param(neuron, id=f"{neuron.kind}-{i}") for i, neuron in enumerate(family_examples.examples())]
SEEDS = range(12)


def samples(network: Network, seed: int, steps: int = 25) -> tuple[Any, Any]:
    """Input codes, and lengths of which the last is shorter."""
    rng = np.random.default_rng(seed)
    number = network.input.format
    codes = rng.integers(number.min, number.max + 1, (3, steps, network.input.size)) * (rng.random() < 0.8)
    return codes, np.array([steps, steps, steps - 6])


@pytest.mark.parametrize("neuron", EXAMPLES)
def test_tensors_that_integers_hold_round_to_the_same_integers(neuron: Neuron) -> None:
    network, integers = family_examples.network(neuron), family_examples.quantized(neuron)
    held = integers.populations["n"]
    rounded = network.populations["n"].rounded(held)
    assert rounded is not None, "a family of nmdeploy says what its integers hold"
    for without in ({"b"}, set(rounded.tensors) - {"b"}):  # b gives the unit of the states, so of all that reads them
        restored = network.populations["n"]
        for name, tensor in rounded.tensors.items():
            assert tensor.exact.shape == tensor.values.shape
            restored = restored if name in without else restored.with_tensor(name, tensor.values)
        again, _ = restored.round("n", held.scales, QuantizationConfig())
        _assert_same_codes(again, held, ("b", "b_re", "b_im") if "b" not in without else ())


def _assert_same_codes(one: Any, other: Any, only: tuple[str, ...]) -> None:
    """Codes are the same; with `only`, those of these fields to one code, because their unit was rounded as well."""
    for each in fields(one):
        held = getattr(one, each.name), getattr(other, each.name)
        if is_dataclass(held[0]):
            _assert_same_codes(*held, only)
        elif isinstance(held[0], np.ndarray) and (not only or each.name in only):
            assert np.abs(held[0] - held[1]).max(initial=0) <= bool(only), each
        elif not isinstance(held[0], np.ndarray):
            assert held[0] == held[1], each


@pytest.mark.parametrize("neuron", EXAMPLES)
def test_no_tensor_that_is_rounded_is_left_out(neuron: Neuron) -> None:
    """With all tensors as the integers hold them, what differs from the integers is the rounding of the steps."""
    network, integers = family_examples.network(neuron), family_examples.quantized(neuron)
    (effect,) = effects(network, integers, record_arrivals(network, family_examples.inputs(), np.full(20, 60)))
    assert effect.complete and effect.together is not None and effect.samples == 20
    alone = {(tensor.node, tensor.tensor): tensor.alone for tensor in effect.tensors}
    assert all(difference is not None for difference in alone.values())
    assert alone["n", "states"].share < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_a_population_by_itself_is_that_of_the_network(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    codes, lengths = samples(network, seed)
    inputs = network.input.format.dequantize(codes)
    arrivals, whole = record_arrivals(network, inputs, lengths), run_float(network, inputs, lengths=lengths)
    integers = with_random_scales(network, np.random.default_rng(seed))
    for name, neuron in network.populations.items():
        sums = [
            synaptic_sums(network.synapses[e.source], integers, e.source, arrivals).exact
            for e in network.incoming[name]
        ]
        alone = run_float_population(neuron, np.sum(sums, 0), lengths)
        if neuron.spiking:
            assert np.array_equal(alone & arrivals.valid, whole.spikes[name] & arrivals.valid), name
    assert np.array_equal(arrivals.output, np.where(arrivals.valid, whole.output, 0))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_population_of_integers_is_that_of_the_reference(seed: int) -> None:
    """A population's own run is the network's, where the float network sends what the integer network sends."""
    network = random_network(np.random.default_rng(seed))
    name = next(iter(network.populations))
    if any(edge.source == name for edge in network.edges if network.target.get(edge.target) == name):
        return
    integers, (codes, lengths) = with_random_scales(network, np.random.default_rng(seed)), samples(network, seed)
    arrivals = record_arrivals(network, network.input.format.dequantize(codes), lengths)
    sums = sum(
        synaptic_sums(network.synapses[e.source], integers, e.source, arrivals).codes for e in network.incoming[name]
    )

    alone = run_integer_population(integers.populations[name], sums, lengths)
    recording = reference.run(integers, codes, lengths=lengths, trace="spikes")
    assert np.array_equal(alone * arrivals.valid, recording.layers[name].spikes)


@pytest.mark.parametrize("seed", SEEDS)
def test_products_in_float64_are_those_of_the_reference(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    integers, (codes, lengths) = with_random_scales(network, np.random.default_rng(seed)), samples(network, seed)
    output, activity = run_integers(integers, codes, lengths)
    recording = reference.run(integers, codes, lengths=lengths)
    valid = (np.arange(codes.shape[1]) < lengths[:, None])[..., None]
    assert np.array_equal(output * valid, recording.output)
    counted = totals(recording).counts
    for name, seen in activity.items():
        assert seen.events == counted[name]["input_events"]
        if network.populations[name].spiking:
            assert seen.spikes == counted[name]["spikes"]


def small(neuron: Neuron, weight: Any = None, bias: Any = None) -> Network:
    weight = np.array([[1.0, 0.5], [0.25, 1.0]]) if weight is None else np.asarray(weight, float)
    nodes: dict[str, Any] = {"i": Input((2,)), "s": Dense(weight, bias), "n": neuron}
    return Network(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n", "sum" if neuron.spiking else "last")


def data(seed: int = 0, steps: int = 200) -> Data:
    codes = (np.random.default_rng(seed).random((4, steps, 2)) < 0.3).astype(np.int64)
    return Data(codes, None, np.full(4, steps))


def found(network: Network, integers: QuantizedNetwork, node: str, tensor: str, counted: bool = True) -> TensorEffect:
    arrivals = record_arrivals(network, data().codes, data().lengths) if counted else None
    return next(
        each for each in effects(network, integers, arrivals)[0].tensors if (each.node, each.tensor) == (node, tensor)
    )


def test_a_decay_is_measured_by_the_steady_gain() -> None:
    beta = 1 - 1.6 / 4096  # rounds to a decay of 2 / 4096
    network = small(LIF(np.zeros(2), np.array([0.5, beta]), 1.0))
    effect = found(network, pipeline.quantize(network, data=data()), "n", "beta")
    assert (effect.measure, effect.at) == ("decay", 1)
    assert effect.worst == pytest.approx(1 - 1.6 / 2)
    assert effect.alone is not None and effect.alone.spikes is not None and effect.alone.spikes > 0


def test_a_decay_that_is_slower_than_the_slowest_code() -> None:
    """Code 0 is for no leak at all; any leak has at least code 1, which loses nearly all of the steady gain."""
    network = small(LIF(np.zeros(2), np.array([0.5, 1 - 1e-5]), 1.0))
    worst = found(network, pipeline.quantize(network, data=data()), "n", "beta").worst
    assert worst == pytest.approx(1 - 1e-5 * 4096)


def test_a_row_is_measured_by_its_own_norm() -> None:
    """One outlier: the norm of the matrix hides that the other row is lost."""
    network = small(LIF(np.zeros(2), 0.9, 1.0), [[1000.0, 0.0], [0.3, 0.3]])
    integers = pipeline.quantize(network, data=data(), options=pipeline.FormatOverrides(weight_bits=4))
    effect = found(network, integers, "s", "weights")
    exact = network.synapses["s"].weight[1]  # type: ignore[attr-defined]
    synapse: Any = integers.synapses["s"]
    held = synapse.weight[1] * 2.0**-synapse.frac / integers.populations["n"].scale[1]
    worst = np.linalg.norm(held - exact) / np.linalg.norm(exact)
    if worst > 0.01:  # scales of single rows make it small
        assert (effect.measure, effect.at, effect.worst) == ("row", 1, pytest.approx(worst))


def test_a_bias_is_measured_by_its_share_of_the_threshold() -> None:
    neuron = LIF(np.full(2, 0.5), 0.9, 2.0)
    network = small(neuron, None, np.array([1.0, 0.003]))
    integers = pipeline.quantize(network, data=data())
    effect = found(network, integers, "s", "biases")
    synapse: Any = integers.synapses["s"]
    held = (synapse.rounded_bias + rest_of_bias(integers, "s")) / integers.populations["n"].scale
    assert effect.worst == pytest.approx(np.abs(held - [1.0, 0.003]).max() / 2.0)


def test_a_floor_is_measured_over_the_time_constant() -> None:
    network = small(LIF(np.zeros(2), 0.99, np.full(2, 5e4)), [[0.5, 0.0], [1.0, 1.0]])
    integers = pipeline.quantize(network, data=data())
    synapse: Any = integers.synapses["s"]
    assert synapse.dropped_bits
    effect, held = found(network, integers, "s", "floors"), integers.populations["n"]
    mean = 0.5 * (1 - 2.0**-synapse.dropped_bits) * 2.0**-held.frac_in / held.scale
    assert effect.worst == pytest.approx((mean * 100 / 5e4).max())


def test_a_readout_is_measured_by_its_worst_channel() -> None:
    network = small(Integrator(np.array([0.9, 0.8])), [[1.0, -0.5], [0.01, 0.013]])
    (effect,) = effects(
        network,
        integers := pipeline.quantize(network, data=data(), options=pipeline.FormatOverrides(weight_bits=4)),
        record_arrivals(network, data().codes, data().lengths),
    )
    assert effect.together is not None and effect.together.spikes is None
    floats = run_float(network, data().codes).output
    codes = reference.run(integers, data().codes).output
    real = integers.populations["n"].dequantize_state("v", codes)
    error, size = (np.sqrt(np.mean(values**2, (0, 1))) for values in (real - floats, floats))
    assert effect.together.share == pytest.approx(error.max() / size.max())


def test_samples_are_limited_by_state_updates() -> None:
    network = small(LIF(np.zeros(2), 0.9, 1.0))
    assert samples_within(network, 10, 100) == 10
    assert samples_within(network, 10**9, 1000) == 6_000_000 // 2000
    assert samples_within(network, 5, 10**9) == 1


def test_without_data_only_changes_are_measured() -> None:
    network = small(LIF(np.zeros(2), 0.9, 1.0))
    (effect,) = effects(network, pipeline.quantize(network))
    assert (effect.together, effect.samples) == (None, 0)
    assert all(tensor.alone is None for tensor in effect.tensors)


def test_every_array_of_a_float_family_is_a_tensor_or_named_here() -> None:
    """A new parameter that rounding changes is not forgotten."""
    known = {
        "LIF": {"v_reset"},  # only 0 is deployed
        "Integrator": set(),
        "StateSpace": {"reset_magnitude", "adaptation_leak", "adaptation_jump", "leak", "soma_r", "soma_m", "r", "m"},
    }
    for kind in (LIF, Integrator, StateSpace):
        neuron = next(each.values[0] for each in EXAMPLES if type(each.values[0]) is kind)
        rounded: Any = neuron.rounded(family_examples.quantized(neuron).populations["n"])
        arrays = {f.name for f in fields(neuron) if isinstance(getattr(neuron, f.name), np.ndarray)}
        assert arrays - set(rounded.tensors) <= known[kind.__name__]
