"""A Rockpool network with synaptic currents (`LIFTorch`), at most one spike per step, read by its spike counts."""

from __future__ import annotations

from typing import Any

import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFTorch, LinearTorch
from rockpool.nn.modules.torch.lif_torch import PeriodicExponential
from rockpool.parameters import Constant

DATA = "spikes"
EPOCHS = 10
RATE = 5e-3


def make_net() -> Any:
    """Return the network with random weights; a step is 1 ms, Rockpool's default."""
    fixed = {"tau_mem": Constant(2e-3), "tau_syn": Constant(1e-3), "threshold": Constant(1.0)}
    spikes = {"max_spikes_per_dt": 1, "spike_generation_fn": PeriodicExponential}
    return Sequential(
        LinearTorch((64, 100)),
        LIFTorch(100, **fixed, **spikes),
        LinearTorch((100, 10)),
        LIFTorch(10, **fixed, **spikes),
    )


def scores(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the spike counts."""
    net.reset_state()
    output, _, _ = net(x)
    return output.sum(1)
