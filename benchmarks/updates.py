"""Updates of neurons and states per second, of `compiled` and of the calibration loops in the same process.

`compiled` must be faster than the scalar loop by a share of the lanes of the processor's vectors. A kernel of half
their width then misses the requirement; `benchmarks/narrow.py` measures that it does.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.timing import run, seconds_of
from nmdeploy.engine.llvm.machine import has
from nmdeploy.network.network import QuantizedNetwork

LANE_BITS, LEAST_BITS, CALLS = 32, 128, 3
WIDTHS = {"avx512f": 512, "avx2": 256}
# Required speed-up over the scalar loop per lane. With 512 bits, a kernel of whole vectors reaches 0.9 for LIF and 1.3
# for state-space, a kernel of half the width 0.35 and 0.6. Its arithmetic is not that of the loop.
EACH_LANE = {"lif": 0.45, "state_space": 0.8}
BATCHES = {"lif": 256, "state_space": 32}


def native_bits() -> int:
    """Return the width of the processor's vectors."""
    return next((bits for feature, bits in WIDTHS.items() if has(feature)), LEAST_BITS)


def required(kind: str) -> float:
    """Return the required ratio of updates to those of the scalar loop."""
    return EACH_LANE[kind] * native_bits() / LANE_BITS


def job(kind: str) -> tuple[QuantizedNetwork, networks.Codes]:
    """Return a network and inputs whose time is that of updates: silence for LIF, ordinary inputs for states."""
    network = networks.lif(128) if kind == "lif" else networks.state_space(128, 16, "per-product")
    codes = networks.inputs(BATCHES[kind], 128)
    return network, np.zeros_like(codes) if kind == "lif" else codes


@dataclass(frozen=True)
class Turn:
    """Updates per second of `compiled` and of the scalar loop, measured together."""

    compiled: float
    scalar: float

    @property
    def ratio(self) -> float:
        """Ratio of `compiled` to the scalar loop."""
        return self.compiled / self.scalar


def measure(kind: str, turns: int) -> dict[str, Any]:
    """Return the turn with the middle ratio, and the ratios of all."""
    from benchmarks.update_loops import update_loop

    network, codes = job(kind)
    each = (
        sum(neuron.size * neuron.states_per_neuron for neuron in network.populations.values())
        * networks.STEPS
        * len(codes)
    )
    scalar = update_loop(kind, 1)
    made = [_turn(lambda: run("compiled", network, codes), each, scalar) for _ in range(turns)]
    middle = sorted(made, key=operator.attrgetter("ratio"))[(turns - 1) // 2]
    return {"bits": native_bits(), **asdict(middle), "ratio": middle.ratio, "ratios": [turn.ratio for turn in made]}


def _turn(call: Callable[[], Any], each: int, scalar: Callable[[], float]) -> Turn:
    before = scalar()
    times = [seconds_of(call) for _ in range(1 + CALLS)]
    return Turn(each / statistics.median(times[1:]), max(before, scalar()))
