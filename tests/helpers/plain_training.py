"""Forward passes of training in their plainest form, whose gradients are autograd's alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nmdeploy.models.modules import neuron, s4d_neurons, surrogate
from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms, Norm, Now, advance, initial_state
from nmdeploy.models.modules.s4d import S4D
from nmdeploy.models.modules.scan import identity


def scan(
    m: Mechanisms,
    p: Coefficients,
    a: Tensor,
    *,
    norm: Norm = identity,
    compiled: bool = False,
    bits: Tensor | None = None,
) -> Tensor:
    """Run the step on slices of the input."""
    batch, steps, _ = a.shape
    h, outputs = p["v_threshold"].shape
    drawn = a.new_zeros(steps, h, outputs) if bits is None else bits.view(steps, h, outputs).to(a.dtype)
    state, spikes = initial_state(m, p, batch), []
    for t in range(steps):
        due = torch.tensor(t % m.reset_period == m.reset_period - 1)
        now = Now(a[:, t].reshape(batch, h, -1), due, drawn[t])
        state, s = advance(m, p, lambda y: norm(y.reshape(batch, 1, -1)).view_as(y), state, now)
        spikes.append(s.reshape(batch, -1))
    return torch.stack(spikes, 1)


def outputs(layer: S4D, u: Tensor) -> Tensor:
    """Convolve by FFT, with outputs of exactly 0 where nothing has arrived yet."""
    steps, decays = u.shape[1], layer.discrete()
    times = torch.arange(steps, dtype=u.dtype)
    powers = torch.exp(layer._exponents()[0][..., None] * times)
    kernel = 2 * torch.einsum("hn,hnt->ht", torch.view_as_complex(layer.c) * decays[1], powers).real
    spectrum = torch.fft.rfft(u.mT, n=2 * steps) * torch.fft.rfft(kernel, n=2 * steps)
    y = torch.fft.irfft(spectrum, n=2 * steps)[..., :steps].mT
    at_rest = u.detach().ne(0).cumsum(1).eq(0)
    return y - torch.where(at_rest, y, 0.0).detach() + layer.d * u


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors

        def density(mean: float, std: float) -> Tensor:
            return torch.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))

        sides = density(0.5, 3.0) + density(-0.5, 3.0)
        return gradients[0] * 0.5 * (1.15 * density(0.0, 0.5) - 0.15 * sides)


def make_plain(patch: pytest.MonkeyPatch) -> None:
    """Let every trainable neuron run in this form."""
    for module in (neuron, s4d_neurons):
        patch.setattr(module, "scan", scan)
    patch.setattr(S4D, "outputs", outputs)
    patch.setattr(surrogate, "_Spike", _Spike)
