"""A layer of spiking state-space neurons with its synapses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmdeploy.models.s4d import S4D
from nmdeploy.models.surrogate import spike

START_BIAS = -1.0
NORM_EPS = 1e-5


class SpikingBlock(nn.Module):
    """Dense synapses, state-space neurons, normalization, spikes.

        a = W h                                 dense synapses without bias
        y = S4D(a)
        v = gamma (y - mean) / sqrt(var + eps) + beta   per channel, over batch and time
        s = H(v)                                strict; surrogate gradient in training
        h' = dropout(s), or dropout(s) + h      without or with a residual connection

    Parameters
    ----------
    inputs, channels, states : int
    residual : bool
        Needs ``inputs == channels``. The next synapses then see the graded sum.
    dropout : float
    dt_min, dt_max : float
        As in `S4D`.

    Notes
    -----
    The normalization folds into C, D and a bias. beta starts at -1: about one neuron in six spikes before training.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        states: int,
        *,
        residual: bool = False,
        dropout: float = 0.0,
        dt_min: float = 0.01,
        dt_max: float = 0.2,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.synapse = nn.Linear(inputs, channels, bias=False)
        self.neuron = S4D(channels, states, dt_min=dt_min, dt_max=dt_max)
        self.norm = nn.BatchNorm1d(channels, eps=NORM_EPS)
        nn.init.constant_(self.norm.bias, START_BIAS)
        self.dropout = nn.Dropout(dropout)

    def membrane(self, h: Tensor) -> Tensor:
        """The normalized membrane v: h (batch, steps, inputs) -> (batch, steps, channels)."""
        y = self.neuron(self.synapse(h))
        v: Tensor = self.norm(y.flatten(0, 1)).view_as(y)
        return v

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """h (batch, steps, inputs) -> the block's output h' and its spikes s, each (batch, steps, channels)."""
        s = spike(self.membrane(h))
        out: Tensor = self.dropout(s)
        return (out + h if self.residual else out), s


class IntegratingReadout(nn.Linear):
    """Dense synapses with bias, averaged over time: ``logits = mean_t(W h_t + b)``.

    h (batch, steps, inputs) -> (batch, outputs). The deployed readout sums instead, which has the same argmax.
    """

    def forward(self, h: Tensor) -> Tensor:
        """h (batch, steps, inputs) -> logits (batch, outputs)."""
        return torch.nn.functional.linear(h.mean(1), self.weight, self.bias)
