"""Every combination of the general neuron's mechanisms trains a step, quantizes and equals Lava, or is refused.

Spiking function x reset condition x reset action x refractory mode x dynamics; the refusals are those that
docs/arithmetic.md lists (tests/helpers/mechanisms.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from figures import Figures
from mechanisms import Mechanisms, refusals
from requires_lava import require_lava

from nmdeploy.analysis.comparison import compare
from nmdeploy.backends import lava, reference
from nmdeploy.errors import BadOption
from nmdeploy.models import create
from nmdeploy.models.catalog import Trained, neuron_model
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import Dense

CHANNELS, STATES, STEPS, TOGETHER = 6, 2, 40, 24
KINDS = {"dense": "dense_state_space", "diagonal": "state_space"}
SPIKES = ("binary", "ternary", "graded")
CONDITIONS = ("never", "any", "each", "magnitude", "every")
ACTIONS = ("none", "hard", "soft", "scale", "linear")
MODES = ("hold", "mask")


def choices() -> list[Mechanisms]:
    """All combinations, with two outputs a neuron, and with one where two have no meaning."""
    found = []
    for kind, spike, condition, action, mode in product(KINDS.values(), SPIKES, CONDITIONS, ACTIONS, MODES):
        two = Mechanisms(kind, spike, condition, action, mode, soma=False, outputs=2, states=STATES)
        found += [two] if not refusals(two) else [two, replace(two, outputs=1)]
    return found


def inputs() -> Any:
    return (np.random.default_rng(3).random((8, STEPS, 3)) < 0.4).astype(np.int64)


def trained(m: Mechanisms) -> Network:
    """One step of training, and the network of its block."""
    options = {
        "coupling": next(name for name, kind in KINDS.items() if kind == m.kind),
        "n_outputs": m.outputs,
        "spike": m.spike,
        "reset_condition": m.condition,
        "reset_action": m.action,
        "reset_period": 7,
        "refractory_steps": 2,
        "refractory_mode": m.mode,
    }
    sizes = {"inputs": 3, "channels": CHANNELS, "states": STATES, "layers": 1, "outputs": 2}
    module = create("multi-output", **sizes, seed=1, norm="none", **options)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    logits, _ = module(torch.from_numpy(inputs()).float())
    torch.autograd.backward(torch.nn.functional.cross_entropy(logits, torch.arange(8) % 2))
    optimizer.step()
    state = {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}
    assert any(not torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())
    assert all(np.isfinite(values).all() for values in state.values())
    own = {name.removeprefix("blocks.0.neuron."): values for name, values in state.items() if ".neuron." in name}
    ones = np.ones(CHANNELS * m.outputs)
    described = neuron_model("multi-output")
    population = described.population(Trained(own, ones, 0 * ones, described.complete(options)))
    nodes = {"input": Input((3,)), "s": Dense(state["blocks.0.synapse.weight"]), "n": population}
    return Network(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")


@cache
def deployable(every: int = 1) -> dict[str, Any]:
    """The legal combinations by name, quantized; or `every` how-many-th of them."""
    found = {}
    for m in [m for m in choices() if not refusals(m)][::every]:
        network = trained(m)
        q = quantize_network(network, QuantizationConfig(), ranges=calibrate(network, inputs()))
        found[m.name] = q
    return found


def side_by_side(networks: dict[str, QuantizedNetwork]) -> QuantizedNetwork:
    """One network that holds them all: Lava starts once."""
    nodes: dict[str, Any] = {"input": Input((3,))}
    edges = []
    for name, q in networks.items():
        nodes |= {f"{name}.s": q.nodes["s"], name: q.nodes["n"]}
        edges += [Edge("input", f"{name}.s"), Edge(f"{name}.s", name)]
    return QuantizedNetwork(nodes, tuple(edges), 1e-3, next(iter(networks)))


def test_what_means_nothing_is_refused_with_the_reason() -> None:
    refused = [m for m in choices() if refusals(m)]
    assert len(refused) > 50
    for m in refused:
        with pytest.raises(BadOption) as found:
            trained(m)
        assert any(all(word in str(found.value) for word in words) for words in refusals(m)), (m.name, found.value)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_combinations_train_a_step_and_quantize(every: int) -> None:
    networks = deployable(every)
    assert len(networks) > 150 / every
    live = 0
    for q in networks.values():
        recording = reference.run(q, inputs(), trace="spikes")
        live += bool(0.005 < (recording.layers["n"].spikes != 0).mean() < 0.95)
    assert live >= 0.9 * len(networks), f"{live} of {len(networks)} are alive"


@pytest.mark.slow
def test_every_combination_equals_lava(figures: Figures) -> None:
    require_lava()
    names = list(deployable())
    groups = [names[first : first + TOGETHER] for first in range(0, len(names), TOGETHER)]
    together = [side_by_side({name: deployable()[name] for name in group}) for group in groups]
    actual = lava.run_many([(q, inputs()[:1]) for q in together])
    found = [
        compare(reference.run(q, inputs()[:1], trace="states"), run) for q, run in zip(together, actual, strict=True)
    ]
    compared, wrong = sum(c.values_compared for c in found), [c.first_divergence for c in found if c.mismatches]
    figures(f"{len(names)} trained combinations of mechanisms: {compared} values, {len(wrong)} groups differ from Lava")
    assert not wrong
