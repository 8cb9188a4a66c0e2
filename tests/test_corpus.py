"""Real files that others made: traces of a Loihi 2 chip and of Lava, and a trained network for Braille reading."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from figures import Figures
from requires_lava import require_lava

from nmdeploy import pipeline
from nmdeploy.backends.reference import run
from nmdeploy.hardware.mapping import require_fit
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import QuantizedDense

CORPUS = os.environ.get("NMDEPLOY_CORPUS")
pytestmark = pytest.mark.skipif(CORPUS is None, reason="NMDEPLOY_CORPUS names no folder with the corpus")


def corpus(name: str) -> Path:
    return Path(CORPUS or "") / name


@pytest.fixture(scope="module")
def single_lif() -> QuantizedNetwork:
    """The network of the traces: weight mantissa 10, du 4095, dv 163, vth 25."""
    nodes = {
        "input": Input((1,)),
        "synapse": QuantizedDense([[5]], 8, 0, "mixed", 1),
        "lif": QuantizedLIF(du=[4095], dv=[163], vth=[25], bias_mant=[0], bias_exp=[0]),
    }
    return QuantizedNetwork(nodes, (Edge("input", "synapse"), Edge("synapse", "lif")), 1e-4, "lif")


def aligned(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input spikes, v and output spikes; the chip's neuron sees its input one step later."""
    rows = np.loadtxt(corpus(name), delimiter=",")
    return rows[:-1, 0].astype(np.int64), rows[1:, 1], rows[1:, 2] > 0


def test_the_loihi_2_chip_sends_the_same_spikes(single_lif: QuantizedNetwork, figures: Figures) -> None:
    inputs, v, spikes = aligned("lif_lava_loihi_fixed.csv")
    recording = run(single_lif, inputs[None, :, None], trace="states")
    figures(f"chip: {int((recording.output[0, :, 0] != spikes).sum())} of {len(spikes) + 1} output spikes differ")
    np.testing.assert_array_equal(recording.output[0, :, 0], spikes)
    assert spikes.any()
    differs = np.flatnonzero(recording.layers["lif"].states["v"][0, :, 0] != v)
    assert (differs + 1).tolist() == [461, 511, 711, 761]  # there the chip reads 128 after its spike, the rule 0
    assert spikes[differs].all()


def test_lava_on_a_cpu_has_the_same_membrane(single_lif: QuantizedNetwork) -> None:
    inputs, v, _ = aligned("lif_lava_cpu_fixed.csv")
    recording = run(single_lif, inputs[None, :, None], trace="states")
    np.testing.assert_array_equal(recording.layers["lif"].states["v"][0, :, 0], v)


@pytest.fixture(scope="module")
def braille() -> np.ndarray:
    return np.load(corpus("braille_test0_input.npy"))[None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_braille_in_float_equals_snntorch(braille: np.ndarray, dtype: type, figures: Figures) -> None:
    network = pipeline.load(corpus("braille_noDelay_bias_zero.nir"), dt=1e-4)
    expected = np.load(corpus("snntorch_activity_noDelay_bias_zero.npy")) > 0
    found = run_float(network, braille, dtype=dtype).spikes["lif1.lif"][0]
    figures(f"Braille: {int((found != expected).sum())} of {expected.size} hidden spikes differ")
    assert int(expected.sum()) == 119
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("profile", ["loihi1", "loihi2"])
def test_braille_in_integers_equals_lava(braille: np.ndarray, profile: str, tmp_path: Path) -> None:
    require_lava()
    network = pipeline.load(corpus("braille_noDelay_bias_zero.nir"), dt=1e-4)
    data = Data(braille.astype(np.int64), None, np.array([braille.shape[1]]))
    quantized = pipeline.quantize(network, profile, data)
    require_fit(pipeline.map_network(quantized, pipeline.load_profile(profile)))
    pipeline.write(quantized, tmp_path / "braille.nir")
    assert pipeline.read(tmp_path / "braille.nir") == quantized
    result = pipeline.verify(quantized, data, ["lava"], network)
    assert result.equal
    assert result.comparisons[0].values_compared == braille.shape[1] * (38 + 7) * 3
