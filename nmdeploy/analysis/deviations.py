"""Every tensor of the integers that differs from the float network's by more than a quantizer's choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from nmdeploy.analysis.activity import Activity
from nmdeploy.analysis.dynamics import dynamics
from nmdeploy.analysis.finding import Finding, which
from nmdeploy.analysis.reading_back import Read
from nmdeploy.analysis.tensor_deviations import Compared
from nmdeploy.analysis.weight_deviations import weight_findings
from nmdeploy.analysis.weights import weights_of
from nmdeploy.neurons.base import Neuron


@dataclass(frozen=True, eq=False)
class Deviation:
    """A tensor of the integers that differs from the source's, and the node that holds it."""

    finding: Finding
    node: str
    tensor: str


def deviations(held: Read, activity: Mapping[str, Activity], exact: Mapping[str, Activity]) -> Iterator[Deviation]:
    """Yield the deviations; `activity` is that of the integers, `exact` the float network's."""
    for name, neuron in held.source.populations.items():
        values = {tensor: each.exact for tensor, each in held.tensors[name].items()}
        own = dynamics(neuron.kind, values, activity[name].outputs.shape[1])
        for tensor, rounded in held.tensors[name].items():
            compared = Compared(name, tensor, rounded, own, activity[name], exact[name])
            for found in compared.findings():
                yield Deviation(found, name, tensor)
        for edge in held.source.incoming[name]:
            source = weights_of(held.source.synapses[edge.source])
            for tensor, found in weight_findings(name, edge.source, source, held.weights[edge.source], own):
                yield Deviation(_of_neurons(found, neuron), edge.source, tensor)


def _of_neurons(found: Finding, neuron: Neuron) -> Finding:
    """Return a finding of rows as one of neurons."""
    at = sorted({row // neuron.inputs for row in found.neurons})
    return replace(found, neurons=tuple(at), text=f"{which(at, neuron.size)}: {found.text}")
