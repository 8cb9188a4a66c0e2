"""What reaches the compiled code at its edges: chunks behind a sample's end, byte orders, lengths, shifts far away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from equal_runs import both, differences, random_codes
from networks_wired import chain
from windows import quantized_windowed

import nmdeploy
from nmdeploy.backends import compiled, reference
from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.running import simulate_into
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import QuantizedDense


def windowed(channels: int, window: int) -> QuantizedNetwork:
    """A window of a slow memory, behind so many channels."""
    size = 8
    one, block = np.ones((size, 1), int), np.ones((size, 1, 1), int)
    widths = {"rounding": "per-product", "state_bits": 24, "coefficient_bits": 16}
    points = {"frac_a": 12, "frac_b": 0, "frac_c": 0, "frac_d": 0, "frac_k": 8}
    ab = {"a_re": one * 4000, "a_im": one * 0, "b_re": block, "b_im": block * 0}
    cd = {"c_re": block, "c_im": block * 0, "d": block * 0, "bias": one * 0}
    kernel: Any = {"window": window, "kernel": np.full((size, window), 256), "vth": np.full(size, 100)}
    neuron = quantized_windowed(**widths, **points, **ab, **cd, **kernel)  # type: ignore[arg-type]
    weight = np.random.default_rng(0).integers(-9, 10, (size, channels))
    nodes = {"input": Input((channels,)), "s": QuantizedDense(weight), "n": neuron}
    return QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")


@pytest.mark.parametrize("channels", [63, 64, 65, 128])
@pytest.mark.parametrize("window", [5, 8])
def test_chunks_that_begin_behind_the_end_of_a_sample(channels: int, window: int) -> None:
    """A population that looks ahead has steps behind the last one; rows of whole words are packed in one piece."""
    network = windowed(channels, window)
    for steps in range(120, 137):
        codes = (np.random.default_rng(1).random((2, steps, channels)) < 0.3).astype(np.uint8)
        both(network, codes)
        both(network, np.pad(codes, ((0, 0), (0, 9), (0, 0))), np.array([steps, steps - 3]), "none")


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "i8"])
def test_codes_in_the_other_byte_order(kind: str) -> None:
    network = chain(3, 7, 12, form=FixedPoint(8, 0, signed=True))
    codes = abs(random_codes(network, 0, 4, 30)) % 128
    expected = reference.run(network, codes)
    assert not differences(expected, compiled.run(network, codes.astype(np.dtype(kind).newbyteorder(">"))))


@pytest.mark.parametrize("exponent", [-22, -63, -64, -127, -149, -150, -1023, -1075, -2000])
@pytest.mark.parametrize("weight", [-1, 1])
@pytest.mark.parametrize("decay", [0, 100, 4095])
def test_shifts_beyond_the_lanes(exponent: int, weight: int, decay: int) -> None:
    """An arithmetic shift to the right ends at -1 or 0; a factor of 2**-150 would be 0 in float32."""
    nodes = {
        "input": Input((3,)),
        "s": QuantizedDense(np.full((2, 3), weight), weight_exp=exponent),
        "n": QuantizedIntegrator(np.full(2, decay), np.zeros(2, int)),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    recording, _ = both(network, np.ones((1, 3, 3), np.uint8))
    assert recording.output.any() == (weight < 0)


CODES = np.random.default_rng(0).integers(0, 2, (3, 5, 7))
DATA = Data(CODES, None, np.full(3, 5))
REFUSED: dict[str, tuple[Any, str]] = {
    "counts of spikes": (replace(DATA, codes=CODES * 3), "codes from 0 to 3: the network takes 0 to 1"),
    "less than none": (replace(DATA, codes=-CODES), "codes from -1 to 0"),
    "floats": (replace(DATA, codes=CODES / 1), "codes of type float64: give integers"),
    "objects": (replace(DATA, codes=CODES.astype(object)), "codes of type object"),
    "lengths beyond": (replace(DATA, lengths=np.array([5, 6, 5])), "lengths from 5 to 6: give 1 to 5"),
    "lengths of none": (replace(DATA, lengths=np.array([5, 0, 5])), "lengths from 0 to 5"),
    "lengths of others": (replace(DATA, lengths=np.full(2, 5)), r"lengths of shape \(2,\)"),
    "lengths in between": (replace(DATA, lengths=np.full(3, 1.5)), "type float64: give one integer per sample"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("backend", ["compiled", "reference"])
def test_samples_in_memory_that_cannot_be_run(name: str, backend: str, tmp_path: Any) -> None:
    network, (data, message) = chain(1, 7, 9), REFUSED[name]
    with pytest.raises(BadOption, match=message):
        nmdeploy.run(network, data, backend)
    with pytest.raises(BadOption, match=message):
        simulate_into(tmp_path / "r.h5", network, data, backend)
    assert not list(tmp_path.iterdir())


def test_lengths_never_leave_the_engines_memory() -> None:
    for lengths in ([5, 6, 5], [-1, 5, 5], [5, 5]):
        with pytest.raises(ValueError, match="give one per sample, up to 5"):
            compiled.run(chain(1, 7, 9), CODES, lengths=np.array(lengths))
