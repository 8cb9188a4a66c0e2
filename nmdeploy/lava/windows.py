"""Populations whose output is constant over windows, and the synapses that keep their sum in a `Latch` for them."""

from collections.abc import Mapping

from nmdeploy.lava.population import Population
from nmdeploy.lava.topology import Connection, Schedule


def constant(populations: Mapping[str, Population], links: list[Connection], when: Schedule) -> dict[str, int]:
    """Return the steps of the windows over which each population's output is constant, or 1.

    A memoryless population has the windows of its sources if all of them agree and no edge delays.
    """
    steps: dict[str, int] = {}
    for name in sorted(populations, key=lambda name: when.arrival_step[name]):
        population, incoming = populations[name], [link for link in links if link.target == name]
        steps[name] = population.window
        if population.memoryless:
            steps[name] = _common(incoming, steps)
        if population.send_once:
            steps[name] = 1
    return steps


def latch_steps(links: list[Connection], steps: Mapping[str, int]) -> dict[str, int]:
    """Return the steps for which each synapse's sum is kept, for synapses whose sources are all constant over them."""
    found = {
        synapse: _common([link for link in links if link.synapse == synapse], steps)
        for synapse in {link.synapse for link in links}
    }
    return {synapse: window for synapse, window in found.items() if window > 1}


def _common(links: list[Connection], steps: Mapping[str, int]) -> int:
    """Return the steps of the windows of all sources; 1 if they differ or an edge delays."""
    if any(link.delay for link in links):
        return 1
    lengths = {steps[link.source] for link in links}
    return lengths.pop() if len(lengths) == 1 else 1


def sends_once(links: list[Connection], kept: Mapping[str, int]) -> set[str]:
    """Return the populations whose receivers all keep their input, so that one message per window is enough."""
    return {link.source for link in links} - {link.source for link in links if link.synapse not in kept}
