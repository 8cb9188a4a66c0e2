"""Ring of cores with links in both directions, on which a message takes the shorter way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nmdeploy.hardware.interconnects import Interconnect, Place
from nmdeploy.hardware.profile import Figure


@dataclass(frozen=True)
class Ring(Interconnect):
    """Ring of `nodes` nodes with one core each; a place is (node,)."""

    nodes: Figure[int]

    kind: ClassVar[str] = "ring"
    events: ClassVar[tuple[str, ...]] = ("message", "hop")

    @property
    def capacity(self) -> int:
        return self.nodes.required_value

    def place(self, cores: int) -> list[Place]:
        """Place the cores around the ring; excess cores go round it again."""
        return [(core % self.nodes.required_value,) for core in range(cores)]

    def hops(self, source: Place, target: Place) -> tuple[int, ...]:
        """Count the message, and the links on its way."""
        apart = abs(target[0] - source[0])
        return 1, min(apart, self.nodes.required_value - apart)
