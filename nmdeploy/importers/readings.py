"""The reading of a network: every property of it in words, with by what each is known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import By, Fact, Facts, Reading, describe_format

READOUT = {
    "sum": "sum over the steps",
    "last": "value of the last step",
    "max": "largest value of any step",
    "mean": "mean over the steps",
}
BUILT = "a network built in Python"
SAVED = ", saved in "
OF_DATA = ("axes", "input_bits", "input_frac")
"""Options that say something of the data."""
AXES = "NTC (samples, steps, channels)"


def with_reading(
    network: Network,
    source: str,
    by: By = "source",
    options: ReadOptions = ReadOptions(),
    of_network: Facts | None = None,
    of_input: Facts | None = None,
    populations: Mapping[str, Facts] | None = None,
    notes: tuple[str, ...] = (),
    doubt: str | None = None,
) -> Network:
    """Return the network with its `Reading`.

    Parameters
    ----------
    source : str
        Name of the source, in words.
    by : {"source", "assumed", "option"}
        By what is known all that the mappings of facts do not hold.
    options : ReadOptions
        The options that were given, which the model file keeps.
    of_network, of_input, populations : mappings of name to Fact
        Facts that differ from those that the network itself shows, or are known by something else.
    notes, doubt : as in `Reading`
    """
    own = {
        name: {key: Fact(text, by) for key, text in neuron.described().items()}
        for name, neuron in network.populations.items()
    }
    reading = Reading(
        source,
        _of_network(network, by) | dict(of_network or {}),
        {"format": Fact(describe_format(network.input.format), by), "axes": _axes(options)} | dict(of_input or {}),
        {name: facts | dict((populations or {}).get(name, {})) for name, facts in own.items()},
        options.given(),
        notes=notes,
        doubt=doubt,
    )
    return replace(network, read_as=reading)


def saved_reading(network: Network, path: str | os.PathLike[str]) -> Network:
    """Return a network that `nmdeploy.save` wrote, read from a file, with the reading of its own source.

    Options that chose the network have done so; those of its data stay.
    """
    read = reading_to_save(network)
    options = {name: value for name, value in read.options.items() if name in OF_DATA}
    return replace(network, read_as=replace(read, source=f"{read.source}{SAVED}{path}", options=options))


def reading_to_save(network: Network) -> Reading:
    """Return the reading of a network's own source, without the file that it was saved in."""
    read = network.read_as or with_reading(network, BUILT).read_as
    assert read is not None
    return replace(read, source=read.source.partition(SAVED)[0])


def readout_words(network: Network) -> str:
    """Return the readout rule and the population that is read out, in words."""
    return f"{READOUT.get(network.readout, network.readout)} of {network.output}"


def loops_words(network: Network) -> tuple[str, str]:
    """Return the loops, and the delays of edges that close none, in words."""
    loops, delays = [], []
    for edge in network.edges:
        if edge.target not in network.target:
            continue
        target, unit = network.target[edge.target], "step" if edge.delay == 1 else "steps"
        words = f"{edge.source} to {'itself' if target == edge.source else target} after {edge.delay} {unit}"
        if network.closes_loop(edge):
            loops.append(words)
        elif edge.delay:
            delays.append(words)
    return _listed(loops), _listed(delays)


def _listed(words: list[str], most: int = 3) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return (", ".join(dict.fromkeys(words[:most])) + more) or "none"


def _of_network(network: Network, by: By) -> dict[str, Fact]:
    loops, delays = loops_words(network)
    return {
        "dt": Fact(f"{network.dt:g} s", by),
        "readout": Fact(readout_words(network), by),
        "loops": Fact(loops, by),
        "delays": Fact(delays, by),
    }


def _axes(options: ReadOptions) -> Fact:
    return Fact(AXES, "assumed") if options.axes is None else Fact(options.axes, "option")


def doubt_of(network: Network) -> str | None:
    """Return what makes the reading of a network doubtful, which is named before any other problem."""
    return None if network.read_as is None else network.read_as.doubt
