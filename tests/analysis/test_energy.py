"""Energy against small cases that are computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmdeploy.analysis.energy import (
    HYPOTHETICAL,
    EnergyBreakdown,
    layer_energy,
    layer_events,
    network_energy,
    total_energy,
)
from nmdeploy.analysis.metrics import layer_metrics, total_metrics
from nmdeploy.backends.reference import run
from nmdeploy.errors import BadData
from nmdeploy.hardware.events import EVENTS, Event, units
from nmdeploy.hardware.interconnects.mesh import Mesh
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile import Figure, HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

PJ = 1e-12
INPUTS = np.array([[[1, 0], [1, 1], [1, 1]], [[0, 0], [0, 1], [0, 0]]])
LENGTHS = np.array([2, 3])


def tiny() -> QuantizedNetwork:
    """As in test_metrics: neuron 0 fires 5 times, neuron 1 twice, in 5 steps of 2 samples."""
    nodes: dict[str, Any] = {
        "in": Input((2,)),
        "s": QuantizedDense([[1, 0], [-2, 3]], bias=[1, 0]),
        "l": QuantizedLIF([4095, 4095], 4095, 0, 0, 0),
        "r": QuantizedDense([[5, 0], [0, 0], [1, 2]], bits=4),
        "out": QuantizedIntegrator(np.zeros(3), 0),
    }
    edges = (Edge("in", "s"), Edge("s", "l"), Edge("l", "r"), Edge("r", "out"))
    return QuantizedNetwork(nodes, edges, 0.001, "out")


def spread(name: str = "loihi1") -> HardwareProfile:
    """One neuron a core, one core a tile, two columns: l on (0, 0), (1, 0); out on (1, 1), (0, 1), (0, 2)."""
    profile = load_profile(name)
    mesh = Mesh(Figure("mesh", "a test"), *(Figure(value, "a test") for value in (2, 4, 1)))
    core = replace(profile.core, neurons=replace(profile.core.neurons, value=1))
    return replace(profile, core=core, interconnect=mesh)


def with_energy(profile: HardwareProfile, **figures: float | None) -> HardwareProfile:
    events = profile.energy.events
    held = {key: replace(events[key], value=value) for key, value in figures.items()}
    return replace(profile, energy=replace(profile.energy, events={**events, **held}))


def without(profile: HardwareProfile, *names: str) -> HardwareProfile:
    held = {key: figure for key, figure in profile.energy.events.items() if key not in names}
    return replace(profile, energy=replace(profile.energy, events=held))


def test_parts_by_hand() -> None:
    q, profile = tiny(), load_profile("loihi1")
    recording = run(q, INPUTS, lengths=LENGTHS)
    energies = network_energy(q, recording, map_network(q, profile), profile)
    hidden, out = energies["l"].joules, energies["out"].joules
    # Two samples: 6 operations and 5 bias events; 7 spikes to the one core of `out`; of 10 updates those are active
    # where the sum is not zero: neuron 0 always (its bias), neuron 1 with -2, 1, 0, 3, 0 in three steps.
    assert hidden.synapse == pytest.approx((6 + 5) / 2 * 23.6 * PJ)
    assert hidden.neuron == pytest.approx((8 * 81 + 2 * 52) / 2 * PJ)
    assert hidden.spike == pytest.approx(7 / 2 * 1.7 * PJ)
    assert hidden.static is None
    assert hidden.total == pytest.approx((11 * 23.6 + 8 * 81 + 2 * 52 + 7 * 1.7) / 2 * PJ)
    assert out.spike == 0.0
    assert out.synapse == pytest.approx(12 / 2 * 23.6 * PJ)


def test_hops_by_hand() -> None:
    """Neuron 0 reaches (1, 1) and (0, 2), neuron 1 (0, 2): means over both for each of the 7 spikes."""
    q, profile = tiny(), spread()
    mapped = map_network(q, profile)
    assert [core.tile for core in mapped.cores] == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2)]
    assert list(mapped.traffic["l"].values()) == [(2 + 1) / 2, (1 + 0 + 1) / 2, (1 + 2 + 2) / 2]
    energies = network_energy(q, run(q, INPUTS, lengths=LENGTHS), mapped, profile)
    assert energies["l"].joules.spike == pytest.approx(7 / 2 * (1.5 * 1.7 + 1.0 * 3.0 + 2.5 * 4.0) * PJ)


@pytest.mark.parametrize("name", profile_names())
def test_one_of_each_event(name: str) -> None:
    profile = load_profile(name)
    figures = profile.energy.events
    found = layer_energy(dict.fromkeys(units(profile.interconnect.events), 1.0), figures)
    parts = {
        "synapse": ["synaptic_operation"],
        "neuron": ["neuron_update_active", "neuron_update_inactive"],
        "spike": ["spike_within_tile", "hop_east_west", "hop_north_south"],
        "static": ["static_power_per_core"],
    }
    for part, needed in parts.items():
        values = [figures[event].value for event in needed]
        expected = None if None in values else pytest.approx(sum(value for value in values if value is not None))
        assert getattr(found, part) == expected


@pytest.mark.parametrize("name", profile_names())
def test_every_event_is_counted_and_their_costs_are_the_report(name: str) -> None:
    """Every event that a profile can name has a count, and counts times figures are the total that is reported."""
    q, profile = tiny(), with_energy(load_profile(name), static_power_per_core=2e-6)
    recording = run(q, INPUTS, lengths=LENGTHS)
    mapped = map_network(q, profile)
    counts = {layer: layer_events(q, layer, recording, mapped) for layer in q.populations}
    assert all(list(events) == list(units(profile.interconnect.events)) for events in counts.values())
    assert set(profile.energy.events) <= set(units(profile.interconnect.events))
    figures = {event: figure.value or 0.0 for event, figure in profile.energy.events.items()}
    by_hand = sum(number * figures[event] for events in counts.values() for event, number in events.items())
    energies = network_energy(q, recording, mapped, profile)
    assert total_energy(energies).joules.total == pytest.approx(by_hand)
    layers = layer_metrics(q, recording, energies)
    assert total_metrics(q, recording, layers, energies).to_json()["energy_joules"]["total"] == pytest.approx(by_hand)


def test_an_event_is_one_line_of_the_table_and_one_of_the_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A count that is new costs nothing until a profile names its figure, and the report says so."""
    monkeypatch.setitem(EVENTS, "input_event", Event("synapse", lambda run: run.mean("input_events")))
    q, profile = tiny(), load_profile("loihi1")
    recording = run(q, INPUTS, lengths=LENGTHS)
    before = network_energy(q, recording, map_network(q, profile), profile)["l"]
    assert before.citation.endswith("not counted: input_event; static not available: total is dynamic")
    text = Path(profile.path).read_text("utf-8")
    line = 'input_event = { value = 1e-9, unit = "J", kind = "measured", source = "a test of ours" }'
    (tmp_path / "mine.toml").write_text(text.replace("[energy]\n", f"[energy]\n{line}\n"), "utf-8")
    mine = load_profile(tmp_path / "mine.toml")
    after = network_energy(q, recording, map_network(q, mine), mine)["l"]
    assert "measured: a test of ours" in after.citation and "not counted" not in after.citation
    arrived = recording.total("l", "input_events") / 2
    assert arrived > 0
    assert (after.joules.synapse or 0) - (before.joules.synapse or 0) == pytest.approx(arrived * 1e-9)


def test_an_event_without_a_figure_is_said_to_be_not_counted() -> None:
    q, whole = tiny(), spread()
    recording = run(q, INPUTS, lengths=LENGTHS)
    profile = without(whole, "hop_north_south", "neuron_update_inactive")
    energy = network_energy(q, recording, map_network(q, profile), profile)["l"]
    assert "; not counted: neuron_update_inactive, hop_north_south; static not available" in energy.citation
    assert energy.joules.spike == pytest.approx(7 / 2 * (1.5 * 1.7 + 1.0 * 3.0) * PJ)
    assert energy.joules.neuron == pytest.approx(8 * 81 / 2 * PJ)


def test_a_part_without_any_figure_is_not_zero() -> None:
    q, profile = tiny(), without(load_profile("loihi1"), "neuron_update_active", "neuron_update_inactive")
    energies = network_energy(q, run(q, INPUTS, lengths=LENGTHS), map_network(q, profile), profile)
    assert energies["l"].joules.neuron is None and energies["l"].joules.total is None
    assert "not counted: neuron_update_active, neuron_update_inactive" in energies["l"].citation
    bare = without(load_profile("loihi1"), "static_power_per_core")
    source = network_energy(q, run(q, INPUTS), map_network(q, bare), bare)["l"].citation
    assert source.endswith("; not counted: static_power_per_core; static not available: total is dynamic")


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_says_where_its_energy_comes_from(name: str) -> None:
    q, profile = tiny(), load_profile(name)
    energies = network_energy(q, run(q, INPUTS), map_network(q, profile), profile)
    for f in ("synaptic_operation", "neuron_update_active"):
        figure = profile.energy.events[f]
        said = figure.citation if figure.value is not None else f
        assert all(said in energy.citation for energy in energies.values())


def test_loihi2_is_labelled_derived() -> None:
    q, profile = tiny(), load_profile("loihi2")
    source = network_energy(q, run(q, INPUTS), map_network(q, profile), profile)["l"].citation
    assert source == (
        "derived at 0.75 V: derived from Loihi 1 (Davies et al. 2018, table 2); "
        "Intel has published no energy per operation for Loihi 2; static not available: total is dynamic"
    )


@pytest.mark.parametrize(
    ("figure", "part"),
    [
        ("synaptic_operation", "synapse"),
        ("neuron_update_active", "neuron"),
        ("neuron_update_inactive", "neuron"),
        ("spike_within_tile", "spike"),
        ("hop_east_west", "spike"),
        ("hop_north_south", "spike"),
    ],
)
def test_unpublished_is_not_zero(figure: str, part: str) -> None:
    q, profile = tiny(), with_energy(load_profile("loihi1"), **{figure: None})
    energies = network_energy(q, run(q, INPUTS), map_network(q, profile), profile)
    for energy in energies.values():
        parts = energy.joules.to_json()
        assert parts[part] is None and parts["total"] is None
        assert sum(value is None for value in parts.values()) == 3  # the part, static and total
        assert f"not available: {figure}" in energy.citation
    assert total_energy(energies).joules.total is None


def test_static_power_is_added_in_real_time() -> None:
    q, profile = tiny(), with_energy(spread(), static_power_per_core=2e-6)
    energy = network_energy(q, run(q, INPUTS, lengths=LENGTHS), map_network(q, profile), profile)["l"]
    assert energy.joules.static == pytest.approx(2e-6 * 2 * 2.5 * 0.001)
    dynamic = (energy.joules.synapse or 0) + (energy.joules.neuron or 0) + (energy.joules.spike or 0)
    assert energy.joules.total == pytest.approx(dynamic + 1e-8)
    assert "static" not in energy.citation


def test_total_is_the_sum() -> None:
    q, profile = tiny(), load_profile("loihi1")
    recording = run(q, INPUTS, lengths=LENGTHS)
    energies = network_energy(q, recording, map_network(q, profile), profile)
    total = total_energy(energies)
    assert total.joules.static is None
    assert total.joules.total == pytest.approx(sum(e.joules.total or 0 for e in energies.values()))
    assert total.citation == energies["l"].citation
    layers = layer_metrics(q, recording, energies)
    assert layers[0].energy_joules == energies["l"].joules
    whole = total_metrics(q, recording, layers, energies).to_json()
    assert list(whole["energy_joules"]) == ["synapse", "neuron", "spike", "static", "total"]
    assert whole["energy_joules"]["static"] is None and whole["energy_joules"]["total"] == total.joules.total


def test_breakdown_without_static() -> None:
    assert EnergyBreakdown(1.0, 2.0, 3.0, None).total == 6.0
    assert EnergyBreakdown(1.0, 2.0, 3.0, 4.0).total == 10.0
    assert EnergyBreakdown(1.0, None, 3.0, 4.0).total is None
    assert EnergyBreakdown(0.0, 0.0, 0.0, None).total == 0.0


def with_states(states: int) -> QuantizedNetwork:
    zero = np.zeros((2, states), np.int64)
    codes = dict.fromkeys(("a_re", "a_im", "b_re", "b_im", "c_re", "c_im"), zero)
    widths = {"rounding": "per-product", "state_bits": 24, "coefficient_bits": 16}
    neuron = QuantizedStateSpace(**widths, frac_a=12, frac_b=0, frac_c=15, frac_d=0, d=1, bias=0, vth=5, **codes)
    nodes: dict[str, Any] = {"in": Input((2,)), "s": QuantizedDense([[1, 0], [0, 0]]), "x": neuron}
    return QuantizedNetwork(nodes, (Edge("in", "s"), Edge("s", "x")), 0.001, "x")


def test_hypothetical_counts_one_update_per_real_state() -> None:
    """4 complex states are 8 real ones; neuron 0 is active where channel 0 sends: 2 of 5 steps, neuron 1 never."""
    q, profile = with_states(4), load_profile("loihi1")
    mapped = map_network(q, profile)
    assert mapped.hypothetical == {"x"} and not mapped.fits
    recording = run(q, INPUTS, lengths=LENGTHS)
    events = layer_events(q, "x", recording, mapped)
    assert (events["neuron_update_active"], events["neuron_update_inactive"]) == (8 * 2 / 2, 8 * 8 / 2)
    energy = network_energy(q, recording, mapped, profile)["x"]
    assert energy.joules.neuron == pytest.approx(8 * (2 * 81 + 8 * 52) / 2 * PJ)
    assert energy.citation.startswith(HYPOTHETICAL + "; simulated at 0.75 V: Davies")


@pytest.mark.parametrize(("states", "bounded"), [(1, False), (2, True)])
def test_more_states_than_the_figure_is_for(states: int, bounded: bool) -> None:
    q, profile = with_states(states), load_profile("loihi2")
    energy = network_energy(q, run(q, INPUTS, lengths=LENGTHS), map_network(q, profile), profile)["x"]
    assert energy.joules.neuron == pytest.approx((2 * 81 + 8 * 52) / 2 * PJ)
    assert ("lower bound: one update a neuron of 4 real states, the figure is for 2" in energy.citation) is bounded
    assert HYPOTHETICAL not in energy.citation


def test_values_that_are_not_spikes_are_sent_each_step() -> None:
    nodes: dict[str, Any] = {
        "in": Input((2,)),
        "s": QuantizedDense([[1, 0], [0, 0]]),
        "v": QuantizedIntegrator(np.zeros(2), 0, 12),
        "t": QuantizedDense([[1, 1]]),
        "out": QuantizedIntegrator([0], 0),
    }
    edges = (Edge("in", "s"), Edge("s", "v"), Edge("v", "t"), Edge("t", "out"))
    q, profile = QuantizedNetwork(nodes, edges, 0.001, "out"), load_profile("loihi2")
    energy = network_energy(q, run(q, INPUTS, lengths=LENGTHS), map_network(q, profile), profile)
    assert energy["v"].joules.spike == pytest.approx(2 * 5 / 2 * 1.7 * PJ)


def test_a_recording_without_counts() -> None:
    q, profile = tiny(), load_profile("loihi1")
    recording = run(q, INPUTS)
    bare = {name: replace(layer, counts={}) for name, layer in recording.layers.items()}
    with pytest.raises(BadData, match="'lava' has no count"):
        network_energy(q, replace(recording, layers=bare, backend="lava"), map_network(q, profile), profile)


def test_voltage_is_named_where_known() -> None:
    profile = load_profile("loihi1")
    events = {**profile.energy.events, "synaptic_operation": Figure(1e-12, "a board of ours", "measured", "J")}
    energy = replace(profile.energy, events=events)
    q, mine = tiny(), replace(profile, energy=energy)
    source = network_energy(q, run(q, INPUTS), map_network(q, mine), mine)["l"].citation
    assert source.startswith("measured: a board of ours; simulated at 0.75 V: Davies")
