"""NIR graph under construction, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import UnsupportedParameter

Fields = dict[str, Any]

NO_LEAK = 2.0**40
"""Time constant, in steps, that means "no leak", because NIR needs a finite one; below float32's resolution."""


@dataclass
class Primitives:
    """NIR nodes and edges under construction.

    `enters` and `leaves` hold the primitives at which the edges of a network's node end and start. A state-space
    population is entered through its input coefficients and left through its threshold.
    """

    dt: float
    nodes: dict[str, Fields] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    enters: dict[str, list[str]] = field(default_factory=dict)
    leaves: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, kind: str, **fields: Any) -> str:
        """Add one primitive; its name must be new and hold no ``/``."""
        if not name or name == "." or "/" in name or "\0" in name:
            raise UnsupportedParameter(
                f"node {name!r}: a NIR file takes no empty name, '/' or '.' as a name: rename the node"
            )
        if name in self.nodes:
            raise UnsupportedParameter(f"node {name!r}: the NIR file needs this name for two nodes: rename the node")
        self.nodes[name] = {"type": kind, **fields}
        return name

    def connect(self, source: str, target: str) -> None:
        """Add one edge between primitives."""
        if (source, target) in self.edges:
            raise UnsupportedParameter(
                f"edge {source!r} -> {target!r} occurs twice: NIR has no double edges: merge them"
            )
        self.edges[source, target] = None

    @staticmethod
    def exact(values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the values in the narrowest type that holds them: `exact`."""
        return exact(values)

    def free(self, name: str) -> str:
        """Return `name`, or the first of ``name_2``, ``name_3`` ... that no node has yet."""
        taken = (f"{name}_{i}" for i in range(2, len(self.nodes) + 3))
        return name if name not in self.nodes else next(other for other in taken if other not in self.nodes)


def exact(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the values as float32 if that is exact, else as float64.

    >>> exact([0.5, 3.0]).dtype, exact([2.0**-30 + 1]).dtype
    (dtype('float32'), dtype('float64'))
    """
    wide = np.asarray(values, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), wide) else wide
