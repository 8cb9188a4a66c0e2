"""Lines for the user about all that other readers of a model file would misread or refuse.

Readers are named with the version that was tried; ``docs/formats.md`` has the table of measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nmdeploy.network.network import QuantizedNetwork
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
        notes += [f"node {name!r}: lossy: {text}" for text in neuron.nir_losses()]
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
