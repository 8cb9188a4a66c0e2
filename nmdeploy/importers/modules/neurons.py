"""Neurons of frameworks in one form, and the populations that compute the same.

With synaptic sum a, threshold th and s[t] = H(v[t] - th), every reset shares the membrane before it:

    u[t] = alpha u[t-1] + a[t]
    v[t] = beta w[t-1] + u[t] + bias

They differ in what remains of it, w:

    zero               w[t] = v_reset where s[t], else v[t]
    zero-delayed       as zero, and v[t+1] = 0: the step after a spike adds nothing to the membrane
    subtract           w[t] = v[t] - th s[t]
    subtract-delayed   w[t] = v[t], and v[t+1] = beta v[t] + u[t+1] + bias - th s[t]
    none               w[t] = v[t]

A delayed subtraction is one of ``th / beta`` in the same step. Where beta is under 1/16, the state would need many more
bits; where exact ties matter, ``th / beta`` may be no float: then a further state holds ``th s[t]`` for one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.modules.affine import Affine
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace

BETA_MIN = 1 / 16


@dataclass(frozen=True)
class Layer:
    """A neuron layer of a framework.

    Parameters
    ----------
    neuron : Neuron
    gain : float or (H,) array
        Factor on the synaptic sums.
    input : Affine, optional
        Weights that the layer itself applies to its input.
    recurrent : Affine, optional
        Weights from its outputs of the step before.
    output_gain : float or (H,) array
        Factor on its spikes.
    subtracts_later : bool
        True if its reset may be written in two forms, which differ in exact ties (`membrane`).
    facts : mapping of str to str
        Its reset, comparison and decays, in words.
    hint : str
        Remedy if its spikes differ; empty without a known one.
    """

    neuron: Neuron
    gain: Any = 1.0
    input: Affine | None = None
    recurrent: Affine | None = None
    output_gain: Any = 1.0
    subtracts_later: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    hint: str = ""


@dataclass(frozen=True)
class Membrane:
    """Current and membrane of H neurons; ``alpha = 0`` is a neuron without a current, ``at_threshold`` fires at >=."""

    size: int
    beta: Any
    v_threshold: Any
    alpha: Any = 0.0
    bias: Any = 0.0
    v_reset: Any = 0.0
    at_threshold: bool = False

    def array(self, name: str) -> FloatArray:
        """Return a parameter as (H,)."""
        return np.broadcast_to(np.asarray(getattr(self, name), np.float64).ravel(), (self.size,)).copy()


def membrane(name: str, m: Membrane, reset: str, exact: bool = False) -> Neuron:
    """Return the population of a membrane with a reset; `exact` keeps exact ties of a delayed subtraction."""
    th = m.array("v_threshold")
    if (th < 0).any():
        raise UnsupportedParameter(f"layer {name!r}: threshold {th.min():g} is negative: retrain it with 0 or more")
    if reset in ("zero", "zero-delayed") and not m.array("v_reset").any():
        silent = int(reset == "zero-delayed")
        decays = m.array("alpha"), m.array("beta")
        return LIF(*decays, th, m.array("bias"), refractory_steps=silent, at_threshold=m.at_threshold)
    if reset == "zero":
        return _states(m, "hard", m.array("v_reset"))
    if reset == "none":
        return _states(m, None, th)
    if reset == "subtract":
        return _states(m, "soft", th)
    if exact or (m.array("beta") < BETA_MIN).any():
        return _held_one_step(m, th)
    return _states(m, "soft", th / m.array("beta"))


def _states(m: Membrane, action: str | None, amount: FloatArray) -> DenseStateSpace:
    """Return the membrane as a state, or as a soma if a current precedes it."""
    one, alpha, beta, bias = np.ones(m.size), m.array("alpha"), m.array("beta"), m.array("bias")
    reset = {} if action is None else {"reset_condition": "each", "reset_action": action}
    crossing = {"v_threshold": m.array("v_threshold"), "at_threshold": m.at_threshold}
    common: dict[str, Any] = {"b": one[:, None], "c": one[:, None], "d": 0 * one, **crossing, **reset}
    if not alpha.any():
        return DenseStateSpace(**common, a=beta[:, None, None], r=amount[:, None], input_bias=bias[:, None])
    return DenseStateSpace(**common, a=alpha[:, None, None], soma=True, leak=beta, bias=bias, soma_r=amount)


def _held_one_step(m: Membrane, th: FloatArray) -> DenseStateSpace:
    """Return the states (current,) membrane and held threshold: ``v <- beta v - h + ..., h <- th s``."""
    with_current = bool(m.array("alpha").any())
    n, v, h = (3, 1, 2) if with_current else (2, 0, 1)
    a, b, c, r = (np.zeros((m.size, *shape)) for shape in ((n, n), (n,), (n,), (n,)))
    a[:, v, v], a[:, v, h] = m.array("beta"), -1.0
    if with_current:
        a[:, 0, 0] = a[:, v, 0] = m.array("alpha")
        b[:, 0] = 1.0
    b[:, v], c[:, v], r[:, h] = 1.0, 1.0, -th
    reset: dict[str, Any] = {"reset_condition": "each", "reset_action": "soft", "r": r}
    if m.array("bias").any():
        raise UnsupportedParameter("a delayed reset with a bias of the membrane: add the bias to the synapses")
    crossing: dict[str, Any] = {"v_threshold": th, "at_threshold": m.at_threshold}
    return DenseStateSpace(a=a, b=b, c=c, d=np.zeros(m.size), **crossing, **reset)


def readout(size: int, beta: Any, bias: Any = 0.0) -> Integrator:
    """Return a membrane without spikes."""
    full = [np.broadcast_to(np.asarray(value, np.float64).ravel(), (size,)).copy() for value in (beta, bias)]
    return Integrator(*full)


def span(values: Any) -> str:
    """Return the smallest and the largest value, or the one that all share."""
    low, high = f"{np.min(values):.6g}", f"{np.max(values):.6g}"
    return low if low == high else f"{low} to {high}"


RESET_WORDS = {
    "zero": "to 0 in the same step",
    "zero-delayed": "to 0 in the same step, then one silent step",
    "subtract": "the threshold is subtracted in the same step",
    "subtract-delayed": "the threshold is subtracted in the next step",
    "none": "none",
}


def spiking_facts(kind: str, m: Membrane, reset: str) -> dict[str, str]:
    """Return how a spiking layer was read, in words."""
    current = f"current keeps {span(m.alpha)}, " if np.any(m.alpha) else ""
    compared = f"at {span(m.v_threshold)} or more (>=)" if m.at_threshold else f"over {span(m.v_threshold)} (>)"
    words = RESET_WORDS[reset]
    if reset == "zero" and np.any(m.v_reset):
        words = f"to {span(m.v_reset)} in the same step"
    return {
        "neuron": kind,
        "reset": words,
        "threshold": f"spikes {compared}",
        "decay": f"{current}membrane keeps {span(m.beta)} per step",
    }
