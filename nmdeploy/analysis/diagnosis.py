"""Diagnosis of a model: which layer is silent, saturated or far off, and why.

With the float network that the model came from, the tensors of both are compared. One at a time is restored to the
float network's, to count the spikes that then no longer differ. The float network's own numbers are examined too.
Without it, those of the integers are, as real numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.activity import Activity, difference, input_activity, integer_activity
from nmdeploy.analysis.alone import Sent, run_source
from nmdeploy.analysis.deviations import Deviation, Read, deviations, read
from nmdeploy.analysis.finding import CHANGED, NETWORK, ORIGINS, RUN, Finding, which
from nmdeploy.analysis.metrics import overflows, saturated_share
from nmdeploy.analysis.remedies import Option, options
from nmdeploy.analysis.siblings import Numbers, neuron_findings
from nmdeploy.analysis.tensors import Weights, dequantized, dequantized_weights, dynamics, values_of, weights_of
from nmdeploy.analysis.whole_populations import population_findings, unreachable
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.recording.types import Recording, totals
from nmdeploy.samples.source import Data

FAR_OFF, FAR_OFF_MEMBRANE = 0.25, 0.1
"""Share of differing spikes, and of the error's energy (10 dB), from which on a layer is far off."""
FAR_OFF_SPIKES = 20
"""Differing spikes from which on a share of them says something."""
HELPS = 0.3
"""Share of a population's difference that restoring a rounded tensor must undo to be named."""
LIMIT_SHARE = 1e-3
"""Share of the updates at a limit from which on it is named."""


@dataclass(frozen=True)
class LayerState:
    """State of one population on the samples.

    Parameters
    ----------
    name : str
    state : str
        "as the float network", "active", "far off", "silent", "nothing arrives" or "always spikes".
    rate, float_rate : float or None
        Spikes per output and step of the integers and of the float network.
    difference : float or None
        Difference from the float population on the same inputs: differing spikes per spike, at most 1; of membranes,
        the energy of the error per energy of the membrane.
    limits : mapping of str to int
        Updates at which a register saturated or wrapped, by register, if there were any.
    """

    name: str
    state: str
    rate: float | None
    float_rate: float | None
    difference: float | None
    limits: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self) | {"limits": dict(self.limits)}


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
    options : tuple of Option
    """

    samples: int
    steps: int
    compared: bool
    layers: tuple[LayerState, ...]
    findings: tuple[Finding, ...]
    options: tuple[Option, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON values that ``nmdeploy diagnose --json`` prints; docs/formats.md has their JSON Schema."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "compared": self.compared,
            "layers": [layer.to_json() for layer in self.layers],
            "findings": [found.to_json() for found in self.findings],
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
    beside = None if floats is None else _Beside.of(network, run_source(floats, data), integers)
    if beside is None:
        found = list(_by_siblings(network, _integer_numbers(network, integers, arriving)))
    else:
        numbers = _float_numbers(beside.read, beside.sent.activity, arriving)
        found = [*beside.findings(), *_by_siblings(beside.sent.network, numbers)]
    found += _by_run(network, recording, integers, beside, {each.population for each in found})
    ordered = tuple(_ordered(_once(found)))
    return Diagnosis(
        samples=recording.samples,
        steps=recording.valid_steps,
        compared=beside is not None,
        layers=tuple(_layers(network, recording, integers, beside)),
        findings=ordered,
        options=options(network, ordered),
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


@dataclass(frozen=True, eq=False)
class _Beside:
    """The integer network beside the float one, on the same samples."""

    network: QuantizedNetwork
    read: Read
    sent: Sent
    integers: Mapping[str, Activity]
    shares: Mapping[str, float]
    counts: Mapping[str, float]

    @classmethod
    def of(cls, network: QuantizedNetwork, sent: Sent, integers: Mapping[str, Activity]) -> _Beside:
        """Run every integer population on what the float network sends to it."""
        alone = {name: sent.integers_alone(name, network) for name in network.populations}
        found = {name: difference(sent.activity[name], outputs) for name, outputs in alone.items()}
        shares, counts = ({name: both[part] for name, both in found.items()} for part in (0, 1))
        return cls(network, read(network, sent.network), sent, integers, shares, counts)

    def is_far(self, name: str) -> bool:
        """Return True for a population that is far from that of the float network, on the same inputs."""
        if self.sent.activity[name].graded:
            return self.shares[name] > FAR_OFF_MEMBRANE
        return self.shares[name] > FAR_OFF and self.counts[name] >= FAR_OFF_SPIKES

    def findings(self) -> Iterator[Finding]:
        """Yield the tensors that were changed, and those whose rounding makes the difference, most damage first."""
        found = [
            each
            for each in deviations(self.read, self.network, self.integers, self.sent.activity)
            if each.finding.origin == CHANGED or self.is_far(each.finding.population) or self._is_lost(each.finding)
        ]
        base = {name: self._difference(name, {}) for name in {each.finding.population for each in found}}
        undone = [(each, *self._undone(each, base[each.finding.population])) for each in found]
        for each, share, spikes in sorted(undone, key=lambda item: -item[1]):
            whole = self.shares[each.finding.population]
            if each.finding.origin == CHANGED or share >= HELPS * whole or self._is_lost(each.finding):
                yield replace(each.finding, spikes=spikes)

    def _undone(self, deviation: Deviation, base: tuple[float, int]) -> tuple[float, int]:
        """Return how much of a population's difference is undone by restoring one tensor, and how many spikes."""
        left = self._difference(deviation.finding.population, self.read.restored(deviation))
        return base[0] - left[0], base[1] - left[1]

    def _difference(self, name: str, restored: Mapping[str, Any]) -> tuple[float, int]:
        """Return the difference of a population with the integers' tensors, except those that are restored."""
        nodes = {**self.read.network.nodes, **restored}
        synapses = {edge.source: nodes[edge.source] for edge in self.network.incoming[name]}
        return difference(self.sent.activity[name], self.sent.alone(nodes[name], synapses))

    def _is_lost(self, finding: Finding) -> bool:
        """Return True for neurons whose rows were rounded to 0 and whose spikes went with them."""
        at = list(finding.neurons)
        was, now = self.sent.activity[finding.population].rates[at], self.integers[finding.population].rates[at]
        return finding.fault == f.ROW_ROUNDED_TO_0 and bool((now < 0.5 * was).any())


def _float_numbers(held: Read, activity: Mapping[str, Activity], arriving: Activity) -> list[Numbers]:
    tensors = {name: values_of(neuron, held.tensors[name]) for name, neuron in held.source.populations.items()}
    weights = {name: weights_of(synapse) for name, synapse in held.source.synapses.items()}
    return _numbers(held.source, tensors, weights, activity, arriving)


def _integer_numbers(network: QuantizedNetwork, activity: Mapping[str, Activity], arriving: Activity) -> list[Numbers]:
    tensors = {
        name: {key: tensor.values for key, tensor in dequantized(neuron, None).items()}
        for name, neuron in network.populations.items()
    }
    weights = {name: dequantized_weights(network, name) for name in network.synapses}
    return _numbers(network, tensors, weights, activity, arriving)


def _numbers(
    network: Network | QuantizedNetwork,
    tensors: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Weights],
    activity: Mapping[str, Activity],
    arriving: Activity,
) -> list[Numbers]:
    sources = {network.input_name: arriving, **activity}
    sent = {name: held.mean for name, held in sources.items()}
    steps = arriving.outputs.shape[1]
    return [
        Numbers(
            name=name,
            tensors=tensors[name],
            dynamics=dynamics(neuron, tensors[name], steps),
            weights={edge.source: weights[edge.source] for edge in network.incoming[name]},
            arriving={
                edge.source: np.sum([sent[source.source] for source in network.incoming[edge.source]], axis=0)
                for edge in network.incoming[name]
            },
            largest={
                edge.source: sum(_largest(sources[source.source]) for source in network.incoming[edge.source])
                for edge in network.incoming[name]
            },
            activity=activity[name],
            inputs=neuron.inputs,
            dt=network.dt,
            steps=steps,
        )
        for name, neuron in network.populations.items()
    ]


def _largest(source: Activity) -> float:
    """Return the largest magnitude that a population sends: 1 of spikes."""
    return max(float(np.abs(source.outputs).max(initial=0)), 1.0)


def _by_siblings(network: Network | QuantizedNetwork, numbers: list[Numbers]) -> Iterator[Finding]:
    """Yield what the numbers of each population show, sources first, the largest factor of a population first.

    That a whole population is silent is no cause of its own if a population before it has a fault.
    """
    named: set[str] = set()
    bounded: list[Finding] = []
    for own in numbers:
        found = sorted(neuron_findings(own), key=lambda each: -_severity(each))
        others = [other for other in numbers if other is not own and other.activity.spiking]
        if not named & _before(network, own.name) and not any(len(each.neurons) == own.size for each in found):
            found += population_findings(own, others)
        bounded += unreachable(own, {neuron for each in found for neuron in each.neurons})
        yield from found
        named |= {each.population for each in found}
    yield from bounded


def _before(network: Network | QuantizedNetwork, name: str) -> set[str]:
    """Return the populations that a population gets its inputs from over any way, and itself."""
    return {name, *(other for other in network.populations if name in network.reachable[other])}


def _severity(finding: Finding) -> float:
    """Return how far a ratio is from 1, in either direction."""
    return abs(float(np.log(max(abs(finding.factor), 1e-12)))) if finding.factor is not None else 0.0


def _by_run(
    network: QuantizedNetwork,
    recording: Recording,
    integers: Mapping[str, Activity],
    beside: _Beside | None,
    named: set[str],
) -> Iterator[Finding]:
    """Yield what the run shows of populations that nothing else explains, and states at their limit."""
    counts = overflows(network, totals(recording))
    for name, neuron in network.populations.items():
        held, everyone = integers[name], tuple(range(neuron.size))
        if saturated_share(network, recording, name) > LIMIT_SHARE:
            words = ", ".join(f"{flag} {number}" for flag, number in counts[name].items() if number)
            text = f"states reach the end of their width ({words}): they are cut off or wrap around"
            yield Finding(name, f.AT_LIMIT, "states", everyone, text, RUN)
        elif name not in named and beside is not None and beside.is_far(name):
            text = "no single tensor explains the difference: its states and sums are rounded in each step"
            yield Finding(name, f.STATES_ROUNDED, "states", everyone, text, RUN)
        if not named & _before(network, name) and held.spiking and _reached(network, name, integers):
            for fault, at in ((f.SILENT, held.silent), (f.ALWAYS_SPIKES, held.always)):
                if at.all():
                    text = f"{which(everyone, neuron.size)}: no number explains it, and something arrives"
                    yield Finding(name, fault, "spikes", everyone, text, RUN)


def _reached(network: QuantizedNetwork, name: str, activity: Mapping[str, Activity]) -> bool:
    """Return True if a population gets an event from the input or from a population that spikes."""
    sources = {edge.source for synapse in network.incoming[name] for edge in network.incoming[synapse.source]} - {name}
    return any(source == network.input_name or activity[source].rates.any() for source in sources)


def _layers(
    network: QuantizedNetwork,
    recording: Recording,
    integers: Mapping[str, Activity],
    beside: _Beside | None,
) -> Iterator[LayerState]:
    counts = overflows(network, totals(recording))
    for name, held in integers.items():
        yield LayerState(
            name=name,
            state=_state(network, name, integers, beside),
            rate=float(held.rates.mean()) if held.spiking else None,
            float_rate=float(beside.sent.activity[name].rates.mean()) if beside and held.spiking else None,
            difference=None if beside is None else beside.shares[name],
            limits={flag: number for flag, number in counts.get(name, {}).items() if number},
        )


def _state(network: QuantizedNetwork, name: str, activity: Mapping[str, Activity], beside: _Beside | None) -> str:
    held = activity[name]
    if held.spiking and held.silent.all():
        return f.SILENT if _reached(network, name, activity) else "nothing arrives"
    if held.spiking and held.always.all():
        return f.ALWAYS_SPIKES
    if beside is None:
        return "active"
    return "far off" if beside.is_far(name) else "as the float network"
