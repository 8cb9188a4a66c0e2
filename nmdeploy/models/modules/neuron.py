"""Base class of the trainable neurons, and helpers for their parameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms, Norm
from nmdeploy.models.modules.scan import deployed_bits, scan


class SpikingNeuron(nn.Module, ABC):
    """A population of trainable neurons, defined by `coefficients` and `mechanisms`.

    `sequential` runs the step of `nmdeploy.models.modules.mechanisms` over time. `forward` computes the same spikes.
    Here it is the same scan; a subclass with a parallel form overrides it.

    Attributes
    ----------
    compiled : bool
        True if `forward` compiles its scan.
    seed : int
        Seed of random bits. The network gives each block its own.
    start_scale, start_shift, start_spread : float
        Initial values of the block's normalization: ``scale exp(spread n)`` and ``shift + scale spread n``, n normal.
        Normalized sums of a single input channel differ in sign alone. Such neurons need a spread.
    """

    start_scale: ClassVar[float] = 1.0
    start_shift: ClassVar[float] = 0.0
    start_spread: ClassVar[float] = 0.0
    compiled = False
    seed = 0
    mechanisms: Mechanisms

    @abstractmethod
    def coefficients(self) -> Coefficients:
        """Return the step's tensors, computed from the parameters."""

    def forward(self, a: Tensor, norm: Norm) -> Tensor:
        """Run all steps, a (batch, steps, H*q) -> s (batch, steps, H*p)."""
        return scan(self.mechanisms, self.coefficients(), a, norm=norm, compiled=self.compiled)

    def sequential(self, a: Tensor, norm: Norm) -> Tensor:
        """Compute the spikes of `forward` step by step, with `norm` in evaluation mode."""
        p = self.coefficients()
        bits = deployed_bits(self.seed, p, a.shape[1]) if self.mechanisms.spike == "stochastic" else None
        return scan(self.mechanisms, p, a, norm=norm, bits=bits)


def time_constants(*shape: int, low: float = 1.2, high: float = 64.0) -> nn.Parameter:
    """Return logits of decays with ``sigmoid(logit) = 1 - 1/tau``, tau log-uniform between `low` and `high` steps."""
    tau = torch.exp(torch.rand(shape) * (math.log(high) - math.log(low)) + math.log(low))
    return nn.Parameter(torch.log(tau - 1))


def positive(value: float, *shape: int) -> nn.Parameter:
    """Return raw values of positive parameters, with ``softplus(raw) = value``."""
    return nn.Parameter(torch.full(shape, math.log(math.expm1(value))))


def column(x: Tensor) -> Tensor:
    """Reshape (H,) to (H, 1), for one output per neuron."""
    return x[:, None]


__all__ = ["SpikingNeuron", "column", "positive", "time_constants"]
