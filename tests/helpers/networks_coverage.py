"""Coverage of cases, computed from their recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from networks_build import Case

from nmdeploy.recording.types import Recording
from nmdeploy.synapses.weights import QuantizedWeights, code_range

ALIVE = (0.01, 0.80)


def is_alive(case: Case, recording: Recording) -> bool:
    """Return True if every spiking layer's rate lies between 1 % and 80 %; a code that is not 0 is a spike."""
    rates = [float((layer.spikes != 0).mean()) for layer in recording.layers.values() if layer.spikes is not None]
    return all(ALIVE[0] <= rate <= ALIVE[1] for rate in rates)


def coverage(cases: Iterable[Case], recordings: Iterable[Recording]) -> Counter[str]:
    """Count the networks that wrap, clip, reset, hold, use each sign mode at its edge, ..."""
    seen: Counter[str] = Counter()
    for case, recording in zip(cases, recordings, strict=True):
        found = set()
        for name, neuron in case.network.populations.items():
            found |= {flag for flag in neuron.flags if recording.total(name, flag)}
            if not neuron.spiking or recording.total(name, "spikes"):
                found |= _mechanisms(neuron)
        for synapse in case.network.synapses.values():
            if isinstance(synapse, QuantizedWeights):
                found |= {f"{synapse.kind} synapse"}
                found |= {f"{synapse.sign_mode} at its edge"} if _at_edge(synapse) else set()
                found |= {"bias synapse"} if synapse.bias is not None else set()
                found |= {"negative weight_exp"} if synapse.weight_exp < 0 else set()
        found |= {"recurrent"} if any(edge.delay for edge in case.network.edges) else set()
        found |= {"inserted delay"} if any(case.network.timing.inserted_delays.values()) else set()
        found |= {"alive"} if is_alive(case, recording) else set()
        seen.update(found)
    return seen


def _mechanisms(neuron: Any) -> set[str]:
    if neuron.kind == "lif":
        found = {f"refractory {neuron.refractory_steps}"}
        for name in ("du", "dv"):
            found |= {f"{name} {d}" for d in (0, 1, 4095) if d in getattr(neuron, name)}
        return found | ({"bias"} if neuron.bias_mant.any() else set())
    if neuron.kind in ("state_space", "dense_state_space"):
        return _chosen(neuron)
    if neuron.kind == "windowed_state_space":
        once = {"sent once"} if neuron.send_once else set()
        return {"windowed", neuron.dynamics.rounding, f"window {neuron.window}"} | once
    return {neuron.kind}


def _chosen(neuron: Any) -> set[str]:
    found = {neuron.kind, neuron.rounding, f"spike {neuron.spike}"}
    found |= {f"reset {neuron.reset_condition}", f"action {neuron.reset_action}"}
    found |= {f"refractory {neuron.refractory_mode}"} if neuron.refractory_steps else set()
    found |= {name for name in ("soma", "rectify", "adaptation") if getattr(neuron, name)}
    found |= {"several inputs"} if neuron.input_size > neuron.size else set()
    found |= {"several outputs"} if neuron.output_size > neuron.size else set()
    return found


def _at_edge(synapse: QuantizedWeights) -> bool:
    return synapse.rows.limits() == code_range(synapse.sign_mode, synapse.bits)
