"""Interconnects, the networks between the cores of a chip, one file per kind.

A kind is a module of this folder, or one that a distribution registers under the entry point group
``nmdeploy.interconnects``. No numpy is imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from nmdeploy._util.plugins import modules
from nmdeploy.hardware.profile import Figure

GROUP = "nmdeploy.interconnects"
Place = tuple[int, ...]
"""Coordinates of a core on its interconnect."""


@dataclass(frozen=True)
class Interconnect(ABC):
    """Network between cores.

    The fields are the keys of a profile's ``[interconnect]``. Those of a subclass are counts, each 1 or more.

    Parameters
    ----------
    topology : Figure
        The `kind`, with its source.

    Attributes
    ----------
    kind : str
        Name of the topology in profiles.
    events : tuple of str
        Names of the events that a message causes and `hops` counts. A profile's ``[energy]`` holds the joules of each.
    """

    topology: Figure[str]

    kind: ClassVar[str]
    events: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Number of cores that have a place."""

    @abstractmethod
    def place(self, cores: int) -> list[Place]:
        """Return the places of the first `cores` cores, with consecutive cores as neighbours.

        `cores` may exceed the capacity.
        """

    @abstractmethod
    def hops(self, source: Place, target: Place) -> tuple[int, ...]:
        """Count each of `events` for one message from a core at `source` to one at `target`."""


@cache
def interconnects() -> dict[str, type[Interconnect]]:
    """Return the classes of the interconnects by kind."""
    found: dict[str, type[Interconnect]] = {}
    for module in modules(__name__, GROUP):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Interconnect) and "kind" in vars(value):
                found[value.kind] = value
    return found
