"""Grey values as a constant current over 32 steps, into snnTorch layers that learn their decays and thresholds."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from torch import nn

DATA = "grey"
EPOCHS = 15
RATE = 4e-3


class Net(nn.Module):
    """Two layers; the image is given once and repeated inside, as in snnTorch's tutorial 5."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 100)
        self.lif1 = snn.Leaky(beta=torch.full((100,), 0.9), learn_beta=True, learn_threshold=True)
        self.fc2 = nn.Linear(100, 10)
        self.lif2 = snn.Leaky(beta=0.9, learn_beta=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec = []
        for _ in range(32):
            spk1, mem1 = self.lif1(self.fc1(image), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
        return torch.stack(spk2_rec)


def make_net() -> nn.Module:
    """Return the network with random weights."""
    return Net()


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the spike counts."""
    return net(x[:, 0]).sum(0)
