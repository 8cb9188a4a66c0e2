"""Quantization as a whole: scales, refusals, and the shipped digits network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from figures import Figures
from requires_lava import require_lava
from shared import CALIBRATION, CHECKPOINT, TEST

from nmdeploy import pipeline
from nmdeploy.analysis.comparison import accuracy
from nmdeploy.cli import demo
from nmdeploy.errors import BadOption, DoesNotFit, UnsupportedParameter
from nmdeploy.network.float_run import FloatRun, run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense


def lif_network(scale: float = 1.0, alpha: float = 0.5, beta: float = 0.9) -> Network:
    weight = np.random.default_rng(0).normal(size=(6, 3)) * scale
    nodes: dict[str, Any] = {"i": Input((3,)), "s": Dense(weight), "n": LIF(np.full(6, alpha), beta, scale)}
    return Network(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3.7, 1e6])
def test_the_unit_of_the_weights_does_not_matter(scale: float) -> None:
    """Scaling weights and thresholds alike changes a network's numbers, not its integers."""
    inputs = np.random.default_rng(1).integers(0, 2, (4, 40, 3))
    one, other = (
        quantize_network(n, QuantizationConfig(), ranges=calibrate(n, inputs))
        for n in (lif_network(), lif_network(scale))
    )
    assert np.array_equal(one.synapses["s"].weight, other.synapses["s"].weight)  # type: ignore[attr-defined]
    assert np.array_equal(one.populations["n"].vth, other.populations["n"].vth)  # type: ignore[attr-defined]


def test_without_data_the_scales_are_static_bounds_and_say_so() -> None:
    inputs = np.random.default_rng(1).integers(0, 2, (4, 40, 3))
    bounded = quantize_network(lif_network(), QuantizationConfig())
    assert "static worst-case bounds" in bounded.notes[0]
    measured = quantize_network(lif_network(), QuantizationConfig(), ranges=calibrate(lif_network(), inputs))
    assert bounded.populations["n"].frac_in <= measured.populations["n"].frac_in


def test_without_data_a_neuron_without_leak_is_refused() -> None:
    with pytest.raises(BadOption, match=r"node 'n'.*--data"):
        quantize_network(lif_network(beta=1.0), QuantizationConfig())


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("threshold", [1e-3, 1.0, 1e4])
def test_exponents_stay_within_the_chip(sign: float, bits: int, threshold: float) -> None:
    """Whatever the sign mode and however large the threshold: the scale is lowered before an exponent is exceeded."""
    weight = np.random.default_rng(3).normal(size=(6, 3))
    weight = np.abs(weight) * sign if sign else weight
    nodes: dict[str, Any] = {"i": Input((3,)), "s": Dense(weight), "n": LIF(np.full(6, 0.5), 0.9, threshold)}
    network = Network(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")
    config = QuantizationConfig(weight_bits=bits, sign_modes=("mixed", "excitatory", "inhibitory"))
    q = quantize_network(network, config)
    assert all(-8 <= e <= 7 for e in q.synapses["s"].chip_exponents)


def test_a_readout_cannot_feed_a_synapse() -> None:
    network = lif_network()
    more: dict[str, Any] = {"sum": Dense(np.eye(6)), "v": Integrator(0.5 * np.ones(6)), "on": Dense(np.eye(6))}
    nodes = dict(network.nodes) | more | {"last": LIF(np.full(6, 0.5), 0.9, 1.0)}
    edges = [Edge("n", "sum"), Edge("sum", "v"), Edge("v", "on"), Edge("on", "last")]
    longer = replace(network, nodes=nodes, edges=(*network.edges, *edges), output="last")
    with pytest.raises(UnsupportedParameter, match="source 'v' sends values"):
        quantize_network(longer, QuantizationConfig())


def test_weights_too_far_apart_for_the_exponents_are_refused() -> None:
    network = lif_network()
    nodes = dict(network.nodes) | {"far": Dense(np.full((6, 3), 1e-6))}
    apart = replace(network, nodes=nodes, edges=(*network.edges, Edge("i", "far"), Edge("far", "n")))
    with pytest.raises(DoesNotFit, match="synapse 'far': weight exponent"):
        quantize_network(apart, QuantizationConfig())


@pytest.fixture(scope="module")
def floats() -> Network:
    return pipeline.load(CHECKPOINT)


@pytest.fixture(scope="module")
def digits(floats: Network) -> Data:
    return pipeline.load_data(TEST, floats.input)


@pytest.fixture(scope="module")
def float_run(floats: Network, digits: Data) -> FloatRun:
    return run_float(floats, floats.input.format.dequantize(digits.codes))


def quantized(floats: Network, options: pipeline.FormatOverrides = pipeline.FormatOverrides()) -> QuantizedNetwork:  # noqa: B008
    return pipeline.quantize(floats, demo.PROFILE, pipeline.load_data(CALIBRATION, floats.input), options)


def test_digits_in_float(floats: Network, digits: Data, float_run: FloatRun, figures: Figures) -> None:
    share = accuracy(float_run.output, floats.readout, digits.lengths, digits.labels)
    rate = float(np.mean([spikes.mean() for spikes in float_run.spikes.values()]))
    figures(f"digits: {digits.samples} samples, float {share:.4f}, mean spike rate {rate:.4f}")
    assert digits.samples == 450 and share is not None and share >= 0.97
    assert rate <= 0.20


@pytest.mark.parametrize("rounding", ["per-product", "per-sum"])
def test_digits_in_integers(
    floats: Network, digits: Data, float_run: FloatRun, rounding: str, figures: Figures
) -> None:
    exact = accuracy(float_run.output, floats.readout, digits.lengths, digits.labels)
    for weight_bits, state_bits in ((8, 24), (4, 16)):
        options = pipeline.FormatOverrides(weight_bits=weight_bits, state_bits=state_bits, state_rounding=rounding)
        q = quantized(floats, options)
        found = pipeline.run(q, digits)
        share = accuracy(found.output, q.readout, digits.lengths, digits.labels)
        figures(f"digits: {weight_bits}-bit weights, {state_bits}-bit states, {rounding}: {share:.4f}")
        assert share is not None and exact is not None
        assert share >= exact - (0.005 if weight_bits == 8 else 0.05)


@pytest.mark.slow
def test_twenty_digits_equal_lava(floats: Network, digits: Data, figures: Figures) -> None:
    require_lava()
    result = pipeline.verify(quantized(floats), digits.first(20), ["lava"], floats)
    (comparison,) = result.comparisons
    figures(f"digits: {comparison.values_compared} values of 20 samples, {comparison.mismatches} differ from Lava")
    assert (comparison.samples, comparison.steps, comparison.mismatches) == (20, 64, 0)
    hidden = 3 * 64 * (1 + 2 * 8 + 1)  # a spike, 8 complex states and y of each neuron
    assert comparison.values_compared == 20 * 64 * (hidden + 10)
