"""Layers of Rockpool 3.1 for torch, which run all steps of (samples, steps, channels) with step dt.

    LIFTorch        i <- syn (i + I + W_rec s),  v <- mem v + i + bias,  s = H(v - threshold),  v <- v - threshold s;
                    a neuron may have several i, each with its own input, which v adds up
    LIFNeuronTorch  the same without i: v <- mem v + I + bias
    ExpSynTorch     i <- syn (i + I), which is sent
    LinearTorch     I W + bias

syn and mem are ``exp(-dt / tau)``, or what `leak_mode` chooses. Neurons spike at equality. By default they send several
spikes per step and subtract as many thresholds; only ``max_spikes_per_dt=1`` can be deployed. A module of Rockpool
returns its output, its states and its record; its call as a module of torch, which is followed, returns the output.
Source: rockpool 3.1, ``rockpool/nn/modules/torch``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute, class_in
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.modules.affine import Affine, numbers
from nmdeploy.importers.modules.neurons import Layer, Membrane, membrane, readout, span, spiking_facts
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.state_space.dense import DenseStateSpace

TITLE = "Rockpool"
PACKAGE = "rockpool"
DT = 1e-3
STEPS_AXIS = 1
LAYERS = "rockpool.nn.modules.torch"
CONTAINERS = ("TorchModule", "TorchModulePatch")


def is_neuron(leaf: Any) -> bool:
    """Return True for a layer of Rockpool with states."""
    return class_in(leaf, LAYERS) not in (None, *CONTAINERS, *STATELESS)


def takes_sequence(leaf: Any) -> bool:
    """Return True: one call of every layer runs all steps."""
    return True


def forget(leaf: Any) -> None:
    """Set the states to their start."""
    leaf.reset_state()


def read(name: str, leaf: Any, size: int, exact: bool = False) -> Layer:
    """Return what a layer computes."""
    kind = _kind(leaf)
    if kind not in READ:
        raise UnsupportedParameter(
            f"layer {name!r}: {kind} of Rockpool cannot be deployed, only {', '.join((*READ, *STATELESS))}: replace "
            "it, or describe the network with NetworkBuilder"
        )
    noise = numbers(leaf.noise_std)
    if noise.any():
        raise UnsupportedParameter(f"layer {name!r}: noise_std = {span(noise)} is random: set noise_std = 0")
    return READ[kind](name, leaf, size)


def _kind(leaf: Any) -> str:
    return class_in(leaf, LAYERS) or type(leaf).__name__


def _require_single_spikes(name: str, leaf: Any, m: Membrane) -> None:
    spikes = float(numbers(leaf.max_spikes_per_dt))
    if spikes != 1:
        raise UnsupportedParameter(
            f"layer {name!r}: max_spikes_per_dt = {spikes:g} sends several spikes per step and subtracts as many "
            "thresholds, which no neuron here does: give the layer max_spikes_per_dt=1, and train it with that"
        )
    threshold = m.array("v_threshold")
    if (threshold <= 0).any():
        raise UnsupportedParameter(f"layer {name!r}: threshold {threshold.min():g}: retrain it with more than 0")


def _facts(leaf: Any, m: Membrane) -> dict[str, str]:
    return spiking_facts(_kind(leaf), m, "subtract") | {"dt": f"{float(leaf.dt):g} s"}


def _lif(name: str, leaf: Any, size: int) -> Layer:
    syn = np.broadcast_to(numbers(leaf.beta), (size, leaf.n_synapses))
    weights = numbers(leaf.w_rec)
    m = Membrane(size, numbers(leaf.alpha), numbers(leaf.threshold), syn, numbers(leaf.bias), at_threshold=True)
    _require_single_spikes(name, leaf, m)
    recurrent = Affine(weights.T) if weights.any() else None
    return Layer(_with_currents(m, syn), gain=syn.ravel(), recurrent=recurrent, facts=_facts(leaf, m))


def _with_currents(m: Membrane, syn: FloatArray) -> Neuron:
    """Return neurons with one current, and one input, per synapse; the membrane adds them up."""
    size, currents = syn.shape
    one, threshold = np.ones((size, 1, currents)), m.array("v_threshold")
    return DenseStateSpace(
        a=syn[..., None] * np.eye(currents),
        b=np.broadcast_to(np.eye(currents), (size, currents, currents)),
        c=one,
        d=0 * one,
        v_threshold=threshold,
        at_threshold=True,
        soma=True,
        leak=m.array("beta"),
        bias=m.array("bias"),
        reset_condition="each",
        reset_action="soft",
        soma_r=threshold,
    )


def _lif_neuron(name: str, leaf: Any, size: int) -> Layer:
    mem = np.exp(-float(leaf.dt) / numbers(leaf.tau_mem))
    m = Membrane(size, mem, numbers(leaf.threshold), bias=numbers(leaf.bias), at_threshold=True)
    _require_single_spikes(name, leaf, m)
    return Layer(membrane(name, m, "subtract"), facts=_facts(leaf, m))


def _synapse(name: str, leaf: Any, size: int) -> Layer:
    kept = np.exp(-float(leaf.dt) / numbers(leaf.tau))
    facts = {"neuron": _kind(leaf), "decay": f"current keeps {span(kept)} per step", "dt": f"{float(leaf.dt):g} s"}
    return Layer(readout(size, kept), gain=kept, facts=facts)


READ: dict[str, Callable[[str, Any, int], Layer]] = {
    "LIFTorch": _lif,
    "LIFNeuronTorch": _lif_neuron,
    "ExpSynTorch": _synapse,
}


def _linear(leaf: Any) -> Affine:
    bias = attribute(leaf, "bias")
    return Affine(numbers(leaf.weight).T, None if bias is None else numbers(bias) * np.ones(leaf.size_out))


def _nothing(leaf: Any) -> None:
    """Change no value, in evaluation."""


STATELESS: dict[str, Callable[[Any], Affine | None]] = {
    "LinearTorch": _linear,
    "TimeStepDropout": _nothing,
    "UnitDropout": _nothing,
}
