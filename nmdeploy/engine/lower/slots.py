"""Where a kernel keeps its parameters and registers: slots of 32 bits a lane, a block of neurons after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.trace.symbols import Node

Key = tuple[Node, int, str]
"""A parameter, the power of two it is multiplied by, and how it is held: one of `Kinds`."""


@dataclass
class Slots:
    """Slots that are handed out while a kernel is written, and filled once for each population.

    `laned` ones hold a value a lane, `slots_of` its kind for each element of dims; shared ones, of 64 bits, one for all
    neurons. The first shared slot holds the number of laned slots of a block.
    """

    laned: dict[Key, int] = field(default_factory=dict)
    shared: dict[Key, int] = field(default_factory=dict)
    met: dict[Any, Key] = field(default_factory=dict)
    laned_size: int = 0
    shared_size: int = 1

    def of(self, node: Node, scale: int, kind: str) -> tuple[bool, int]:
        """Whether it is a lane's own, and its first slot."""
        key, size = self._first(node, scale, kind), int(np.prod(node.dims))
        if node.laned:
            if key not in self.laned:
                self.laned[key] = self.laned_size
                self.laned_size += size * slots_of(kind)
            return True, self.laned[key]
        if key not in self.shared:
            self.shared[key] = self.shared_size
            self.shared_size += size
        return False, self.shared[key]

    def _first(self, node: Node, scale: int, kind: str) -> Key:
        """The parameter that was met first with these values."""
        content = np.ascontiguousarray(node.value, np.int64).tobytes()
        return self.met.setdefault((content, node.laned, node.dims, scale, kind), (node, scale, kind))

    def fill(self, neurons: int, blocks: int, lanes: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Memory of both kinds: (blocks, slots, lanes) of 32 bits and (slots,) of 64; idle lanes repeat a neuron."""
        which = np.minimum(np.arange(blocks * lanes), neurons - 1)
        own: npt.NDArray[np.int32] = np.zeros((blocks, max(self.laned_size, 1), lanes), np.int32)
        for (node, scale, kind), slot in self.laned.items():
            values = words(node.value[which].reshape(blocks, lanes, -1).transpose(0, 2, 1), kind, scale)
            own[:, slot : slot + values.shape[1]] = values
        common: npt.NDArray[np.int64] = np.zeros(self.shared_size, np.int64)
        common[0] = own.shape[1]
        for (node, scale, kind), slot in self.shared.items():
            values = words(node.value.reshape(-1, 1), kind, scale).reshape(node.value.size, -1)
            common.view(np.int32).reshape(-1, 2)[slot : slot + len(values), : values.shape[1]] = values
        return own, common


def slots_of(kind: str) -> int:
    """Slots that a vector takes."""
    return 1 if kind == "s" else 2


def words(values: Any, kind: str, scale: int = 0) -> npt.NDArray[np.int32]:
    """Vectors of integers (..., n, lanes) as they stand in memory: (..., n * slots, lanes) of 32 bits."""
    held: Any = np.ascontiguousarray(values, np.int64)
    if kind in ("f", "s"):
        held = np.ldexp(held.astype(np.float64), scale).astype(np.float32 if kind == "s" else np.float64)
    *outer, n, lanes = held.shape
    return np.asarray(held.view(np.int32).reshape(*outer, n * slots_of(kind), lanes))
