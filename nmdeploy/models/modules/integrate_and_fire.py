"""Integrate-and-fire neurons with one soma and at most one state before it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import softplus

from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms
from nmdeploy.models.modules.neuron import SpikingNeuron, column, positive, time_constants


class IF(SpikingNeuron):
    """Integrate-and-fire, ``v <- v + a``, with the threshold subtracted when v exceeds it.

    Parameter ``threshold_raw`` (H,).
    """

    start_scale: ClassVar[float] = 0.5
    start_spread: ClassVar[float] = 0.5
    mechanisms = Mechanisms(soma=True, reset_condition="each", reset_action="soft")

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.threshold_raw = positive(1.0, channels)

    def coefficients(self) -> Coefficients:
        threshold = column(softplus(self.threshold_raw))
        return {"v_threshold": threshold, "soma_r": threshold, "leak": torch.ones_like(threshold)}


class LIFSoft(IF):
    """Leaky `IF`, ``v <- (1 - 1/tau) v + a``.

    Parameter ``leak_logit`` (H,), with ``1 - 1/tau = sigmoid(leak_logit)``.
    """

    def __init__(self, channels: int, states: int) -> None:
        super().__init__(channels, states)
        self.leak_logit = time_constants(channels)

    def coefficients(self) -> Coefficients:
        return {**super().coefficients(), "leak": column(torch.sigmoid(self.leak_logit))}


class LIFHard(LIFSoft):
    """`LIFSoft` that sets v after a spike, to ``v_reset`` or, with `learn_reset`, to the parameter ``reset`` (H,)."""

    mechanisms = replace(IF.mechanisms, reset_action="hard")

    def __init__(self, channels: int, states: int, *, v_reset: float = 0.0, learn_reset: bool = False) -> None:
        super().__init__(channels, states)
        self.v_reset = v_reset
        self.reset = nn.Parameter(torch.full((channels,), v_reset)) if learn_reset else None

    def coefficients(self) -> Coefficients:
        p = super().coefficients()
        reset = torch.full_like(p["leak"], self.v_reset) if self.reset is None else column(self.reset)
        return {**p, "soma_r": reset}


class CubaLIF(LIFSoft):
    """Current-based LIF, ``u <- alpha u + a``, ``v <- beta v + u``, ``v <- 0`` after a spike.

    Parameter ``current_logit`` (H,).
    """

    start_scale: ClassVar[float] = 0.25
    mechanisms = replace(LIFHard.mechanisms, dynamics="real")

    def __init__(self, channels: int, states: int) -> None:
        super().__init__(channels, states)
        self.current_logit = time_constants(channels, high=16.0)

    def coefficients(self) -> Coefficients:
        p = super().coefficients()
        one = torch.ones_like(p["leak"])[..., None]
        alpha = column(torch.sigmoid(self.current_logit))
        return {**p, "a": alpha, "b": one, "c": one, "soma_r": torch.zeros_like(p["leak"])}


class ALIF(LIFSoft):
    """Adaptive LIF with threshold ``b0 + beta b``, ``b <- rho b + (1 - rho) s``.

    After a spike b0 is subtracted, or v is set to 0. The adaptation register is ``w = beta (b - (1 - rho) s / rho)``.
    It decays before the spike that it delays. Parameters (H,) besides those of `LIFSoft`: ``adaptation_logit`` for
    ``rho`` and ``strength_raw`` for ``beta``.
    """

    def __init__(self, channels: int, states: int, *, reset: str = "soft") -> None:
        super().__init__(channels, states)
        self.adaptation_logit = time_constants(channels, low=4.0)
        self.strength_raw = positive(1.0, channels)
        self.mechanisms = replace(IF.mechanisms, adaptation=True, reset_action=reset)

    def coefficients(self) -> Coefficients:
        p = super().coefficients()
        rho, beta = column(torch.sigmoid(self.adaptation_logit)), column(softplus(self.strength_raw))
        reset = p["v_threshold"] if self.mechanisms.reset_action == "soft" else torch.zeros_like(rho)
        return {**p, "soma_r": reset, "adaptation_leak": rho, "adaptation_jump": beta * (1 - rho) / rho}
