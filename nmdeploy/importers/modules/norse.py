"""Layers of Norse 1.1, cells and layers over all steps, with explicit Euler and step dt.

    LIF      i <- i + I,  v <- v + dt/tau_mem (v_leak - v + i),  z = H(v - v_th),  v <- v_reset where z,
             i <- i - dt/tau_syn i: the current enters the membrane before it decays
    LIFBox   the same without i: v <- v + dt/tau_mem (I + v_leak - v); the reset is `reset_method`
    IAF      v <- v + I
    LI, LIBox   as LIF and LIFBox, without spikes

A recurrent layer adds weights times its spikes of the step before. Membranes begin at v_leak (IAF: v_reset), which is
the zero of the membranes here. Source: norse 1.1, ``norse/torch/functional`` and ``norse/torch/module``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute, class_in
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.modules.affine import Affine, numbers
from nmdeploy.importers.modules.neurons import Layer, Membrane, membrane, readout, span, spiking_facts
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.filtered_integrator import FilteredIntegrator

TITLE = "Norse"
PACKAGE = "norse"
DT = 1e-3
STEPS_AXIS = 0
STATELESS: dict[str, Callable[[Any], Affine | None]] = {}
CONTAINERS = ("SequentialState", "Lift", "RecurrentSequential", "RegularizationCell")
RESETS = {"reset_value": "zero", "reset_subtract": "subtract"}


def is_neuron(leaf: Any) -> bool:
    """Return True for a neuron of Norse."""
    return class_in(leaf, "norse.torch.module") not in (None, *CONTAINERS)


def takes_sequence(leaf: Any) -> bool:
    """Return True if one call of the layer runs all steps: the layers that are no cells."""
    return not _kind(leaf).endswith("Cell")


def forget(leaf: Any) -> None:
    """Do nothing: Norse keeps no states in its layers."""


def read(name: str, leaf: Any, size: int, exact: bool = False) -> Layer:
    """Return what a layer computes."""
    kind = _kind(leaf)
    family = kind.removesuffix("Cell").removesuffix("Recurrent").removesuffix("Linear")
    if family not in READ:
        raise UnsupportedParameter(
            f"layer {name!r}: {kind} of Norse cannot be deployed, only {', '.join(READ)}, their cells and recurrent "
            "forms: replace it, or describe the network with NetworkBuilder"
        )
    if attribute(leaf.p, "method") in ("logistic", "circ_dist"):
        raise UnsupportedParameter(f"layer {name!r}: method {leaf.p.method!r} spikes at random: choose 'super'")
    return READ[family](name, leaf, size)


def _kind(leaf: Any) -> str:
    return class_in(leaf, "norse.torch.module") or type(leaf).__name__


def _gain(leaf: Any, rate: str) -> FloatArray:
    """Return dt times an inverse time constant, as Norse rounds it."""
    return numbers(leaf.dt * getattr(leaf.p, rate))


def _weights(leaf: Any, which: str) -> Affine | None:
    weights = attribute(leaf, which)
    return None if weights is None else Affine(numbers(weights))


def _spiking(name: str, leaf: Any, m: Membrane, gain: Any, reset: str = "zero") -> Layer:
    return Layer(
        membrane(name, m, reset),
        gain=gain,
        input=_weights(leaf, "input_weights"),
        recurrent=_weights(leaf, "recurrent_weights"),
        facts=spiking_facts(_kind(leaf), m, reset) | {"dt": f"{float(attribute(leaf, 'dt', 0)):g} s"},
    )


def _lif(name: str, leaf: Any, size: int) -> Layer:
    p, onto = leaf.p, _gain(leaf, "tau_mem_inv")
    start = numbers(p.v_leak)
    m = Membrane(
        size,
        1 - onto,
        numbers(p.v_th) - start,
        alpha=1 - _gain(leaf, "tau_syn_inv"),
        v_reset=numbers(p.v_reset) - start,
    )
    return _spiking(name, leaf, m, onto)


def _lif_box(name: str, leaf: Any, size: int) -> Layer:
    p, onto = leaf.p, _gain(leaf, "tau_mem_inv")
    rule = attribute(p.reset_method, "__name__", "")
    if rule not in RESETS:
        raise UnsupportedParameter(f"layer {name!r}: reset_method {rule!r}: only {', '.join(RESETS)} can be deployed")
    start = numbers(p.v_leak)
    if rule == "reset_subtract" and start.any():
        raise UnsupportedParameter(f"layer {name!r}: v_leak = {span(start)} with reset_subtract: train it with 0")
    m = Membrane(size, 1 - onto, numbers(p.v_th) - start, v_reset=numbers(p.v_reset) - start)
    return _spiking(name, leaf, m, onto, RESETS[rule])


def _iaf(name: str, leaf: Any, size: int) -> Layer:
    start = numbers(leaf.p.v_reset)
    return _spiking(name, leaf, Membrane(size, 1.0, numbers(leaf.p.v_th) - start), 1.0)


def _li(name: str, leaf: Any, size: int) -> Layer:
    onto, alpha = _gain(leaf, "tau_mem_inv"), 1 - _gain(leaf, "tau_syn_inv")
    _require_zero_leak(name, leaf)
    own, beta = _weights(leaf, "input_weights"), 1 - onto
    facts = {"neuron": _kind(leaf), "decay": f"current keeps {span(alpha)}, membrane keeps {span(beta)} per step"}
    if not np.any(alpha):
        return Layer(readout(size, beta), gain=onto, input=own, facts=facts)
    one = np.ones(size)
    return Layer(FilteredIntegrator(alpha * one, beta * one), gain=onto, input=own, facts=facts)


def _li_box(name: str, leaf: Any, size: int) -> Layer:
    _require_zero_leak(name, leaf)
    onto = _gain(leaf, "tau_mem_inv")
    facts = {"neuron": _kind(leaf), "decay": f"membrane keeps {span(1 - onto)} per step"}
    return Layer(readout(size, 1 - onto), gain=onto, facts=facts)


def _require_zero_leak(name: str, leaf: Any) -> None:
    start = numbers(leaf.p.v_leak)
    if start.any():
        raise UnsupportedParameter(f"layer {name!r}: v_leak = {span(start)} of a readout: train it with 0")


READ: dict[str, Callable[[str, Any, int], Layer]] = {
    "LIF": _lif,
    "LIFBox": _lif_box,
    "IAF": _iaf,
    "LI": _li,
    "LIBox": _li_box,
}
