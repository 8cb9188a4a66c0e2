"""Growth of the time of `compiled` with the size of the task, and its exponents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import networks
from benchmarks.timing import Effort, run, seconds_of
from nmdeploy.network.network import QuantizedNetwork

FITTED = ("samples", "steps", "layers")
BATCH = 256  # at this size the fixed cost per call does not count
TIMES, DEPTHS = (1, 2, 3, 4, 6, 8), (4, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Point:
    """One measurement of a sweep; `x` is the size that grows."""

    x: float
    network: QuantizedNetwork
    samples: int
    steps: int = networks.STEPS
    density: float = networks.DENSITY

    def call(self) -> Callable[[], Any]:
        """Return the call that is timed."""
        codes = networks.inputs(self.samples, self.network.nodes["input"].size, self.steps, self.density)  # type: ignore[union-attr]
        return lambda: run("compiled", self.network, codes)


def exponent(x: npt.ArrayLike, seconds: npt.ArrayLike) -> float:
    """Return the slope of the least-squares line through log(seconds) over log(x).

    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(x), np.log(seconds), 1)[0])


def measure(points: Sequence[Point], repeats: int) -> dict[str, Any]:
    """Return the least seconds of each point in several rounds, and the exponents of every round.

    A round goes through all points and back again, so that a change of the machine's speed affects all of them. A
    disturbance only makes a call longer.
    """
    calls = [point.call() for point in points]
    for call in calls:
        call()
    x = [point.x for point in points]
    times = [max(1, round(max(x) / each)) for each in x]  # as long for each point: short calls meet as many speeds
    rounds = [_round(calls, times) for _ in range(repeats)]
    seconds = [min(each) for each in zip(*rounds, strict=True)]
    exponents = [exponent(x, each) for each in rounds]
    return {"x": x, "seconds": seconds, "exponent": exponent(x, seconds), "exponents": exponents}


def _round(calls: Sequence[Callable[[], Any]], times: Sequence[int]) -> list[float]:
    found = [math.inf] * len(calls)
    for index in (*range(len(calls)), *reversed(range(len(calls)))):
        found[index] = min(found[index], *(seconds_of(calls[index]) for _ in range(times[index])))
    return found


def sweeps() -> dict[str, list[Point]]:
    """Return the points of each sweep.

    They lie around LIF with 4 layers of 128 channels; the points of the states lie around a smaller network.
    """
    lif, batch, few = networks.lif(networks.CHANNELS), BATCH, BATCH // 4
    steps, deep = networks.STEPS, networks.lif(networks.CHANNELS, DEPTHS[-1])
    return {
        "samples": [Point(batch * k, lif, batch * k) for k in TIMES],
        "steps": [Point(steps * k, lif, batch, steps * k) for k in TIMES],
        "layers": [Point(k, networks.first_layers(deep, k), batch) for k in DEPTHS],
        "small batches": [Point(k, lif, k) for k in (1, 2, 4, 8, 16)],
        "channels": [Point(k, networks.lif(k), few) for k in (64, 128, 256, 512)],
        "density": [Point(k, lif, batch, density=k) for k in (0.02, 0.04, 0.08, 0.16, 0.32)],
        "states": [Point(k, networks.state_space(64, k, "per-product", 2), few) for k in (4, 8, 16, 32, 64)],
    }


def run_all(effort: Effort, names: Sequence[str], progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure the sweeps of those names."""
    found = {}
    progress("scaling: tuning the networks")
    for name, points in sweeps().items():
        if name in names:
            progress(f"scaling with {name}: {len(points)} sizes, {effort.sweep_repeats} rounds")
            found[name] = measure(points, effort.sweep_repeats)
            progress(f"scaling with {name}: exponent {found[name]['exponent']:.3f}")
    return found
