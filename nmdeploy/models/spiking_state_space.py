"""The network: blocks of spiking state-space neurons and an integrating readout."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nmdeploy.errors import BadOption
from nmdeploy.models.spiking_block import NORM_EPS, IntegratingReadout, SpikingBlock


class SpikingStateSpace(nn.Module):
    """Binary-spiking S4D network.

        h_0 = input values,  h_l = SpikingBlock_l(h_{l-1}),  logits = mean_t(W h_L + b)

    Parameters
    ----------
    inputs, channels, states, layers, outputs : int
        Input channels, neurons a block, stored complex states a neuron, blocks, classes.
    residual : bool
        Every block whose input has as many channels as its output adds its input to its spikes.
    dropout : float
        On the spikes, in training.
    dt_min, dt_max : float
        As in `S4D`.

    References
    ----------
    Stan, Rhodes, Learning long sequences in spiking neural networks, Scientific Reports 14, 2024 (binary S4D).
    """

    name = "binary-s4d"

    def __init__(
        self,
        inputs: int,
        channels: int,
        states: int,
        layers: int,
        outputs: int,
        residual: bool = False,
        dropout: float = 0.0,
        dt_min: float = 0.01,
        dt_max: float = 0.2,
    ) -> None:
        super().__init__()
        self.sizes = {"inputs": inputs, "channels": channels, "states": states, "layers": layers, "outputs": outputs}
        for what, size in self.sizes.items():
            if size < 1:
                raise BadOption(f"model {self.name!r}: {what} = {size}: give at least 1")
        self.residual = residual
        widths = [inputs] + [channels] * layers
        self.blocks = nn.ModuleList(
            SpikingBlock(
                width,
                channels,
                states,
                residual=residual and width == channels,
                dropout=dropout,
                dt_min=dt_min,
                dt_max=dt_max,
            )
            for width in widths[:-1]
        )
        self.readout = IntegratingReadout(channels, outputs)

    @property
    def config(self) -> dict[str, Any]:
        """What a checkpoint's header states about the architecture."""
        return {"model": self.name, **self.sizes, "residual": self.residual, "norm_eps": NORM_EPS}

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Values x (batch, steps, inputs) -> logits (batch, outputs), spikes (batch, steps, channels) of each block."""
        spikes = []
        for block in self.blocks:
            x, s = block(x)
            spikes.append(s)
        return self.readout(x), spikes
