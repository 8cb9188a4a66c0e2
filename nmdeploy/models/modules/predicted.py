"""Approximation of `spike-ssm` and `spiking-ssm` that predicts the membrane without its resets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nmdeploy.errors import BadOption

if TYPE_CHECKING:
    from nmdeploy.models.modules.spiking_network import SpikingNetwork

LENGTH = 16


class Predictor(nn.Module):
    """A causal depthwise convolution of the soma's input, fitted to the exact membrane by least squares.

        predicted[t] = weight[0] + sum over j < 16 of weight[1 + j] y[t - j]

    `fit` sets its weights; they are not trained.

    Attributes
    ----------
    weight : (H, 17) buffer
        Constant and taps of each neuron, newest input first.
    fitted : () buffer
        1 after the first fit, 0 before it. A checkpoint keeps it.

    Raises
    ------
    BadOption
        `forward` ran before the first fit.
    """

    weight: Tensor
    fitted: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(channels, 1 + LENGTH))
        self.register_buffer("fitted", torch.zeros(()))

    def forward(self, y: Tensor) -> Tensor:
        """Predict the membrane before the reset, y (batch, steps, H) -> the same shape."""
        if not self.fitted:
            raise BadOption(
                "approximation = 'predicted': fitted 0 times, needs 1: call "
                "nmdeploy.models.modules.predicted.fit(network, x) first, and again as it trains"
            )
        return torch.einsum("btjh,hj->bth", regressors(y), self.weight)

    @torch.no_grad()
    def fit(self, y: Tensor, membrane: Tensor) -> None:
        """Fit by least squares to y and membrane, each (batch, steps, H); a small ridge keeps unused lags at 0."""
        x = regressors(y).permute(3, 0, 1, 2).flatten(1, 2)
        gram = x.mT @ x / x.shape[1] + 1e-6 * torch.eye(1 + LENGTH, dtype=y.dtype)
        moment = x.mT @ membrane.permute(2, 0, 1).flatten(1)[..., None] / x.shape[1]
        self.weight.copy_(torch.linalg.solve(gram, moment)[..., 0])
        self.fitted.fill_(1)


def regressors(y: Tensor) -> Tensor:
    """Return 1 and the last inputs, newest first: (batch, steps, H) -> (batch, steps, 1 + LENGTH, H)."""
    padded = nn.functional.pad(y, (0, 0, LENGTH - 1, 0))
    past = padded.unfold(1, LENGTH, 1).flip(-1).movedim(-1, 2)
    return torch.cat([torch.ones_like(past[:, :, :1]), past], 2)


@torch.no_grad()
def fit(network: SpikingNetwork, x: Tensor) -> None:
    """Fit every block's predictor to its recurrence on inputs x (samples, steps, inputs), first block first."""
    for block, h in network.walk(x):
        y = block.normalize(block.neuron.outputs(block.synapse(h)))
        block.neuron.predictor.fit(y, block.neuron.before_reset(y))


@torch.no_grad()
def spike_disagreement(network: SpikingNetwork, x: Tensor) -> list[float]:
    """Return each block's share of neuron-steps in which prediction and recurrence differ, on the same inputs."""
    found = []
    for block, h in network.walk(x):
        y = block.normalize(block.neuron.outputs(block.synapse(h)))
        found.append(float((block.neuron.fire(y) != block.neuron.recur(y)).double().mean()))
    return found
