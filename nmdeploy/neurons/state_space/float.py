"""General spiking neuron in float, with all of its step that follows its dynamics.

`nmdeploy.neurons.state_space.integer` has the same in integers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import Emits, FloatArray, FloatState, Neuron, StepTime
from nmdeploy.neurons.described import comparison, silence, span
from nmdeploy.neurons.rounded import RoundedPopulation
from nmdeploy.neurons.state_space.dims import Dims
from nmdeploy.neurons.state_space.mechanisms import EMITS, ONE_SIDED, SIGNED, readable_membrane, require_meaning
from nmdeploy.neurons.state_space.rules import random16

Array = npt.NDArray[Any]
PER_OUTPUT = ("v_threshold", "bias", "leak", "adaptation_leak", "adaptation_jump", "soma_r", "soma_m")


@dataclass(frozen=True, eq=False, kw_only=True)
class Spiking(Dims, Neuron):
    """Float spiking population with H neurons, N states, q inputs and p outputs each.

    With synaptic sums a and states x, in this order (y, v, w, mu and s exist per output):

        x <- A x + B a                         unless held
        y = Re(C x) + D a + bias
        v <- leak v + y, or leak v + max(y, 0)  with a soma (`rectify`); mu = v, else mu = y
        w <- adaptation_leak w, mu = v - w      with adaptation
        s = spike(mu), 0 while silent
        reset of v, or of x without a soma;  w <- w + adaptation_jump s

    Parameters
    ----------
    d : (H, p, q)
        Feedthrough D.
    v_threshold, bias : (H, p)
        Threshold of mu, and bias of y.
    input_bias : (H, q)
        Bias that is added to the synaptic sums.
    soma, rectify, adaptation : bool
        True if the neuron has a soma, if the soma integrates max(y, 0), and if its threshold adapts.
    leak, adaptation_leak, adaptation_jump : (H, p)
        Factors of v and w per step, and the increase of w per spike.
    at_threshold : bool
        True if a binary spike needs no more than the threshold (>=).
    spike : {"binary", "ternary", "graded", "stochastic", "phase"}
        Spiking function. binary: H(mu - v_threshold), strict. ternary: its signed form. graded: ``graded_step *
        clip(trunc(mu / graded_step))`` beyond the threshold. stochastic: a spike with probability
        ``clip(mu / v_threshold, 0, 1)``. phase: a spike if Im rises through 0 and mu >= v_threshold.
    graded_step : float, a power of two;  graded_bits : int
        Unit of a graded value, and width of its code.
    seed : int
        Seed of stochastic spikes.
    refractory_steps : int;  refractory_mode : {"hold", "mask", "mask-raw"}
        Silent steps after a spike, and their effect.
    reset_condition : {"never", "any", "each", "magnitude", "every"};  reset_period : int
        Condition of the reset; "every" acts once per `reset_period` steps.
    reset_magnitude : (H, N), or (H, p) with a soma
        Magnitude above which condition "magnitude" resets.
    reset_action : {"none", "hard", "soft", "scale", "linear", "modulo"}
        Reset with feedback f. none: nothing. hard: set to r. soft: subtract r f. scale: m x. linear: m x - r f.
        modulo: remove whole v_thresholds (a power of two) down to the last one that the soma exceeds or meets.
    soma_r, soma_m : (H, p)
        r and m of a soma.
    """

    d: FloatArray
    v_threshold: FloatArray
    bias: FloatArray = 0.0  # type: ignore[assignment]
    input_bias: FloatArray = 0.0  # type: ignore[assignment]
    soma: bool = False
    leak: FloatArray = 0.0  # type: ignore[assignment]
    rectify: bool = False
    adaptation: bool = False
    adaptation_leak: FloatArray = 0.0  # type: ignore[assignment]
    adaptation_jump: FloatArray = 0.0  # type: ignore[assignment]
    spike: str = "binary"
    graded_step: float = 1.0
    graded_bits: int = 8
    seed: int = 0
    refractory_steps: int = 0
    refractory_mode: str = "hold"
    reset_condition: str = "never"
    reset_period: int = 1
    reset_magnitude: FloatArray = 0.0  # type: ignore[assignment]
    reset_action: str = "none"
    soma_r: FloatArray = 0.0  # type: ignore[assignment]
    soma_m: FloatArray = 0.0  # type: ignore[assignment]
    at_threshold: bool = False

    membrane_name: ClassVar[str] = "y"
    per_channel: ClassVar[bool] = True

    @property
    def emits(self) -> Emits:  # type: ignore[override]
        return EMITS[self.spike]

    def output_range(self, ranges: Mapping[str, FloatArray]) -> tuple[float, int]:
        if self.spike != "graded":
            return 1.0, 0
        return self.graded_step * ((1 << (self.graded_bits - 1)) - 1), -int(np.log2(self.graded_step))

    def _freeze_common(self) -> None:
        h, n, q, p = self.dims
        d = np.asarray(self.d)
        self._freeze("d", d.reshape(-1, 1, 1) if d.ndim == 1 else d, np.float64, (h, p, q))
        for name in PER_OUTPUT:
            value = np.asarray(getattr(self, name))
            self._freeze(name, value[:, None] if value.ndim == 1 else value, np.float64, (h, p))
        self._freeze("input_bias", self.input_bias, np.float64, (h, q))
        self._freeze("reset_magnitude", self.reset_magnitude, np.float64, (h, p if self.soma else n))
        require_meaning(self)
        for step in ([self.graded_step] if self.spike == "graded" else []) + self._thresholds_counted():
            if step <= 0 or np.exp2(np.round(np.log2(step))) != step:
                raise BadOption(f"{self.kind}: {step:g} is no power of two: rescale C and bias so that it becomes one")
        if self.at_threshold and self.spike != "binary":
            raise BadOption(f"{self.kind}: at_threshold goes with binary spikes, not {self.spike!r}: leave it out")
        if self.spike in ONE_SIDED and (self.v_threshold < 0).any():
            worst = float(self.v_threshold.min())
            raise BadOption(f"{self.kind}: v_threshold = {worst:g}: spike {self.spike!r} takes 0 or more")

    def _thresholds_counted(self) -> list[float]:
        return list(np.unique(self.v_threshold)) if self.reset_action == "modulo" else []

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        h, n, _, p = self.dims
        x, lane = np.zeros((samples, h, n), self._state_type(dtype)), np.zeros((samples, h, p), dtype)
        counter = np.zeros((samples, h, 1), np.int64)
        return {"x": x, "peak": x, "y": lane, "v": lane, "v_peak": lane, "w": lane, "refractory": counter}

    def _state_type(self, dtype: Any) -> Any:
        return dtype

    @abstractmethod
    def _update(self, x: Array, a: Array) -> Array:
        """Return ``A x + B a`` for x (samples, H, N) and a (samples, H, q)."""

    @abstractmethod
    def _output(self, x: Array, a: Array) -> Array:
        """Return y (samples, H, p)."""

    @abstractmethod
    def _reset_dynamics(self, x: Array, acts: Array, f: Array) -> Array:
        """Apply the reset action to x where `acts` (samples, H, N or 1), with feedback f (samples, H, p)."""

    def step(self, state: FloatState, a: Array, now: StepTime) -> tuple[FloatState, Array]:
        counter, before, kind = state["refractory"], state["x"], a.dtype.type
        a = a.reshape(len(a), self.size, self.inputs) + self.input_bias.astype(kind)
        silent = counter > 0 if self.refractory_steps else np.zeros_like(counter, bool)
        held = silent & (self.refractory_mode == "hold")
        peak = np.where(held, before, self._update(before, a))
        y = self._output(peak, a)
        v, w = self._inner(state, y, held, kind)
        mu = (v - w) if self.soma else y
        raw = self._spike(mu, peak, before, now).astype(kind)
        s = np.where(silent, kind(0), raw)
        emitted, raised = ((values != 0).any(-1, keepdims=True) for values in (s, raw))
        restarts = raised if self.refractory_mode == "mask-raw" else emitted
        x, reset_v = self._reset(peak, v, s, emitted, held, now)
        after = {
            "x": x,
            "peak": peak,
            "y": y,
            "v": reset_v,
            "v_peak": v,
            "w": w + self.adaptation_jump.astype(kind) * s,
            "refractory": np.where(restarts, self.refractory_steps, np.maximum(counter - 1, 0)),
        }
        s = s.reshape(len(s), self.output_size)
        return after, s if self.spike in SIGNED else s != 0

    def _inner(self, state: FloatState, y: Array, held: Array, kind: Any) -> tuple[Array, Array]:
        if not self.soma:
            return state["v"], state["w"]
        drive = np.maximum(y, 0) if self.rectify else y
        v = np.where(held, state["v"], self.leak.astype(kind) * state["v"] + drive)
        return v, np.where(held, state["w"], self.adaptation_leak.astype(kind) * state["w"])

    def _spike(self, mu: Array, x: Array, before: Array, now: StepTime) -> Array:
        threshold = self.v_threshold.astype(mu.dtype)
        if self.spike == "binary":
            above: Array = mu >= threshold if self.at_threshold else mu > threshold
            return above
        if self.spike == "phase":
            rises: Array = (mu >= threshold) & (x.imag >= 0) & (before.imag < 0)
            return rises
        if self.spike == "stochastic":
            h, _, _, p = self.dims
            drawn = random16(self.seed, np.arange(h * p).reshape(1, h, p), now.step)
            drew: Array = mu > self.v_threshold * drawn / 65536
            return drew
        beyond = np.abs(mu) > threshold
        if self.spike == "ternary":
            signs: Array = np.sign(mu) * beyond
            return signs
        limit = (1 << (self.graded_bits - 1)) - 1
        code = np.clip(np.trunc(mu / self.graded_step), -limit, limit)
        return np.where(beyond, code * self.graded_step, 0)

    def _reset(self, x: Array, v: Array, s: Array, emitted: Array, held: Array, now: StepTime) -> tuple[Array, Array]:
        if self.reset_action == "none":
            return x, v
        acts, f = self._condition(x, v, s, emitted, now)
        if self.soma:
            return x, self._reset_soma(v, acts & ~held, f)
        return self._reset_dynamics(x, acts & ~held, f), v

    def _condition(self, x: Array, v: Array, s: Array, emitted: Array, now: StepTime) -> tuple[Array, Array]:
        ones = np.ones_like(s)
        if self.reset_condition == "any":
            return emitted, emitted * ones
        if self.reset_condition == "each":
            return s != 0 if self.soma else emitted, s
        if self.reset_condition == "every":
            return np.full_like(emitted, now.step % self.reset_period == self.reset_period - 1), ones
        size = np.abs(v) if self.soma else np.maximum(np.abs(x.real), np.abs(x.imag))
        return size > self.reset_magnitude, ones

    def _reset_soma(self, v: Array, acts: Array, f: Array) -> Array:
        kind = v.dtype
        amount, factor, theta = (a.astype(kind) for a in (self.soma_r, self.soma_m, self.v_threshold))
        if self.reset_action == "modulo":
            return np.where(acts, v - theta * (np.ceil(v / theta) - 1), v)
        after = {"hard": amount, "soft": v - amount * f, "scale": factor * v, "linear": factor * v - amount * f}
        return np.where(acts, after[self.reset_action], v)

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        unit = self.unit()
        found = {"x": np.maximum(*(_largest_part(state[key] / unit) for key in ("peak", "x"))).astype(np.float64)}
        if self.soma:
            largest = np.maximum(np.abs(state["v"]), np.abs(state["v_peak"])).max(0)
            found["v"] = np.maximum(largest, np.abs(state["w"]).max(0)).astype(np.float64)
        return found

    def described(self) -> dict[str, str]:
        states = f"{self.states_per_neuron} states" if self.states_per_neuron > 1 else "1 state"
        kept = f"states keep {span(self.kept())}" + (f", membrane keeps {span(self.leak)}" if self.soma else "")
        binary = self.spike in ("binary", "phase")
        crossed = comparison(self.v_threshold, self.at_threshold or self.spike == "phase")
        return {
            "neuron": f"{self.kind} of {states}" + (" and a membrane" if self.soma else ""),
            "reset": self._described_reset() + silence(self.refractory_steps),
            "threshold": crossed if binary else f"{self.spike} spikes, {span(self.v_threshold)}",
            "decay": f"{kept} per step",
        }

    def _described_reset(self) -> str:
        words = {
            "none": "none",
            "hard": "to a value",
            "soft": "a constant is subtracted",
            "scale": "scaled",
            "linear": "a linear map",
            "modulo": "whole thresholds are subtracted",
        }
        when = {"every": f"every {self.reset_period} steps", "magnitude": "at large states"}
        return words[self.reset_action] + (
            "" if self.reset_action == "none" else f", {when.get(self.reset_condition, 'in the same step')}"
        )

    @abstractmethod
    def kept(self) -> Array:
        """Return the magnitude of A's eigenvalues: the share of each state that a step keeps, (H, N)."""

    @abstractmethod
    def grows(self) -> Array:
        """Return True for each state that grows without input, (H, N) or (H, 1)."""

    @abstractmethod
    def unit(self) -> Array:
        """Return the divisor of each state, (H, N) or (H, 1), with which its input's coefficient is at most 1."""

    @property
    def adds_bias(self) -> bool:
        return True

    def with_input_bias(self, bias: FloatArray) -> Spiking:
        return replace(self, input_bias=self.input_bias + np.reshape(bias, (self.size, self.inputs)))

    def rounded(self, quantized: Any) -> RoundedPopulation | None:
        found = super().rounded(quantized)
        return None if found is None else found._replace(threshold=self.v_threshold.max(1))

    @property
    def membrane_register(self) -> str | None:
        return readable_membrane(self)

    def membrane_before_reset(self, state: FloatState) -> FloatArray:
        return state["v_peak" if self.soma else "y"]

    def membrane(self, state: FloatState) -> FloatArray:
        y = state["y"]
        return y[..., 0] if self.outputs == 1 else y


def _largest_part(values: Array) -> Array:
    """Return the larger magnitude of real and imaginary parts, the largest over the samples."""
    found: Array = np.maximum(np.abs(values.real), np.abs(values.imag)).max(0)
    return found
