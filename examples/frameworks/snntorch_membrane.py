"""A snnTorch network with currents (`Synaptic`), read by the last membrane of an output that spikes and resets."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from torch import nn

DATA = "spikes"
EPOCHS = 15
RATE = 4e-3


class Net(nn.Module):
    """Three layers; the result is the output's membrane after the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 100)
        self.hidden1 = snn.Synaptic(alpha=0.8, beta=0.9)
        self.fc2 = nn.Linear(100, 100)
        self.hidden2 = snn.Synaptic(alpha=0.8, beta=0.9)
        self.fc3 = nn.Linear(100, 10)
        self.out = snn.Leaky(beta=0.95)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        syn1, mem1 = self.hidden1.init_synaptic()
        syn2, mem2 = self.hidden2.init_synaptic()
        mem3 = self.out.init_leaky()
        for step in range(x.shape[1]):
            spk1, syn1, mem1 = self.hidden1(self.fc1(x[:, step]), syn1, mem1)
            spk2, syn2, mem2 = self.hidden2(self.fc2(spk1), syn2, mem2)
            _, mem3 = self.out(self.fc3(spk2), mem3)
        return mem3


def make_net() -> nn.Module:
    """Return the network with random weights."""
    return Net()


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the last membranes."""
    return net(x)
