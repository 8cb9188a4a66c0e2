"""A spiking S4D in plain PyTorch, with batch normalization and a residual connection, on pixels one after the other."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from nmdeploy import FixedPoint, Integrator, Network, NetworkBuilder
from nmdeploy.models import s4d

DATA = "sequence"
EPOCHS = 25
RATE = 1e-2
CHANNELS, STATES = 64, 8
PIXELS = FixedPoint(bits=5, frac=4, signed=False)
"""The format of the inputs: codes 0 to 16, values code / 16."""


class Spike(torch.autograd.Function):
    """Spike where the value is above 0, with the gradient of a fast sigmoid."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return (value > 0).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        return gradients[0] / (1 + 2 * value.abs()) ** 2


class S4D(nn.Module):
    """The public S4D layer: a convolution over the steps with the kernel of a diagonal state space."""

    def __init__(self) -> None:
        super().__init__()
        self.log_dt = nn.Parameter(torch.rand(CHANNELS) * math.log(100) + math.log(0.005))
        self.log_A_real = nn.Parameter(torch.full((CHANNELS, STATES), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(STATES).repeat(CHANNELS, 1).float())
        self.C = nn.Parameter(torch.randn(CHANNELS, STATES, 2) * 0.5**0.5)
        self.D = nn.Parameter(torch.randn(CHANNELS))

    def dynamics(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return dt A, (exp(dt A) - 1) / A and C, (channels, states)."""
        continuous = torch.complex(-self.log_A_real.exp(), self.A_imag)
        advance = self.log_dt.exp()[:, None] * continuous
        return advance, torch.expm1(advance) / continuous, torch.view_as_complex(self.C)

    def forward(self, u: Tensor) -> Tensor:
        """Convolve (samples, channels, steps) by fast Fourier transforms."""
        steps = u.shape[-1]
        advance, onto, read = self.dynamics()
        powers = (advance[..., None] * torch.arange(steps, dtype=u.dtype)).exp()
        kernel = 2 * torch.einsum("hn,hnl->hl", read * onto, powers).real
        y = torch.fft.irfft(torch.fft.rfft(u, 2 * steps) * torch.fft.rfft(kernel, 2 * steps), 2 * steps)[..., :steps]
        return y + self.D[:, None] * u

    def steps(self, u: Tensor) -> Tensor:
        """Return the same by the recurrence, step by step."""
        advance, onto, read = self.dynamics()
        x, found = torch.zeros(len(u), CHANNELS, STATES, dtype=advance.dtype), []
        for step in range(u.shape[-1]):
            x = advance.exp() * x + onto * u[..., step, None]
            found.append(2 * (read * x).sum(-1).real + self.D * u[..., step])
        return torch.stack(found, -1)


class Net(nn.Module):
    """Two blocks of weights, S4D, batch normalization and spikes; the output gets the spikes of both."""

    def __init__(self) -> None:
        super().__init__()
        self.mix1, self.mix2 = nn.Linear(1, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.s4d1, self.s4d2 = S4D(), S4D()
        self.norm1, self.norm2 = nn.BatchNorm1d(CHANNELS), nn.BatchNorm1d(CHANNELS)
        self.head = nn.Linear(CHANNELS, 10)

    def forward(self, x: Tensor, recurrent: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return the spikes of both blocks, (samples, channels, steps), and the readout, the mean over the steps."""
        one, two = (self.s4d1.steps, self.s4d2.steps) if recurrent else (self.s4d1, self.s4d2)
        spikes1 = Spike.apply(self.norm1(one(self.mix1(x).mT)))
        spikes2 = Spike.apply(self.norm2(two(self.mix2(spikes1.mT).mT)))
        return spikes1, spikes2, self.head((spikes1 + spikes2).mT).mean(1)


def make_net() -> nn.Module:
    """Return the network with random weights."""
    return Net()


def scores(net: Any, x: Tensor) -> Tensor:
    """Return the readout."""
    return net(x)[-1]


def recurrence(net: Any, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the spikes of each population (samples, steps, channels) and the readout, step by step in float64."""
    spikes1, spikes2, readout = copy.deepcopy(net).double()(x.double(), recurrent=True)
    return {"block1": spikes1.mT, "block2": spikes2.mT}, readout


def convolution(net: Any, x: Tensor) -> tuple[dict[str, Tensor], float]:
    """Return the spikes of each population by the convolution in float32, and the largest error of an S4D layer.

    The error is relative to the layer's largest output; both forms get the same input.
    """
    spikes1, spikes2, _ = net(x)
    errors = []
    for layer, u in ((net.s4d1, net.mix1(x).mT), (net.s4d2, net.mix2(spikes1.mT).mT)):
        exact = copy.deepcopy(layer).double().steps(u.double())
        errors.append(float((layer(u) - exact).abs().max() / exact.abs().max()))
    return {"block1": spikes1.mT, "block2": spikes2.mT}, max(errors)


def to_network(net: Any) -> Network:
    """Return the network that nmdeploy exports."""
    builder = NetworkBuilder(dt=1e-3)
    x = builder.input(1, PIXELS)
    block1 = builder.population(population(net.s4d1, net.norm1), "block1")
    block2 = builder.population(population(net.s4d2, net.norm2), "block2")
    out = builder.population(Integrator(beta=[0.0] * 10), "out")
    for sources, target, linear in (
        (x, block1, net.mix1),
        (block1, block2, net.mix2),
        ([block1, block2], out, net.head),
    ):
        builder.connect(sources, target, linear.weight.detach(), linear.bias.detach())
    return builder.build(readout="mean")


def population(layer: S4D, norm: nn.BatchNorm1d) -> Any:
    """Return an S4D layer, its batch normalization and spikes as a population."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = (norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()).detach()
    shift = (norm.bias - norm.running_mean * scale).detach()
    return s4d(layer.log_dt, layer.log_A_real, layer.A_imag, layer.C, layer.D, scale=scale, shift=shift)
