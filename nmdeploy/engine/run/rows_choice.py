"""Choice between dense and sparse rows of synapses, measured on the samples of the job."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.run.dense_input import TRIAL_AFTER_SECONDS, seconds_of

TRIAL_VALUES = 1 << 20
ROUNDS = 6
WARM_RUNS = 2
CLEAR = 1.5
"""Ratio of times from which one round decides: where memory lies makes less."""
GAIN = 0.95
"""Share of the time below which the form that was less likely is taken: what lies above is noise."""
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
            self.sample_seconds = seconds_of(self.run(self.program, some)) / len(some)
        self.spent += self.sample_seconds * len(codes)
        if self.spent < TRIAL_AFTER_SECONDS:
            return None
        self.decided = True
        return self.fastest(some)

    def fastest(self, some: npt.NDArray[Any]) -> Program:
        """Return the program with each synapse in its faster form, synapse by synapse."""
        best = self.program
        for name, rows in self.program.alternatives.items():
            other = best.with_rows({name: rows})
            before, after = self.seconds((best, other), some)
            best = other if after < before * GAIN else best
        return best.with_rows({})

    def seconds(self, programs: Sequence[Program], some: npt.NDArray[Any]) -> list[float]:
        """Return the median time that the samples take in each program.

        The programs take turns, since a disturbance then meets all. Each round takes new memory, in the other order
        than the round before: where a program's memory lies changes its time by up to 10 %. A clear first round is
        enough.
        """
        rounds = []
        for turn in range(ROUNDS):
            order = programs[:: -1 if turn % 2 else 1]
            runs = {program: self.run(program, some) for program in order}
            rounds.append([self._warm_seconds(runs[program]) for program in programs])
            if max(rounds[0]) > CLEAR * min(rounds[0]):
                break
        return [statistics.median(times) for times in zip(*rounds, strict=True)]

    @staticmethod
    def _warm_seconds(run: Callable[[], None]) -> float:
        return min(seconds_of(run) for _ in range(WARM_RUNS))
