"""Spiking population of a leaky integrate-and-fire neuron, by its rule of reset.

With synaptic sum a, threshold th and s[t] = H(v[t] - th), every rule shares the membrane before its reset:

    u[t] = alpha u[t-1] + a[t]
    v[t] = beta w[t-1] + u[t] + bias

and they differ in what stays of it, w:

    zero               w[t] = v_reset where s[t], else v[t]
    zero-delayed       as zero, and v[t+1] = 0: the step after a spike adds nothing to the membrane
    subtract           w[t] = v[t] - th s[t]
    subtract-delayed   w[t] = v[t], and v[t+1] = beta v[t] + u[t+1] + bias - th s[t]
    none               w[t] = v[t]

A delayed subtraction is one of ``th / beta`` in the same step. Where beta is under 1/16, the state would need many more
bits for it; where exact ties matter, ``th / beta`` may be no float. Then a further state holds ``-th s[t]`` for one
step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace

BETA_MIN = 1 / 16


@dataclass(frozen=True)
class Membrane:
    """Current and membrane of H neurons before a reset is chosen, with ``at_threshold`` if they fire at >=.

    Parameters
    ----------
    alpha, beta : (H,)
        Factors of current and membrane per step; alpha = 0 is a neuron without a current.
    v_threshold, bias : (H,)
        Threshold and constant input of the membrane.
    v_reset : (H,) or 0
        Value that rule ``zero`` sets.
    """

    alpha: FloatArray
    beta: FloatArray
    v_threshold: FloatArray
    bias: FloatArray
    at_threshold: bool = False
    v_reset: FloatArray | float = 0.0


def with_reset(name: str, rule: str, m: Membrane, exact: bool = False) -> Neuron:
    """Return the population of a membrane with one of `nmdeploy.network.read_options.RESETS`.

    `exact` keeps the exact ties of a delayed subtraction.
    """
    return _latched(name, m) if exact and rule == "subtract-delayed" else MAKE[rule](name, m)


def _hard(m: Membrane, silent_steps: int) -> Neuron:
    if np.any(m.v_reset):
        if silent_steps:
            raise UnsupportedParameter("reset 'zero-delayed' to a value other than 0: give --reset zero")
        return _states(m, m.v_reset * np.ones_like(m.beta), "hard")
    return LIF(
        alpha=m.alpha,
        beta=m.beta,
        v_threshold=m.v_threshold,
        bias=m.bias,
        refractory_steps=silent_steps,
        at_threshold=m.at_threshold,
    )


def _states(m: Membrane, amount: FloatArray | None, action: str = "soft") -> DenseStateSpace:
    """Return the membrane as a state, or as a soma if a current precedes it; a spike subtracts or sets `amount`."""
    reset: dict[str, Any] = {} if amount is None else {"reset_condition": "each", "reset_action": action}
    one, amount = np.ones_like(m.beta)[:, None], np.zeros_like(m.beta) if amount is None else amount
    common: dict[str, Any] = {
        "b": one,
        "c": one,
        "d": 0 * one[:, 0],
        "v_threshold": m.v_threshold,
        "at_threshold": m.at_threshold,
    }
    if not m.alpha.any():
        return DenseStateSpace(
            **common, **reset, a=m.beta[:, None, None], r=amount[:, None], input_bias=m.bias[:, None]
        )
    soma: dict[str, Any] = {"soma": True, "leak": m.beta, "bias": m.bias, "soma_r": amount}
    return DenseStateSpace(**common, **reset, **soma, a=m.alpha[:, None, None])


def _latched(name: str, m: Membrane) -> DenseStateSpace:
    """Return states (u, v, k), where k holds ``-th s`` for one step; u is left out without a current."""
    n = 3 if m.alpha.any() else 2
    if n == 3 and m.bias.any():
        raise UnsupportedParameter(
            f"node {name!r}: reset 'subtract-delayed' with a current, a leak potential and a membrane that keeps "
            f"{m.beta.min():g} per step, under {BETA_MIN:g}, is not supported: set v_leak = 0, or give --reset subtract"
        )
    h = m.beta.size
    a, b, c, r = np.zeros((h, n, n)), np.zeros((h, n)), np.zeros((h, n)), np.zeros((h, n))
    a[:, -2, -2], a[:, -2, -1] = m.beta, 1
    b[:, -2], c[:, -2], r[:, -1] = 1, 1, m.v_threshold
    if n == 3:
        a[:, 0, 0], a[:, 1, 0], b[:, 0] = m.alpha, m.alpha, 1
    return DenseStateSpace(
        a=a,
        b=b,
        c=c,
        d=np.zeros(h),
        v_threshold=m.v_threshold,
        input_bias=m.bias[:, None],
        reset_condition="each",
        reset_action="soft",
        r=r,
        at_threshold=m.at_threshold,
    )


def _delayed(name: str, m: Membrane) -> DenseStateSpace:
    return _latched(name, m) if (m.beta < BETA_MIN).any() else _states(m, m.v_threshold / m.beta)


MAKE: dict[str, Callable[[str, Membrane], Neuron]] = {
    "zero": lambda name, m: _hard(m, 0),
    "zero-delayed": lambda name, m: _hard(m, 1),
    "subtract": lambda name, m: _states(m, m.v_threshold),
    "subtract-delayed": _delayed,
    "none": lambda name, m: _states(m, None),
}
