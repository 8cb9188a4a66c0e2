"""Mapping of a quantized network to the cores of a target: cut, place, count, and report what does not fit and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nmdeploy.errors import DoesNotFit
from nmdeploy.hardware.interconnects import Place
from nmdeploy.hardware.limits import (
    REMEDIES,
    UNITS,
    Demand,
    Outgoing,
    Usage,
    core_limits,
    family_notes,
    network_problems,
    usage,
)
from nmdeploy.hardware.partition import Cuts, exceeded, met, outgoing_edges, partition
from nmdeploy.hardware.placement import Traffic, place, traffic
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.reading import chosen_reset

__all__ = [
    "Core",
    "Delay",
    "MappedNetwork",
    "Row",
    "Traffic",
    "Usage",
    "families_not_run",
    "map_network",
    "require_families",
    "require_fit",
]


@dataclass(frozen=True)
class Core:
    """One core: neurons `first` to `last` (exclusive) of a population, and its tile, a place on the interconnect."""

    id: int
    population: str
    first: int
    last: int
    tile: Place
    usage: Mapping[str, Usage]

    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON values; each resource is [used, limit], with limit null if unpublished."""
        held = {resource: [one.used, one.limit] for resource, one in self.usage.items()}
        return {
            "id": self.id,
            "population": self.population,
            "first": self.first,
            "last": self.last,
            "tile": list(self.tile),
            "usage": held,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Core:
        """Return the core that `to_json` described."""
        held = {resource: Usage(*pair) for resource, pair in values["usage"].items()}
        return cls(**{**values, "tile": tuple(values["tile"]), "usage": held})


@dataclass(frozen=True)
class Delay:
    """Steps that alignment inserts before a synapse, and their cost.

    Parameters
    ----------
    source, target : str
        Ends of the edge: a population or the input, and a synapse.
    steps : int
        Inserted delay in steps.
    axons : int
        Output axons that leave through the relay.
    buffers : int
        Events that the relay must be able to hold: number of source neurons that send, times steps.
    on_chip : bool
        False for the input's edges, which the host delays.
    """

    source: str
    target: str
    steps: int
    axons: int
    buffers: int
    on_chip: bool


class Row(NamedTuple):
    """One line of the utilization: use of a resource, and its limit (None: nobody has published one)."""

    resource: str
    used: int
    limit: int | None


@dataclass(frozen=True)
class MappedNetwork:
    """A network on the cores of a target.

    Parameters
    ----------
    profile : str
        Name of the hardware profile.
    cores : tuple of Core
        Cores in use; every neuron is on exactly one of them.
    traffic : mapping of str to Traffic
        Events of the interconnect per spike of each population.
    delays : tuple of Delay
        Delays that alignment inserts.
    core_limit : int
        Cores that the chip offers.
    hypothetical : frozenset of str
        Populations whose family the target does not run.
    problems : tuple of str
        All reasons why the target cannot run the network.
    notes : tuple of str
        Remarks for the user that do not prevent the run.
    """

    profile: str
    cores: tuple[Core, ...]
    traffic: Mapping[str, Traffic]
    delays: tuple[Delay, ...]
    core_limit: int
    hypothetical: frozenset[str]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """True if the target runs the network."""
        return not self.problems

    def cores_of(self, population: str) -> tuple[Core, ...]:
        """Return the cores of one population, in the order of its neurons."""
        return tuple(core for core in self.cores if core.population == population)

    def cores_by_layer(self) -> dict[str, int]:
        """Return the number of cores of each population."""
        return dict(Counter(core.population for core in self.cores))

    def utilization(self) -> list[Row]:
        """Return the cores used, the fullest core for each resource, and the cost of inserted delays."""
        rows = [Row("cores", len(self.cores), self.core_limit)]
        for resource, unit in UNITS.items():
            held = [core.usage[resource] for core in self.cores]
            if held:
                fullest = max(held, key=lambda one: one.used)
                rows.append(Row(f"{unit} (fullest core)", fullest.used, fullest.limit))
        on_chip = [delay for delay in self.delays if delay.on_chip]
        rows.append(Row("relay axons (inserted delays)", sum(delay.axons for delay in on_chip), None))
        rows.append(Row("delay buffers (inserted delays)", sum(delay.buffers for delay in on_chip), None))
        return rows


def map_network(network: QuantizedNetwork, profile: HardwareProfile) -> MappedNetwork:
    """Cut populations and their incoming synapses into cores and place them on the interconnect.

    A core holds neurons of one population and all synapses into them. Every core keeps every published limit of the
    profile, unless `problems` says otherwise. An unpublished limit is not checked. The host sends the input and reads
    the output: neither costs a core.

    Parameters
    ----------
    network : QuantizedNetwork
    profile : HardwareProfile

    Returns
    -------
    MappedNetwork
        If the target does not run the network, ``fits`` is false and ``problems`` holds the reasons.
    """
    limits, offered = core_limits(profile), profile.chip.usable_cores.required_value
    cuts, outgoing = partition(network, limits, offered)
    places = place(cuts, profile.interconnect)
    cores = tuple(_cores(network, cuts, places, outgoing, limits))
    problems = [*network_problems(network, profile), *_core_problems(cores, profile)]
    if len(cores) > offered:
        problems.append(
            f"cores ({len(cores)}) exceed max ({offered}) of profile {profile.name!r}: "
            "use fewer neurons, weight bits or states per neuron"
        )
    kinds = {name: neuron.kind for name, neuron in network.populations.items()}
    return MappedNetwork(
        profile=profile.name,
        cores=cores,
        traffic={name: traffic(network, name, cuts, places, profile.interconnect) for name in network.populations},
        delays=tuple(_delays(network, cuts)),
        core_limit=offered,
        hypothetical=frozenset(name for name, kind in kinds.items() if kind not in profile.neurons),
        problems=tuple(problems),
        notes=tuple(family_notes(network, profile)),
    )


def require_families(network: Network | QuantizedNetwork, profile: HardwareProfile) -> None:
    """`DoesNotFit` for the first population whose family the profile does not run."""
    for problem in families_not_run(network, profile).values():
        raise DoesNotFit(problem)


def families_not_run(network: Network | QuantizedNetwork, profile: HardwareProfile) -> dict[str, str]:
    """Return a line for each population whose family the profile does not run, by its name."""
    return {
        name: (
            f"profile {profile.name!r}: population {name!r}: the chip does not run neurons of kind "
            f"{neuron.kind!r}{chosen_reset(network.read_as, name)}, only {', '.join(profile.neurons)}: choose another "
            "profile or neuron"
        )
        for name, neuron in network.populations.items()
        if neuron.kind not in profile.neurons
    }


def require_fit(mapped: MappedNetwork) -> MappedNetwork:
    """Return the network on its cores; `DoesNotFit` names the first limit that is exceeded, and by how much."""
    if not mapped.fits:
        more = f" ({len(mapped.problems) - 1} more)" if len(mapped.problems) > 1 else ""
        raise DoesNotFit(f"profile {mapped.profile!r}: {mapped.problems[0]}{more}")
    return mapped


def _cores(
    network: QuantizedNetwork,
    cuts: Cuts,
    places: Mapping[str, list[Place]],
    outgoing: Mapping[str, Outgoing],
    limits: Mapping[str, int | None],
) -> Iterator[Core]:
    identity = 0
    for name, ranges in cuts.items():
        demand = Demand(network, name, outgoing[name])
        for (first, last), tile in zip(ranges, places[name], strict=True):
            yield Core(identity, name, first, last, tile, usage(demand.between(first, last), limits))
            identity += 1


def _core_problems(cores: tuple[Core, ...], profile: HardwareProfile) -> Iterator[str]:
    """Yield one line for each population and resource of which a single neuron exceeds a core."""
    found: dict[tuple[str, str], list[Core]] = {}
    for core in cores:
        for resource in exceeded(core.usage):
            found.setdefault((core.population, resource), []).append(core)
    for (population, resource), over in found.items():
        worst = max(over, key=lambda core: core.usage[resource].used)
        held = worst.usage[resource]
        yield (
            f"population {population!r}: {UNITS[resource]} ({held.used}) exceed max ({held.limit}) of a core of "
            f"profile {profile.name!r} for neuron {worst.first} alone ({len(over)} such cores): {REMEDIES[resource]}"
        )


def _delays(network: QuantizedNetwork, cuts: Cuts) -> Iterator[Delay]:
    for source in (network.input_name, *network.populations):
        for edge in outgoing_edges(network, source):
            steps = network.timing.inserted_delays[edge.source, edge.target]
            if steps:
                reached = met(network, edge, cuts)
                senders = int(reached.any(0).sum())
                yield Delay(
                    source, edge.target, steps, int(reached.sum()), senders * steps, source != network.input_name
                )
