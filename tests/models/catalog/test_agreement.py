"""Every model: its parallel form, its steps and its float population are one neuron."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agreement import disagreements, gradient_error, live, population_disagreements, spikes_of, values
from figures import Figures

from nmdeploy.models.catalog import neuron_models

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "lif-hard": [{"v_reset": -0.5}, {"learn_reset": True, "v_reset": 0.25}],
    "alif": [{"reset": "hard"}],
    "dh-lif": [{"branches": 2}],
    "fixed-refractory-ssm": [{"refractory": "emitted"}, {"length": 1}, {"length": 3, "theta": 0.1}],
    "windowed-ssm": [{"window": 3}, {"window": 1}],
    "psn-sliding": [{"k": 1}],
    "multi-output": [
        {"coupling": "diagonal"},
        {"n_inputs": 3, "n_outputs": 1, "spike": "ternary", "reset_condition": "each", "stable": True},
        {"spike": "graded", "reset_condition": "each", "refractory_steps": 1, "refractory_mode": "mask"},
        {"coupling": "diagonal", "reset_condition": "magnitude", "reset_action": "linear", "stable": True},
    ],
}
CASES = [(name, options) for name in neuron_models() for options in ({}, *VARIANTS.get(name, []))]
SEQUENCE = 53  # no multiple of a window


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 + seed)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("name", neuron_models())
def test_shapes_and_tensors(name: str, norm: str) -> None:
    network = live(name, norm=norm, layers=2, residual=True).float()
    model, options = network.neuron_model, network.options
    p, q = model.outputs(options), model.inputs(options)
    logits, spikes = network(values(generator(0), 3, 11, 4).float())
    assert logits.shape == (3, 3) and [s.shape for s in spikes] == [(3, 11, 8 * p)] * 2
    state = network.state_dict()
    neuron = {key.removeprefix("blocks.0.neuron."): tuple(t.shape) for key, t in state.items() if "0.neuron." in key}
    assert neuron == model.shapes(8, 4, options)
    assert state["blocks.0.synapse.weight"].shape == (8 * q, 4)
    assert ("blocks.1.synapse.weight" in state) is not model.mixer
    normalized = 8 * (q if model.normalizes == "current" else p)
    assert norm == "none" or state["blocks.1.norm.weight"].shape == (normalized,)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_random_weights_are_live(name: str, options: dict[str, Any]) -> None:
    network = live(name, 1, **options)
    for spikes, _ in spikes_of(network, values(generator(1), 8, SEQUENCE, 4)):
        assert 0.01 <= float((spikes != 0).double().mean()) <= 0.8


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_parallel_form_equals_the_steps(name: str, options: dict[str, Any]) -> None:
    network = live(name, 2, channels=32, **options)
    different, total = disagreements(network, values(generator(2), 30, SEQUENCE, 4))
    assert different == 0 and total >= 10**5


@pytest.mark.slow
@pytest.mark.parametrize("name", neuron_models())
def test_parallel_form_equals_the_steps_a_million_times(name: str, figures: Figures) -> None:
    network = live(name, 3, channels=64)
    different, total = disagreements(network, values(generator(3), 160, SEQUENCE, 4))
    figures(f"{name}: {different} of {total} spikes differ between the parallel form and the steps")
    assert different == 0 and total >= 10**6


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_gradients_of_both_forms_are_equal(name: str, options: dict[str, Any]) -> None:
    assert gradient_error(live(name, 4, **options), values(generator(4), 8, 23, 4)) < 1e-6


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_deployed_population_has_the_same_spikes(name: str, options: dict[str, Any], norm: str) -> None:
    network = live(name, 5, channels=16, norm=norm, **options)
    different, total = population_disagreements(network, values(generator(5), 8, SEQUENCE, 4))
    assert different == 0 and total >= 10**4


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_parameter_learns(name: str, options: dict[str, Any]) -> None:
    network = live(name, 6, **options).train()
    logits, _ = network(values(generator(6), 8, 23, 4))
    logits.sin().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key
