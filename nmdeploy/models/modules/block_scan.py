"""Linear recurrence over time by matrix products, one per block of steps.

The outputs of a block and the states x' after it are linear in its inputs and the states x before it:

    [y_1 .. y_L, x'] = [u_1 .. u_L, x] M

One product per block does what L steps do. The work is proportional to the steps, as that of a loop, and a sum of zeros
is exactly 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 56
"""Steps per block: more take more work per step, fewer more products."""


def block_scan(u: Tensor, matrix: Tensor, length: int) -> Tensor:
    """Return y (batch, steps, H) of u (batch, steps, H), by M (H, L + states, L + states) for L = `length`."""
    u = u.to(torch.promote_types(u.dtype, matrix.dtype))
    y: Tensor = _BlockScan.apply(u, matrix, length)  # type: ignore[no-untyped-call]
    return y


class _BlockScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, matrix: Tensor, length: int) -> Tensor:
        parts, y = _parts(u, length), torch.empty_like(u, memory_format=torch.contiguous_format)
        given = u.new_zeros(len(parts), u.shape[2], len(u), matrix.shape[1])
        made = torch.empty_like(given[0])
        for block, part in enumerate(parts):
            if block:
                given[block, ..., length:] = made[..., length:]
            _enter(given[block], u[:, part])
            torch.bmm(given[block], matrix, out=made)
            _leave(y[:, part], made)
        ctx.save_for_backward(given, matrix)
        ctx.length = length
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given, matrix = ctx.saved_tensors
        of_y, length = gradients[0], ctx.length
        of_u = torch.empty_like(of_y, memory_format=torch.contiguous_format)
        of_matrix = torch.zeros_like(matrix)
        of_made, of_given = torch.zeros_like(given[0]), torch.empty_like(given[0])
        parts = _parts(of_y, length)
        for block in reversed(range(len(parts))):
            of_made[..., :length] = 0  # the last block may be shorter
            _enter(of_made, of_y[:, parts[block]])
            of_matrix.baddbmm_(given[block].mT, of_made)
            torch.bmm(of_made, matrix.mT, out=of_given)
            _leave(of_u[:, parts[block]], of_given)
            of_made[..., length:] = of_given[..., length:]
        return of_u, of_matrix, None


def _parts(u: Tensor, length: int) -> list[slice]:
    """Return the blocks of the steps of u (batch, steps, H)."""
    return [slice(first, min(first + length, u.shape[1])) for first in range(0, u.shape[1], length)]


def _enter(rows: Tensor, steps: Tensor) -> None:
    """Copy steps (batch, L, H) into the first columns of rows (H, batch, L + states)."""
    rows[..., : steps.shape[1]] = steps.permute(2, 0, 1)


def _leave(steps: Tensor, rows: Tensor) -> None:
    """Copy the first columns of rows (H, batch, L + states) into steps (batch, L, H)."""
    steps.copy_(rows[..., : steps.shape[1]].permute(1, 2, 0))
