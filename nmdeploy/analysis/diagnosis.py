"""Diagnosis of a model: which layer is silent, saturated or far off, and why.

With the float network that the model came from, the tensors of both are compared. One at a time is restored to the
float network's, to count the spikes that then no longer differ. The float network's own numbers are examined too.
Without it, those of the integers are, as real numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.analysis.activity import input_activity, integer_activity
from nmdeploy.analysis.alone import run_source
from nmdeploy.analysis.assumptions import Assumption, assumptions
from nmdeploy.analysis.beside import Beside
from nmdeploy.analysis.finding import CHANGED, NETWORK, ORIGINS, Finding
from nmdeploy.analysis.layer_states import LayerState, layer_states, populations_before, run_findings
from nmdeploy.analysis.own_numbers import Numbers, float_numbers, integer_numbers
from nmdeploy.analysis.remedies import Option, options
from nmdeploy.analysis.siblings import neuron_findings
from nmdeploy.analysis.whole_populations import population_findings, unreachable
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.recording.types import Recording
from nmdeploy.samples.source import Data


@dataclass(frozen=True)
class Diagnosis:
    """Result of a diagnosis: the state of each layer, findings and options, the most important of each first.

    Parameters
    ----------
    samples, steps : int
        Number of samples, and valid steps of all together.
    compared : bool
        True if a float network was given.
    layers : tuple of LayerState
    findings : tuple of Finding
    assumed : tuple of Assumption
        Facts that nothing said when the source was read, and that the layers' states make doubtful.
    options : tuple of Option
    """

    samples: int
    steps: int
    compared: bool
    layers: tuple[LayerState, ...]
    findings: tuple[Finding, ...]
    assumed: tuple[Assumption, ...]
    options: tuple[Option, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON values that ``nmdeploy diagnose --json`` prints; docs/formats.md has their JSON Schema."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "compared": self.compared,
            "layers": [layer.to_json() for layer in self.layers],
            "findings": [found.to_json() for found in self.findings],
            "assumed": [each.to_json() for each in self.assumed],
            "options": [option.to_json() for option in self.options],
        }


def diagnose(network: QuantizedNetwork, recording: Recording, data: Data, floats: Network | None = None) -> Diagnosis:
    """Return the diagnosis of a model on samples.

    Parameters
    ----------
    network : QuantizedNetwork
    recording : Recording
        Its run on the samples, with all states.
    data : Data
        The samples.
    floats : Network, optional
        The float network that it came from, in the same form of windows.
    """
    arriving = input_activity(network.input.format.dequantize(data.codes), data.lengths)
    integers = integer_activity(network, recording)
    beside = None if floats is None else Beside.of(network, run_source(floats, data), integers)
    if beside is None:
        found = list(_by_siblings(network, integer_numbers(network, integers, arriving)))
    else:
        numbers = float_numbers(beside.sent.network, beside.read.tensors, beside.sent.activity, arriving)
        found = [*beside.findings(), *_by_siblings(beside.sent.network, numbers)]
    found += run_findings(network, recording, integers, beside, {each.population for each in found})
    ordered = tuple(_ordered(_once(found)))
    layers = tuple(layer_states(network, recording, integers, beside))
    assumed, readings = assumptions(network, layers, ordered)
    return Diagnosis(
        samples=recording.samples,
        steps=recording.valid_steps,
        compared=beside is not None,
        layers=layers,
        findings=ordered,
        assumed=assumed,
        options=options(network, ordered, readings),
    )


def _ordered(found: list[Finding]) -> list[Finding]:
    """Return changed integers first, then the network's own numbers, rounding, and what the run alone shows.

    Where the network's own numbers and the integers both speak of a tensor, the source has the fault: it comes first.
    """
    changed = [(each.population, each.tensor) for each in found if each.origin == CHANGED]
    own = {(each.population, each.tensor) for each in found if each.origin == NETWORK}

    def place(each: Finding) -> tuple[int, int, int]:
        key = each.population, each.tensor
        if each.origin in (CHANGED, NETWORK) and key in changed:
            return 0, changed.index(key), int(each.origin == CHANGED and key in own)
        return ORIGINS.index(each.origin), 0, 0

    return sorted(found, key=place)


def _once(found: list[Finding]) -> list[Finding]:
    """Return the findings without those that repeat an earlier one of the same tensor and fault."""
    first: dict[tuple[str, str, str], Finding] = {}
    for each in found:
        first.setdefault((each.population, each.fault, each.tensor), each)
    return list(first.values())


def _by_siblings(network: Network | QuantizedNetwork, numbers: list[Numbers]) -> Iterator[Finding]:
    """Yield what the numbers of each population show, sources first, the largest factor of a population first.

    That a whole population is silent is no cause of its own if a population before it has a fault.
    """
    named: set[str] = set()
    bounded: list[Finding] = []
    for own in numbers:
        found = sorted(neuron_findings(own), key=lambda each: -_severity(each))
        others = [other for other in numbers if other is not own and other.activity.spiking]
        if not named & populations_before(network, own.name) and not any(
            len(each.neurons) == own.size for each in found
        ):
            found += population_findings(own, others)
        bounded += unreachable(own, {neuron for each in found for neuron in each.neurons})
        yield from found
        named |= {each.population for each in found}
    yield from bounded


def _severity(finding: Finding) -> float:
    """Return how far a ratio is from 1, in either direction."""
    return abs(float(np.log(max(abs(finding.factor), 1e-12)))) if finding.factor is not None else 0.0
