"""Lines that an export prints about losses and about populations that show nothing: their words, and what helps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmdeploy import pipeline
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.pipeline import FormatOverrides
from nmdeploy.quantization.cautions import distance_warnings, readout_snr, unreached
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense

RNG = np.random.default_rng(3)
WEIGHT = RNG.normal(0.1, 0.5, (20, 12))


def network(neuron: Any, weight: Any = WEIGHT, bias: Any = None) -> Network:
    nodes: dict[str, Any] = {"i": Input((12,)), "fc": Dense(weight, bias), "n": neuron}
    return Network(nodes, (Edge("i", "fc"), Edge("fc", "n")), 1e-3, "n", "sum" if neuron.spiking else "last")


def data(rate: float = 0.3, steps: int = 100) -> Data:
    codes = (np.random.default_rng(0).random((4, steps, 12)) < rate).astype(np.int64)
    return Data(codes, None, np.full(4, steps))


def warnings(floats: Network, tmp_path: Path, bits: int | None = None, given: Data | None = None, **how: Any) -> str:
    options = FormatOverrides(weight_bits=bits, **how)
    made = pipeline.export(floats, tmp_path / "m.nir", data=data() if given is None else given, options=options)
    assert set(made.assessment.warnings) <= set(made.notes)
    return "\n".join(made.assessment.warnings)


def lif(size: int = 20) -> LIF:
    return LIF(np.zeros(size), np.full(size, 0.9), np.ones(size))


def test_coarse_weights_and_more_weight_bits(tmp_path: Path) -> None:
    said = warnings(network(lif()), tmp_path, 3)
    assert said.startswith("population 'n': ") and "weights of 'fc' alone" in said and "(4 samples), limit 4%" in said
    assert "give more --weight-bits (now 3)" in said
    assert not warnings(network(lif()), tmp_path, 8)


def test_outliers_and_clipping(tmp_path: Path) -> None:
    weight = WEIGHT.copy()
    weight[:, 0] = 300.0  # in every row, so that no scale of a row helps
    quiet = data()
    quiet.codes[..., 0] = 0
    said = warnings(network(lif(), weight), tmp_path, given=quiet)
    assert "weights of 'fc' alone" in said and "retrain with the largest weights clipped" in said
    assert not warnings(network(lif(), np.clip(weight, -2, 2)), tmp_path, given=quiet)


def slow(leak: float) -> Network:
    """Neurons with weights that the codes hold exactly."""
    weight = np.clip(np.rint(64 * np.abs(WEIGHT)), 0, 127) / 64
    weight[:, 0] = 127 / 64
    return network(LIF(np.zeros(20), np.full(20, 1 - leak), np.full(20, 150.0)), weight)


def test_decays_of_a_lif_and_a_larger_dt(tmp_path: Path) -> None:
    """A leak per step grows with dt."""
    long = data(0.3, 2000)
    said = warnings(slow(0.45 / 4096), tmp_path, given=long)
    assert "beta of 'n' alone" in said and "shorter time constants, a larger --dt" in said
    assert not warnings(slow(45 / 4096), tmp_path, given=long)


def poles(frac: int, tmp_path: Path) -> str:
    a = 0.9993 * np.exp(0.05j * np.arange(1, 4)) * np.ones((20, 1))
    neuron = StateSpace(a=a, b=0.05, c=RNG_C, d=0.0, v_threshold=np.full(20, 0.5))  # type: ignore[arg-type]
    return warnings(network(neuron), tmp_path, given=data(0.3, 400), coefficient_frac=frac)


RNG_C = RNG.normal(size=(20, 3)) + 0j


def test_poles_and_more_fraction_bits(tmp_path: Path) -> None:
    said = poles(7, tmp_path)
    assert "a of 'n' alone" in said and "give more --coefficient-frac (now 7" in said
    assert "a of 'n'" not in poles(14, tmp_path)


def test_coefficients_and_more_bits(tmp_path: Path) -> None:
    a = 0.8 * np.exp(0.3j * np.arange(1, 4)) * np.ones((20, 1))
    neuron = StateSpace(a=a, b=0.5, c=RNG_C, d=0.0, v_threshold=np.full(20, 0.5))  # type: ignore[arg-type]
    said = warnings(network(neuron), tmp_path, coefficient_bits=4, coefficient_frac=2)
    assert "give more --coefficient-" in said
    assert not warnings(network(neuron), tmp_path, coefficient_bits=16)


def test_a_readout_and_more_weight_bits(tmp_path: Path) -> None:
    neuron = Integrator(np.full(20, 0.9))
    said = warnings(network(neuron), tmp_path, 2)
    assert "its values are off by" in said and "--weight-bits (now 2)" in said
    assert not warnings(network(neuron), tmp_path, 8)


def test_without_data_the_changes_decide(tmp_path: Path) -> None:
    floats = network(LIF(np.zeros(20), np.full(20, 1 - 0.4 / 4096), np.ones(20)))
    made = pipeline.export(network(lif()), tmp_path / "m.nir", options=FormatOverrides(weight_bits=2))
    (line,) = [line for line in made.assessment.warnings if "weights" in line]
    assert line.startswith("population 'n': weights of 'fc': row ") and "limit 10%" in line
    gain = "beta of 'n': the steady gain of neuron 0 changes by 60%"
    slow = pipeline.check(floats)
    assert any(gain in note for note in slow.notes)


def test_a_population_that_shows_nothing(tmp_path: Path) -> None:
    silent = LIF(np.zeros(20), np.full(20, 0.9), np.full(20, 1e4))
    assert "population 'n': never spikes in 400 steps" in warnings(network(silent), tmp_path)
    always = network(lif(), np.full((20, 12), 100.0))
    assert "all of its neurons spike in all of 400 steps" in warnings(always, tmp_path, given=data(1.0))
    assert "no event reaches it in 400 steps" in warnings(network(lif()), tmp_path, given=data(0.0))


def chain(*neurons: Any) -> Network:
    """Populations of 20 neurons in a row."""
    nodes: dict[str, Any] = {"i": Input((12,))}
    for index, neuron in enumerate(neurons):
        nodes |= {f"fc{index}": Dense(WEIGHT if not index else np.ones((20, 20))), f"n{index}": neuron}
    names = list(nodes)
    return Network(nodes, tuple(Edge(*ends) for ends in pairwise(names)), 1e-3, names[-1], "last")


def test_of_a_silent_chain_every_population_is_named(tmp_path: Path) -> None:
    silent = LIF(np.zeros(20), np.full(20, 0.9), np.full(20, 1e4))
    first, second, third = warnings(chain(lif(), silent, lif(), Integrator(np.full(20, 0.9))), tmp_path).splitlines()
    assert first.startswith("population 'n1': never spikes in 400 steps, ")
    assert [line.partition(":")[0] for line in (second, third)] == ["population 'n2'", "population 'n3'"]
    assert "no event reaches it in 400 steps" in second


def test_weights_of_zero_do_not_reach(tmp_path: Path) -> None:
    floats = network(lif(), np.zeros((20, 12)))
    assert unreached(pipeline.quantize(floats)) == [
        "population 'n': the input does not reach it: check the weights of the layers before it"
    ]
    assert "the input does not reach it" in "\n".join(pipeline.export(floats, tmp_path / "m.nir").notes)


def test_a_readout_far_from_the_float_one(tmp_path: Path) -> None:
    weight = np.full((20, 12), 0.3) + 0.01 * RNG.normal(size=(20, 12))
    weight[:, 0] = 400.0
    quiet = data()
    quiet.codes[..., 0] = 0
    said = warnings(network(Integrator(np.full(20, 0.9)), weight), tmp_path, given=quiet)
    assert "the readout of the integers is far from that of the float network: signal-to-noise" in said
    result = pipeline.verify(tmp_path / "m.nir", quiet, ("compiled",), network(Integrator(np.full(20, 0.9)), weight))
    assert any("signal-to-noise" in line for line in result.warnings)


def test_verify_warns_of_a_silent_population(tmp_path: Path) -> None:
    silent = network(LIF(np.zeros(20), np.full(20, 0.9), np.full(20, 1e4)))
    made = pipeline.export(silent, tmp_path / "m.nir", data=data())
    result = pipeline.verify(made.network, data(), ("compiled",))
    assert result.warnings == (made.assessment.warnings[0],)
    assert type(result).from_json(result.to_json()).warnings == result.warnings


def test_the_ratio_is_that_of_the_readout() -> None:
    floats = network(Integrator(np.full(20, 0.5)))
    integers = pipeline.quantize(floats, data=data())
    held = integers.populations["n"]
    codes = np.random.default_rng(0).integers(-100, 100, (4, 10, 20))
    real = held.dequantize_state("v", codes)
    lengths = np.full(4, 10)
    assert readout_snr(floats, real, integers, codes, lengths) is None
    assert readout_snr(floats, 1.5 * real, integers, codes, lengths) == pytest.approx(20 * np.log10(3))
    assert distance_warnings(None) == distance_warnings(10.0) == []
    assert len(distance_warnings(9.99)) == 1
