"""Energy of each layer per sample, from event counts, the mapping and the profile's figures (docs/metrics.md).

A figure that nobody has published is None ("not available"), never 0, and so is every part that needs it. An event
that the profile does not name is reported as not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nmdeploy.errors import BadData
from nmdeploy.hardware.events import EVENTS, LayerRun, part_of
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Counted

if TYPE_CHECKING:
    from nmdeploy.hardware.mapping import MappedNetwork
    from nmdeploy.hardware.profile import Energy, Figure, HardwareProfile

HYPOTHETICAL = "hypothetical: one update per real state"
DYNAMIC = ("synapse", "neuron", "spike")


@dataclass(frozen=True)
class EnergyBreakdown:
    """Joules per sample; None if a figure is not available. Without `static`, `total` is the dynamic energy."""

    synapse: float | None
    neuron: float | None
    spike: float | None
    static: float | None

    @property
    def total(self) -> float | None:
        """Sum of the parts; None if a dynamic part is None, the dynamic energy if `static` is None."""
        dynamic = [getattr(self, part) for part in DYNAMIC]
        if None in dynamic:
            return None
        return float(sum(dynamic)) + (self.static or 0.0)

    def to_json(self) -> dict[str, float | None]:
        """Return the parts and their total."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class LayerEnergy:
    """Energy of a layer, and the sources of its figures."""

    joules: EnergyBreakdown
    citation: str


def network_energy(
    network: QuantizedNetwork, recording: Counted, mapped: MappedNetwork, profile: HardwareProfile
) -> dict[str, LayerEnergy]:
    """Return the energy of each layer (a population with its incoming synapses), in joules per sample.

    Each part is the sum, over its events, of their count times their figure (`nmdeploy.hardware.events`).

    Raises
    ------
    BadData
        The recording holds no event counts.
    """
    energies = {}
    for name, neuron in network.populations.items():
        counts = layer_events(network, name, recording, mapped)
        label = _label(neuron.real_states, name in mapped.hypothetical, profile.energy)
        joules = layer_energy(counts, profile.energy.events)
        energies[name] = LayerEnergy(joules, "; ".join([*label, *_sources(tuple(counts), profile.energy.events)]))
    return energies


def count(recording: Counted, layer: str, metric: str) -> float:
    """Return the mean of a count over the samples; `BadData` if the recording lacks it."""
    if metric not in recording.metrics(layer):
        raise BadData(
            f"recording of backend {recording.backend!r} has no count {metric!r} of layer {layer!r}: "
            "run with --backend auto"
        )
    return recording.total(layer, metric) / recording.samples if recording.samples else 0.0


def layer_events(network: QuantizedNetwork, name: str, recording: Counted, mapped: MappedNetwork) -> dict[str, float]:
    """Return the mean number per sample of each event that costs energy in one layer.

    If the target does not run the family, an update counts once for each real state. Values that are constant over a
    window are computed and sent once. A readout sends the value of each neuron at each step. Cores run between samples
    too.
    """
    steps = recording.valid_steps / recording.samples + network.timing.drain_steps if recording.samples else 0.0
    run = LayerRun(
        mean=lambda metric: count(recording, name, metric),
        updates=max(network.populations[name].real_states, 1) if name in mapped.hypothetical else 1,
        core_seconds=len(mapped.cores_of(name)) * (steps * network.dt),
    )
    sent = count(recording, name, "events_sent")
    messages = {event: sent * mean for event, mean in mapped.traffic[name].items()}
    return {event: each.count(run) for event, each in EVENTS.items()} | messages


def layer_energy(counts: Mapping[str, float], figures: Mapping[str, Figure[float]]) -> EnergyBreakdown:
    """Multiply events by their figures; a part is None if one of its figures is unpublished, or all are missing."""
    costs: dict[str, list[float | None]] = {part: [] for part in (*DYNAMIC, "static")}
    for event, number in counts.items():
        if event in figures:
            value = figures[event].value
            costs[part_of(event)].append(None if value is None else number * value)
    return EnergyBreakdown(**{part: _sum(held) if held else None for part, held in costs.items()})


def total_energy(layers: Mapping[str, LayerEnergy]) -> LayerEnergy:
    """Return the sum over the layers, part by part; a part that one layer lacks is None.

    Each source is named once.
    """
    parts = {part: _sum(getattr(layer.joules, part) for layer in layers.values()) for part in (*DYNAMIC, "static")}
    phrases = [phrase for layer in layers.values() for phrase in layer.citation.split("; ")]
    return LayerEnergy(EnergyBreakdown(**parts), "; ".join(dict.fromkeys(phrases)))


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return float(sum(known)) if len(known) == len(found) else None


def _label(real_states: int, hypothetical: bool, energy: Energy) -> list[str]:
    advanced = energy.states_per_update.required_value
    if hypothetical:
        return [HYPOTHETICAL]
    bounded = f"lower bound: the figure per update is for {advanced} real states, these neurons have {real_states}"
    return [bounded] if real_states > advanced else []


def _sources(counted: Sequence[str], figures: Mapping[str, Figure[float]]) -> list[str]:
    """Return the sources of the dynamic figures, and the events whose figure is unpublished or not given."""
    given = {event: figures[event] for event in counted if event in figures}
    dynamic = {event: figure for event, figure in given.items() if part_of(event) in DYNAMIC}
    said = list(dict.fromkeys(_provenance(figure) for figure in dynamic.values() if figure.value is not None))
    missing = [event for event, figure in dynamic.items() if figure.value is None]
    absent = [event for event in counted if event not in figures]
    static = [figure.value for event, figure in given.items() if event not in dynamic]
    said += [f"not available: {', '.join(missing)}"] if missing else []
    said += [f"not counted: {', '.join(absent)}"] if absent else []
    return said + (["static power not available: the total is dynamic energy"] if None in static or not static else [])


def _provenance(figure: Figure[float]) -> str:
    voltage = "" if figure.voltage is None else f" at {figure.voltage:g} V"
    return f"{figure.kind}{voltage}: {figure.citation}"
