"""The general neuron: every combination of its mechanisms trains and equals its float population, or is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from agreement import live, population_disagreements, settled, values

from nmdeploy.errors import BadOption
from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_model

OPTIONS = {option.name: option for option in neuron_model("multi-output").options}
NAMES = ("spike", "reset_condition", "reset_action", "coupling")
COMBINATIONS = list(product(*(OPTIONS[name].choices for name in NAMES)))
SIZES: dict[str, int] = {"inputs": 2, "channels": 4, "states": 3, "layers": 1, "outputs": 2}


def refused(spike: str, condition: str, action: str) -> bool:
    """With two outputs a neuron, as docs/arithmetic.md says."""
    signed = spike in ("ternary", "graded")
    return (
        (condition == "never") != (action == "none")
        or (condition == "each" and action in ("hard", "scale", "linear"))
        or (condition == "any" and action in ("soft", "linear") and signed)
    )


@pytest.mark.parametrize(("spike", "condition", "action", "coupling"), COMBINATIONS)
def test_every_combination(spike: str, condition: str, action: str, coupling: str) -> None:
    chosen = {"spike": spike, "reset_condition": condition, "reset_action": action, "coupling": coupling}
    if refused(spike, condition, action):
        with pytest.raises(BadOption, match="multi-output"):
            create("multi-output", **SIZES, **chosen)
        return
    options = chosen | {"n_inputs": 2, "refractory_steps": 2 if coupling == "dense" else 0, "reset_period": 3}
    network = settled(create("multi-output", **SIZES, seed=1, **options).double())
    x = values(torch.Generator().manual_seed(3), 8, 30, 2)
    different, total = population_disagreements(network, x)
    assert different == 0 and total == 8 * 30 * 8
    logits, (spikes,) = network(x)
    assert 0.005 < float((spikes != 0).double().mean()) < 0.9
    logits.sin().sum().backward()
    for key, parameter in network.blocks[0].neuron.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("mode", OPTIONS["refractory_mode"].choices)
def test_refractory_modes(mode: str) -> None:
    network = live("multi-output", 2, refractory_steps=3, refractory_mode=mode, reset_condition="magnitude")
    different, _ = population_disagreements(network, values(torch.Generator().manual_seed(3), 8, 40, 4))
    assert different == 0


@pytest.mark.parametrize("coupling", OPTIONS["coupling"].choices)
def test_stable_limits_the_transition_and_without_it_nothing_does(coupling: str) -> None:
    for stable, largest in ((True, 1.0), (False, 3.0)):
        neuron: Any = create("multi-output", **SIZES, coupling=coupling, stable=stable).blocks[0].neuron
        with torch.no_grad():
            neuron.a *= 3 / sizes(neuron.a, coupling)
            assert sizes(neuron.transition(), coupling).ravel().tolist() == pytest.approx([largest] * 4, rel=1e-5)


def sizes(a: torch.Tensor, coupling: str) -> torch.Tensor:
    """Spectral norm of each neuron's A."""
    if coupling == "dense":
        return torch.linalg.matrix_norm(a, 2, keepdim=True)
    return a.norm(dim=-1).amax(-1)[:, None, None]


def test_a_reset_sends_its_gradient_back_through_the_spike() -> None:
    network = live("multi-output", 3, channels=4)
    network(values(torch.Generator().manual_seed(3), 4, 20, 4))[1][0].sum().backward()
    neuron: Any = network.blocks[0].neuron
    assert neuron.r.grad.abs().min() > 0 and neuron.threshold_raw.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_outputs": 0}, "n_outputs = 0: give at least 1"),
        ({"reset_action": "modulo"}, "reset_action = 'modulo': choose one of"),
        ({"graded_step": 0.3}, "graded_step = 0.3: choose one of"),
        ({"reset_condition": "never"}, "multi-output: reset action 'soft' with condition 'never'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        create("multi-output", **SIZES, **options)
