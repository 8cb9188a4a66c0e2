"""Comparison of backends on large samples: in lockstep, piece of steps by piece of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nmdeploy.analysis.comparison import Comparison, Differences
from nmdeploy.backends import takes_all_samples
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.pieces import Pieces, States, copied, cut, joined
from nmdeploy.recording.recorded import Recorded
from nmdeploy.recording.types import Recording, join
from nmdeploy.running import run_data, run_in_pieces
from nmdeploy.samples.source import Data

Kept = Mapping[str, Collection[str]]
"""States that are kept, by population."""


def sample_runs(
    network: QuantizedNetwork, data: Data, backend: str, steps: int, recorded: Recorded | None
) -> Iterator[Pieces]:
    """Return the run of each sample in a backend, with all states; from the recording if one is given.

    A backend that takes all samples in one call runs now, and its recording is cut.
    """
    if recorded is not None:
        return recorded.in_pieces(data.samples, network.timing, steps)
    if takes_all_samples(backend):
        whole = run_data(network, data, backend, "states")
        return (Pieces(cut(whole.sample(index), network.timing, steps)) for index in range(data.samples))
    return (pieces for _, pieces in run_in_pieces(network, data, backend, "states"))


def compare_samples(
    network: QuantizedNetwork,
    data: Data,
    expected: Iterator[Pieces],
    others: Mapping[str, Iterator[Pieces]],
    kept: Kept,
    advance: Callable[[int], object] | None,
) -> tuple[Recording, list[Comparison]]:
    """Compare the runs of all samples with the expected ones.

    Return the expected recording, whose layers have the states `kept` only, and the comparisons.
    """
    differences = {name: Differences() for name in others}
    parts: list[Recording] = []
    last: list[Recording] = []
    for sample, (pieces, *rest) in enumerate(zip(expected, *others.values(), strict=True)):
        comparing = _Sample(list(network.populations), sample, int(data.lengths[sample]), kept)
        parts.append(comparing.compare(pieces, rest, list(differences.values())))
        last = [run.recording for run in rest]
        if advance is not None:
            advance(sample + 1)
    whole = join([(np.array([index]), part) for index, part in enumerate(parts)], parts[0].steps)
    return whole, [found.comparison(whole, other) for found, other in zip(differences.values(), last, strict=True)]


class _Sample:
    """Comparison of one sample."""

    def __init__(self, layers: Sequence[str], sample: int, length: int, kept: Kept) -> None:
        self.layers, self.sample, self.length, self.kept = layers, sample, length, kept
        self.rows: Counter[str] = Counter()
        self.found: dict[str, list[Mapping[str, Any]]] = {}

    def compare(self, expected: Pieces, others: Sequence[Pieces], differences: Sequence[Differences]) -> Recording:
        """Compare all pieces, then the spikes; return the expected recording with the states that are kept."""
        for states, *rest in zip(expected, *others, strict=True):
            for other, difference in zip(rest, differences, strict=True):
                self._add(states, other, difference)
            for name, held in states.items():
                self.rows[name] += next(iter(held.values())).shape[1]
                some = {state: values for state, values in held.items() if state in self.kept.get(name, ())}
                self.found.setdefault(name, []).append(copied(some))
        recording = expected.recording
        for run, difference in zip(others, differences, strict=True):
            self._add_spikes(recording, run.recording, difference)
        states = {name: joined(held) for name, held in self.found.items()}
        layers = {name: replace(layer, states=states.get(name, {})) for name, layer in recording.layers.items()}
        return replace(recording, layers=layers)

    def _add(self, expected: States, actual: States, difference: Differences) -> None:
        if {name: list(held) for name, held in expected.items()} != {name: list(held) for name, held in actual.items()}:
            raise ValueError(f"recordings traced different things: {sorted(expected)} and {sorted(actual)}")
        for name, held in expected.items():
            row = self.rows[name]
            for index, (state, one) in enumerate(held.items(), 1):
                two = actual[name][state]
                if one.shape != two.shape:
                    raise ValueError(f"{name} {state}: shapes {one.shape} and {two.shape} differ")
                valid = slice(max(min(self.length - row, one.shape[1]), 0))
                place = self.layers.index(name), index
                difference.add((name, state), place, self.sample, one[0, valid], two[0, valid], row)

    def _add_spikes(self, expected: Recording, actual: Recording, difference: Differences) -> None:
        for index, name in enumerate(self.layers):
            one, two = expected.layers[name].spikes, actual.layers[name].spikes
            if (one is None) != (two is None):
                raise ValueError(f"recordings traced different things: spikes of {name}")
            if one is not None and two is not None:
                valid = slice(self.length)
                difference.add((name, "spikes"), (index, 0), self.sample, one[0, valid], two[0, valid])
