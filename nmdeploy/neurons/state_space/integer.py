"""The step that integer state-space populations share: all that follows the memory. docs/arithmetic.md."""

from __future__ import annotations

import functools
import operator
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.neurons.base import Moment, Registers
from nmdeploy.neurons.state_space.integer_fields import QuantizedSpikingFields
from nmdeploy.neurons.state_space.mechanisms import SIGNED
from nmdeploy.neurons.state_space.random_bits import random16
from nmdeploy.neurons.state_space.rules import (
    SPIKE,
    Firing,
    Fractions,
    Rounding,
    adapt,
    count_down,
    jump,
    keep,
    reset_hard,
    reset_modulo,
    scaled,
    soma,
)

Lanes = tuple[Any, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedSpiking(QuantizedSpikingFields):
    """An integer spiking population: `remember` and `reset_memory` are its memory's, the rest of the step is here."""

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        h, n, _, p = self.dims
        block, lane = np.zeros((samples, h, n), dtype), np.zeros((samples, h, p), dtype)
        return tuple(block for _ in self.blocks), (
            np.zeros((samples, h, 1), dtype),
            *[lane] * (len(self.registers) - 1),
        )

    @abstractmethod
    def remember(self, block: Lanes, a: Any, held: Any) -> tuple[Lanes, Any, list[Any]]:
        """The memory's step: block (samples, H, N) each, a (samples, H, q) -> block', y (samples, H, p), flags."""

    @abstractmethod
    def reset_memory(self, block: Lanes, acts: Any, f: Any) -> tuple[Lanes, list[Any]]:
        """The reset action on the memory, where `acts` (samples, H, N or 1), with feedback f (samples, H, p)."""

    def advance(self, registers: Registers, a: Any, now: Moment) -> tuple[Registers, Any, list[Any]]:
        before, (counter, _, *inner) = registers
        a = a.reshape(len(a), self.size, self.inputs) + self.input_bias
        silent = counter != 0
        held = silent & (self.refractory_mode == "hold")
        block, y, flags = self.remember(before, a, held)
        mu, inner, risen = self._membrane(y, inner, held)
        raw = SPIKE[self.spike](mu, self._firing(block, before, now))
        s = np.where(silent, 0, raw)
        emitted, raised = ((values != 0).any(-1, keepdims=True) for values in (s, raw))
        counter = count_down(counter, raised if self.refractory_mode == "mask-raw" else emitted, self.refractory_steps)
        block, inner, fallen = self._reset(block, inner, s, emitted, held, now)
        s = s.reshape(len(a), self.output_size)
        return (block, (counter, y, *inner)), s if self.spike in SIGNED else s != 0, [*flags, *risen, *fallen]

    def _membrane(self, y: Any, inner: list[Any], held: Any) -> tuple[Any, list[Any], list[Any]]:
        if not self.soma:
            return y, [], []
        v, clipped = soma(inner[0], y, held, self.leak, self.rectify, self.limit)
        if not self.adaptation:
            return v, [v], [clipped]
        w = adapt(inner[1], held, self.adaptation_leak)
        return v - w, [v, w], [clipped]

    def _firing(self, block: Lanes, before: Lanes, now: Moment) -> Firing:
        h, _, _, p = self.dims
        drawn = random16(self.seed, np.arange(h * p).reshape(1, h, p), now.step) if self.spike == "stochastic" else 0
        return Firing(self.vth, self.graded_shift, self.output_max, drawn, block[-1], before[-1])

    def _reset(
        self, block: Lanes, inner: list[Any], s: Any, emitted: Any, held: Any, now: Moment
    ) -> tuple[Lanes, list[Any], list[Any]]:
        raised: list[Any] = []
        if self.reset_action != "none":
            acts, f = self._condition(block, inner, s, emitted, now)
            if self.soma:
                inner[0], raised = self._reset_soma(inner[0], acts & ~held, f)
            else:
                block, raised = self.reset_memory(block, acts & ~held, f)
        if self.adaptation:
            inner[1], clipped = jump(inner[1], s, self.adaptation_jump, self.limit)
            raised = [clipped, *raised]
        return block, inner, raised

    def _condition(self, block: Lanes, inner: list[Any], s: Any, emitted: Any, now: Moment) -> tuple[Any, Any]:
        """Where the reset acts, and the feedback f."""
        if self.reset_condition == "any":
            return emitted, emitted * np.ones_like(s)
        if self.reset_condition == "each":
            return s != 0 if self.soma else emitted, s
        ones = np.ones_like(s)
        if self.reset_condition == "every":
            return np.full_like(emitted, now.step % self.reset_period == self.reset_period - 1), ones
        sizes = [np.abs(x) > self.reset_magnitude for x in (inner[:1] if self.soma else block)]
        return functools.reduce(operator.or_, sizes), ones

    def _reset_soma(self, v: Any, acts: Any, f: Any) -> tuple[Any, list[Any]]:
        if self.reset_action == "hard":
            return reset_hard(v, acts, self.soma_r), []
        if self.reset_action == "modulo":
            return reset_modulo(v, acts, self.modulo_exp), []
        kept = v if self.reset_action == "soft" else scaled(self.soma_m, v)
        given = 0 if self.reset_action == "scale" else self.soma_r * f
        v, clipped = keep(~acts, v, kept - given, self.limit)
        return v, [clipped]

    def settled(self, old: Any, new: Any, acts: Any) -> tuple[Any, Any]:
        """A state after a saturating reset, where it `acts`."""
        return keep(~acts, old, new, self.limit)

    def recorded_states(self, registers: Registers) -> dict[str, Any]:
        block, z = registers
        everything = dict(zip(self.blocks, block, strict=True)) | dict(zip(self.registers, z, strict=True))
        flat = self.registers if self.outputs == 1 else ()
        return {name: everything[name][..., 0] if name in flat else everything[name] for name in self.recorded}


def summed(lanes: Any) -> Any:
    """The sum over the last axis; NumPy's own is slow where that axis is short."""
    if lanes.shape[-1] > 4:
        return lanes.sum(-1)
    return functools.reduce(operator.add, [lanes[..., index] for index in range(lanes.shape[-1])])


def entered(rule: Rounding, f: Fractions, b: Any, a: Any) -> Any:
    """``sum over j of b[j] a[j]`` under a rounding rule: b (H, N, q), a (samples, H, q) -> (samples, H, N)."""
    return summed(rule.enter(b, a[:, :, None, :], f))


def passed(rule: Rounding, f: Fractions, d: Any, a: Any) -> Any:
    """``sum over j of d[k, j] a[j]``: d (H, p, q), a (samples, H, q) -> (samples, H, p)."""
    return summed(rule.through(d, a[:, :, None, :], f))


def fed_back(r: Any, f: Any) -> Any:
    """``sum over k of r[n, k] f[k]``: r (H, N, p), f (samples, H, p) -> (samples, H, N)."""
    return summed(r * f[:, :, None, :])
