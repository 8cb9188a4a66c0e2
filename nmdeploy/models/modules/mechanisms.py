"""One step of a spiking state-space neuron: dynamics, membrane, spiking function, refractory period, reset.

Every model is a configuration of this step. docs/arithmetic.md defines it for integers. `Mechanisms` names the parts
that a neuron has. A mapping of coefficients holds its tensors, named as the fields of the float populations. The step
is differentiable; a spike's feedback to a reset carries the spike's surrogate gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nmdeploy.models.modules import surrogate

Coefficients = Mapping[str, Tensor]
Norm = Callable[[Tensor], Tensor]
Dynamics = tuple[Tensor, ...]


@dataclass(frozen=True)
class Mechanisms:
    """Parts of a neuron, named as in the float populations.

    Parameters
    ----------
    dynamics : {"none", "real", "diagonal", "dense"}
        Form of A: none (y is the synaptic sum), real diagonal (H, N), complex diagonal (H, N), or dense (H, N, N).
    """

    dynamics: str = "none"
    soma: bool = False
    rectify: bool = False
    adaptation: bool = False
    spike: str = "binary"
    graded_step: float = 1.0
    graded_bits: int = 8
    refractory_steps: int = 0
    refractory_mode: str = "hold"
    reset_condition: str = "never"
    reset_period: int = 1
    reset_action: str = "none"


class State(NamedTuple):
    """Registers: dynamics (batch, H, N), soma and adaptation (batch, H, p), silent steps left (batch, H, 1)."""

    dynamics: Dynamics
    v: Tensor
    w: Tensor
    silent: Tensor


class Now(NamedTuple):
    """Input of one step: synaptic sums (batch, H, q), a flag () for a due periodic reset, random bits (H, p)."""

    a: Tensor
    due: Tensor
    bits: Tensor


def initial_state(m: Mechanisms, p: Coefficients, batch: int) -> State:
    """Return registers that are all zero."""
    threshold = p["v_threshold"]
    zero = threshold.new_zeros(batch, *threshold.shape)
    states = {"none": (), "real": ("a",), "diagonal": ("a_re", "a_im"), "dense": ("a",)}[m.dynamics]
    dynamics = tuple(threshold.new_zeros(batch, *p[name].shape[:2]) for name in states)
    return State(dynamics, zero, zero, zero[..., :1])


def advance(m: Mechanisms, p: Coefficients, norm: Norm, state: State, now: Now) -> tuple[State, Tensor]:
    """Run one step, ``-> (state', s)`` with s (batch, H, p)."""
    silent = state.silent > 0
    held = silent if m.refractory_steps and m.refractory_mode == "hold" else None
    dynamics = tuple(
        _hold(held, old, new) for old, new in zip(state.dynamics, update(m, p, state.dynamics, now.a), strict=True)
    )
    y = norm(output(m, p, dynamics, now.a))
    v, w, mu = state.v, state.w, y
    if m.soma:
        v = mu = _hold(held, v, p["leak"] * v + (torch.relu(y) if m.rectify else y))
    if m.adaptation:
        w = _hold(held, w, p["adaptation_leak"] * w)
        mu = v - w
    raw = _fire(m, p, mu, dynamics, state.dynamics, now.bits)
    s, count = raw, state.silent
    if m.refractory_steps:
        s = torch.where(silent, 0.0, raw)
        restarts = raw if m.refractory_mode == "mask-raw" else s
        count = torch.where((restarts != 0).any(-1, keepdim=True), m.refractory_steps, (count - 1).clamp(min=0))
    if m.reset_action == "modulo":
        v = _modulo(v, p["v_threshold"])
    elif m.reset_action != "none":
        dynamics, v = _reset(m, p, dynamics, v, s, now.due, held)
    if m.adaptation:
        w = w + p["adaptation_jump"] * s
    return State(dynamics, v, w, count), s


def _hold(held: Tensor | None, old: Tensor, new: Tensor) -> Tensor:
    return new if held is None else torch.where(held, old, new)


def update(m: Mechanisms, p: Coefficients, x: Dynamics, a: Tensor) -> Dynamics:
    """Return ``A x + B a``."""
    if m.dynamics == "none":
        return ()
    if m.dynamics == "diagonal":
        re, im = x
        return (
            p["a_re"] * re - p["a_im"] * im + _apply(p["b_re"], a),
            p["a_im"] * re + p["a_re"] * im + _apply(p["b_im"], a),
        )
    moved = p["a"] * x[0] if m.dynamics == "real" else _apply(p["a"], x[0])
    return (moved + _apply(p["b"], a),)


def output(m: Mechanisms, p: Coefficients, x: Dynamics, a: Tensor) -> Tensor:
    """Return ``Re(C x) + D a``, (batch, H, p)."""
    if m.dynamics == "none":
        return a
    diagonal = m.dynamics == "diagonal"
    y = _apply(p["c_re"], x[0]) - _apply(p["c_im"], x[1]) if diagonal else _apply(p["c"], x[0])
    return y + _apply(p["d"], a) if "d" in p else y


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply each neuron's matrix (H, rows, columns) by its vector (batch, H, columns)."""
    if matrix.shape[-1] == 1:
        return matrix[..., 0] * x
    return (x.transpose(0, 1) @ matrix.mT).transpose(0, 1)


def _fire(m: Mechanisms, p: Coefficients, mu: Tensor, x: Dynamics, before: Dynamics, bits: Tensor) -> Tensor:
    threshold = p["v_threshold"]
    if m.spike == "binary":
        return surrogate.spike(mu - threshold)
    if m.spike == "ternary":
        return surrogate.ternary(mu, threshold)
    if m.spike == "graded":
        return surrogate.graded(mu, threshold, m.graded_step, m.graded_bits)
    if m.spike == "stochastic":
        return surrogate.stochastic(mu, threshold, bits)
    return surrogate.phase(mu, x[1], before[1], threshold)


def _modulo(v: Tensor, threshold: Tensor) -> Tensor:
    # The amount removed is piecewise constant, so it has no gradient. Nor has it one in the parallel form.
    whole = (torch.ceil(v / threshold) - 1).clamp(min=0)
    return v - (whole * threshold).detach()


def _reset(
    m: Mechanisms, p: Coefficients, x: Dynamics, v: Tensor, s: Tensor, due: Tensor, held: Tensor | None
) -> tuple[Dynamics, Tensor]:
    fired = s.abs() if m.spike != "graded" else surrogate.straight_through((s != 0).to(s.dtype), s.abs())
    registers = (v,) if m.soma else x
    acts = _condition(m, p, registers, fired, due)
    acts = acts if held is None else acts * ~held
    feedback = s if m.reset_condition == "each" else None
    if m.soma:
        return x, _act(m, p, registers, acts, feedback)[0]
    return _act(m, p, registers, acts, feedback), v


def _condition(m: Mechanisms, p: Coefficients, registers: Dynamics, fired: Tensor, due: Tensor) -> Tensor:
    """Return 1 where the reset acts, else 0: (batch, H, 1), (batch, H, p) or (batch, H, N)."""
    if m.reset_condition == "every":
        return due.to(fired.dtype).expand(fired.shape[0], fired.shape[1], 1)
    if m.reset_condition == "magnitude":
        allowed = due.new_ones(()).to(fired.dtype)
        for x in registers:
            allowed = allowed * (1 - surrogate.spike(x.abs() - p["reset_magnitude"]))
        return 1 - allowed
    if m.soma and m.reset_condition == "each":
        return fired
    return 1 - (1 - fired).prod(-1, keepdim=True)


def _act(m: Mechanisms, p: Coefficients, x: Dynamics, acts: Tensor, feedback: Tensor | None) -> Dynamics:
    """Apply the reset action to the dynamics, or to the soma as if it were dynamics."""
    suffixes = ("_re", "_im") if m.dynamics == "diagonal" and not m.soma else ("",)
    prefix = "soma_" if m.soma else ""
    changed = _scale_states(m, p, x) if m.reset_action in ("scale", "linear") else x
    if m.reset_action == "scale":
        return tuple(old * (1 - acts) + new * acts for old, new in zip(x, changed, strict=True))
    r = [p[f"{prefix}r{suffix}"] for suffix in suffixes]
    if m.reset_action == "hard":
        targets = r if m.soma else [each[..., 0] for each in r]
        return tuple(old * (1 - acts) + target * acts for old, target in zip(x, targets, strict=True))
    back = [_feedback(m, each, acts, feedback) for each in r]
    kept = x if m.reset_action == "soft" else [o * (1 - acts) + n * acts for o, n in zip(x, changed, strict=True)]
    return tuple(old - amount for old, amount in zip(kept, back, strict=True))


def _feedback(m: Mechanisms, r: Tensor, acts: Tensor, feedback: Tensor | None) -> Tensor:
    if m.soma:
        return r * (acts if feedback is None else feedback)
    return r.sum(-1) * acts if feedback is None else _apply(r, feedback)


def _scale_states(m: Mechanisms, p: Coefficients, x: Dynamics) -> Dynamics:
    if m.soma:
        return (p["soma_m"] * x[0],)
    if m.dynamics == "diagonal":
        re, im = x
        if m.reset_action == "scale":
            return p["m_re"] * re, p["m_re"] * im
        return p["m_re"] * re - p["m_im"] * im, p["m_im"] * re + p["m_re"] * im
    if m.reset_action == "scale":
        return (torch.diagonal(p["m"], dim1=-2, dim2=-1) * x[0],)
    return (_apply(p["m"], x[0]),)
