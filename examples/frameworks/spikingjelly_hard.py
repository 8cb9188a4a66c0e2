"""A spikingjelly network of one step per call, with hard resets and a decay that is learned (`ParametricLIFNode`)."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

DATA = "grey"
EPOCHS = 15
RATE = 1e-2


def make_net() -> nn.Module:
    """Return the network with random weights, in step mode "s"."""
    return nn.Sequential(
        nn.Linear(64, 100),
        neuron.ParametricLIFNode(init_tau=2.0),
        nn.Linear(100, 10),
        neuron.IFNode(),
    )


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the spike counts."""
    functional.reset_net(net)
    return torch.stack([net(x[:, step]) for step in range(x.shape[1])]).sum(0)
