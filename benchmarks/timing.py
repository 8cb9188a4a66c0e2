"""Seconds per sample of a backend, as medians over repeats, after a run that compiles and warms up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy.typing as npt

from nmdeploy.backends import backend
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording

MOST_SECONDS, LEAST_BATCH, BATCH_ROUNDS = 12.0, 32, 5


@dataclass(frozen=True)
class Effort:
    """Length of a measurement: repeats, and the seconds that they take together at least."""

    repeats: int = 7
    seconds: float = 1.0
    lava_repeats: int = 5
    peer_repeats: int = 5
    sweep_repeats: int = 7
    turns: int = 15
    update_turns: int = 7
    row_turns: int = 12
    training_turns: int = 7
    starts: int = 10


QUICK = Effort(
    repeats=3,
    seconds=0.3,
    lava_repeats=2,
    peer_repeats=2,
    sweep_repeats=3,
    turns=5,
    update_turns=3,
    row_turns=5,
    training_turns=3,
    starts=3,
)


@dataclass(frozen=True)
class Timing:
    """Median seconds per sample, the spread of the repeats, and the batch."""

    seconds: float
    fastest: float
    slowest: float
    batch: int
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Return the timing as plain values."""
        return asdict(self)


def run(name: str, network: QuantizedNetwork, codes: npt.NDArray[Any]) -> Recording:
    """Return the recording of a backend, of the output alone."""
    recording = backend(name).run(network, codes, lengths=None, trace="none")
    assert isinstance(recording, Recording)
    return recording


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(call: Callable[[], Any], batch: int, repeats: int, seconds: float) -> Timing:
    """Time a call that runs `batch` samples until there are enough repeats and seconds."""
    call()
    times: list[float] = []
    while len(times) < repeats or sum(times) < seconds:
        times.append(seconds_of(call))
        if sum(times) > MOST_SECONDS:
            break
    each = sorted(value / batch for value in times)
    return Timing(statistics.median(each), each[0], each[-1], batch, len(each))


def fitting_batch(call: Callable[[int], Any], most: int, target: float) -> int:
    """Return the power of two, from `LEAST_BATCH` to `most`, at which `call` takes about `target` seconds."""
    batch = min(LEAST_BATCH, most)
    call(batch)
    while batch < most and seconds_of(partial(call, batch)) * 2 <= target:
        batch *= 2
    return batch


def best_batch(call: Callable[[int], Any], most: int, target: float) -> int:
    """Return the fastest power of two up to the largest one that fits, by the median of some rounds over all."""
    largest = fitting_batch(call, most, target)
    batches = [batch for batch in (largest >> k for k in range(4)) if batch >= min(LEAST_BATCH, most)]
    for batch in batches:
        call(batch)
    rounds = [[seconds_of(partial(call, batch)) / batch for batch in batches] for _ in range(BATCH_ROUNDS)]
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    return batches[medians.index(min(medians))]
