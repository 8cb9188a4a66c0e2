"""Energy of each layer and sample, from event counts, the mapping and the profile's figures: docs/metrics.md.

A figure that nobody has published is None ("not available"), and so is every part that needs it; it is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from nmdeploy.errors import BadData
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Counted

if TYPE_CHECKING:
    from nmdeploy.hardware.mapping import MappedNetwork
    from nmdeploy.hardware.profile import Energy, Figure, HardwareProfile

HYPOTHETICAL = "hypothetical: one update per real state"
DYNAMIC = ("synapse", "neuron", "spike")
COMPUTED = ("synaptic_operations_computed", "bias_operations")


@dataclass(frozen=True)
class EnergyBreakdown:
    """Joules a sample; None where a figure is not available. Without `static`, `total` is the dynamic energy."""

    synapse: float | None
    neuron: float | None
    spike: float | None
    static: float | None

    @property
    def total(self) -> float | None:
        """Sum of the parts: None if a dynamic part is; the dynamic energy if `static` is."""
        dynamic = [getattr(self, part) for part in DYNAMIC]
        if None in dynamic:
            return None
        return float(sum(dynamic)) + (self.static or 0.0)

    def to_json(self) -> dict[str, float | None]:
        """The parts and their total."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class LayerEnergy:
    """A layer's energy, and where its figures come from."""

    joules: EnergyBreakdown
    citation: str


@dataclass(frozen=True)
class Events:
    """Means a sample of one layer: operations computed (biases included), updates, messages and hops of its events."""

    synaptic_operations: float
    updates_active: float
    updates_inactive: float
    messages: float
    hops_east_west: float
    hops_north_south: float
    core_seconds: float


def network_energy(
    network: QuantizedNetwork, recording: Counted, mapped: MappedNetwork, profile: HardwareProfile
) -> dict[str, LayerEnergy]:
    """Energy of each layer (a population with its incoming synapses), in joules a sample.

    ``synapse = operations * E_op``; ``neuron = active * E_active + inactive * E_inactive``;
    ``spike = messages * E_tile + hops_ew * E_ew + hops_ns * E_ns``; ``static = P_core * cores * steps * dt``.

    Raises
    ------
    BadData
        The recording holds no event counts.
    """
    return {
        name: LayerEnergy(
            layer_energy(layer_events(network, name, recording, mapped), profile.energy),
            _citation(network.populations[name].real_states, name in mapped.hypothetical, profile.energy),
        )
        for name in network.populations
    }


def count(recording: Counted, layer: str, metric: str) -> float:
    """Mean of a count over the samples; `BadData` where the recording lacks it."""
    if metric not in recording.metrics(layer):
        raise BadData(
            f"recording of backend {recording.backend!r} has no count {metric!r} of layer {layer!r}: "
            "run with --backend auto"
        )
    return recording.total(layer, metric) / recording.samples if recording.samples else 0.0


def layer_events(network: QuantizedNetwork, name: str, recording: Counted, mapped: MappedNetwork) -> Events:
    """What costs energy in one layer.

    Where the target does not run the family, an update counts once for each real state. What is constant over a window
    is computed and sent once. A readout sends the value of each neuron at each step. Cores run between samples too.
    """
    neuron, way = network.populations[name], mapped.traffic[name]
    each = max(neuron.real_states, 1) if name in mapped.hypothetical else 1
    updates, active = (count(recording, name, metric) for metric in ("neuron_updates", "neuron_updates_active"))
    sent = count(recording, name, "events_sent")
    seconds = (
        (recording.valid_steps / recording.samples + network.timing.drain_steps) * network.dt
        if recording.samples
        else 0.0
    )
    return Events(
        synaptic_operations=sum(count(recording, name, metric) for metric in COMPUTED),
        updates_active=active * each,
        updates_inactive=(updates - active) * each,
        messages=sent * way.messages,
        hops_east_west=sent * way.east_west,
        hops_north_south=sent * way.north_south,
        core_seconds=len(mapped.cores_of(name)) * seconds,
    )


def layer_energy(events: Events, figures: Energy) -> EnergyBreakdown:
    """Events times their figures."""
    return EnergyBreakdown(
        synapse=_cost((events.synaptic_operations, figures.synaptic_operation)),
        neuron=_cost(
            (events.updates_active, figures.neuron_update_active),
            (events.updates_inactive, figures.neuron_update_inactive),
        ),
        spike=_cost(
            (events.messages, figures.spike_within_tile),
            (events.hops_east_west, figures.hop_east_west),
            (events.hops_north_south, figures.hop_north_south),
        ),
        static=_cost((events.core_seconds, figures.static_power_per_core)),
    )


def total_energy(layers: Mapping[str, LayerEnergy]) -> LayerEnergy:
    """The sum over the layers, part by part; a part that one layer lacks is None. Sources are named once."""
    parts = {part: _sum(getattr(layer.joules, part) for layer in layers.values()) for part in (*DYNAMIC, "static")}
    phrases = [phrase for layer in layers.values() for phrase in layer.citation.split("; ")]
    return LayerEnergy(EnergyBreakdown(**parts), "; ".join(dict.fromkeys(phrases)))


def _cost(*terms: tuple[float, Figure[float]]) -> float | None:
    return _sum(None if figure.value is None else number * figure.value for number, figure in terms)


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return float(sum(known)) if len(known) == len(found) else None


def _citation(real_states: int, hypothetical: bool, figures: Energy) -> str:
    held = {f.name: getattr(figures, f.name) for f in fields(figures)}
    dynamic = {name: figure for name, figure in held.items() if figure.unit == "J"}
    missing = [name for name, figure in dynamic.items() if figure.value is None]
    advanced = figures.states_per_update.required_value
    said = [HYPOTHETICAL] if hypothetical else []
    if not hypothetical and real_states > advanced:
        said.append(f"lower bound: one update a neuron of {real_states} real states, the figure is for {advanced}")
    said += dict.fromkeys(_provenance(figure) for figure in dynamic.values() if figure.value is not None)
    said += [f"not available: {', '.join(missing)}"] if missing else []
    said += ["static not available: total is dynamic"] if figures.static_power_per_core.value is None else []
    return "; ".join(said)


def _provenance(figure: Figure[float]) -> str:
    voltage = "" if figure.voltage is None else f" at {figure.voltage:g} V"
    return f"{figure.kind}{voltage}: {figure.citation}"
