"""The class of snnTorch's tutorial 5 with 4 layers, all at snnTorch's defaults, read by its spike counts."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from torch import nn

DATA = "spikes"
EPOCHS = 15
RATE = 4e-3


class Net(nn.Module):
    """Four layers of `Leaky`, whose reset subtracts the threshold in the next step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 100)
        self.lif1 = snn.Leaky(beta=0.95)
        self.fc2 = nn.Linear(100, 100)
        self.lif2 = snn.Leaky(beta=0.95)
        self.fc3 = nn.Linear(100, 100)
        self.lif3 = snn.Leaky(beta=0.95)
        self.fc4 = nn.Linear(100, 10)
        self.lif4 = snn.Leaky(beta=0.95)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem3 = self.lif3.init_leaky()
        mem4 = self.lif4.init_leaky()
        spk4_rec, mem4_rec = [], []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk3, mem3 = self.lif3(self.fc3(spk2), mem3)
            spk4, mem4 = self.lif4(self.fc4(spk3), mem4)
            spk4_rec.append(spk4)
            mem4_rec.append(mem4)
        return torch.stack(spk4_rec), torch.stack(mem4_rec)


def make_net() -> nn.Module:
    """Return the network with random weights."""
    return Net()


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the spike counts."""
    return net(x.transpose(0, 1))[0].sum(0)
