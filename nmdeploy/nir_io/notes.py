"""What other readers of a model file would misread or refuse, in words.

Readers are named with the version that was tried; ``docs/formats.md`` has the table of measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.nir_io.primitives import NO_LEAK, Fields, Primitives

BOTH = "Norse 1.1.0 and snnTorch 1.0.0 refuse the file"
SNNTORCH_DT = 1e-4


def reader_notes(q: QuantizedNetwork, graph: Primitives) -> list[str]:
    """Return one line for each thing that the primitives cannot hold, or that a known reader refuses."""
    notes = [
        "other readers compute in floating point: how the integers round, clip and wrap is only in the metadata",
        f"NIR holds no time step: tell other readers dt = {q.dt:g} s",
    ]
    for name, neuron in q.populations.items():
        notes += [f"node {name!r}: {text}" for text in _of_neuron(neuron)]
    for name, fields in graph.nodes.items():
        notes += [f"node {name!r}: {text}" for text in PRIMITIVE.get(fields["type"], _nothing)(fields)]
    kinds = {fields["type"] for fields in graph.nodes.values()}
    refused = sorted(kinds & {"I", "LI", "Scale", "Threshold", "Delay"})
    if refused:
        notes.append(f"{BOTH}: neither knows {', '.join(refused)} nodes")
    elif "CubaLIF" in kinds and not np.isclose(q.dt, SNNTORCH_DT):
        notes.append(f"snnTorch 1.0.0 refuses the file: it reads every file at dt = {SNNTORCH_DT:g} s")
    elif any(edge.delay for edge in q.edges):
        notes.append("snnTorch 1.0.0 refuses or misreads recurrence (it sends the input through the recurrent weights)")
    return notes


def _of_neuron(neuron: QuantizedNeuron) -> Iterator[str]:
    steps = getattr(neuron, "refractory_steps", 0)
    if steps:
        yield f"lossy: its refractory period of {steps} steps has no primitive: other readers have none"
    action = getattr(neuron, "reset_action", "none")
    if action != "none":
        yield f"lossy: its {action} reset has no primitive: in other readers a spike leaves the states as they are"
    spike = getattr(neuron, "spike", "binary")
    if spike != "binary":
        yield f"lossy: its {spike} spikes have no primitive: other readers see a threshold"
    for what, instead in (("rectify", "pass negative sums on"), ("adaptation", "have a fixed threshold")):
        if getattr(neuron, what, False):
            yield f"lossy: its {NAMES[what]} has no primitive: other readers {instead}"
    if neuron.output_latency:
        window = neuron.output_latency + 1
        yield f"lossy: its windows of {window} steps have no primitive: other readers see the dynamics only"
    if neuron.kind == "gated_linear_unit":
        yield "lossy: its sigmoid gate has no primitive: other readers pass the values on ungated"


NAMES = {"rectify": "rectification", "adaptation": "adaptive threshold"}


def _nothing(fields: Fields) -> Iterator[str]:
    return iter(())


def _of_if(fields: Fields) -> Iterator[str]:
    yield "snnTorch 1.0.0 refuses IF with r = 1/dt; Norse 1.1.0 ignores r, which gives the right result"


def _of_cuba(fields: Fields) -> Iterator[str]:
    if (fields["r"] == NO_LEAK).any():
        yield "membranes without leak are written with a time constant of 2**40 steps"
    if fields["v_leak"].any():
        yield "its bias is in v_leak: Norse 1.1.0 adds it to the current as well, snnTorch 1.0.0 refuses it"
    if np.unique(fields["v_threshold"]).size > 1:
        yield "snnTorch 1.0.0 refuses thresholds that differ within a population"


PRIMITIVE: dict[str, Callable[[Fields], Iterator[str]]] = {"IF": _of_if, "CubaLIF": _of_cuba}
