"""Time at which each population of a network runs, and the delays that align every edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nmdeploy.lava.population import Population


class Connection(NamedTuple):
    """Connection from a population, or the input, over a synapse into a population."""

    source: str
    synapse: str
    target: str
    delay: int


@dataclass(frozen=True)
class Schedule:
    """Arrival and departure of the populations, in steps.

    Attributes
    ----------
    arrival_step : dict of str to int
        Own step t of a population is Lava's time step ``t + arrival_step + 1``. The input's is 0.
    departure_step : dict of str to int
        The output of its step t leaves it in Lava's time step ``t + departure_step + 1``.
    drain_steps : int
        Steps between two samples, in which the first sample's windows are still being decided.
    """

    arrival_step: dict[str, int]
    departure_step: dict[str, int]
    drain_steps: int


def connections(populations: Mapping[str, Population], nodes: dict[str, Any], edges: list[Any]) -> list[Connection]:
    """Join the edges population -> synapse and synapse -> population.

    Raises
    ------
    ValueError
        An edge names an unknown node or joins two nodes of one sort, or a synapse has not exactly one target.
    """
    targets: dict[str, list[str]] = {name: [] for name in nodes if name not in populations}
    incoming = []
    for source, target, delay in edges:
        for name in (source, target):
            if name not in nodes:
                raise ValueError(f"edge {source} -> {target}: there is no node {name!r}")
        if (source in targets) == (target in targets):
            raise ValueError(f"edge {source} -> {target}: an edge joins a population and a synapse")
        if source in targets:
            targets[source].append(target)
        else:
            incoming.append((source, target, int(delay)))
    for synapse, receivers in targets.items():
        if len(receivers) != 1:
            raise ValueError(f"synapse {synapse!r} feeds {len(receivers)} populations; it must feed one")
    return [Connection(source, synapse, targets[synapse][0], delay) for source, synapse, delay in incoming]


def schedule(populations: Mapping[str, Population], links: list[Connection]) -> Schedule:
    """Return the longest path of each population from the input, in synapses and output latencies.

    A connection with a delay that closes a loop does not count.

    Raises
    ------
    ValueError
        A loop has no delay at all, or a population receives nothing.
    """
    for name, population in populations.items():
        if population.make is not None and not any(link.target == name for link in links):
            raise ValueError(f"population {name!r} receives nothing")
    reached = _reachable(links)
    forward = [link for link in links if not (link.delay > 0 and link.source in reached[link.target])]
    depth = {name: int(population.make is not None) for name, population in populations.items()}
    ahead = dict.fromkeys(populations, 0)
    for _ in populations:
        for source, _synapse, target, _delay in forward:
            depth[target] = max(depth[target], depth[source] + populations[source].output_latency + 1)
            ahead[target] = max(ahead[target], ahead[source] + populations[source].output_latency)
    for link in forward:
        if depth[link.target] <= depth[link.source] + populations[link.source].output_latency:
            raise ValueError(f"edge {link.source} -> {link.synapse}: closes a loop without delay; give it 1 or more")
    return Schedule(
        arrival_step=depth,
        departure_step={name: depth[name] + population.output_latency for name, population in populations.items()},
        drain_steps=max(ahead[name] + population.output_latency for name, population in populations.items()),
    )


def _reachable(links: list[Connection]) -> dict[str, set[str]]:
    """Return the populations that each population reaches, itself included."""
    reached = {name: {name} for link in links for name in (link.source, link.target)}
    for _ in reached:
        for link in links:
            reached[link.source] |= reached[link.target]
    return reached


def inserted_delay(link: Connection, when: Schedule) -> int:
    """Return the steps of delay that `link` needs, beyond the one step of its synapse.

    Raises
    ------
    ValueError
        The connection would have to be faster than a synapse is.
    """
    needed = when.arrival_step[link.target] - when.departure_step[link.source] + link.delay
    if needed < 1:
        raise ValueError(
            f"edge {link.source} -> {link.synapse}: feedback with delay {link.delay} cannot be aligned; "
            f"it needs {link.delay + 1 - needed} or more"
        )
    return needed - 1
