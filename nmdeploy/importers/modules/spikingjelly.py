"""Layers of spikingjelly 2, in step modes ``s`` and ``m``.

With v_0 = v_reset, or 0 with a soft reset (``v_reset=None``):

    IF      v <- v + I
    LIF     v <- v + (I - (v - v_0)) / tau, or v <- v - (v - v_0) / tau + I with ``decay_input=False``
    ParametricLIF   LIF with 1 / tau = sigmoid(w)
    CUBA    c <- c_decay c + I,  v <- v_decay v + c

``s = H(v - v_threshold)``, which fires at equality; then v <- v_reset, or v <- v - v_threshold s. Membranes begin at
v_0, which is the zero of the membranes here. Source: spikingjelly 2.0, ``activation_based/functional/neuron.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute, class_in
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.modules.affine import Affine, numbers
from nmdeploy.importers.modules.neurons import Layer, Membrane, membrane, spiking_facts
from nmdeploy.neurons.base import FloatArray

TITLE = "spikingjelly"
PACKAGE = "spikingjelly"
DT = 1e-3
STEPS_AXIS = 0
NEURONS = "spikingjelly.activation_based.neuron"


def is_neuron(leaf: Any) -> bool:
    """Return True for a neuron of spikingjelly."""
    return class_in(leaf, NEURONS) is not None


def takes_sequence(leaf: Any) -> bool:
    """Return True if one call of the layer runs all steps."""
    return bool(attribute(leaf, "step_mode", "m") == "m")


def forget(leaf: Any) -> None:
    """Set the states to their start."""
    reset = attribute(leaf, "reset")
    if reset is not None:
        reset()


def read(name: str, leaf: Any, size: int, exact: bool = False) -> Layer:
    """Return what a layer computes."""
    kind = class_in(leaf, NEURONS) or ""
    if kind not in READ:
        raise UnsupportedParameter(
            f"layer {name!r}: {kind} of spikingjelly cannot be deployed, only {', '.join(READ)}: replace it, or "
            "describe the network with NetworkBuilder"
        )
    if attribute(leaf.surrogate_function, "spiking", True) is False:
        raise UnsupportedParameter(f"layer {name!r}: its surrogate function sends no spikes: set spiking=True")
    m, gain = READ[kind](leaf, size)
    reset = "subtract" if leaf.v_reset is None else "zero"
    return Layer(membrane(name, m, reset), gain=gain, facts=spiking_facts(kind, m, reset))


def _membrane(leaf: Any, size: int, beta: Any, **more: Any) -> Membrane:
    return Membrane(size, beta, float(leaf.v_threshold) - _start(leaf), at_threshold=True, **more)


def _start(leaf: Any) -> float:
    return 0.0 if leaf.v_reset is None else float(leaf.v_reset)


def _if(leaf: Any, size: int) -> tuple[Membrane, Any]:
    return _membrane(leaf, size, 1.0), 1.0


def _lif(leaf: Any, size: int) -> tuple[Membrane, Any]:
    return _leaky(leaf, size, np.asarray(1.0 / leaf.tau))


def _parametric(leaf: Any, size: int) -> tuple[Membrane, Any]:
    return _leaky(leaf, size, numbers(leaf.w.detach().double().sigmoid()))


def _leaky(leaf: Any, size: int, rate: FloatArray) -> tuple[Membrane, Any]:
    return _membrane(leaf, size, 1 - rate), rate if leaf.decay_input else 1.0


def _cuba(leaf: Any, size: int) -> tuple[Membrane, Any]:
    rest = _start(leaf) * (leaf.v_decay - 1)
    return _membrane(leaf, size, leaf.v_decay, alpha=leaf.c_decay, bias=rest), 1.0


READ: dict[str, Callable[[Any, int], tuple[Membrane, Any]]] = {
    "IFNode": _if,
    "LIFNode": _lif,
    "ParametricLIFNode": _parametric,
    "CUBALIFNode": _cuba,
}


def _nothing(leaf: Any) -> None:
    """Change no value, in evaluation."""


STATELESS: dict[str, Callable[[Any], Affine | None]] = {"Dropout": _nothing}
