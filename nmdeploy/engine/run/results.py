"""Memory that kernels write results into."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.locks import held_across_forks
from nmdeploy.engine.lower.layout import SYNAPSE_COUNTERS
from nmdeploy.engine.lower.program import Program, is_recorded
from nmdeploy.neurons.base import IntArray

ALIGNMENT = 64
SPARE_ARRAYS, SPARE_BYTES = 2, 1 << 26
# References to an array that only the list holds: how many of its own the interpreter counts differs with its version.
IDLE = next(sys.getrefcount(each) for each in [np.zeros(1)])
memory_lock = held_across_forks()


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


class Spare:
    """Memory of earlier outputs that nobody holds any more: fresh pages would cost more than writing to them."""

    def __init__(self) -> None:
        self.held: list[npt.NDArray[np.uint8]] = []

    def zeros(self, shape: tuple[int, ...], dtype: Any, lengths: IntArray) -> npt.NDArray[Any]:
        """An array (samples, steps, ...) whose rows behind each sample's length are 0; kernels write the others."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with memory_lock:
            raw = next((each for each in self.held if each.size == size and sys.getrefcount(each) == IDLE), None)
            if raw is None:
                raw = np.zeros(size, np.uint8)
                if size <= SPARE_BYTES:
                    self.held = [*self.held[1 - SPARE_ARRAYS :], raw]
                return np.asarray(raw.view(dtype).reshape(shape))
        made: npt.NDArray[Any] = raw.view(dtype).reshape(shape)
        for sample in np.flatnonzero(lengths < shape[1]):
            made[sample, lengths[sample] :] = 0
        return made


def results(program: Program, lengths: IntArray, steps: int, spare: Spare) -> Results:
    """Memory for the results of samples."""
    samples = len(lengths)
    network = program.network
    outputs, states, counts = {}, {}, {}
    for name, made in program.populations.items():
        counts[name] = np.zeros((samples, len(made.layout.counters)), np.int64)
        if is_recorded(network, name, program.trace):
            shape = (samples, steps, made.wires.planes, made.wires.width)
            outputs[name] = spare.zeros(shape, np.int32 if made.wires.coded else np.uint8, lengths)
        states[name] = {
            state: np.zeros((samples, steps, int(np.prod(sizes)), made.wires.width), f"i{max(bits, 32) // 8}")
            for state, sizes, bits in made.layout.traces
        }
    for name in program.synapses:
        counts[name] = np.zeros((samples, len(SYNAPSE_COUNTERS)), np.int64)
    return Results(outputs, states, counts)
