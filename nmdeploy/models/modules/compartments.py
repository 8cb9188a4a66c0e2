"""Neurons whose dynamics has few, named states: resonator, two compartments, dendritic branches."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import softplus

from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms
from nmdeploy.models.modules.neuron import SpikingNeuron, column, positive, time_constants


class ResonateAndFire(SpikingNeuron):
    """Resonate-and-fire neuron, ``z <- decay exp(2 pi i / period) z + a``.

    It spikes where Im z rises through 0 and Re z reaches the threshold. Parameters ``decay_logit``, ``log_period`` and
    ``threshold_raw``, each (H,).
    """

    start_scale: ClassVar[float] = 1.0
    mechanisms = Mechanisms(dynamics="diagonal", spike="phase")

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.decay_logit = time_constants(channels, low=4.0)
        self.log_period = nn.Parameter(torch.rand(channels) * math.log(32 / 3) + math.log(3))
        self.threshold_raw = positive(0.5, channels)

    def coefficients(self) -> Coefficients:
        decay, angle = column(torch.sigmoid(self.decay_logit)), column(2 * math.pi * torch.exp(-self.log_period))
        zero = torch.zeros_like(decay)[..., None]
        fixed = {"b_re": zero + 1, "b_im": zero, "c_re": zero + 1, "c_im": zero}
        threshold = column(softplus(self.threshold_raw))
        return {"a_re": decay * torch.cos(angle), "a_im": decay * torch.sin(angle), "v_threshold": threshold, **fixed}


class TwoCompartment(SpikingNeuron):
    """Dendrite and soma, ``d <- d + b1 u + a - g s``, ``u <- u + b2 d - V_th s``.

    The second update reads the new d; both read the s of the step before.

    The feedback is a reset at the end of the step. Both updates are linear, so the spike's feedback of the next step
    may be subtracted before A. Parameters (H,): ``soma_logit`` (b1 = -sigmoid), ``dendrite_logit`` (b2 = sigmoid),
    ``feedback`` (g), ``threshold_raw``.
    """

    start_scale: ClassVar[float] = 0.5
    mechanisms = Mechanisms(dynamics="dense", reset_condition="each", reset_action="soft")

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.soma_logit = nn.Parameter(torch.randn(channels) - 1)
        self.dendrite_logit = nn.Parameter(torch.randn(channels) - 1)
        self.feedback = nn.Parameter(torch.full((channels,), 0.5))
        self.threshold_raw = positive(1.0, channels)

    def coefficients(self) -> Coefficients:
        b1, b2 = -torch.sigmoid(self.soma_logit), torch.sigmoid(self.dendrite_logit)
        one, threshold = torch.ones_like(b1), softplus(self.threshold_raw)
        a = torch.stack([torch.stack([one, b1], -1), torch.stack([b2, 1 + b1 * b2], -1)], 1)
        r = torch.stack([self.feedback - b1 * threshold, threshold], -1)[..., None]
        b, c = torch.stack([one, b2], -1)[..., None], torch.stack([0 * one, one], -1)[:, None]
        return {"a": a, "b": b, "c": c, "r": r, "v_threshold": column(threshold)}


class DendriticLIF(SpikingNeuron):
    """Dendritic branches, each with its own synapses, into one soma with soft reset.

    ``i_d <- alpha_d i_d + (1 - alpha_d) a_d``, ``v <- beta v + (1 - beta) sum i``.
    Parameters ``branch_logit`` (H, D), ``leak_logit`` and ``threshold_raw`` (H,).
    """

    start_scale: ClassVar[float] = 1.0
    mechanisms = Mechanisms(dynamics="real", soma=True, reset_condition="each", reset_action="soft")

    def __init__(self, channels: int, states: int, *, branches: int = 4) -> None:
        super().__init__()
        self.branch_logit = time_constants(channels, branches)
        self.leak_logit = time_constants(channels, high=16.0)
        self.threshold_raw = positive(0.25, channels)

    def coefficients(self) -> Coefficients:
        alpha, beta = torch.sigmoid(self.branch_logit), column(torch.sigmoid(self.leak_logit))
        threshold = column(softplus(self.threshold_raw))
        gathers = (1 - beta)[..., None].expand(-1, 1, alpha.shape[1])
        p = {"a": alpha, "b": torch.diag_embed(1 - alpha), "c": gathers}
        return {**p, "leak": beta, "v_threshold": threshold, "soma_r": threshold}
