"""Mapping: every neuron placed once, no core over its limits, and every reason for what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.hardware.interconnects.mesh import Mesh
from nmdeploy.hardware.limits import UNITS
from nmdeploy.hardware.mapping import MappedNetwork, map_network
from nmdeploy.hardware.profile import Figure, HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

LIF_BITS = 2 * 24 + 2 * 12 + 17 + 13 + 3


def lif(size: int) -> QuantizedLIF:
    return QuantizedLIF(np.full(size, 4095), 409, 10, 0, 0)


def ones(outputs: int, inputs: int, **options: Any) -> QuantizedDense:
    return QuantizedDense(np.ones((outputs, inputs), np.int64), **options)


def network(nodes: dict[str, Any], edges: list[tuple[Any, ...]], output: str) -> QuantizedNetwork:
    return QuantizedNetwork(nodes, tuple(Edge(*edge) for edge in edges), 0.001, output)


def chain(*sizes: int, **options: Any) -> QuantizedNetwork:
    """Input, then LIF populations l1, l2, ... connected by s1, s2, ... of weight 1."""
    nodes: dict[str, Any] = {"l0": Input((sizes[0],))}
    edges: list[tuple[Any, ...]] = []
    for i in range(1, len(sizes)):
        nodes |= {f"s{i}": ones(sizes[i], sizes[i - 1], **options), f"l{i}": lif(sizes[i])}
        edges += [(f"l{i - 1}", f"s{i}"), (f"s{i}", f"l{i}")]
    return network(nodes, edges, f"l{len(sizes) - 1}")


def limited(name: str = "loihi1", **core: int | None) -> HardwareProfile:
    """A profile with other limits of a core."""
    profile = load_profile(name)
    figures = {key: replace(getattr(profile.core, key), value=value) for key, value in core.items()}
    return replace(profile, core=replace(profile.core, **figures))


def ranges(mapped: MappedNetwork, population: str) -> list[tuple[int, int]]:
    return [(core.first, core.last) for core in mapped.cores_of(population)]


def check_invariants(q: QuantizedNetwork, mapped: MappedNetwork) -> None:
    assert [core.id for core in mapped.cores] == list(range(len(mapped.cores)))
    for name, neuron in q.populations.items():
        placed = [i for first, last in ranges(mapped, name) for i in range(first, last)]
        assert placed == list(range(neuron.size))
    over = {(c.population, resource) for c in mapped.cores for resource, held in c.usage.items() if held.exceeds_limit}
    for population, resource in over:
        assert any(repr(population) in line and UNITS[resource] in line for line in mapped.problems)
        broken = [c for c in mapped.cores_of(population) if c.usage[resource].exceeds_limit]
        assert all(core.last - core.first == 1 for core in broken) or resource == "neuron_bits"
    assert not (mapped.fits and (over or len(mapped.cores) > mapped.core_limit))
    footprint = sum(synapse.footprint_bits for synapse in q.synapses.values())
    assert sum(core.usage["synapse_bits"].used for core in mapped.cores) == footprint


# Every profile.


@pytest.mark.parametrize("name", profile_names())
def test_a_small_network_fits_every_profile(name: str) -> None:
    q, profile = chain(3, 5, 4), load_profile(name)
    mapped = map_network(q, profile)
    assert mapped.fits, mapped.problems
    assert mapped.problems == () and mapped.hypothetical == frozenset()
    assert [core.population for core in mapped.cores] == ["l1", "l2"]
    assert mapped.utilization()[0] == ("cores", 2, profile.chip.usable_cores.value)
    check_invariants(q, mapped)


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("over", [0, 1])
def test_exactly_full_cores(name: str, over: int) -> None:
    full = load_profile(name).core.neurons.required_value
    q = chain(1, full + over, 1, bits=2)
    mapped = map_network(q, limited(name, memory_bits=None))
    assert ranges(mapped, "l1") == [(0, full), (full, full + 1)][: 1 + over]
    check_invariants(q, mapped)


# Edges of the limits of Loihi.


@pytest.mark.parametrize(("fan_in", "fits"), [(4095, True), (4096, True), (4097, False)])
def test_input_axons(fan_in: int, fits: bool) -> None:
    mapped = map_network(chain(fan_in, 2, bits=2), load_profile("loihi1"))
    assert mapped.fits is fits
    assert mapped.cores[0].usage["input_axons"].used == fan_in
    if not fits:
        assert "input axons (4097) exceed max (4096)" in mapped.problems[0]
        assert "'l1'" in mapped.problems[0] and "loihi1" in mapped.problems[0]


def test_a_bias_costs_an_axon() -> None:
    nodes = {"l0": Input((4095,)), "s": ones(2, 4095, bias=np.array([0, 1])), "l1": lif(2)}
    mapped = map_network(network(nodes, [("l0", "s"), ("s", "l1")], "l1"), load_profile("loihi1"))
    assert mapped.fits and mapped.cores[0].usage["input_axons"].used == 4096


@pytest.mark.parametrize(("neurons", "cores"), [(32, 1), (33, 2)])
def test_synapse_memory(neurons: int, cores: int) -> None:
    mapped = map_network(chain(4096, neurons, bits=8), load_profile("loihi1"))
    assert mapped.fits
    assert len(mapped.cores) == cores
    assert mapped.cores[0].usage["synapse_bits"].used == 16384 * 64


def test_fan_in_memory_of_one_neuron() -> None:
    mapped = map_network(chain(64, 3, bits=8), limited(synapse_bits=64 * 8 - 1))
    assert not mapped.fits and len(mapped.cores) == 3
    assert "synapse memory bits (512) exceed max (511)" in mapped.problems[0]
    assert "neuron 0 alone (3 such cores)" in mapped.problems[0]


@pytest.mark.parametrize(("targets", "expected"), [(4096, [(0, 1024)]), (4097, [(0, 819), (819, 1024)])])
def test_output_axons(targets: int, expected: list[tuple[int, int]]) -> None:
    """1,024 neurons to 4 cores are 4,096 output axons, to 5 cores 5,120: then a core holds 819 neurons."""
    q = chain(1, 1024, targets, bits=2)
    mapped = map_network(q, limited(synapse_bits=None, memory_bits=None))
    assert ranges(mapped, "l1") == expected
    assert mapped.fits
    check_invariants(q, mapped)


@pytest.mark.parametrize(("cores", "fits"), [(128, True), (129, False)])
def test_number_of_cores(cores: int, fits: bool) -> None:
    mapped = map_network(chain(1, cores), limited(neurons=1))
    assert mapped.fits is fits and len(mapped.cores) == cores
    if not fits:
        assert mapped.problems == (
            "cores (129) exceed max (128) of profile 'loihi1': use fewer neurons, weight bits or states per neuron",
        )


def test_memory_of_loihi2_is_shared() -> None:
    per_neuron = LIF_BITS + 8 * 100
    mapped = map_network(chain(100, 2000), load_profile("loihi2"))
    assert ranges(mapped, "l1")[0] == (0, 192 * 1024 * 8 // per_neuron)
    assert mapped.cores[0].usage["memory_bits"].used <= 192 * 1024 * 8
    assert mapped.cores[0].usage["input_axons"].limit is None


def test_recurrence_over_many_cores() -> None:
    nodes = {"l0": Input((1,)), "s": ones(20, 1), "l1": lif(20), "r": ones(20, 20)}
    q = network(nodes, [("l0", "s"), ("s", "l1"), ("l1", "r", 1), ("r", "l1")], "l1")
    mapped = map_network(q, limited(output_axons=10))
    check_invariants(q, mapped)
    assert not mapped.fits and len(mapped.cores) == 20
    assert "output axons (20) exceed max (10)" in mapped.problems[0]
    mapped = map_network(q, limited(output_axons=20))
    assert mapped.fits and len(mapped.cores) == 1


# Hypothesis.


@st.composite
def networks(draw: st.DrawFn) -> QuantizedNetwork:
    sizes = draw(st.lists(st.integers(1, 24), min_size=2, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.05, 0.3, 1.0]))
    nodes: dict[str, Any] = {"l0": Input((sizes[0],))}
    edges: list[tuple[Any, ...]] = []
    for i in range(1, len(sizes)):
        weight = rng.integers(-8, 8, (sizes[i], sizes[i - 1])) * (rng.random((sizes[i], sizes[i - 1])) < density)
        bias = rng.integers(-1, 2, sizes[i]) if draw(st.booleans()) else None
        nodes |= {f"s{i}": QuantizedDense(weight, bits=4, bias=bias), f"l{i}": lif(sizes[i])}
        edges += [(f"l{i - 1}", f"s{i}"), (f"s{i}", f"l{i}")]
        if draw(st.booleans()):
            nodes[f"r{i}"] = QuantizedDense(rng.integers(-8, 8, (sizes[i], sizes[i])), bits=4)
            edges += [(f"l{i}", f"r{i}", 1), (f"r{i}", f"l{i}")]
        if i > 1 and draw(st.booleans()):
            nodes[f"k{i}"] = QuantizedDense(rng.integers(-8, 8, (sizes[i], sizes[i - 2])), bits=4)
            edges += [(f"l{i - 2}", f"k{i}", draw(st.integers(0, 3))), (f"k{i}", f"l{i}")]
    return network(nodes, edges, f"l{len(sizes) - 1}")


@settings(deadline=None, max_examples=60)
@given(
    q=networks(),
    neurons=st.integers(1, 32),
    input_axons=st.none() | st.integers(1, 64),
    output_axons=st.none() | st.integers(1, 64),
    synapse_bits=st.none() | st.integers(1, 2000),
    memory_bits=st.none() | st.integers(LIF_BITS, 6000),
)
def test_random_networks_and_limits(q: QuantizedNetwork, **core: int | None) -> None:
    mapped = map_network(q, limited(**core))
    check_invariants(q, mapped)
    check_traffic(q, mapped)


def check_traffic(q: QuantizedNetwork, mapped: MappedNetwork) -> None:
    """Messages, hops, output axons and delays, spike by spike."""
    feeds = {edge.source: edge.target for edge in q.edges if edge.source in q.synapses}
    buffers = 0
    for name, neuron in q.populations.items():
        total = np.zeros(3)
        for core in mapped.cores_of(name):
            axons = 0
            for i in range(core.first, core.last):
                for edge in q.edges:
                    if edge.source != name or edge.target not in q.synapses:
                        continue
                    weight = q.synapses[edge.target].rows.matrix(np.asarray)
                    reached = [c for c in mapped.cores_of(feeds[edge.target]) if weight[c.first : c.last, i].any()]
                    axons += len(reached)
                    buffers += q.timing.inserted_delays[edge.source, edge.target] * bool(reached)
                    for c in reached:
                        total += [1, abs(c.tile[0] - core.tile[0]), abs(c.tile[1] - core.tile[1])]
            assert core.usage["output_axons"].used == axons
        assert list(mapped.traffic[name]) == ["spike_within_tile", "hop_east_west", "hop_north_south"]
        assert np.allclose(list(mapped.traffic[name].values()), total / neuron.size)
    assert sum(delay.buffers for delay in mapped.delays if delay.on_chip) == buffers


# Places.


def test_hops_by_hand() -> None:
    """Two columns of one core a tile: l1 on (0, 0), l2 on (1, 0), (1, 1) and (0, 1)."""
    mesh = Mesh(Figure("mesh", "a test"), *(Figure(value, "a test") for value in (2, 2, 1)))
    mapped = map_network(chain(1, 2, 6), replace(limited(neurons=2), interconnect=mesh))
    assert [core.tile for core in mapped.cores] == [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert mapped.traffic["l1"] == {"spike_within_tile": 3.0, "hop_east_west": 2.0, "hop_north_south": 2.0}
    assert mapped.traffic["l2"] == {"spike_within_tile": 0.0, "hop_east_west": 0.0, "hop_north_south": 0.0}
    assert mapped.fits


# Delays.


def skipping(input_skips: bool) -> QuantizedNetwork:
    """Three populations in a chain, and a path that skips the second."""
    nodes: dict[str, Any] = {"in": Input((3,)), "s1": ones(4, 3), "a": lif(4), "s2": ones(5, 4), "b": lif(5)}
    source, size = ("in", 3) if input_skips else ("a", 4)
    nodes |= {"s3": ones(2, 5), "c": lif(2), "skip": ones(2, size)}
    edges = [("in", "s1"), ("s1", "a"), ("a", "s2"), ("s2", "b"), ("b", "s3"), ("s3", "c")]
    return network(nodes, [*edges, (source, "skip"), ("skip", "c")], "c")


def test_inserted_delays_are_counted() -> None:
    mapped = map_network(skipping(input_skips=False), load_profile("loihi1"))
    (delay,) = mapped.delays
    assert (delay.source, delay.target, delay.steps, delay.axons, delay.buffers) == ("a", "skip", 1, 4, 4)
    rows = {row.resource: row.used for row in mapped.utilization()}
    assert rows["relay axons (inserted delays)"] == 4 and rows["delay buffers (inserted delays)"] == 4
    core = mapped.cores_of("a")[0]
    assert core.usage["output_axons"].used == 8
    assert core.usage["memory_bits"].used == 4 * LIF_BITS + 8 * 12 + 4


def test_the_host_holds_the_input_back() -> None:
    mapped = map_network(skipping(input_skips=True), load_profile("loihi1"))
    (delay,) = mapped.delays
    assert (delay.source, delay.steps, delay.buffers, delay.on_chip) == ("in", 2, 6, False)
    rows = {row.resource: row.used for row in mapped.utilization()}
    assert rows["relay axons (inserted delays)"] == 0 and rows["delay buffers (inserted delays)"] == 0


# What a target cannot run.


def state_space(size: int, states: int, bits: int = 24) -> QuantizedStateSpace:
    zero = np.zeros((size, states), np.int64)
    codes = dict.fromkeys(("a_re", "a_im", "b_re", "b_im", "c_re", "c_im"), zero)
    return QuantizedStateSpace(
        rounding="per-product",
        state_bits=bits,
        coefficient_bits=16,
        frac_a=12,
        frac_b=0,
        frac_c=15,
        frac_d=0,
        d=0,
        bias=0,
        vth=1,
        **codes,
    )


def with_state_space(**options: Any) -> QuantizedNetwork:
    nodes = {"in": Input((3,)), "s": ones(4, 3), "x": state_space(4, 2, **options)}
    return network(nodes, [("in", "s"), ("s", "x")], "x")


def test_a_family_that_the_target_does_not_run() -> None:
    mapped = map_network(with_state_space(), load_profile("loihi1"))
    assert not mapped.fits
    assert mapped.hypothetical == {"x"}
    assert (
        "'x'" in mapped.problems[0] and "does not run the neuron family 'state_space', only lif" in mapped.problems[0]
    )
    assert map_network(with_state_space(), load_profile("loihi2")).fits


def test_state_bits_beyond_the_profile() -> None:
    mapped = map_network(with_state_space(bits=25), load_profile("loihi2"))
    assert mapped.problems == (
        "population 'x': state bits (25) exceed max (24) of profile 'loihi2': quantize with --state-bits 24",
    )


def test_weight_bits_and_sign_modes_beyond_the_profile() -> None:
    profile = load_profile("loihi2")
    narrow = replace(profile.arithmetic, weight_bits=replace(profile.arithmetic.weight_bits, value=4, high=4))
    narrow = replace(narrow, sign_modes=Figure(("mixed",), "a test"))
    mapped = map_network(chain(2, 2, sign_mode="excitatory"), replace(profile, arithmetic=narrow))
    assert len(mapped.problems) == 2
    assert "weight bits (8) exceed max (4)" in mapped.problems[0] and "--weight-bits 4" in mapped.problems[0]
    assert "no sign mode 'excitatory'" in mapped.problems[1]


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (2, True), (24, True)])
def test_graded_input(bits: int, signed: bool) -> None:
    nodes = {"in": Input((3,), FixedPoint(bits, 0, signed)), "s": ones(4, 3), "x": QuantizedIntegrator(np.zeros(4), 0)}
    q = network(nodes, [("in", "s"), ("s", "x")], "x")
    (problem,) = map_network(q, load_profile("loihi1")).problems
    assert f"'in' sends graded values of {bits} bits" in problem and "binary spikes only" in problem
    assert map_network(q, load_profile("loihi2")).fits


def test_graded_hidden_values() -> None:
    nodes = {
        "in": Input((3,)),
        "s": ones(4, 3),
        "v": QuantizedIntegrator(np.zeros(4), 0, 16),
        "t": ones(2, 4),
        "x": lif(2),
    }
    q = network(nodes, [("in", "s"), ("s", "v"), ("v", "t"), ("t", "x")], "x")
    assert any("'v' sends graded values of 16 bits" in line for line in map_network(q, load_profile("loihi1")).problems)
    assert map_network(q, load_profile("loihi2")).fits


def test_an_integrator_on_loihi1_is_noted() -> None:
    nodes = {"in": Input((3,)), "s": ones(4, 3), "v": QuantizedIntegrator(np.zeros(4), 0)}
    mapped = map_network(network(nodes, [("in", "s"), ("s", "v")], "v"), load_profile("loihi1"))
    assert mapped.fits
    assert len(mapped.notes) == 1 and "'v' (integrator) on loihi1: runs as a LIF compartment" in mapped.notes[0]


def test_too_many_states_a_neuron() -> None:
    nodes = {"in": Input((3,)), "s": ones(4, 3), "x": state_space(4, 300)}
    mapped = map_network(network(nodes, [("in", "s"), ("s", "x")], "x"), load_profile("loihi2"))
    per_neuron = 300 * (2 * 24 + 6 * 16) + 16 + 48
    assert f"bits per neuron ({per_neuron}) exceed max (32768)" in mapped.problems[0]
    assert len(mapped.cores) == 1


def test_json_of_a_core() -> None:
    core = map_network(chain(2, 3), load_profile("loihi2")).cores[0]
    assert core.to_json()["usage"]["neurons"] == [3, 8192]
    assert core.to_json()["usage"]["input_axons"] == [2, None]
    assert core.to_json()["tile"] == [0, 0]
