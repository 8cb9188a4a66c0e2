"""Layer of spiking state-space neurons with its synapses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nmdeploy.models.modules.neuron import SpikingNeuron
from nmdeploy.models.modules.scan import identity

NORM_EPS = 1e-5


class SpikingBlock(nn.Module):
    """Dense synapses, normalization and spiking neurons.

        a = W h                                 dense synapses without bias
        s = neuron(a)                           normalized: a, or the dynamics' output (`NeuronModel.normalizes`)
        g = value * sigmoid(gate), [value, gate] = M dropout(s) + b        with a mixer
        h' = dropout(s) or g, plus h with a residual connection

    Parameters
    ----------
    synapse : nn.Linear without bias, or nn.Identity
        Synapses. `nn.Identity` means that the block has none of its own and h is a.
    neuron : SpikingNeuron
        Neurons of the block.
    sums, spikes : int
        Numbers of synaptic sums and of outputs of the whole population.
    norm : {"batch", "layer", "none"}
        Normalization: over batch and time per channel, over the channels per step, or none.
    current : bool
        True if a is normalized, instead of the signal that `neuron` hands to its norm.
    mixer : bool
        True if a gated linear unit follows the neurons.
    residual : bool
        True if the block's input is added to its output.
    dropout : float
        Dropout rate of the spikes in training.

    Notes
    -----
    Batch normalization folds into C, D and a bias, or into the synapses.
    """

    def __init__(
        self,
        synapse: nn.Module,
        neuron: SpikingNeuron,
        *,
        sums: int,
        spikes: int,
        norm: str = "batch",
        current: bool = False,
        mixer: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.residual, self.current, self.outputs = residual, current, spikes
        self.synapse = synapse
        self.neuron = neuron
        self.norm = _norm(norm, sums if current else spikes, neuron)
        self.dropout = nn.Dropout(dropout)
        # rows 2h and 2h + 1: value and gate of channel h
        self.mixer = nn.Linear(spikes, 2 * spikes) if mixer else None
        if self.mixer is not None:  # values of about 1 from the few channels that spike
            nn.init.normal_(self.mixer.weight, std=2 / math.sqrt(spikes))

    def normalize(self, y: Tensor) -> Tensor:
        """Normalize y (batch, steps, channels), keeping its shape."""
        normalized: Tensor = self.norm(y.flatten(0, 1)).view_as(y)
        return normalized

    def spikes(self, h: Tensor, sequential: bool = False) -> Tensor:
        """Return the spikes s (batch, steps, H*p) of h (batch, steps, inputs)."""
        a = self.synapse(h)
        run = self.neuron.sequential if sequential else self.neuron
        return run(self.normalize(a), identity) if self.current else run(a, self.normalize)

    def hand_on(self, h: Tensor, s: Tensor) -> Tensor:
        """Return the next block's input, from the block's input h and its spikes s."""
        out: Tensor = self.dropout(s)
        if self.mixer is not None:
            value, gate = self.mixer(out).unflatten(-1, (-1, 2)).unbind(-1)
            out = value * torch.sigmoid(gate)
        return out + h if self.residual else out

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output h' and its spikes s, for h (batch, steps, inputs)."""
        s = self.spikes(h)
        return self.hand_on(h, s), s


def _norm(kind: str, channels: int, neuron: SpikingNeuron) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    layer = (nn.LayerNorm if kind == "layer" else nn.BatchNorm1d)(channels, eps=NORM_EPS)
    with torch.no_grad():
        layer.weight.copy_(neuron.start_scale * torch.exp(neuron.start_spread * torch.randn(channels)))
        layer.bias.copy_(neuron.start_shift + neuron.start_scale * neuron.start_spread * torch.randn(channels))
    return layer


class IntegratingReadout(nn.Linear):
    """Dense synapses with bias, averaged over time: ``logits = mean_t(W h_t + b)``.

    It maps h (batch, steps, inputs) to (batch, outputs). The deployed readout sums instead, with the same argmax.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Return the logits (batch, outputs) of h (batch, steps, inputs)."""
        return torch.nn.functional.linear(h.mean(1), self.weight, self.bias)
