"""Network of blocks of spiking state-space neurons with an integrating readout."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from nmdeploy.errors import BadOption
from nmdeploy.models.catalog import NORMS, is_finite, neuron_model
from nmdeploy.models.modules.neuron import SpikingNeuron
from nmdeploy.models.modules.scan import require_compiler
from nmdeploy.models.modules.spiking_block import NORM_EPS, IntegratingReadout, SpikingBlock


class SpikingNetwork(nn.Module):
    """Blocks of one model's neurons and a readout.

        h_0 = input values,  h_l = SpikingBlock_l(h_{l-1}),  logits = mean_t(W h_L + b)

    Parameters
    ----------
    name : str
        Name of the model, see `nmdeploy.models.catalog`.
    inputs, channels, states, layers, outputs : int
        Numbers of input channels, neurons per block, states per neuron (of models that do not fix them), blocks and
        classes.
    residual : bool
        True if every block with equally many input and output channels adds its input to its output.
    dropout : float
        Dropout rate of the spikes in training.
    norm : {"batch", "layer", "none"}
        Normalization of each block. Only "batch" and "none" can be deployed.
    compiled : bool
        Compile the scans of training. This needs a C++ compiler.
    **options
        The model's own options.

    Raises
    ------
    BadOption
        A name, option or value is unknown, a size is below 1, or a compiler is missing.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        channels: int,
        states: int,
        layers: int,
        outputs: int,
        residual: bool = False,
        dropout: float = 0.0,
        norm: str = "batch",
        compiled: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.neuron_model = neuron_model(name)
        self.name, self.norm, self.residual = name, norm, residual
        self.sizes = {"inputs": inputs, "channels": channels, "states": states, "layers": layers, "outputs": outputs}
        _check(name, self.sizes, {"residual": residual, "compiled": compiled}, dropout, norm)
        if compiled:
            require_compiler()
        self.options = self.neuron_model.complete(options)
        spikes = channels * self.neuron_model.outputs(self.options)
        widths = [inputs] + [channels if self.neuron_model.mixer else spikes] * layers
        self.blocks = nn.ModuleList(
            self._block(index, width, residual and width == widths[-1], dropout, compiled)
            for index, width in enumerate(widths[:-1])
        )
        self.readout = IntegratingReadout(widths[-1], outputs)

    def _block(self, index: int, width: int, residual: bool, dropout: float, compiled: bool) -> SpikingBlock:
        channels = self.sizes["channels"]
        sums = channels * self.neuron_model.inputs(self.options)
        # Drawn before the neuron's parameters: this order fixes the weights that a seed gives.
        synapse = nn.Identity() if self.neuron_model.mixer and index else nn.Linear(width, sums, bias=False)
        module, _, attribute = self.neuron_model.module.partition(":")
        factory = getattr(importlib.import_module(module), attribute)
        neuron: SpikingNeuron = factory(channels, self.sizes["states"], **self.options)
        neuron.seed, neuron.compiled = index, compiled
        return SpikingBlock(
            synapse,
            neuron,
            sums=sums,
            spikes=channels * self.neuron_model.outputs(self.options),
            norm=self.norm,
            current=self.neuron_model.normalizes == "current",
            mixer=self.neuron_model.mixer,
            residual=residual,
            dropout=dropout,
        )

    @property
    def config(self) -> dict[str, Any]:
        """Architecture, as a checkpoint's header holds it."""
        fixed = {"residual": self.residual, "norm": self.norm, "norm_eps": NORM_EPS, "options": self.options}
        return {"model": self.name, **self.sizes, **fixed}

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map values x (batch, steps, inputs) to logits (batch, outputs) and spikes (batch, steps, H*p) per block."""
        spikes = []
        for block in self.blocks:
            x, s = block(x)
            spikes.append(s)
        return self.readout(x), spikes

    def walk(self, x: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Yield each block with its input: x (batch, steps, inputs), then the output of the block before."""
        for block in self.blocks:
            yield block, x
            x, _ = block(x)


def _check(model: str, sizes: dict[str, int], switches: dict[str, bool], dropout: float, norm: str) -> None:
    """Raise `BadOption` for the first value that no network can have."""
    for what, value, valid, wanted in (
        *((what, size, type(size) is int and size >= 1, "an int of at least 1") for what, size in sizes.items()),
        *((what, value, isinstance(value, bool), "True or False") for what, value in switches.items()),
        ("dropout", dropout, is_finite(dropout) and 0 <= dropout < 1, "a number from 0 to below 1"),
        ("norm", norm, norm in NORMS, f"one of {NORMS}"),
    ):
        if not valid:
            raise BadOption(f"model {model!r}: {what} = {value!r}: give {wanted}")
