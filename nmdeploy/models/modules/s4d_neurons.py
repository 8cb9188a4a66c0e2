"""Neurons whose dynamics is an S4D block that no spike resets, and that runs in parallel over time."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nmdeploy.models.modules import surrogate
from nmdeploy.models.modules.mechanisms import Mechanisms, Norm
from nmdeploy.models.modules.neuron import SpikingNeuron, column, positive, time_constants
from nmdeploy.models.modules.predicted import Predictor
from nmdeploy.models.modules.s4d import S4D
from nmdeploy.models.modules.scan import deployed_bits, scan


class S4DNeuron(S4D, SpikingNeuron):
    """S4D, normalization, then `fire`, which spikes where the normalized output exceeds `threshold`."""

    start_shift: ClassVar[float] = -1.0
    threshold: float = 0.0
    mechanisms = Mechanisms(dynamics="diagonal")

    def coefficients(self) -> dict[str, Tensor]:
        return {**super().coefficients(), "v_threshold": torch.full_like(self.d, self.threshold)[:, None]}

    def forward(self, a: Tensor, norm: Norm) -> Tensor:
        return self.fire(norm(self.outputs(a)))

    def fire(self, y: Tensor) -> Tensor:
        """Return the spikes of the normalized outputs, each (batch, steps, H)."""
        return surrogate.spike(y - self.threshold)


class BinaryS4D(S4DNeuron):
    """S4D with binary spikes ``s = H(y)`` and no reset."""

    def __init__(self, channels: int, states: int, *, dt_min: float = 0.01, dt_max: float = 0.2) -> None:
        super().__init__(channels, states, dt_min=dt_min, dt_max=dt_max)


class StochasticS4D(S4DNeuron):
    """S4D with random spikes ``s ~ Bernoulli(clamp(y, 0, 1))``.

    Training draws from torch's generator, evaluation from the deployed one.
    """

    start_scale: ClassVar[float] = 0.5
    start_shift: ClassVar[float] = 0.0
    threshold = 1.0
    mechanisms = Mechanisms(dynamics="diagonal", spike="stochastic")

    def fire(self, y: Tensor) -> Tensor:
        bits = (
            torch.rand_like(y) * 65536 if self.training else deployed_bits(self.seed, self.coefficients(), y.shape[1])
        )
        return surrogate.stochastic(y, torch.ones_like(self.d), bits.to(y.dtype))


class CountingS4D(S4DNeuron):
    """S4D into a soma that integrates ``max(y, 0)``, spikes beyond 1, and loses every whole 1 at once.

    The rest before step t is ``V - ceil(V) + 1`` of the running sum V. This gives all steps at once.
    """

    start_shift: ClassVar[float] = -0.5
    threshold = 1.0
    mechanisms = Mechanisms(dynamics="diagonal", soma=True, rectify=True, reset_condition="each", reset_action="modulo")

    def coefficients(self) -> dict[str, Tensor]:
        return {**super().coefficients(), "leak": torch.ones_like(self.d)[:, None]}

    def fire(self, y: Tensor) -> Tensor:
        total = torch.cumsum(torch.relu(y), 1)
        removed = (torch.ceil(total.detach()) - 1).clamp(min=0)
        before = torch.nn.functional.pad(removed, (0, 0, 1, 0))[:, :-1]
        return surrogate.spike(total - before - 1)


class LeakyS4D(S4DNeuron):
    """S4D into a leaky soma with soft reset, ``v <- leak v + y``.

    Parameters ``threshold_raw`` and ``leak_logit`` (H,) are learned. The recurrence is exact. With ``approximation =
    "predicted"``, `forward` predicts the membrane by a causal convolution of y instead. The convolution must be fitted
    first: see `nmdeploy.models.modules.predicted`.
    """

    start_scale: ClassVar[float] = 0.5
    start_shift: ClassVar[float] = 0.0
    mechanisms = Mechanisms(dynamics="diagonal", soma=True, reset_condition="each", reset_action="soft")

    def __init__(self, channels: int, states: int, *, approximation: str = "none") -> None:
        super().__init__(channels, states)
        self.threshold_raw = positive(1.0, channels)
        self.leak_logit = time_constants(channels, high=16.0)
        self.predictor = Predictor(channels) if approximation == "predicted" else None

    def coefficients(self) -> dict[str, Tensor]:
        return {**super().coefficients(), **self.soma()}

    def soma(self) -> dict[str, Tensor]:
        """Return the coefficients of the soma, which follows the dynamics."""
        threshold = column(softplus(self.threshold_raw))
        return {"v_threshold": threshold, "soma_r": threshold, "leak": column(torch.sigmoid(self.leak_logit))}

    def fire(self, y: Tensor) -> Tensor:
        if self.predictor is not None:
            return surrogate.spike(self.predictor(y) - softplus(self.threshold_raw))
        return self.recur(y)

    @torch.no_grad()
    def before_reset(self, y: Tensor) -> Tensor:
        """Return the exact membrane that the threshold is compared with, in the shape of y, (batch, steps, H)."""
        p = {name: value[:, 0] for name, value in self.soma().items()}
        decay, jump = p.get("adaptation_leak", 0.0), p.get("adaptation_jump", 0.0)
        v, w, membranes = torch.zeros_like(y[:, 0]), torch.zeros_like(y[:, 0]), []
        for now, s in zip(y.unbind(1), self.recur(y).unbind(1), strict=True):
            v, w = p["leak"] * v + now, decay * w
            membranes.append(v - w)
            v, w = v - p["soma_r"] * s, w + jump * s
        return torch.stack(membranes, 1)

    def recur(self, y: Tensor) -> Tensor:
        """Return the exact spikes, even if `fire` approximates them."""
        return scan(replace(self.mechanisms, dynamics="none"), self.soma(), y, compiled=self.compiled)


class RefractoryS4D(LeakyS4D):
    """`LeakyS4D` with a refractory variable w that decays, ``w <- rho w``, and is subtracted from the membrane.

    The neuron compares ``v - w`` with the threshold. A spike adds its magnitude to w. Further parameters:
    ``refractory_logit`` and ``magnitude_raw`` (H,).
    """

    mechanisms = replace(LeakyS4D.mechanisms, adaptation=True)

    def __init__(self, channels: int, states: int, *, approximation: str = "none") -> None:
        super().__init__(channels, states, approximation=approximation)
        self.refractory_logit = time_constants(channels, high=8.0)
        self.magnitude_raw = positive(0.5, channels)

    def soma(self) -> dict[str, Tensor]:
        rho, jump = column(torch.sigmoid(self.refractory_logit)), column(softplus(self.magnitude_raw))
        return {**super().soma(), "adaptation_leak": rho, "adaptation_jump": jump}
