"""A recurrent layer of Norse with currents (`LIFRecurrentCell`), read by the last membrane of a leaky integrator."""

from __future__ import annotations

from typing import Any

import norse.torch as norse
import torch
from torch import nn

DATA = "spikes"
EPOCHS = 20
RATE = 4e-3


def make_net() -> nn.Module:
    """Return the network with random weights; it is called once per step."""
    return norse.SequentialState(
        norse.LIFRecurrentCell(64, 100, norse.LIFParameters(method="super", alpha=torch.tensor(100.0))),
        nn.Linear(100, 10),
        norse.LIBoxCell(),
    )


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the last membranes."""
    state, membranes = None, x
    for step in range(x.shape[1]):
        membranes, state = net(x[:, step], state)
    return membranes
