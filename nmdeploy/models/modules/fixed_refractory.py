"""S4D whose output is the membrane, with a fixed refractory period in two meanings.

Each meaning has a parallel form and a form step by step.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nmdeploy.models.catalog.fixed_refractory_ssm import MODES
from nmdeploy.models.modules import surrogate
from nmdeploy.models.modules.mechanisms import Mechanisms, Norm, initial_state, output, update
from nmdeploy.models.modules.s4d_neurons import S4DNeuron

FloatArray = npt.NDArray[np.float64]


class FixedRefractoryS4D(S4DNeuron):
    """S4D with spikes ``s = H(y - theta)`` where nothing counted in the last ``length - 1`` steps.

    With refractory ``raw`` every raw spike counts, sent or not. This is the source's convolution with [-2, ..., -2, 1].
    With ``emitted`` only sent spikes count, as in a refractory period.

    ``s = raw * prod(1 - counted)`` over the steps before, so a spike's surrogate gradient includes the spikes it
    silences. The choice of the raw spikes that were sent is taken as given.
    """

    start_shift: ClassVar[float] = -0.5

    def __init__(
        self, channels: int, states: int, *, theta: float = 0.5, length: int = 5, refractory: str = "raw"
    ) -> None:
        super().__init__(channels, states)
        self.threshold, self.length, self.refractory = theta, length, refractory
        self.mechanisms = Mechanisms(
            dynamics="diagonal", refractory_steps=length - 1, refractory_mode=MODES[refractory]
        )

    def fire(self, y: Tensor) -> Tensor:
        raw = surrogate.spike(y - self.threshold)
        counted = raw
        if self.refractory == "emitted":
            sent = sent_emitted(raw.detach() != 0, self.length)
            counted = torch.where(silence(sent, self.length), 0.0, raw)
        if self.length == 1:
            return raw
        past = torch.nn.functional.pad(counted, (0, 0, self.length - 1, 0))[:, :-1].unfold(1, self.length - 1, 1)
        return raw * (1 - past).prod(-1)

    def sequential(self, a: Tensor, norm: Norm) -> Tensor:
        m, p = self.mechanisms, self.coefficients()
        dynamics, spikes = initial_state(m, p, len(a)).dynamics, []
        past = [torch.zeros_like(a[:, 0])] * (self.length - 1)
        for now in a[..., None].unbind(1):
            dynamics = update(m, p, dynamics, now)
            y = norm(output(m, p, dynamics, now)[:, None, :, 0])[:, 0]
            s = raw = surrogate.spike(y - self.threshold)
            for counted in past:
                s = s * (1 - counted)
            silent = sum(counted.detach() for counted in past)
            past = [*past, raw if self.refractory == "raw" else torch.where(torch.as_tensor(silent > 0), 0.0, raw)][1:]
            spikes.append(s)
        return torch.stack(spikes, 1)


def silence(spikes: Tensor, length: int) -> Tensor:
    """Return a mask (batch, steps, H) that is true where any of the ``length - 1`` steps before has a spike.

    `spikes` is (batch, steps, H) bool. A running count gives all steps at once.
    """
    count = torch.nn.functional.pad(spikes.cumsum(1), (0, 0, length, 0))
    return count[:, length - 1 : -1] != count[:, :-length]


def sent_raw(raw: Tensor, length: int) -> Tensor:
    """Return the raw spikes (batch, steps, H) bool that have no raw spike in the ``length - 1`` steps before.

    That is ``raw * H(kernel conv raw)`` with ``kernel = [-2, ..., -2, 1]``.
    """
    return raw & ~silence(raw, length)


def sent_emitted(raw: Tensor, length: int) -> Tensor:
    """Return the raw spikes (batch, steps, H) bool that have no sent spike in the ``length - 1`` steps before.

    Each raw spike, if sent, names the next one sent: the first at least `length` later. Doubling this jump gives all
    sent spikes, from the first on. It takes about log2(steps / length) rounds over all steps at once.
    """
    batch, steps, h = raw.shape
    nowhere = torch.full((batch, length + 1, h), steps, device=raw.device)
    positions = torch.where(raw, torch.arange(steps, device=raw.device)[:, None], steps)
    following = torch.cat([positions, nowhere], 1).flip(1).cummin(1).values.flip(1)
    jump = torch.cat([following[:, length : length + steps], nowhere[:, :1]], 1)
    sent = torch.zeros(batch, steps + 1, h, dtype=torch.int64, device=raw.device)
    sent.scatter_(1, following[:, :1], 1)
    reach = 1
    while reach * length < steps:
        sent = sent.scatter_reduce(1, jump, sent, "amax")
        jump = jump.gather(1, jump)
        reach *= 2
    return sent[:, :steps] != 0


SENT = {"raw": sent_raw, "emitted": sent_emitted}


def sent_linear(y: npt.NDArray[Any], theta: float, length: int) -> npt.NDArray[np.bool_]:
    """Return the spikes of the source's third meaning, which is not deployed.

    They are those of y (steps, ...) plus ``m (t' - length)`` for t' <= length steps. t' counts from the last spike, and
    m is the largest y up to it. A membrane that continues to grow exceeds the threshold early.

    >>> sent_linear(np.array([.6, .7, .8, .9, 1.3, 1.4, 1.5]), 0.5, 5).nonzero()[0].tolist()
    [0, 4]
    """
    largest = np.maximum.accumulate(y, 0)
    sent = np.zeros(y.shape, bool)
    elapsed, m = np.full(y.shape[1:], length + 1), np.zeros(y.shape[1:])
    for t, now in enumerate(y):
        elapsed = elapsed + 1
        sent[t] = now + m * np.minimum(elapsed - length, 0) > theta
        elapsed, m = np.where(sent[t], 0, elapsed), np.where(sent[t], largest[t], m)
    return sent


def difference_rates(y: Tensor, theta: float, length: int) -> dict[str, float]:
    """Return the share of neuron-steps in which two of the three meanings differ, by pair, for y (batch, steps, H)."""
    raw = y > theta
    linear = sent_linear(y.movedim(1, 0).double().numpy(), theta, length)
    sent = {name: rule(raw, length) for name, rule in SENT.items()}
    sent["linear"] = torch.from_numpy(linear).movedim(0, 1)
    pairs = [("raw", "emitted"), ("raw", "linear"), ("emitted", "linear")]
    return {f"{a} {b}": float((sent[a] != sent[b]).double().mean()) for a, b in pairs}
