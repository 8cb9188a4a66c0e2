"""Seconds of one call that runs a few steps: ``python benchmarks/calls.py [--docs]``.

It measures one step of `nmdeploy.Session`, and `nmdeploy.run` on one sample of a few steps. Exit code 1 if a time
exceeds its limit, or if the outputs differ from the reference's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nmdeploy
from benchmarks import networks
from benchmarks.networks import CHANNELS, Shape
from benchmarks.pages import Table, draw, fill, markdown, printed_by
from benchmarks.results import load_now
from nmdeploy.backends import compiled, reference

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARKER = "calls"
SHAPE, STEPS, FEW_STEPS = Shape("lif", CHANNELS, layers=4), 2048, 4
CALLS, WARM_CALLS = 4096, 64
TAIL = 0.99


@dataclass(frozen=True)
class Limit:
    """Largest median and 99th percentile, in microseconds; infinite for a time that is only shown."""

    median: float = np.inf
    tail: float = np.inf

    def words(self) -> tuple[str, str]:
        """Return both as cells of a table."""
        median, tail = ("-" if np.isinf(value) else f"{value:g}" for value in (self.median, self.tail))
        return median, tail


@dataclass(frozen=True)
class Measured:
    """Median and 99th percentile of a call, in microseconds."""

    name: str
    limit: Limit
    median: float
    tail: float

    @property
    def holds(self) -> bool:
        """True if neither exceeds its limit."""
        return self.median <= self.limit.median and self.tail <= self.limit.tail

    def row(self) -> tuple[str, ...]:
        """Row of the table."""
        median, tail = self.limit.words()
        return self.name, f"{self.median:.1f}", median, f"{self.tail:.1f}", tail


def measured(name: str, limit: Limit, calls: Sequence[Callable[[], Any]]) -> Measured:
    """Time the calls one by one, after some of them as a warm-up."""
    for call in calls[:WARM_CALLS]:
        call()
    times = np.empty(len(calls))
    for index, call in enumerate(calls):
        start = time.perf_counter_ns()
        call()
        times[index] = time.perf_counter_ns() - start
    return Measured(name, limit, float(np.median(times)) / 1e3, float(np.quantile(times, TAIL)) / 1e3)


def measure(calls: int = CALLS) -> tuple[list[Measured], bool]:
    """Return the times of all cases, and True if the session's outputs are the reference's."""
    network, codes = networks.network(SHAPE), networks.inputs(1, CHANNELS, STEPS)
    few = np.ascontiguousarray(codes[:, :FEW_STEPS])
    session = nmdeploy.Session(network, "compiled")
    same = np.array_equal(
        np.concatenate([session.push(step) for step in codes[0]]), reference.run(network, codes).output[0]
    )
    steps = [codes[0, index % STEPS] for index in range(calls)]
    found = [
        measured("nmdeploy.Session, one step", Limit(20, 60), [lambda step=step: session.push(step) for step in steps]),
        measured("nmdeploy.run, 4 steps", Limit(100), [lambda: nmdeploy.run(network, few)] * calls),
        measured("engine, 4 steps", Limit(), [lambda: compiled.run(network, few)] * calls),
    ]
    return found, same


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python benchmarks/calls.py", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/benchmarks.md too")
    chosen = parser.parse_args(arguments)
    load = load_now()
    found, same = measure()
    columns = ("call", "median", "at most", "99th percentile", "at most")
    note = f"The outputs {'are' if same else 'DIFFER from'} the reference's."
    made = Table("Microseconds per call, 4 layers of 128 LIF neurons", columns, [each.row() for each in found], note)
    draw([made])
    if chosen.docs:
        head = printed_by("python benchmarks/calls.py", ("nmdeploy", "numpy", "llvmlite"), load)
        fill(PAGE, MARKER, f"{head}\n\n{markdown(made)}")
    return 0 if same and all(each.holds for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
