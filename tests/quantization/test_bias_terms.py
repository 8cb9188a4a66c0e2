"""A bias that enters a synaptic filter is exact to half a unit of the sum, by bias synapses that mapping counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requires_lava import require_lava

import nmdeploy
from nmdeploy import nir_io, pipeline
from nmdeploy.backends import compiled, reference
from nmdeploy.hardware.mapping import map_network
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.bias_terms import rest_synapses
from nmdeploy.quantization.effects import effects
from nmdeploy.quantization.population_runs import record_arrivals, synaptic_sums
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import Dense


def network(bias: Any, alpha: float = 0.7, delay: int = 0) -> Network:
    size = len(bias)
    weight = np.random.default_rng(0).normal(size=(size, 5))
    nodes: dict[str, Any] = {
        "i": Input((5,)),
        "s": Dense(weight, np.array(bias)),
        "n": LIF(np.full(size, alpha), 0.9, 1.0),  # type: ignore[arg-type]
    }
    return Network(nodes, (Edge("i", "s", delay), Edge("s", "n")), 1e-3, "n")


def spikes(steps: int = 30) -> Any:
    return np.random.default_rng(1).integers(0, 2, (3, steps, 5))


def integers(floats: Network, bits: int = 8) -> QuantizedNetwork:
    return quantize_network(floats, QuantizationConfig(weight_bits=bits), ranges=calibrate(floats, spikes()))


def constant(q: QuantizedNetwork) -> Any:
    """Sum that arrives in every step without an input, in units."""
    silent = np.zeros((1, 5), np.int64)
    return sum(synapse.apply(silent)[0] for synapse in q.synapses.values())


@settings(max_examples=60, deadline=None)
@given(
    bias=st.lists(st.floats(-3, 3, width=32).filter(lambda b: b == 0 or abs(b) > 1e-6), min_size=1, max_size=5),
    bits=st.integers(6, 8),
)
def test_a_bias_behind_a_filter_is_exact_to_half_a_unit(bias: list[float], bits: int) -> None:
    floats = network(bias)
    q = integers(floats, bits)
    neuron = q.populations["n"]
    exact = np.array(bias) * neuron.scale * 2.0**neuron.frac_in
    assert (np.abs(constant(q) - exact) <= 0.5 + 1e-9).all()
    assert sum(synapse.bias is not None for synapse in q.synapses.values()) <= 3


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_few_bits_are_used_as_far_as_they_go(bits: int) -> None:
    floats = network([0.123, -0.377, 0.011])
    q = integers(floats, bits)
    neuron = q.populations["n"]
    exact = np.array([0.123, -0.377, 0.011]) * neuron.scale * 2.0**neuron.frac_in
    first = q.synapses["s"].apply(np.zeros((1, 5), np.int64))[0]
    assert np.abs(constant(q) - exact).max() <= np.abs(first - exact).max() / 4


def test_without_a_filter_nothing_is_added() -> None:
    assert list(integers(network([0.123, -0.377], alpha=0.0)).synapses) == ["s"]


def test_mapping_counts_them() -> None:
    q = integers(network([0.123, -0.377, 0.0]))
    assert list(q.synapses) == ["s", "s.bias2"]
    alone = replace(
        q,
        nodes={name: node for name, node in q.nodes.items() if name != "s.bias2"},
        edges=tuple(e for e in q.edges if "s.bias2" not in (e.source, e.target)),
    )
    profile = pipeline.load_profile("loihi2")
    both, one = (map_network(each, profile) for each in (q, alone))
    assert q.synapses["s.bias2"].bias_synapses == np.count_nonzero(q.synapses["s.bias2"].bias) > 0
    ((more,), (fewer,)) = ([core.usage for core in each.cores] for each in (both, one))
    assert more["input_axons"].used == fewer["input_axons"].used + 1
    assert more["synapse_bits"].used > fewer["synapse_bits"].used


@pytest.mark.parametrize("delay", [0, 2])
def test_every_backend_and_the_model_file_hold_them(tmp_path: Path, delay: int) -> None:
    q = integers(network([0.123, -0.377, 0.011], delay=delay))
    nir_io.write(q, tmp_path / "m.nir")
    assert nir_io.read(tmp_path / "m.nir") == q
    one, other = (backend.run(q, spikes()) for backend in (reference, compiled))
    assert one.output.any() and np.array_equal(one.output, other.output)


@pytest.mark.slow
@pytest.mark.lava
def test_lava_agrees() -> None:
    require_lava()
    floats = network([0.123, -0.377, 0.011])
    q = nmdeploy.quantize(floats, "loihi2", data=spikes())
    assert len(q.synapses) > 1
    (comparison,) = pipeline.verify(q, spikes(), ["lava"], floats).comparisons
    assert comparison.mismatches == 0 and comparison.values_compared


def test_effects_count_all_bias_synapses() -> None:
    """A bias that several synapses hold to half a unit costs no spike; its first synapse alone would."""
    floats = network([0.3317, -0.2113, 1.7719, 0.0137])
    q = integers(floats, 6)
    assert any(name.startswith("s.bias") for name in q.synapses)
    codes = spikes()
    arrivals = record_arrivals(floats, codes.astype(float), np.full(3, 30))
    sums = synaptic_sums(floats.synapses["s"], q, "s", arrivals)
    whole = sum(q.synapses[name].apply(codes.reshape(-1, 5)) for name in ("s", *rest_synapses(q, "s"))).reshape(
        3, 30, 4
    )
    assert np.array_equal(sums.codes, whole)
    unit = np.ldexp(1.0, -q.populations["n"].frac_in) / q.populations["n"].scale
    assert sums.biases is not None and np.all(np.abs(sums.biases - sums.exact) <= 0.51 * unit)
    (biases,) = [each for each in effects(floats, q, arrivals)[0].tensors if each.tensor == "biases"]
    assert biases.worst is not None and biases.worst <= float(np.max(unit))
