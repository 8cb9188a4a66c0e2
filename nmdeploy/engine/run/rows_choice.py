"""Choice between dense and sparse rows of synapses, measured on the samples of the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.run.dense_input import TRIAL_AFTER_SECONDS, TRIAL_VALUES, seconds_of

ProgramRun = Callable[[Program, npt.NDArray[Any]], Callable[[], None]]


class RowsChoice:
    """Tries each synapse's other form of rows once a job has taken long enough, and keeps the faster one.

    Both forms give the same sums and counts, so a choice changes nothing but the time.

    Parameters
    ----------
    program : Program
        With `alternatives`, or nothing is tried.
    run : callable
        ``run(program, codes)`` returns what runs samples on one processor.
    """

    def __init__(self, program: Program, run: ProgramRun) -> None:
        self.program, self.run = program, run
        self.sample_seconds = 0.0
        self.spent = 0.0
        self.decided = not program.alternatives

    def choose(self, codes: npt.NDArray[Any]) -> Program | None:
        """Return the program to run from now on, once it is known; None before, and if it is known already."""
        if self.decided or not len(codes):
            return None
        some = codes[: max(1, TRIAL_VALUES // max(codes[0].size, 1))]
        if not self.sample_seconds:
            self.sample_seconds = self.seconds(self.program, some) / len(some)
        self.spent += self.sample_seconds * len(codes)
        if self.spent < TRIAL_AFTER_SECONDS:
            return None
        self.decided = True
        return self.fastest(some)

    def fastest(self, some: npt.NDArray[Any]) -> Program:
        """Return the program with each synapse in its faster form, synapse by synapse."""
        best, least = self.program, self.seconds(self.program, some)
        for name, rows in self.program.alternatives.items():
            other = best.with_rows({name: rows})
            seconds = self.seconds(other, some)
            if seconds < least:
                best, least = other, seconds
        return best.with_rows({})

    def seconds(self, program: Program, some: npt.NDArray[Any]) -> float:
        """Return how long the samples take."""
        return seconds_of(self.run(program, some))
