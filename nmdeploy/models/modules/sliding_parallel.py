"""Sliding parallel spiking neuron, a temporal FIR filter with a threshold."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from nmdeploy.models.modules import surrogate
from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms, Norm
from nmdeploy.models.modules.neuron import SpikingNeuron


class SlidingParallel(SpikingNeuron):
    """FIR filter ``y_t = sum over j < k of taps[j] a[t - j]`` with spikes ``s = H(y - threshold)``.

    It is a convolution over all steps. As dynamics, k states shift the inputs on. Parameters ``taps`` (H, k), newest
    input first, and ``threshold`` (H,).
    """

    start_shift: ClassVar[float] = 0.0
    mechanisms = Mechanisms(dynamics="dense")

    def __init__(self, channels: int, states: int, *, k: int = 8) -> None:
        super().__init__()
        self.taps = nn.Parameter(2.0 ** -torch.arange(k) * (1 + 0.5 * torch.randn(channels, k)))
        self.threshold = nn.Parameter(torch.ones(channels))

    def coefficients(self) -> Coefficients:
        h, k = self.taps.shape
        shift = torch.diag(torch.ones_like(self.taps[0, 1:]), -1).expand(h, k, k)
        enters = torch.zeros_like(self.taps)
        enters[:, 0] = 1
        return {"a": shift, "b": enters[..., None], "c": self.taps[:, None], "v_threshold": self.threshold[:, None]}

    def forward(self, a: Tensor, norm: Norm) -> Tensor:
        h, k = self.taps.shape
        kernel = self.taps.flip(-1)[:, None]
        y = conv1d(pad(a.mT, (k - 1, 0)), kernel, groups=h).mT
        return surrogate.spike(norm(y) - self.threshold)
