"""Every remedy that a refusal of the quantizer names, followed: the network passes afterwards."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest

import nmdeploy
from nmdeploy import pipeline
from nmdeploy.errors import BadOption, CalibrationNeeded, DoesNotFit, OverflowPossible
from nmdeploy.network.graph import BINARY, Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.integrator import Integrator, QuantizedIntegrator
from nmdeploy.neurons.lif import LIF, QuantizedLIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.pipeline import FormatOverrides
from nmdeploy.quantization.remedies import REMEDIES
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense, QuantizedDense


def network(neuron: Any, *weights: Any, dt: float = 1e-3) -> Network:
    """One population with one synapse from the input for each of `weights`."""
    given = weights or (np.full((neuron.size, 2), 1.0),)
    nodes: dict[str, Any] = {"i": Input((given[0].shape[1],))}
    nodes |= {f"s{index}": Dense(weight) for index, weight in enumerate(given)} | {"n": neuron}
    edges = [Edge("i", f"s{index}") for index in range(len(given))]
    edges += [Edge(f"s{index}", "n") for index in range(len(given))]
    return Network(nodes, tuple(edges), dt, "n", "sum" if neuron.spiking else "last")


def data(steps: int = 2000, channels: int = 2, rate: float = 0.5) -> Data:
    codes = (np.random.default_rng(0).random((2, steps, channels)) < rate).astype(np.int64)
    return Data(codes, None, np.full(2, steps))


def refused(kind: type[Exception], floats: Network, *words: str, **how: Any) -> str:
    with pytest.raises(kind) as caught:
        pipeline.quantize(floats, **how)
    message = str(caught.value)
    assert all(word in message for word in words), message
    return message


def test_static_bounds_that_do_not_fit_ask_for_data() -> None:
    beta = 1 - 1e-3
    floats = network(LIF(np.full(3, beta), beta, 1.0), np.full((3, 20), 1.0))
    refused(CalibrationNeeded, floats, "synapse 's0'", "give calibration data (--data)")
    assert pipeline.quantize(floats, data=data(50, 20, 0.005))


def test_a_neuron_without_bound_asks_for_data() -> None:
    floats = network(LIF(np.zeros(3), 1.0, 1.0))
    refused(CalibrationNeeded, floats, "give calibration data (--data)")
    assert pipeline.quantize(floats, data=data(50))


def long_time_constants(tau: float, dt: float) -> Network:
    """Inhibited current-based neurons, whose membranes go far under 0."""
    weights = nir.Linear(np.full((2, 2), -1.0))
    ones = np.ones(2)
    rest = {"r": 1.0 * ones, "v_leak": 0 * ones, "v_threshold": 1e-3 * ones, "v_reset": 0 * ones, "w_in": ones}
    neurons = nir.CubaLIF(tau_syn=tau * ones, tau_mem=tau * ones, **rest)
    nodes = {"input": nir.Input(np.array([2])), "fc": weights, "n": neurons, "output": nir.Output(np.array([2]))}
    return nmdeploy.load(nir.NIRGraph(nodes, list(pairwise(nodes))), dt=dt)


def test_a_membrane_that_grows_is_kept_small_by_shorter_time_constants_or_a_larger_dt() -> None:
    samples = data(6000)
    refused(DoesNotFit, long_time_constants(1.0, 1e-3), REMEDIES["membrane"], data=samples)
    assert pipeline.quantize(long_time_constants(0.02, 1e-3), data=samples)
    assert pipeline.quantize(long_time_constants(1.0, 0.1), data=samples)


def test_a_threshold_beside_the_weights() -> None:
    floats = network(LIF(np.zeros(2), 0.5, 1e7))
    refused(DoesNotFit, floats, REMEDIES["threshold"], data=data(50))
    assert pipeline.quantize(network(LIF(np.zeros(2), 0.5, 1e4)), data=data(50))
    assert pipeline.quantize(network(LIF(np.zeros(2), 0.5, 1e7), np.full((2, 2), 1e3)), data=data(50))


def test_a_bias_beside_the_weights() -> None:
    floats = network(LIF(np.zeros(2), 0.5, 1.0, np.full(2, -1e8)))
    refused(DoesNotFit, floats, REMEDIES["bias"], data=data(50))
    assert pipeline.quantize(network(LIF(np.zeros(2), 0.5, 1.0, np.full(2, -1e3))), data=data(50))
    assert pipeline.quantize(network(LIF(np.zeros(2), 0.5, 1.0, np.full(2, -1e8)), np.full((2, 2), 1e6)), data=data(50))


def test_a_synapse_far_from_the_others_is_rescaled() -> None:
    strong, weak = np.full((2, 2), 1.0), np.full((2, 2), 1e-6)
    floats = network(LIF(np.zeros(2), 0.5, 1.0), strong, weak)
    refused(DoesNotFit, floats, "too far from those of the other synapses", "rescale", data=data(50))
    assert pipeline.quantize(network(LIF(np.zeros(2), 0.5, 1.0), strong, 1e4 * weak), data=data(50))


def test_the_state_bits_of_a_lif() -> None:
    refused(DoesNotFit, network(LIF(np.zeros(2), 0.5, 1.0)), "use --state-bits 24", options=FormatOverrides(None, 16))
    assert pipeline.quantize(network(LIF(np.zeros(2), 0.5, 1.0)), options=FormatOverrides(state_bits=24))


def lif_integers(weight: int = 127, exponent: int = 9, fan_in: int = 500, du: int = 0) -> QuantizedNetwork:
    nodes: dict[str, Any] = {
        "i": Input((fan_in,), BINARY),
        "s": QuantizedDense(np.full((1, fan_in), weight), weight_exp=exponent),
        "n": QuantizedLIF([du], [100], [10], [0], [0]),  # type: ignore[arg-type]
    }
    return QuantizedNetwork(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")


@pytest.mark.parametrize("change", [{"exponent": 0}, {"fan_in": 4}, {"exponent": 8, "du": 4095}])
def test_an_overflow_of_a_lif_is_gone_with_each_remedy(change: dict[str, int]) -> None:
    """A lower weight exponent, a lower fan-in, a larger du."""
    base = {key: value for key, value in change.items() if key == "exponent" and "du" in change}
    with pytest.raises(OverflowPossible, match="lower the weight exponent or the fan-in, or raise du"):
        lif_integers(**base)
    assert lif_integers(**change)


def test_an_overflow_of_an_integrator_is_gone_with_a_lower_exponent() -> None:
    def integers(exponent: int) -> QuantizedNetwork:
        nodes: dict[str, Any] = {
            "i": Input((500,), BINARY),
            "s": QuantizedDense(np.full((1, 500), 127), weight_exp=exponent),
            "n": QuantizedIntegrator([0], 1 << 30, 24),  # type: ignore[arg-type]
        }
        return QuantizedNetwork(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n", "last")

    with pytest.raises(OverflowPossible, match="lower the weight exponent"):
        integers(15)
    assert integers(2)


def test_an_integrator_without_leak_asks_for_data() -> None:
    floats = network(Integrator(np.ones(2)))
    refused(CalibrationNeeded, floats, "give calibration data (--data)")
    assert pipeline.quantize(floats, data=data(50))


def unstable(pole: float) -> Network:
    return network(StateSpace(a=np.full((2, 1), pole), b=1.0, c=1.0, d=0.0, v_threshold=np.full(2, 0.5)))  # type: ignore[arg-type]


def test_poles_that_saturate() -> None:
    narrow = FormatOverrides(state_bits=12)
    refused(DoesNotFit, unstable(1.03), "give more --state-bits (now 12)", data=data(150), options=narrow)
    assert pipeline.quantize(unstable(1.03), data=data(150))
    message = refused(DoesNotFit, unstable(1.2), "train with poles inside the circle", data=data(350))
    assert "--state-bits" not in message, "the chip has no more"
    assert pipeline.quantize(unstable(0.9), data=data(350))


def test_a_profile_that_does_not_run_a_family_is_replaced(tmp_path: Any) -> None:
    with pytest.raises(DoesNotFit, match="choose another profile or neuron"):
        pipeline.export(unstable(0.9), tmp_path / "m.nir", "loihi1", data=data(50))
    assert pipeline.export(unstable(0.9), tmp_path / "m.nir", "loihi2", data=data(50))
    assert pipeline.export(network(LIF(np.zeros(2), 0.5, 1.0)), tmp_path / "n.nir", "loihi1", data=data(50))


def test_options_outside_of_the_profile_name_their_range() -> None:
    refused(BadOption, unstable(0.9), "2 to 24", options=FormatOverrides(state_bits=32))
    assert pipeline.quantize(unstable(0.9), data=data(50), options=FormatOverrides(state_bits=24))


def test_an_input_that_is_too_fine_is_made_coarser() -> None:
    """One channel is a thousandth of the others, so that the data choose many bits."""
    rng = np.random.default_rng(1)
    inputs = rng.random((12, 60, 6)) * np.array([1, 1e-3, 1, 1, 1, 1])
    one = np.ones(5)
    nodes = {
        "input": nir.Input(np.array([6])),
        "w": nir.Linear(np.abs(rng.normal(0, 1, (5, 6)))),
        "l": nir.IF(r=one, v_threshold=5 * one, v_reset=0 * one),
        "output": nir.Output(np.array([5])),
    }
    floats = nmdeploy.load(nir.NIRGraph(nodes, list(pairwise(nodes))), dt=1.0)
    words = refused(DoesNotFit, floats, "weight exponent", "or give --input-bits", data={"inputs": inputs}).split()
    bits, frac = (int(words[words.index(name) + 1]) for name in ("--input-bits", "--input-frac"))
    coarser = ReadOptions(dt=1.0, input_bits=bits, input_frac=frac)
    again = nmdeploy.load(nir.NIRGraph(nodes, list(pairwise(nodes))), options=coarser)
    assert pipeline.quantize(again, data={"inputs": inputs})


def test_a_threshold_of_0_binds_no_scale() -> None:
    assert pipeline.quantize(network(LIF(np.zeros(3), 1.0, 0.0)), data=data(50))
