"""A Sinabs network of leaky neurons (`LIF`) and an output that integrates (`IAF`), read by its spike counts."""

from __future__ import annotations

from typing import Any

import sinabs
import sinabs.layers as sl
import torch
from sinabs.activation import SingleSpike
from torch import nn

DATA = "spikes"
EPOCHS = 10
RATE = 5e-3


def make_net() -> nn.Module:
    """Return the network with random weights; thresholds are subtracted, Sinabs's default."""
    return nn.Sequential(
        nn.Linear(64, 100),
        sl.LIF(tau_mem=5.0, spike_fn=SingleSpike, norm_input=False),
        nn.Linear(100, 10),
        sl.IAF(spike_fn=SingleSpike),
    )


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the spike counts."""
    sinabs.reset_states(net)
    return net(x).sum(1)
