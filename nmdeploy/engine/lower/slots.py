"""Places of a kernel's parameters and registers: slots of 32 bits per lane, one block of neurons after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.engine.trace.symbols import Node

Key = tuple[Node, int, Lane]
"""A parameter, the power of two that scales it, and the lanes that hold it."""


@dataclass
class Slots:
    """Slots that are assigned while a kernel is written, and filled once per population.

    Per-neuron slots hold one value per lane, and an element of dims takes `slots_of` its lane. Shared slots, of 64
    bits, hold one value for all neurons. The first shared slot holds the number of per-neuron slots of a block.
    """

    per_neuron: dict[Key, int] = field(default_factory=dict)
    shared: dict[Key, int] = field(default_factory=dict)
    first_with_content: dict[Any, Key] = field(default_factory=dict)
    per_neuron_size: int = 0
    shared_size: int = 1

    def of(self, node: Node, scale: int, lane: Lane) -> tuple[bool, int]:
        """Return a flag for a per-neuron parameter, and its first slot."""
        key, size = self._first(node, scale, lane), int(np.prod(node.dims))
        if node.laned:
            if key not in self.per_neuron:
                self.per_neuron[key] = self.per_neuron_size
                self.per_neuron_size += size * slots_of(lane)
            return True, self.per_neuron[key]
        if key not in self.shared:
            self.shared[key] = self.shared_size
            self.shared_size += size
        return False, self.shared[key]

    def _first(self, node: Node, scale: int, lane: Lane) -> Key:
        """Return the parameter that was first met with these values."""
        content = np.ascontiguousarray(node.value, np.float64 if node.real else np.int64).tobytes()
        return self.first_with_content.setdefault(
            (content, node.real, node.laned, node.dims, scale, lane), (node, scale, lane)
        )

    def fill(self, neurons: int, blocks: int, lanes: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the memory of both kinds: (blocks, slots, lanes) of 32 bits and (slots,) of 64 bits.

        Idle lanes repeat a neuron.
        """
        which = np.minimum(np.arange(blocks * lanes), neurons - 1)
        own: npt.NDArray[np.int32] = np.zeros((blocks, max(self.per_neuron_size, 1), lanes), np.int32)
        for (node, scale, lane), slot in self.per_neuron.items():
            values = words(node.value[which].reshape(blocks, lanes, -1).transpose(0, 2, 1), lane, scale)
            own[:, slot : slot + values.shape[1]] = values
        common: npt.NDArray[np.int64] = np.zeros(self.shared_size, np.int64)
        common[0] = own.shape[1]
        for (node, scale, lane), slot in self.shared.items():
            values = words(node.value.reshape(-1, 1), lane, scale).reshape(node.value.size, -1)
            common.view(np.int32).reshape(-1, 2)[slot : slot + len(values), : values.shape[1]] = values
        return own, common


def slots_of(lane: Lane) -> int:
    """Return the slots that a vector takes."""
    return 1 if lane == Lane.F32 else 2


def words(values: Any, lane: Lane, scale: int = 0) -> npt.NDArray[np.int32]:
    """Return vectors of numbers (..., n, lanes) as in memory: (..., n * slots, lanes) of 32 bits."""
    held: Any = np.ascontiguousarray(values)
    if lane not in (Lane.F64, Lane.F32):
        held = held.astype(np.int64, copy=False)
    else:
        held = np.ldexp(held.astype(np.float64), scale).astype(np.float32 if lane == Lane.F32 else np.float64)
    *outer, n, lanes = held.shape
    return np.asarray(held.view(np.int32).reshape(*outer, n * slots_of(lane), lanes))
