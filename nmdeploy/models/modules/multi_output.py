"""The general neuron: N states, any A, several inputs and outputs, independent and learnable mechanisms."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms
from nmdeploy.models.modules.neuron import SpikingNeuron, positive
from nmdeploy.neurons.state_space.mechanisms import require_meaning


class MultiOutput(SpikingNeuron):
    """General neuron, ``x <- A x + B a``, ``y = Re(C x) + D a``, spikes per output, reset of x.

    It has H neurons with N states, q inputs and p outputs each. Parameters: ``a`` (H, N, N) or, with coupling
    ``diagonal``, (H, N, 2); ``b`` (H, N, q[, 2]), ``c`` (H, p, N[, 2]), ``d`` (H, p, q), ``threshold_raw`` (H, p). The
    last axis of size 2 is real and imaginary part.

    Parameters that exist only if the reset uses them: ``r`` (H, N, p[, 2]), with action ``hard`` (H, N, 1[, 2]); ``m``
    as ``a``, with action ``scale`` (H, N); ``magnitude_raw`` (H, N).

    With `stable`, an A whose spectral norm exceeds 1 is divided by it. Otherwise nothing limits A.
    """

    start_scale: ClassVar[float] = 0.5

    def __init__(
        self,
        channels: int,
        states: int,
        *,
        n_inputs: int = 1,
        n_outputs: int = 2,
        coupling: str = "dense",
        stable: bool = False,
        spike: str = "binary",
        graded_step: float = 0.125,
        graded_bits: int = 8,
        reset_condition: str = "any",
        reset_action: str = "soft",
        reset_period: int = 8,
        refractory_steps: int = 0,
        refractory_mode: str = "hold",
    ) -> None:
        super().__init__()
        self.diagonal, self.stable = coupling == "diagonal", stable
        self.mechanisms = Mechanisms(
            dynamics=coupling,
            spike=spike,
            graded_step=graded_step,
            graded_bits=graded_bits,
            reset_condition=reset_condition,
            reset_action=reset_action,
            reset_period=reset_period,
            refractory_steps=refractory_steps,
            refractory_mode=refractory_mode,
        )
        described: Any = SimpleNamespace(**vars(self.mechanisms), kind="multi-output", states=states, outputs=n_outputs)
        require_meaning(described)
        self.a = nn.Parameter(_poles(channels, states) if self.diagonal else _rotations(channels, states))
        self.b = self._random(channels, states, n_inputs, scale=1 / math.sqrt(states))
        self.c = self._random(channels, n_outputs, states, scale=1.0)
        self.d = nn.Parameter(torch.randn(channels, n_outputs, n_inputs) * 0.5)
        self.threshold_raw = positive(1.0, channels, n_outputs)
        self._add_reset(channels, states, 1 if reset_action == "hard" else n_outputs)

    def _random(self, *shape: int, scale: float) -> nn.Parameter:
        return nn.Parameter(torch.randn(*shape, *((2,) if self.diagonal else ())) * scale)

    def _add_reset(self, channels: int, states: int, outputs: int) -> None:
        action = self.mechanisms.reset_action
        if action in ("hard", "soft", "linear"):
            self.r = self._random(channels, states, outputs, scale=0.3)
        if action == "scale":
            self.m = nn.Parameter(torch.full((channels, states), 0.5))
        if action == "linear":
            self.m = nn.Parameter(0.5 * self.a.detach().clone())
        if self.mechanisms.reset_condition == "magnitude":
            self.magnitude_raw = positive(1.0, channels, states)

    def coefficients(self) -> Coefficients:
        p: dict[str, Tensor] = {"d": self.d, "v_threshold": softplus(self.threshold_raw)}
        given: dict[str, Any] = {"a": self.transition(), "b": self.b, "c": self.c}
        given |= {name: value for name, value in self.named_parameters(recurse=False) if name in ("r", "m")}
        for name, value in given.items():
            if self.diagonal and name == "m" and self.mechanisms.reset_action == "scale":
                p["m_re"] = value
            elif self.diagonal:
                p[f"{name}_re"], p[f"{name}_im"] = value[..., 0], value[..., 1]
            else:
                p[name] = torch.diag_embed(value) if value.ndim == 2 else value
        if self.mechanisms.reset_condition == "magnitude":
            p["reset_magnitude"] = softplus(self.magnitude_raw)
        return p

    def transition(self) -> Tensor:
        """Return A, in the shape of the parameter ``a``."""
        if not self.stable:
            return self.a
        if self.diagonal:
            return self.a / self.a.square().sum(-1, keepdim=True).sqrt().clamp(min=1)
        norm: Tensor = torch.linalg.matrix_norm(self.a, 2, keepdim=True)
        return self.a / norm.clamp(min=1)


def _poles(channels: int, states: int) -> Tensor:
    """Return poles inside the unit circle, with time constants of 2 to 64 steps and periods of 4 steps or more."""
    size = 1 - torch.exp(-math.log(2) - torch.rand(channels, states) * math.log(32))
    angle = torch.rand(channels, states) ** 2 * math.pi / 2
    return torch.stack([size * torch.cos(angle), size * torch.sin(angle)], -1)


def _rotations(channels: int, states: int) -> Tensor:
    """Return slightly coupled matrices of 2 x 2 blocks with such poles; an odd state is real."""
    a = torch.zeros(channels, states, states)
    poles = _poles(channels, -(-states // 2))
    for n in range(states):
        re, im = poles[:, n // 2].unbind(-1)
        a[:, n, n] = re
        other = n ^ 1
        if other < states:
            a[:, n, other] = im if n % 2 else -im
    return a + 0.02 * torch.randn(channels, states, states)
