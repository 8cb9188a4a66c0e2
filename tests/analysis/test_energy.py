"""Energy against small cases that are computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nmdeploy.analysis.energy import (
    HYPOTHETICAL,
    EnergyBreakdown,
    Events,
    layer_energy,
    layer_events,
    network_energy,
    total_energy,
)
from nmdeploy.analysis.metrics import layer_metrics, total_metrics
from nmdeploy.backends.reference import run
from nmdeploy.errors import BadData
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
ONE_OF_EACH = Events(1, 1, 1, 1, 1, 1, 1)


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
    chip = {"cores_per_tile": 1, "mesh_columns": 2, "mesh_rows": 4, "cores": 8, "usable_cores": 8}
    figures = {key: replace(getattr(profile.chip, key), value=value) for key, value in chip.items()}
    core = replace(profile.core, neurons=replace(profile.core.neurons, value=1))
    return replace(profile, core=core, chip=replace(profile.chip, **figures))


def with_energy(profile: HardwareProfile, **figures: float | None) -> HardwareProfile:
    held = {key: replace(getattr(profile.energy, key), value=value) for key, value in figures.items()}
    return replace(profile, energy=replace(profile.energy, **held))


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
    assert mapped.traffic["l"] == ((2 + 1) / 2, (1 + 0 + 1) / 2, (1 + 2 + 2) / 2)
    energies = network_energy(q, run(q, INPUTS, lengths=LENGTHS), mapped, profile)
    assert energies["l"].joules.spike == pytest.approx(7 / 2 * (1.5 * 1.7 + 1.0 * 3.0 + 2.5 * 4.0) * PJ)


@pytest.mark.parametrize("name", profile_names())
def test_one_of_each_event(name: str) -> None:
    figures = load_profile(name).energy
    found = layer_energy(ONE_OF_EACH, figures)
    parts = {
        "synapse": (figures.synaptic_operation,),
        "neuron": (figures.neuron_update_active, figures.neuron_update_inactive),
        "spike": (figures.spike_within_tile, figures.hop_east_west, figures.hop_north_south),
        "static": (figures.static_power_per_core,),
    }
    for part, needed in parts.items():
        values = [figure.value for figure in needed]
        expected = None if None in values else pytest.approx(sum(value for value in values if value is not None))
        assert getattr(found, part) == expected


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_says_where_its_energy_comes_from(name: str) -> None:
    q, profile = tiny(), load_profile(name)
    energies = network_energy(q, run(q, INPUTS), map_network(q, profile), profile)
    for f in ("synaptic_operation", "neuron_update_active"):
        figure = getattr(profile.energy, f)
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
    assert (events.updates_active, events.updates_inactive) == (8 * 2 / 2, 8 * 8 / 2)
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
    energy = replace(profile.energy, synaptic_operation=Figure(1e-12, "a board of ours", "measured", "J"))
    q, mine = tiny(), replace(profile, energy=energy)
    source = network_energy(q, run(q, INPUTS), map_network(q, mine), mine)["l"].citation
    assert source.startswith("measured: a board of ours; simulated at 0.75 V: Davies")
