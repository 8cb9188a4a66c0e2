"""Two-dimensional mesh of tiles with XY routing: first along the row, then along the column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nmdeploy.hardware.interconnects import Interconnect, Place
from nmdeploy.hardware.profile import Figure


@dataclass(frozen=True)
class Mesh(Interconnect):
    """Mesh of `columns` times `rows` tiles; a place is (column, row)."""

    columns: Figure[int]
    rows: Figure[int]
    cores_per_tile: Figure[int]

    kind: ClassVar[str] = "mesh"
    events: ClassVar[tuple[str, ...]] = ("spike_within_tile", "hop_east_west", "hop_north_south")

    @property
    def capacity(self) -> int:
        return self.columns.required_value * self.rows.required_value * self.cores_per_tile.required_value

    def place(self, cores: int) -> list[Place]:
        """Fill the rows back and forth, so that consecutive cores are neighbours; excess cores get further rows."""
        return [self._tile(core) for core in range(cores)]

    def _tile(self, core: int) -> Place:
        row, column = divmod(core // self.cores_per_tile.required_value, self.columns.required_value)
        return (column if row % 2 == 0 else self.columns.required_value - 1 - column), row

    def hops(self, source: Place, target: Place) -> tuple[int, ...]:
        """Count one delivery within a tile, the hops east or west, and the hops north or south."""
        return 1, abs(target[0] - source[0]), abs(target[1] - source[1])
