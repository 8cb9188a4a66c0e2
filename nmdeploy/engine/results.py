"""Memory that kernels write results into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine import synapses
from nmdeploy.engine.program import Program, is_recorded
from nmdeploy.neurons.base import IntArray

ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class Results:
    """What kernels wrote, a sample a row: outputs (samples, steps, planes, width), states (samples, steps, elements,
    width), counters (samples, n)."""

    outputs: Mapping[str, npt.NDArray[Any]]
    states: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    counts: Mapping[str, IntArray]


def zeros(words: int) -> IntArray:
    """Words of 64 bits at the start of a cache line."""
    raw = np.zeros(words + ALIGNMENT // 8, np.int64)
    first = (-raw.ctypes.data) % ALIGNMENT // 8
    return np.asarray(raw[first : first + max(words, 1)])


def results(program: Program, samples: int, steps: int) -> Results:
    """Memory for the results of samples."""
    network = program.network
    outputs, states, counts = {}, {}, {}
    for name, made in program.populations.items():
        counts[name] = np.zeros((samples, len(made.layout.counters)), np.int64)
        if is_recorded(network, name, program.trace):
            shape = (samples, steps, made.wires.planes, made.wires.width)
            outputs[name] = np.zeros(shape, np.int32 if made.wires.coded else np.uint8)
        states[name] = {
            state: np.zeros((samples, steps, int(np.prod(sizes)), made.wires.width), f"i{max(bits, 32) // 8}")
            for state, sizes, bits in made.layout.traces
        }
    for name in program.synapses:
        counts[name] = np.zeros((samples, len(synapses.COUNTERS)), np.int64)
    return Results(outputs, states, counts)
