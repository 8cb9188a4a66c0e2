"""Neuron layers of frameworks in one form, and the populations that compute the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers import resets
from nmdeploy.importers.modules.affine import Affine
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.integrator import Integrator


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
        return full(getattr(self, name), self.size)


def full(values: Any, size: int) -> FloatArray:
    """Return a number, or numbers of any shape, as (size,)."""
    return np.broadcast_to(np.asarray(values, np.float64).ravel(), (size,)).copy()


def membrane(name: str, m: Membrane, reset: str, exact: bool = False) -> Neuron:
    """Return the population of a membrane with a reset; `exact` keeps exact ties of a delayed subtraction."""
    th = m.array("v_threshold")
    if (th < 0).any():
        raise UnsupportedParameter(f"layer {name!r}: threshold {th.min():g} is negative: retrain it with 0 or more")
    held = resets.Membrane(m.array("alpha"), m.array("beta"), th, m.array("bias"), m.at_threshold, m.array("v_reset"))
    return resets.with_reset(name, reset, held, exact)


def readout(size: int, beta: Any, bias: Any = 0.0) -> Integrator:
    """Return a membrane without spikes."""
    return Integrator(full(beta, size), full(bias, size))


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
