"""Drives of populations whose decays are rounded: the choice is the better one on the data, and is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nmdeploy
from nmdeploy.backends import reference
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.neurons.decays import decay_code, steady_gain
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.scales import Scales
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.pipeline import FormatOverrides
from nmdeploy.quantization.drives import choose_drives
from nmdeploy.quantization.effects import effects
from nmdeploy.quantization.population_runs import record_arrivals
from nmdeploy.quantization.post_training import calibrate, choose_scales, quantize_network
from nmdeploy.synapses.dense import Dense

SIZE = 12


def network(neuron: Neuron, weight: Any = None) -> Network:
    if weight is None:  # on a grid, so that nothing but the decay is rounded
        weight = np.random.default_rng(0).integers(-50, 100, (SIZE, 6)) / 1000
    nodes: dict[str, Any] = {"i": Input((6,)), "s": Dense(weight), "n": neuron}
    return Network(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")


def data(steps: int = 300, rate: float = 0.3) -> Any:
    return (np.random.default_rng(1).random((4, steps, 6)) < rate).astype(np.int64)


def errors(floats: Network, factor: Any, ranges: Any, inputs: Any) -> float:
    """Spikes of the integers that differ from the float ones; of a readout, the squared error by its decay alone."""
    neuron, wanted = floats.populations["n"], run_float(floats, inputs).output
    if not neuron.spiking:
        rounded = network(neuron.rounded_decays()[0].driven(factor), floats.synapses["s"].weight * factor[:, None])  # type: ignore[attr-defined]
        return float(((run_float(rounded, inputs).output - wanted) ** 2).sum())
    wider = {"n": {key: values * max(1.0, factor.max()) for key, values in ranges["n"].items()}}
    q = quantize_network(floats, QuantizationConfig(), ranges=wider, drives={"n": factor})
    return float((reference.run(q, inputs).output != wanted).sum())


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(np.zeros(SIZE), 1 - 1 / 3000, 2.0),  # type: ignore[arg-type]
        LIF(np.zeros(SIZE), 1 - 1.4 / 4096, 40.0, bias=0.01),  # type: ignore[arg-type]
        LIF(np.full(SIZE, 1 - 1.45 / 4096), 0.5, 20.0),  # type: ignore[arg-type]
        LIF(np.zeros(SIZE), 1 - 80.4 / 4096, 3.5),  # type: ignore[arg-type]
        Integrator(np.full(SIZE, 1 - 1.4 / 4096)),
        Integrator(np.full(SIZE, 1 - 80.4 / 4096)),
        Integrator(np.linspace(0.99, 0.9997, SIZE), np.full(SIZE, 0.01)),
    ],
    ids=["lif", "lif bias", "current", "fast lif", "integrator", "fast integrator", "integrators"],
)
def test_the_choice_is_the_better_one_and_is_said(neuron: Neuron) -> None:
    floats, inputs = network(neuron), data()
    ranges = calibrate(floats, inputs)
    found = choose_drives(floats, inputs)
    _, factor = neuron.rounded_decays()
    stays, scaled = (errors(floats, each, ranges, inputs) for each in (np.ones(SIZE), factor))
    assert ("n" in found.factors) == (scaled < stays)
    (note,) = found.notes
    assert ("'n' is scaled by" if scaled < stays else "'n' stays") in note


@pytest.mark.parametrize(
    ("neuron", "decay"),
    [
        (LIF(np.zeros(SIZE), 1 - 1.4 / 4096, 2.0, bias=0.01), "beta"),  # type: ignore[arg-type]
        (LIF(np.full(SIZE, 1 - 1.45 / 4096), 0.5, 20.0), "alpha"),  # type: ignore[arg-type]
        (Integrator(np.full(SIZE, 1 - 1.4 / 4096)), "beta"),
    ],
)
def test_the_effect_of_a_scaled_drive_is_that_of_its_decay(neuron: Neuron, decay: str) -> None:
    """The weights lie on a grid, and their scaled ones too: rounding does not change them."""
    floats, inputs = network(neuron), data()
    ranges, (_, factor) = calibrate(floats, inputs), neuron.rounded_decays()
    wider = {"n": {key: values * max(1.0, factor.max()) for key, values in ranges["n"].items()}}
    arrivals = record_arrivals(floats, inputs, np.full(4, inputs.shape[1]))
    shares = {}
    for name, drive in (("stays", {}), ("scaled", {"n": factor})):
        q = quantize_network(floats, QuantizationConfig(), ranges=wider, drives=drive)
        (effect,) = effects(floats, q, arrivals)
        found = {each.tensor: each for each in effect.tensors}
        weights, changed = found["weights"], found[decay]
        assert weights.worst is not None and weights.worst < 1e-12
        assert weights.alone is None or weights.alone.share == 0
        assert changed.worst is not None and changed.worst > 0.1 and changed.alone is not None
        assert effect.together is not None
        shares[name] = changed.alone.share, effect.together.share
    assert shares["scaled"] != shares["stays"]
    for alone, together in shares.values():
        assert alone == pytest.approx(together, rel=0.1, abs=0.01)


def test_a_drive_that_is_scaled_keeps_the_steady_gain() -> None:
    """With its drive scaled, an integer membrane that leaks slowly settles where the float one does."""
    beta = 1 - 20.49 / 4096
    floats = network(Integrator(np.full(SIZE, beta)), np.full((SIZE, 6), 0.1))
    inputs = np.ones((1, 2000, 6), np.int64)
    steady = 0.6 / (1 - beta)
    ranges = {"n": {"v": np.full(SIZE, 1.05 * steady)}}
    _, factor = floats.populations["n"].rounded_decays()
    found = []
    for drives in ({}, {"n": factor}):
        q = quantize_network(floats, QuantizationConfig(), ranges=ranges, drives=drives)
        v = reference.run(q, inputs).output[0, -1, 0]
        found.append(float(q.populations["n"].dequantize_state("v", np.array([v]))[0]))
    assert abs(found[1] / steady - 1) < 0.005 < 0.02 < abs(found[0] / steady - 1)


def test_decays_that_are_not_rounded_say_nothing() -> None:
    for neuron in (LIF(np.zeros(SIZE), 0.5, 1.0), LIF(np.full(SIZE, 0.25), 1.0, 1.0), Integrator(np.ones(SIZE))):  # type: ignore[arg-type]
        found = choose_drives(network(neuron), data(50))
        assert found.factors == {} and found.notes == ()


def test_without_data_the_drive_stays() -> None:
    floats = network(LIF(np.zeros(SIZE), 1 - 1.4 / 4096, 2.0))  # type: ignore[arg-type]
    scales = choose_scales(floats, QuantizationConfig())
    assert (scales["n"].drive == 1).all() and "drive" not in scales["n"].to_json()


def test_scales_hold_the_drive() -> None:
    floats, inputs = network(Integrator(np.full(SIZE, 1 - 80.4 / 4096))), data()
    found = choose_drives(floats, inputs)
    assert found.factors
    scales = choose_scales(floats, QuantizationConfig(), found.ranges, found.factors)
    stored = {name: Scales.from_json(own.to_json()) for name, own in scales.items()}
    one = quantize_network(floats, QuantizationConfig(), ranges=found.ranges, drives=found.factors)
    assert quantize_network(floats, QuantizationConfig(), scales=stored) == one
    public = nmdeploy.quantize(floats, "loihi2", data=inputs)
    assert public.populations["n"] == one.populations["n"]
    assert any("the drive of 'n' is scaled by" in note for note in public.notes)


def test_the_code_0_is_for_no_leak_only() -> None:
    beta = np.array([1.0, 1 - 1e-9, 1 - 1e-5, 0.9, 0.0])
    assert decay_code(beta).tolist() == [0, 1, 1, 410, 4096]
    made: Any = Integrator(beta).round("n", Scales(np.ones(5), {"frac_in": 4}), QuantizationConfig())[0]
    assert made.dv.tolist() == [0, 1, 1, 410, 4096]
    made = LIF(np.zeros(5), beta, 1.0).round("n", Scales(np.ones(5), {"frac_in": 4}), QuantizationConfig())[0]  # type: ignore[arg-type]
    assert made.dv.tolist() == [0, 1, 1, 410, 4095]
    assert steady_gain(beta, 1 - decay_code(beta) / 4096).tolist()[0] == 1.0


def notes_of(neuron: Neuron, state_space: bool) -> list[str]:
    config = QuantizationConfig(dense_state_space=state_space)
    scales = Scales(np.ones(neuron.size), {"frac_in": 4})
    return list(neuron.round("n", scales, config)[1])


def test_a_slow_decay_is_named_and_the_state_space_neuron_holds_it() -> None:
    beta = 1 - 2e-5
    (note,) = notes_of(LIF(np.zeros(1), beta, 1.0), True)  # type: ignore[arg-type]
    assert "0.99998 becomes 0.999756" in note
    assert "--coefficient-bits 22 --coefficient-frac 20" in note
    weight = np.full((1, 6), 0.01)
    neuron = DenseStateSpace(
        a=[[[beta]]], b=[[1.0]], c=[[1.0]], d=[0.0], v_threshold=[5.0], reset_condition="each", reset_action="hard"
    )
    floats, inputs = network(neuron, weight), data(1500)
    q = nmdeploy.quantize(
        floats, "loihi2", data=inputs, options=FormatOverrides(coefficient_bits=22, coefficient_frac=20)
    )
    found, wanted = reference.run(q, inputs).output.sum(), run_float(floats, inputs).output.sum()
    assert wanted > 4 and abs(found - wanted) <= 0.02 * wanted


def test_the_state_space_neuron_holds_a_filter_too() -> None:
    """The current is a state that a spike does not reset."""
    beta = 1 - 2e-5
    (note,) = notes_of(LIF(np.full(1, 0.5), beta, 1.0), True)  # type: ignore[arg-type]
    assert "--coefficient-bits 22 --coefficient-frac 20" in note
    slow = network(LIF(np.full(1, 0.5), beta, 10.0), np.full((1, 6), 0.01))  # type: ignore[arg-type]
    neuron = DenseStateSpace(
        a=[[[0.5, 0.0], [0.5, beta]]],
        b=[[1.0, 1.0]],
        c=[[0.0, 1.0]],
        d=[0.0],
        v_threshold=[10.0],
        reset_condition="each",
        reset_action="scale",
        m=[[[1.0, 0.0], [0.0, 0.0]]],
    )
    floats, inputs = network(neuron, np.full((1, 6), 0.01)), data(1500)
    wanted = run_float(slow, inputs).output
    assert np.array_equal(run_float(floats, inputs).output, wanted) and wanted.sum() > 4
    options = FormatOverrides(coefficient_bits=22, coefficient_frac=20)
    q = nmdeploy.quantize(floats, "loihi2", data=inputs, options=options)
    assert abs(reference.run(q, inputs).output.sum() - wanted.sum()) <= 0.05 * wanted.sum()


def test_a_slow_decay_on_a_chip_without_state_space_neurons() -> None:
    (note,) = notes_of(LIF(np.full(1, 1.0), 0.5, 1.0), False)  # type: ignore[arg-type]
    assert "1 currents" in note and "train a shorter time constant" in note
