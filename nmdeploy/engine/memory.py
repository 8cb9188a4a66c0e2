"""Where a kernel keeps its parameters and registers: slots of one vector each, a block of neurons after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.symbols import Node

Key = tuple[Node, int, str]
"""A parameter, the power of two it is multiplied by, and how it is held: one of `Kinds`."""


@dataclass
class Slots:
    """Slots that are handed out while a kernel is written, and filled once for each population.

    `laned` ones hold a value a lane, the others one for all neurons; both are (elements of dims) slots long. The first
    shared slot holds the number of laned slots of a block.
    """

    laned: dict[Key, int] = field(default_factory=dict)
    shared: dict[Key, int] = field(default_factory=dict)
    laned_size: int = 0
    shared_size: int = 1

    def of(self, node: Node, scale: int, kind: str) -> tuple[bool, int]:
        """Whether it is a lane's own, and its first slot."""
        key, size = (node, scale, kind), int(np.prod(node.dims))
        if node.laned:
            if key not in self.laned:
                self.laned[key] = self.laned_size
                self.laned_size += size
            return True, self.laned[key]
        if key not in self.shared:
            self.shared[key] = self.shared_size
            self.shared_size += size
        return False, self.shared[key]

    def fill(self, neurons: int, lanes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Memory of both kinds, as int64 bits: (blocks, slots, lanes) and (slots,); idle lanes repeat a neuron."""
        blocks = -(-neurons // lanes)
        which = np.minimum(np.arange(blocks * lanes), neurons - 1)
        own: npt.NDArray[np.int64] = np.zeros((blocks, max(self.laned_size, 1), lanes), np.int64)
        for (node, scale, kind), slot in self.laned.items():
            values = node.value[which].reshape(blocks, lanes, -1).transpose(0, 2, 1)
            own[:, slot : slot + values.shape[1]] = words(values, kind, scale)
        common: npt.NDArray[np.int64] = np.zeros(self.shared_size, np.int64)
        common[0] = own.shape[1]
        for (node, scale, kind), slot in self.shared.items():
            each = words(node.value.reshape(-1, 1), kind, scale)
            common[slot : slot + len(each)] = each[:, 0]
        return own, common


def words(values: Any, kind: str, scale: int = 0) -> npt.NDArray[np.int64]:
    """Rows of integers (..., lanes) as they stand in memory: a slot each, of which float32 fill the first half."""
    if kind not in ("f", "s"):
        return np.ascontiguousarray(values, np.int64)
    scaled = np.ldexp(np.ascontiguousarray(values, np.float64), scale)
    if kind == "f":
        return scaled.view(np.int64)
    slots = np.zeros(scaled.shape, np.int64)
    slots.view(np.float32)[..., : scaled.shape[-1]] = scaled
    return slots
