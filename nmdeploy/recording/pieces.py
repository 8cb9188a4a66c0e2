"""Runs in pieces of steps: the states of one large sample pass by, and all else is kept."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network.timing import Timing
from nmdeploy.recording.types import Recording, without_all_states

States = Mapping[str, Mapping[str, npt.NDArray[Any]]]
"""States by population and name, (samples, rows, ...): the rows follow those of the piece before."""


class Pieces:
    """A run in pieces of steps: iterate over its states first, then read its recording, which holds all the rest.

    The arrays of a piece are valid until the next one is made. The rows of a population that runs later than the input
    come as many steps later. A piece without rows of a population does not name it. A run that was not cut has no
    piece: its states are in the recording.

    Parameters
    ----------
    made : generator that yields States and returns a Recording
    """

    def __init__(self, made: Generator[States, None, Recording]) -> None:
        self._made = made
        self._recording: Recording | None = None

    def __iter__(self) -> Iterator[States]:
        self._recording = yield from self._made

    @property
    def recording(self) -> Recording:
        """Return the recording, after the last piece."""
        if self._recording is None:
            raise RuntimeError("the recording is made after the last piece")
        return self._recording


def cut(recording: Recording, timing: Timing, steps: int) -> Generator[States, None, Recording]:
    """Yield the states of a recording as a run in pieces of `steps` would, and return the rest of it."""
    for first in range(0, recording.steps + timing.drain_steps, steps):
        found = {}
        for name, layer in recording.layers.items():
            rows = timing.rows(name, first, first + steps, recording.steps)
            if layer.states and rows.start < rows.stop:
                found[name] = {state: values[:, rows] for state, values in layer.states.items()}
        yield found
    return without_all_states(recording)


def joined(pieces: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Join the pieces of one population."""
    return {state: np.concatenate([piece[state] for piece in pieces], 1) for state in pieces[0]} if pieces else {}


def copied(states: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the states of a population in memory of their own, as 64-bit codes."""
    return {name: np.array(values, bool if values.dtype == bool else np.int64) for name, values in states.items()}
