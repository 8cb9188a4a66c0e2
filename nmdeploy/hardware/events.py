"""Events that cost energy: the table of their counts.

An event is one line of `EVENTS` and one line of a profile's ``[energy]``. The interconnect of a profile adds the events
of its messages, which belong to the part ``spike``. No numpy is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SPIKE = "spike"


@dataclass(frozen=True)
class LayerRun:
    """One layer's run on a target, in means per sample.

    Parameters
    ----------
    mean : function of a metric's name
        Returns a count of the recording.
    updates : int
        Updates that the target needs per update of a neuron: 1 if it runs the family, else one per real state.
    core_seconds : float
        Cores of the layer times the duration of a sample.
    """

    mean: Callable[[str], float]
    updates: int
    core_seconds: float


@dataclass(frozen=True)
class Event:
    """One kind of event: the part of the energy that it belongs to, its count per sample, the unit of its figure."""

    part: str
    count: Callable[[LayerRun], float]
    unit: str = "J"


def _inactive(run: LayerRun) -> float:
    return (run.mean("neuron_updates") - run.mean("neuron_updates_active")) * run.updates


EVENTS: dict[str, Event] = {
    "synaptic_operation": Event(
        "synapse", lambda run: run.mean("synaptic_operations_computed") + run.mean("bias_operations")
    ),
    "neuron_update_active": Event("neuron", lambda run: run.mean("neuron_updates_active") * run.updates),
    "neuron_update_inactive": Event("neuron", _inactive),
    "static_power_per_core": Event("static", lambda run: run.core_seconds, unit="W"),
}
BARRIERS = ("barrier_one_tile", "barrier_all_tiles")
"""Names that only ``[timing]`` has: the synchronization of all cores at the end of a step."""


def units(messages: tuple[str, ...]) -> dict[str, str]:
    """Return the unit of the figure of each event, including those of the interconnect's `messages`."""
    return {name: event.unit for name, event in EVENTS.items()} | dict.fromkeys(messages, "J")


def part_of(event: str) -> str:
    """Return the part of the energy that an event belongs to."""
    return EVENTS[event].part if event in EVENTS else SPIKE
