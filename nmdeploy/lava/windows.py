"""Where spikes are sent once a window: what is constant over windows, and which synapses get a `Latch`."""

from collections.abc import Mapping

from nmdeploy.lava.population import Population
from nmdeploy.lava.topology import Connection, Schedule


def constant(populations: Mapping[str, Population], links: list[Connection], when: Schedule) -> dict[str, int]:
    """Steps of the windows over which each population's output is constant; 1 where it is not.

    A memoryless population has the windows of its sources where all of them agree and no edge delays.
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
    """Steps for which the sum of each synapse is kept; only those synapses whose sources are all constant over them."""
    found = {
        synapse: _common([link for link in links if link.synapse == synapse], steps)
        for synapse in {link.synapse for link in links}
    }
    return {synapse: window for synapse, window in found.items() if window > 1}


def _common(links: list[Connection], steps: Mapping[str, int]) -> int:
    """Steps of the windows of all sources; 1 if they differ or an edge delays."""
    if any(link.delay for link in links):
        return 1
    lengths = {steps[link.source] for link in links}
    return lengths.pop() if len(lengths) == 1 else 1


def sends_once(links: list[Connection], kept: Mapping[str, int]) -> set[str]:
    """Populations of which every receiver keeps what it gets, so that one message a window is enough."""
    return {link.source for link in links} - {link.source for link in links if link.synapse not in kept}
