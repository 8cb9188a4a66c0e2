"""A spikingjelly network of all steps per call, with soft resets (`v_reset=None`) and batch normalization."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

DATA = "spikes"
EPOCHS = 15
RATE = 1e-2


def make_net() -> nn.Module:
    """Return the network with random weights, in step mode "m"."""
    net = nn.Sequential(
        layer.Linear(64, 100),
        layer.BatchNorm1d(100),
        neuron.LIFNode(tau=2.0, v_reset=None, surrogate_function=surrogate.ATan()),
        layer.Linear(100, 10),
        neuron.LIFNode(tau=4.0, v_reset=None, decay_input=False, surrogate_function=surrogate.ATan()),
    )
    functional.set_step_mode(net, "m")
    return net


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the spike counts."""
    functional.reset_net(net)
    return net(x.transpose(0, 1)).sum(0)
