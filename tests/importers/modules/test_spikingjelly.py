"""Live modules of spikingjelly: every layer, hard and soft resets, and both step modes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from live_modules import imported, require_quantized, require_same_output, spikes, strong

import nmdeploy
from nmdeploy.errors import UnsupportedParameter

torch = pytest.importorskip("torch")
pytest.importorskip("spikingjelly")
from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402

IN, HIDDEN, OUT = 12, 20, 5


def outer_loop(module: Any, x: Any) -> Any:
    functional.reset_net(module)
    return torch.stack([module(x[:, step]) for step in range(x.shape[1])], 1)


def all_steps(module: Any, x: Any) -> Any:
    functional.reset_net(module)
    return module(x.transpose(0, 1)).transpose(0, 1)


def sequential(node: Any) -> Any:
    torch.manual_seed(0)
    return strong(
        torch.nn.Sequential(
            layer.Linear(IN, HIDDEN),
            layer.BatchNorm1d(HIDDEN),
            node,
            layer.Dropout(),
            layer.Linear(HIDDEN, OUT),
            neuron.IFNode(),
        ),
        8.0,
    )


NODES = {
    "if": lambda: neuron.IFNode(),
    "if soft": lambda: neuron.IFNode(v_reset=None),
    "if reset to a value": lambda: neuron.IFNode(v_reset=-0.25),
    "lif": lambda: neuron.LIFNode(tau=2.0),
    "lif soft": lambda: neuron.LIFNode(tau=3.0, v_reset=None),
    "lif undecayed": lambda: neuron.LIFNode(tau=3.0, decay_input=False, v_reset=-0.25),
    "lif undecayed soft": lambda: neuron.LIFNode(tau=3.0, decay_input=False, v_reset=None),
    "parametric": lambda: neuron.ParametricLIFNode(init_tau=2.5),
    "parametric soft": lambda: neuron.ParametricLIFNode(init_tau=2.5, decay_input=False, v_reset=None),
    "cuba": lambda: neuron.CUBALIFNode(),
    "cuba soft": lambda: neuron.CUBALIFNode(v_reset=None),
}


@pytest.mark.parametrize("name", NODES)
def test_every_layer_computes_the_same_spikes_in_both_step_modes(name: str) -> None:
    module, sample = sequential(NODES[name]()), spikes(IN)
    network = imported(module, sample)
    require_same_output(network, module, sample, outer_loop)
    require_quantized(network, sample)
    multi = copy.deepcopy(module)
    functional.set_step_mode(multi, "m")
    assert imported(multi, sample) == network
    require_same_output(network, multi, sample, all_steps)


@pytest.mark.parametrize("mode", ["s", "m"])
def test_it_fires_at_the_threshold(mode: str) -> None:
    module, sample = sequential(neuron.IFNode(v_reset=None)), spikes(IN, 0.7)
    with torch.no_grad():
        for part in (module[0], module[4]):
            part.weight.copy_(torch.round(part.weight * 4) / 4)
            part.bias.copy_(torch.round(part.bias * 4) / 4)
    module[1] = torch.nn.Identity()
    functional.set_step_mode(module, mode)
    network = imported(module, sample)
    require_same_output(network, module, sample, all_steps if mode == "m" else outer_loop)
    membranes = np.unique(network.synapses["0"].values % 0.25)
    assert membranes.tolist() == [0.0]


def test_other_neurons_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameter, match=r"layer '2': IzhikevichNode of spikingjelly .*NetworkBuilder"):
        nmdeploy.load(sequential(neuron.IzhikevichNode()), spikes(IN))
