"""Layers of snnTorch 1.0.

With I the layer's input, R[t] = H(mem[t-1] - threshold), and beta clamped to 0 to 1:

    Leaky      mem <- beta mem + I - R threshold            "subtract"
               mem <- beta (1 - R) mem + I                  "zero": a reset in the same step
    Synaptic   syn <- alpha syn + I,  mem <- beta mem + syn - R threshold
               mem <- (1 - R) (beta mem + syn)              "zero": the step after a spike adds nothing
    Lapicque   mem <- (1 - T/RC) mem + T/C I, reset as Synaptic
    RLeaky, RSynaptic   Leaky and Synaptic with I + recurrent(spk), reset as Synaptic
    Alpha      mem <- tau (syn_exc + syn_inh), both with a decay of their own
    StateLeaky, LinearLeaky   mem <- exp(-1/tau) mem + I, no reset
    LeakyKernel, LeakyParallel   mem <- max(beta mem + I, 0), no reset; weights and biases are those of a torch RNN

``spk = H(mem - threshold)``, strict. Source: snntorch 1.0, ``snntorch/_neurons``.
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
from nmdeploy.neurons.state_space.dense import DenseStateSpace

TITLE = "snnTorch"
PACKAGE = "snntorch"
DT = 1e-3
STEPS_AXIS = 0
STATELESS: dict[str, Callable[[Any], Affine | None]] = {}
RESETS = {"_base_sub": "subtract-delayed", "_base_zero": "zero", "_base_int": "none"}
STATES = ("mem", "syn", "syn_exc", "syn_inh", "spk")
HELD_BACK = (
    "with reset_delay=False snnTorch holds the next spike back where the membrane exceeds the threshold after its "
    "reset, which no neuron here does: train with reset_delay=True, or with a higher threshold"
)
SEQUENCES = ("StateLeaky", "LinearLeaky", "LeakyKernel", "LeakyParallel")


def is_neuron(leaf: Any) -> bool:
    """Return True for a neuron of snnTorch."""
    return class_in(leaf, "snntorch._neurons") not in (None, "RecurrentOneToOne")


def takes_sequence(leaf: Any) -> bool:
    """Return True if one call of the layer runs all steps."""
    return _kind(leaf) in SEQUENCES


def forget(leaf: Any) -> None:
    """Set the states to their start, which every layer does by itself for states of another shape."""
    for name in STATES:
        state = attribute(leaf, name)
        if state is not None:
            setattr(leaf, name, state.detach().new_zeros(0))


def read(name: str, leaf: Any, size: int, exact: bool = False) -> Layer:
    """Return what a layer computes; `exact` chooses the form of a delayed reset (`neurons.membrane`)."""
    kind = _kind(leaf)
    if kind not in READ:
        raise UnsupportedParameter(
            f"layer {name!r}: {kind} of snnTorch cannot be deployed, only {', '.join(READ)}: replace it, or describe "
            "the network with NetworkBuilder"
        )
    refused = {"inhibition": "True", "state_quant": "a function", "kernel_truncation_steps": "a number"}
    for option, given in refused.items():
        if attribute(leaf, option):
            raise UnsupportedParameter(f"layer {name!r}: {option} = {given} has no deployed meaning: leave it out")
    return READ[kind](name, leaf, size, exact)


def _kind(leaf: Any) -> str:
    return class_in(leaf, "snntorch._neurons") or type(leaf).__name__


def _clamped(tensor: Any) -> FloatArray:
    return np.clip(numbers(tensor), 0.0, 1.0)


def _reset_of(leaf: Any, zero: str) -> str:
    """Return the layer's reset; "zero" has two meanings among the layers, if it is delayed."""
    reset = RESETS[leaf.state_function.__name__]
    immediate = attribute(leaf, "reset_delay", True) is False
    if reset == "subtract-delayed":
        return "subtract" if immediate else reset
    return zero if reset == "zero" and not immediate else reset


def _spiking(name: str, leaf: Any, m: Membrane, zero: str, exact: bool, **more: Any) -> Layer:
    reset = _reset_of(leaf, zero)
    return Layer(
        membrane(name, m, reset, exact),
        output_gain=numbers(leaf.graded_spikes_factor),
        subtracts_later=reset == "subtract-delayed",
        hint=HELD_BACK if reset == "subtract" else "",
        facts=spiking_facts(_kind(leaf), m, reset),
        **more,
    )


def _leaky(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    m = Membrane(size, _clamped(leaf.beta), numbers(leaf.threshold))
    return _spiking(name, leaf, m, "zero", exact)


def _synaptic(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    m = Membrane(size, _clamped(leaf.beta), numbers(leaf.threshold), _clamped(leaf.alpha))
    return _spiking(name, leaf, m, "zero-delayed", exact)


def _lapicque(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    step, r, c = (numbers(value) for value in (leaf.time_step, leaf.R, leaf.C))
    m = Membrane(size, 1 - step / (r * c), numbers(leaf.threshold))
    return _spiking(name, leaf, m, "zero-delayed", exact, gain=r * (1 / (r * c)) * step)


def _recurrent(name: str, leaf: Any) -> Affine:
    kind = type(leaf.recurrent).__name__
    if kind == "RecurrentOneToOne":
        return Affine(numbers(leaf.recurrent.V))
    if kind != "Linear":
        raise UnsupportedParameter(
            f"layer {name!r}: a recurrence by {kind}: only linear_features and V can be deployed"
        )
    return Affine(numbers(leaf.recurrent.weight), numbers(leaf.recurrent.bias))


def _rleaky(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    m = Membrane(size, _clamped(leaf.beta), numbers(leaf.threshold))
    return _spiking(name, leaf, m, "zero-delayed", exact, recurrent=_recurrent(name, leaf))


def _rsynaptic(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    m = Membrane(size, _clamped(leaf.beta), numbers(leaf.threshold), _clamped(leaf.alpha))
    return _spiking(name, leaf, m, "zero-delayed", exact, recurrent=_recurrent(name, leaf))


def _alpha(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    alpha, beta, th = _clamped(leaf.alpha), _clamped(leaf.beta), numbers(leaf.threshold)
    reset = _reset_of(leaf, "zero-delayed")
    if reset == "subtract-delayed":
        raise UnsupportedParameter(
            f"layer {name!r}: Alpha with reset 'subtract' adds the inhibitory current to its membrane at a reset, "
            "which no neuron here does: train it with 'zero' or 'none'"
        )
    if (th < 0).any():
        raise UnsupportedParameter(f"layer {name!r}: threshold {th.min():g} is negative: retrain it with 0 or more")
    tau = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1
    one = np.ones(size)
    rule: dict[str, Any] = {"reset_condition": "any", "reset_action": "hard", "refractory_steps": 1}
    neuron = DenseStateSpace(
        a=np.stack([alpha * one, beta * one], -1)[..., None] * np.eye(2),
        b=np.stack([one, -one], -1),
        c=np.stack([tau * one, tau * one], -1),
        d=0 * one,
        v_threshold=th * one,
        **({} if reset == "none" else rule),
    )
    m = Membrane(size, beta, th, alpha)
    facts = spiking_facts("Alpha", m, reset) | {"decay": f"currents keep {span(alpha)} and {span(beta)} per step"}
    return Layer(neuron, output_gain=numbers(leaf.graded_spikes_factor), facts=facts)


def _state_leaky(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    beta = np.exp(-1 / numbers(leaf.tau))
    weights = attribute(leaf, "linear")
    own = (
        None
        if weights is None
        else Affine(numbers(weights.weight), None if weights.bias is None else numbers(weights.bias))
    )
    if not leaf.output:
        facts = {"neuron": f"{_kind(leaf)} without spikes", "decay": f"membrane keeps {span(beta)} per step"}
        return Layer(readout(size, beta), input=own, facts=facts)
    m = Membrane(size, beta, numbers(leaf.threshold))
    factor = numbers(leaf.graded_spikes_factor) ** 2  # snnTorch applies it in fire() and after it
    facts = spiking_facts(_kind(leaf), m, "none")
    return Layer(membrane(name, m, "none"), input=own, output_gain=factor, facts=facts)


def _leaky_kernel(name: str, leaf: Any, size: int, exact: bool) -> Layer:
    rnn = leaf.rnn
    kept = numbers(rnn.weight_hh_l0)
    beta = np.diagonal(kept)
    if (kept != np.diag(beta)).any():
        raise UnsupportedParameter(
            f"layer {name!r}: weight_hh_enable lets the membrane of one neuron act on others, which only spikes can do "
            "on a chip: train it with weight_hh_enable=False"
        )
    bias = numbers(rnn.bias_ih_l0) + numbers(rnn.bias_hh_l0) if rnn.bias else None
    m = Membrane(size, beta, numbers(leaf.threshold))
    one = np.ones((size, 1))
    neuron = DenseStateSpace(
        a=beta[:, None, None],
        b=one,
        c=one,
        d=np.zeros(size),
        v_threshold=m.v_threshold * one[:, 0],
        rectify_states=True,
    )
    facts = spiking_facts(f"{_kind(leaf)}, membrane not below 0", m, "none")
    return Layer(
        neuron,
        input=Affine(numbers(rnn.weight_ih_l0), bias),
        output_gain=numbers(leaf.graded_spikes_factor),
        facts=facts,
    )


READ: dict[str, Callable[[str, Any, int, bool], Layer]] = {
    "Leaky": _leaky,
    "Synaptic": _synaptic,
    "Lapicque": _lapicque,
    "RLeaky": _rleaky,
    "RSynaptic": _rsynaptic,
    "Alpha": _alpha,
    "StateLeaky": _state_leaky,
    "LinearLeaky": _state_leaky,
    "LeakyKernel": _leaky_kernel,
    "LeakyParallel": _leaky_kernel,
}
