"""Spiking functions with a surrogate or straight-through gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HEIGHT = 0.15
LENGTH = 0.5
GAIN = 0.5
WIDTH = LENGTH
PIECE = 1 << 17
"""Values of a piece of a tensor: a few of its size fit into the cache, and two threads share one."""


def multi_gaussian(x: Tensor) -> Tensor:
    """Return the surrogate of the Heaviside function's derivative.

    ``G(x) = g [(1 + h) phi(x; 0, s) - h phi(x; l, 6 s) - h phi(x; -l, 6 s)]`` with h = 0.15, l = g = 0.5, s = l.
    phi(x; mean, std) is the normal density.

    Parameters
    ----------
    x : Tensor of any shape
        Membrane minus threshold.

    References
    ----------
    Yin, Corradi, Bohte, Accurate and efficient time-domain classification with adaptive spiking recurrent neural
    networks, Nature Machine Intelligence 3, 2021.
    """
    slope = _normal_density(x, WIDTH, GAIN * (1 + HEIGHT))
    for mean in (LENGTH, -LENGTH):
        slope -= _normal_density(x - mean, 6 * WIDTH, GAIN * HEIGHT)
    return slope


def _normal_density(x: Tensor, std: float, share: float) -> Tensor:
    """Return ``share exp(-(x / std)**2 / 2) / (std sqrt(2 pi))``, with its factor in the exponent."""
    factor = x.new_tensor(math.log(share / (std * math.sqrt(2 * math.pi))))
    return torch.addcmul(factor, x, x, value=-0.5 / std**2).exp_()


def _pieces(x: Tensor) -> tuple[Tensor, ...]:
    return torch.split(x.reshape(-1), PIECE)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        scaled = torch.empty_like(x, memory_format=torch.contiguous_format)
        for out, given, at in zip(*(_pieces(each) for each in (scaled, gradients[0], x)), strict=True):
            torch.mul(given, multi_gaussian(at), out=out)
        return scaled


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, path: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def spike(x: Tensor) -> Tensor:
    """Return ``H(x)``: 1 where x > 0, else 0 (so ``H(0) = 0``).

    Its gradient is `multi_gaussian`. x has any shape.
    """
    spikes: Tensor = _Spike.apply(x)  # type: ignore[no-untyped-call]
    return spikes


def straight_through(value: Tensor, path: Tensor) -> Tensor:
    """Return exactly `value`, with the gradient of `path`."""
    passed: Tensor = _StraightThrough.apply(value, path)  # type: ignore[no-untyped-call]
    return passed


def ternary(mu: Tensor, threshold: Tensor) -> Tensor:
    """Return 1 above the threshold, -1 below its negative, else 0."""
    return spike(mu - threshold) - spike(-mu - threshold)


def graded(mu: Tensor, threshold: Tensor, step: float, bits: int) -> Tensor:
    """Return ``mu`` in whole steps where ``abs(mu) > threshold``, else 0.

    Steps round towards zero and are clipped to `bits` bits. The gradient of the rounding is 1 inside the clip and 0
    outside. The gradient of the gate is `multi_gaussian`.
    """
    limit = (1 << (bits - 1)) - 1
    scaled = mu / step
    codes = straight_through(torch.trunc(scaled).clamp(-limit, limit), scaled.clamp(-limit, limit))
    return step * codes * spike(mu.abs() - threshold)


def stochastic(mu: Tensor, threshold: Tensor, bits: Tensor) -> Tensor:
    """Return 1 where ``mu > threshold * bits / 65536``, else 0.

    The gradient is that of ``clamp(mu / threshold, 0, 1)``.
    """
    return straight_through((mu > threshold * bits / 65536).to(mu.dtype), (mu / threshold).clamp(0, 1))


def phase(re: Tensor, im: Tensor, im_before: Tensor, threshold: Tensor) -> Tensor:
    """Return 1 where ``re >= threshold``, ``im >= 0`` and ``im_before < 0``. Each factor has a surrogate gradient."""
    return (1 - spike(threshold - re)) * (1 - spike(-im)) * spike(-im_before)
