"""Scan of a soma that its own spikes reset, with a backward pass of its own.

    u_t = leak v_{t-1} + y_t
    s_t = H(u_t - threshold)
    v_t = u_t - r s_t           soft reset
    v_t = r where s_t, else u_t hard reset

Autograd keeps and reads several tensors per step. The gradient g_t of u_t is a linear recurrence instead. With the
gradient G_t of s_t, the surrogate's slope D_t at ``u_t - threshold``, and ``v_t = f(u_t, s_t)``,

    g_t = G_t D_t + (df/du + D_t df/ds) leak g_{t+1}

Its coefficients are computed for many steps at once, so each step takes one operation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmdeploy.models.modules import surrogate

PIECE = surrogate.PIECE
"""Values of a piece of steps that is computed at once: a few tensors of it fit into the cache."""


def soma_scan(y: Tensor, leak: Tensor, threshold: Tensor, r: Tensor, *, hard: bool) -> Tensor:
    """Run all steps in turn, y (batch, steps, H) -> s (batch, steps, H); leak, threshold and r are (H,)."""
    y = y.to(torch.promote_types(y.dtype, leak.dtype))
    spikes: Tensor = _SomaScan.apply(y, leak, threshold, r, hard)  # type: ignore[no-untyped-call]
    return spikes


class _SomaScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, leak: Tensor, threshold: Tensor, r: Tensor, hard: bool) -> Tensor:
        batch, steps, h = y.shape
        before, s = y.new_empty(steps, batch, h), y.new_empty(batch, steps, h)
        v = y.new_zeros(batch, h)
        for part in _pieces(y):
            arriving, u = _steps_first(y[:, part]), before[part]
            fired = torch.empty_like(arriving, dtype=torch.bool if hard else y.dtype)
            for now, membrane, spike in zip(arriving.unbind(), u.unbind(), fired.unbind(), strict=True):
                torch.addcmul(now, leak, v, out=membrane)
                torch.gt(membrane, threshold, out=spike)
                if hard:
                    torch.where(spike, r, membrane, out=v)
                else:
                    torch.addcmul(membrane, r, spike, value=-1, out=v)
            s[:, part] = fired.transpose(0, 1)
        ctx.save_for_backward(before, leak, threshold, r)
        ctx.hard = hard
        return s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        before, leak, threshold, r = ctx.saved_tensors
        given = gradients[0]
        gy = torch.empty_like(given, memory_format=torch.contiguous_format)
        following = given.new_zeros(before.shape[1:])
        sums = [torch.zeros_like(leak) for _ in range(3)]
        for part in reversed(_pieces(given)):
            u = before[part]
            s = torch.gt(u, threshold, out=torch.empty_like(u))
            slope = surrogate.multi_gaussian(u - threshold)
            g = given.new_empty(len(u) + 1, *u.shape[1:])
            own, later = g[:-1], g[1:]
            torch.mul(given[:, part].transpose(0, 1), slope, out=own)
            g[-1] = following
            # slope: of v_t by u_t through the spike; kept: by both ways, times the leak
            if ctx.hard:
                v = torch.where(s > 0, r, u)
                slope.mul_(r - u).mul_(s)
                kept = (1 - s).add_(slope).mul_(leak)
            else:
                v = torch.addcmul(u, r, s, value=-1)
                kept = torch.addcmul(leak, slope.mul_(-r), leak)
            sums[1] -= own.sum((0, 1))
            steps = g.unbind()
            for now, share, then in zip(steps[-2::-1], reversed(kept.unbind()), steps[:0:-1], strict=True):
                now.addcmul_(share, then)
            gy[:, part] = own.transpose(0, 1)
            following = g[0].clone()
            for total, factor in zip(sums, (v, slope.mul_(-leak), s), strict=True):
                total += factor.mul_(later).sum((0, 1))
        of_leak, of_threshold, of_r = sums
        return gy, of_leak, of_threshold, (leak if ctx.hard else -leak) * of_r, None


def _pieces(x: Tensor) -> list[slice]:
    """Return the parts of the steps of x (batch, steps, H)."""
    batch, steps, h = x.shape
    size = max(1, PIECE // max(1, batch * h))
    return [slice(first, first + size) for first in range(0, steps, size)]


def _steps_first(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous()
