"""S4D whose output a temporal kernel reads once per window, and whose spike lasts the window."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from nmdeploy.models.modules import surrogate
from nmdeploy.models.modules.mechanisms import Mechanisms, Norm, initial_state, output, update
from nmdeploy.models.modules.s4d_neurons import S4DNeuron


class WindowedS4D(S4DNeuron):
    """S4D with ``u = sum over j < r of kernel[j] y[k r + j]`` and ``s = H(norm(u))`` in all r steps of window k.

    The last window is padded with zeros. The normalization acts on u, (batch, windows, H). Parameter ``kernel_taps``
    (H, r).
    """

    start_shift: ClassVar[float] = -1.0
    mechanisms = Mechanisms(dynamics="diagonal")

    def __init__(self, channels: int, states: int, *, window: int = 5) -> None:
        super().__init__(channels, states)
        bound = 1 / math.sqrt(window)
        self.kernel_taps = nn.Parameter(torch.empty(channels, window).uniform_(-bound, bound))

    def forward(self, a: Tensor, norm: Norm) -> Tensor:
        y, window = self.outputs(a), self.kernel_taps.shape[1]
        padded = nn.functional.pad(y, (0, 0, 0, -y.shape[1] % window))
        u = torch.einsum("bkjh,hj->bkh", padded.view(len(y), -1, window, y.shape[2]), self.kernel_taps)
        return surrogate.spike(norm(u)).repeat_interleave(window, 1)[:, : y.shape[1]]

    def sequential(self, a: Tensor, norm: Norm) -> Tensor:
        p, steps, window = self.coefficients(), a.shape[1], self.kernel_taps.shape[1]
        dynamics, u, spikes = initial_state(self.mechanisms, p, len(a)).dynamics, torch.zeros_like(a[:, 0]), []
        for t, now in enumerate(a[..., None].unbind(1)):
            dynamics = update(self.mechanisms, p, dynamics, now)
            y = output(self.mechanisms, p, dynamics, now)[..., 0]
            u = (u if t % window else 0) + self.kernel_taps[:, t % window] * y
            if t % window == window - 1 or t == steps - 1:
                spikes += [surrogate.spike(norm(u[:, None])[:, 0])] * (t % window + 1)
        return torch.stack(spikes, 1)
