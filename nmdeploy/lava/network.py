"""Builder of a Lava network from a model file."""
# mypy: disable-error-code="import-not-found,import-untyped"

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg, RunConfig

from nmdeploy.lava.model_file import read_model
from nmdeploy.lava.periodic import ENDLESS_STEPS
from nmdeploy.lava.population import Placement, Population
from nmdeploy.lava.populations import describe
from nmdeploy.lava.topology import Connection, Schedule, connections, schedule
from nmdeploy.lava.trace import Trace
from nmdeploy.lava.windows import constant, latch_steps, sends_once
from nmdeploy.lava.wiring import Wiring


@dataclass(frozen=True)
class LavaNetwork:
    """Connected Lava Processes of a model, without its input.

    Attributes
    ----------
    processes : dict of str to AbstractProcess
        Processes by node name. A Process that alignment adds is named after its edge.
    inputs : tuple of InPort
        Ports that expect the network's input, one vector (channels,) in every step.
    channels : int
        Size of the input.
    arrival_step : dict of str to int
        Arrival by population. Its own step t is Lava's time step ``t + arrival_step + 1``.
    departure_step : dict of str to int
        Departure by population. The output of its step t leaves it in Lava's time step ``t + departure_step + 1``.
    output : str
        Name of the output population.
    steps : int
        Steps of a sample.
    interval : int
        Steps between the starts of two samples: `steps`, plus a gap if there are windows. The input must be 0 in the
        gap.
    traces : dict of str to Trace
        Recordings by population; empty without `record` in `build`. A sample has `interval` rows, and its first `steps`
        rows count.

    Examples
    --------
    >>> network = build("model.nir", steps=100)                                 # doctest: +SKIP
    >>> network.connect_input(RingBuffer(data=spikes).s_out)                    # doctest: +SKIP
    >>> network.processes[network.output].run(RunSteps(100), LavaNetwork.run_config())   # doctest: +SKIP
    """

    processes: dict[str, AbstractProcess]
    inputs: tuple[InPort, ...]
    channels: int
    arrival_step: dict[str, int]
    departure_step: dict[str, int]
    output: str
    steps: int
    interval: int
    traces: dict[str, Trace]

    @property
    def latency(self) -> int:
        """Number of steps from an input to its output."""
        return self.departure_step[self.output]

    @property
    def duration(self) -> int:
        """Steps of a run with one sample, until its last output has left. Each further sample adds `interval` steps."""
        return self.steps + max(self.departure_step.values())

    def connect_input(self, source: OutPort) -> None:
        """Feed the network from `source`, which sends step t of the input in Lava's time step t + 1."""
        for port in self.inputs:
            source.connect(port)

    @staticmethod
    def run_config() -> RunConfig:
        """Return the run configuration that selects the integer ProcessModels."""
        return Loihi2SimCfg(select_tag="fixed_pt")


def build(
    path: str | Path, *, steps: int | None = None, samples: int = 1, record: str | None = None, folder: str | Path = "."
) -> LavaNetwork:
    """Build the Lava Processes of a model file and connect them.

    Parameters
    ----------
    path : str or Path
        Model file that ``nmdeploy export`` wrote.
    steps : int, optional
        Steps of a sample. Every population is reset when its next sample begins. None means one sample without end,
        in which every window is complete.
    samples : int
        Number of samples to record.
    record : {'spikes', 'states'}, optional
        Record into files in `folder`: spikes (of integrators, v), or all registers too. Needs `steps`.
    folder : str or Path
        Folder of the recordings.

    Returns
    -------
    LavaNetwork
        Network that is ready for ``connect_input(source.s_out)`` and ``run(...)`` with ``run_config()``.

    Raises
    ------
    ValueError
        The file is not a model file, or Lava cannot run the network. The message names the node or the edge.
    """
    model = read_model(path)
    populations = describe(path, model["nodes"])
    links = connections(populations, model["nodes"], model["edges"])
    when = schedule(populations, links)
    channels = _input_channels(path, populations, model["output"])
    interval = ENDLESS_STEPS if steps is None else steps + when.drain_steps
    traces = _traces(populations, when, interval * samples, record, folder)
    wiring = _wiring(model, populations, links, when, interval, traces)
    return LavaNetwork(
        inputs=tuple(wiring.connect()),
        processes=wiring.processes,
        channels=channels,
        arrival_step=when.arrival_step,
        departure_step=when.departure_step,
        output=model["output"],
        steps=interval - when.drain_steps,
        interval=interval,
        traces=traces,
    )


def _input_channels(path: str | Path, populations: Mapping[str, Population], output: str) -> int:
    """Return the size of the one input; `ValueError` for another number of inputs, or an output that is none."""
    if output not in populations:
        raise ValueError(f"{path}: the output {output!r} is no population")
    channels = [population.outputs for population in populations.values() if population.make is None]
    if len(channels) != 1:
        raise ValueError(f"{path}: {len(channels)} inputs; a Lava network has one")
    return channels[0]


def _wiring(
    model: Mapping[str, Any],
    populations: dict[str, Population],
    links: list[Connection],
    when: Schedule,
    interval: int,
    traces: Mapping[str, Trace],
) -> Wiring:
    """Make the Processes of the populations, each with its place in time; nothing is connected yet."""
    held = constant(populations, links, when)
    kept = latch_steps(links, held)
    every = {name: held[name] for name in sends_once(links, kept) - {model["output"]}}
    places = {
        name: Placement(name, step + 1, interval, interval - when.drain_steps, traces.get(name), every.get(name, 1))
        for name, step in when.arrival_step.items()
    }
    processes = {
        name: _make(population.make, places[name])
        for name, population in populations.items()
        if population.make is not None
    }
    return Wiring(processes, places, model["nodes"], populations, links, when, kept)


def _make(make: Callable[[Placement], AbstractProcess], place: Placement) -> AbstractProcess:
    try:
        return make(place)
    except ValueError as error:
        raise ValueError(f"node {place.name!r}: {error}") from error


def _traces(
    populations: dict[str, Population], when: Schedule, rows: int, record: str | None, folder: str | Path
) -> dict[str, Trace]:
    if record is None:
        return {}
    traces = {}
    for index, (name, population) in enumerate(populations.items()):
        names = population.spikes + (population.states if record == "states" else ())
        if names:
            traces[name] = Trace(
                f"{folder}/{index}", names, when.arrival_step[name] + 1, rows, population.output_latency
            )
    return traces
