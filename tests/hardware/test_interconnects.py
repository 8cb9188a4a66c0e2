"""Interconnects: distances of every kind, the mesh against its formulas, and a ring through mapping and report."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmdeploy import pipeline
from nmdeploy.errors import BadOption
from nmdeploy.hardware.events import EVENTS, units
from nmdeploy.hardware.interconnects import GROUP, Interconnect, interconnects
from nmdeploy.hardware.interconnects.mesh import Mesh
from nmdeploy.hardware.interconnects.ring import Ring
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile import Figure
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import QuantizedDense


def build(kind: type[Interconnect], *counts: int) -> Any:
    return kind(Figure(kind.kind, "a test"), *(Figure(count, "a test") for count in counts))


@st.composite
def any_interconnect(draw: st.DrawFn) -> Interconnect:
    kind = draw(st.sampled_from(list(interconnects().values())))
    return build(kind, *(draw(st.integers(1, 9)) for _ in fields(kind)[1:]))


# Every kind.


def test_the_kinds() -> None:
    assert {"mesh": Mesh, "ring": Ring}.items() <= interconnects().items()


@pytest.mark.parametrize("kind", interconnects().values(), ids=list(interconnects()))
def test_events_of_messages_are_events_of_no_other_kind(kind: type[Interconnect]) -> None:
    assert kind.events and len(set(kind.events)) == len(kind.events) and not set(kind.events) & set(EVENTS)
    assert set(units(kind.events)) == {*EVENTS, *kind.events}


@given(any_interconnect(), st.integers(0, 200))
def test_every_core_has_a_place(network: Interconnect, cores: int) -> None:
    places = network.place(cores)
    assert len(places) == cores and network.place(cores + 1)[:cores] == places
    assert network.capacity >= 1


@given(any_interconnect(), st.data())
def test_hops_are_a_distance(network: Interconnect, data: st.DataObject) -> None:
    """Symmetric, not negative, and no way round is shorter, for each event."""
    places = network.place(network.capacity)
    a, b, c = (data.draw(st.sampled_from(places)) for _ in range(3))
    there, back = network.hops(a, b), network.hops(b, a)
    assert len(there) == len(network.events) and there == back and min(there) >= 0
    way = zip(there, network.hops(b, c), strict=True)
    assert all(direct <= first + second for direct, (first, second) in zip(network.hops(a, c), way, strict=True))
    assert network.hops(a, a) == (1,) + (0,) * (len(there) - 1)


@given(any_interconnect())
def test_consecutive_cores_are_neighbours(network: Interconnect) -> None:
    places = network.place(network.capacity)
    assert max((sum(network.hops(a, b)[1:]) for a, b in pairwise(places)), default=0) <= 1


# The mesh.


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 500), st.integers(0, 500))
def test_the_mesh_is_its_formulas(shape: tuple[int, int, int], source: int, target: int) -> None:
    """Rows as a snake; abs(dx) hops along the row, abs(dy) along the column."""
    columns, rows, cores_per_tile = shape
    mesh = build(Mesh, *shape)
    places = mesh.place(max(source, target) + 1)
    tiles = []
    for core in (source, target):
        tile = core // cores_per_tile
        row = tile // columns
        tiles.append((tile % columns if row % 2 == 0 else columns - 1 - tile % columns, row))
    assert [places[source], places[target]] == tiles
    (x, y), (x2, y2) = tiles
    assert mesh.hops(places[source], places[target]) == (1, abs(x2 - x), abs(y2 - y))
    assert mesh.capacity == columns * rows * cores_per_tile


def test_the_snake_of_loihi() -> None:
    tiles = load_profile("loihi1").interconnect.place(129)
    assert tiles[:5] == [(0, 0)] * 4 + [(1, 0)]
    assert tiles[28:36] == [(7, 0)] * 4 + [(7, 1)] * 4
    assert tiles[127] == (0, 3) and tiles[128] == (0, 4)


# The ring: a chip that does not exist, through mapping, energy and report.

TABLE = """[interconnect]
topology = { value = "ring", kind = "chosen", source = "made up for a test" }
nodes = { value = 5, kind = "chosen", source = "made up for a test" }

"""
COSTS = """message = { value = 2e-12, unit = "J", kind = "measured", source = "made up for a test" }
hop = { value = 5e-12, unit = "J", kind = "measured", source = "made up for a test" }
"""


@pytest.fixture(scope="module")
def ring_chip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Loihi's cores, five of them, on a ring; two neurons per core."""
    text = Path(load_profile("loihi1").path).read_text("utf-8")
    text = re.sub(r"\[interconnect\].*?(?=# Table 2)", lambda _: TABLE, text, flags=re.S)
    text = re.sub(r"spike_within_tile = .*\nhop_east_west = .*\nhop_north_south = .*\n", lambda _: COSTS, text, count=1)
    text = re.sub(r"(spike_within_tile|hop_\w+) = .*\n", "", text)
    text = text.replace("cores = { value = 128,", "cores = { value = 5,").replace("{ value = 1024,", "{ value = 2,")
    path = tmp_path_factory.mktemp("ring") / "ring_chip.toml"
    path.write_text(text, "utf-8")
    return str(path)


def network() -> QuantizedNetwork:
    """4 neurons, each of which reaches 6 neurons, which fire at each spike that arrives."""
    nodes: dict[str, Any] = {
        "in": Input((4,)),
        "s": QuantizedDense(np.eye(4, dtype=int)),
        "a": QuantizedLIF([4095] * 4, 4095, 0, 0, 0),
        "t": QuantizedDense(np.ones((6, 4), int)),
        "b": QuantizedLIF([4095] * 6, 4095, 0, 0, 0),
    }
    edges = (Edge("in", "s"), Edge("s", "a"), Edge("a", "t"), Edge("t", "b"))
    return QuantizedNetwork(nodes, edges, 0.001, "b", "sum")


def test_a_ring_runs_through_mapping_energy_and_report(ring_chip: str, tmp_path: Path) -> None:
    """`a` lies on nodes 0 and 1, `b` on 2, 3, 4: 2, 2, 1 links from node 0 (4 is next to 0), 1, 2, 2 from node 1."""
    q, profile = network(), load_profile(ring_chip)
    mapped = map_network(q, profile)
    assert mapped.fits and [core.tile for core in mapped.cores] == [(0,), (1,), (2,), (3,), (4,)]
    assert mapped.traffic["a"] == {"message": 3.0, "hop": 5.0}
    data = Data(np.ones((1, 3, 4), np.int64), np.array([0]), np.array([3]))
    report = pipeline.report(q, data, ring_chip)
    spikes = report.layers[0].spikes
    assert spikes > 0
    energy = report.layers[0].energy_joules
    assert energy is not None and energy.spike == pytest.approx(spikes * (3 * 2e-12 + 5 * 5e-12))
    assert "measured: made up for a test" in report.total.energy_source
    assert "not counted" not in report.total.energy_source
    assert [core["tile"] for core in json.loads(json.dumps(report.to_json()))["cores"]] == [[0], [1], [2], [3], [4]]


def test_a_ring_knows_no_events_of_the_mesh(ring_chip: str, tmp_path: Path) -> None:
    text = Path(ring_chip).read_text("utf-8").replace("\nhop = ", "\nhop_east_west = ")
    (tmp_path / "mixed.toml").write_text(text, "utf-8")
    with pytest.raises(BadOption, match=r"event .hop_east_west. is unknown: .*, message, hop"):
        load_profile(tmp_path / "mixed.toml")


def test_what_exceeds_the_ring_goes_round_again(ring_chip: str) -> None:
    assert load_profile(ring_chip).interconnect.place(7)[5:] == [(0,), (1,)]


STAR = """
from dataclasses import dataclass
from typing import ClassVar
from nmdeploy.hardware.interconnects import Interconnect
from nmdeploy.hardware.profile import Figure

@dataclass(frozen=True)
class Star(Interconnect):
    leaves: Figure[int]
    kind: ClassVar[str] = "star"
    events: ClassVar[tuple[str, ...]] = ("switching",)

    @property
    def capacity(self):
        return self.leaves.required_value

    def place(self, cores):
        return [(core,) for core in range(cores)]

    def hops(self, source, target):
        return (int(source != target),)
"""


def test_a_kind_of_another_package(tmp_path: Path, ring_chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "star-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: star\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nstar = star_interconnect\n")
    (tmp_path / "star_interconnect.py").write_text(STAR)
    text = Path(ring_chip).read_text("utf-8").replace('value = "ring"', 'value = "star"').replace("nodes =", "leaves =")
    (tmp_path / "star_chip.toml").write_text(text.replace("message =", "switching =").replace("hop =", "# "), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    interconnects.cache_clear()
    try:
        mapped = map_network(network(), load_profile(tmp_path / "star_chip.toml"))
        assert mapped.traffic["a"] == {"switching": 3.0} and [core.tile for core in mapped.cores][-1] == (4,)
    finally:
        interconnects.cache_clear()
