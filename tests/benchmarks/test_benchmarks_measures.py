"""What the benchmarks measure: bounds, loops, vectors, sweeps, networks. Nothing here measures time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import (
    bounds,
    loops,
    networks,
    run,
    scaling,
    startup,
    training,
    training_job,
    turns,
    updates,
)
from nmdeploy.backends import reference
from nmdeploy.engine.llvm import machine

RATES = bounds.Rates({128: 8e8}, {32: 1e11, 64: 5e10}, 3e10, {128: 1.2e9})


@pytest.mark.parametrize(("bits", "lanes"), [(512, 16), (256, 8), (128, 4)])
def test_what_is_required_of_vectors_follows_from_their_width(
    bits: int, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {feature for feature, width in updates.WIDTHS.items() if width <= bits}
    monkeypatch.setattr(updates, "has", lambda feature: feature in wide)
    assert updates.native_bits() == bits
    assert updates.required("lif") == pytest.approx(0.45 * lanes)
    assert updates.required("state_space") == pytest.approx(0.8 * lanes)


HIDDEN = """
from benchmarks import narrow, updates
bits = updates.native_bits()
updates.has.cache_clear()
narrow.hide(bits)
from benchmarks.networks import lif
from nmdeploy.engine.llvm import machine, compilation
assembly = "".join(map(machine.assembly, compilation.compile_network(lif(128, 1)).texts))
print(bits, updates.native_bits(), *(name in assembly for name in ("zmm", "ymm", "xmm")))
"""


@pytest.mark.skipif(updates.native_bits() == updates.LEAST_BITS, reason="no vectors of several widths")
def test_wider_vectors_are_hidden_from_the_engine(tmp_path: Path) -> None:
    environment = {**os.environ, "NMDEPLOY_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], cwd=run.ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    bits = updates.native_bits()
    assert done.stdout.split() == [str(bits), str(bits // 2), "False", str(bits == 512), "True"]


def test_memory_is_that_of_the_command(tmp_path: Path) -> None:
    """Not that of the process that starts it."""
    held = np.ones(1 << 26)
    assert 5 < startup.peak_megabytes(["--version"]) < held.nbytes / 2e6


def test_the_least_times_decide_however_the_speed_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each size is looked at for about as long: 8, 4, 2 and 1 times on the way up, and again on the way down."""
    looks, slow = 2 * (8 + 4 + 2 + 1), [0.5] * 15
    speeds = iter([1.0] * 15 + slow + [*slow, 0.3, 0.4, *[0.9] * 13] + [1.0] * 3 * looks)
    sizes = [1.0, 2, 4, 8]
    monkeypatch.setattr(scaling, "seconds_of", lambda call: call() / next(speeds))
    monkeypatch.setattr(scaling.Point, "call", lambda self: lambda: 1e-2 * self.x**1.02)
    found = scaling.measure([scaling.Point(x, networks.lif(16, 2), 1) for x in sizes], 5)
    assert found["exponent"] == pytest.approx(1.02) == scaling.exponent(found["x"], found["seconds"])
    assert len(found["exponents"]) == 5 and found["exponents"][1] != pytest.approx(1.02)


def test_overhead_lowers_a_fitted_exponent() -> None:
    sizes = np.array([1.0, 2, 4, 8])
    assert scaling.exponent(sizes, 7 * sizes) == pytest.approx(1)
    assert scaling.exponent(sizes, 7 * sizes + 7) < 0.85


def test_the_bound_is_the_longest_of_three() -> None:
    rates = bounds.Rates({128: 1e9, 512: 2e8}, {32: 1e11, 64: 5e10}, 1e10)
    found = bounds.bound(bounds.Work({128: 1e4, 512: 4e3}, {64: 6e5, 32: 4e5}, 2e6), rates)
    assert found.rows == pytest.approx(1e-5 + 2e-5)
    assert (found.seconds, found.limited_by) == (pytest.approx(2e-4), "bytes")


def test_the_middle_turn_decides_by_its_own_rates() -> None:
    work, rates = bounds.Work({128: 4e4}, {64: 8e5}, 2e5), [1e9, 2e9, 4e8, 5e8, 1e9]
    seconds = [1e-4, 8e-5, 2e-4, 1.9e-4, 1.2e-4]  # shares 0.4, 0.25, 0.5, 0.42, 0.33
    made = [turns.Turn(work, bounds.Rates({128: r}, {64: 5e10}, 3e10), s) for r, s in zip(rates, seconds, strict=True)]
    found = turns.summary(made)
    assert found["share"] == pytest.approx(0.4) == found["seconds"] / found["compiled"]
    assert (found["rates"]["rows"], found["in_pairs"]) == ({"128": 1e9}, None)
    assert (min(found["shares"]), max(found["shares"])) == (pytest.approx(0.25), pytest.approx(0.5))
    assert turns.deciding(made[:2]) is made[1]


def test_rows_in_pairs_have_a_share_of_their_own() -> None:
    found = turns.summary([turns.Turn(bounds.Work({128: 4e4}, {32: 8e5}, 2e5), RATES, 1e-4)])
    assert (found["share"], found["in_pairs"]["share"]) == (pytest.approx(0.5), pytest.approx(1 / 3))


ROW_LOOPS = {
    **{
        f"rows, {lanes} lanes of {bits} bits": (loops.rows(128, lanes, bits), bits)
        for lanes in (16, 32)
        for bits in (8, 16)
    },
    **{f"{together} rows in pairs": (loops.row_pairs(128, together), 8) for together in (2, 4, 8)},
}


@pytest.mark.parametrize("name", ROW_LOOPS)
def test_loops_add_the_rows_that_they_are_given(name: str) -> None:
    text, bits = ROW_LOOPS[name]
    if "pairs" in name and not machine.has("avx512bw"):
        pytest.skip("no multiply-add of bytes in 512 bits")
    rng = np.random.default_rng(0)
    rows = loops.aligned(rng.integers(-127, 128, (128, 128)).astype(f"int{bits}"))
    index, out = rng.integers(0, 128, 24).astype(np.int32), loops.aligned(np.zeros(128, np.int16))
    loops.compiled(text, 4).call(24, *(array.ctypes.data for array in (index, rows, out)))
    assert sorted(out) == sorted(rows[index].astype(np.int16).sum(0))  # pairs leave the columns in another order


FLOAT_BITS = {
    "lif": (lambda: networks.lif(8, 1), 32),
    "per-product": (lambda: networks.state_space(8, 4, "per-product", 1), 32),
    "per-sum": (lambda: networks.state_space(8, 4, "per-sum", 1), 64),
}


@pytest.mark.parametrize("kind", FLOAT_BITS)
def test_what_sums_products_before_it_rounds_needs_doubles(kind: str) -> None:
    make, bits = FLOAT_BITS[kind]
    neuron = make().populations["layer0"]
    assert bounds.float_bits(neuron) == bits
    recording = reference.run(make(), networks.inputs(1, 8, 5).astype(np.int64))
    operations = 8 * 5 * bounds.operations_of(neuron)
    assert bounds.work_of(make(), recording).state_operations == {bits: operations}


def test_work_counts_rows_state_operations_and_bytes() -> None:
    network = networks.lif(16, 2)
    codes = networks.inputs(3, 16, 50)
    recording = reference.run(network, codes.astype(np.int64))
    work = bounds.work_of(network, recording)
    first = codes.sum() / 3
    assert work.rows[16] == pytest.approx(first + recording.layers["layer0"].counts["spikes"].mean())
    assert work.state_operations == {32: 2 * 16 * 50 * 2}
    assert work.bytes_moved == 50 * 32
    assert bounds.operations_of(networks.state_space(8, 4, "per-sum", 1).populations["layer0"]) == 8 * 4


MAKERS = {
    "lif": lambda: networks.lif(32, 2),
    "lif of each neuron's own": lambda: networks.lif(32, 2, uniform=False),
    "per-product": lambda: networks.state_space(16, 4, "per-product", 2),
    "per-sum": lambda: networks.state_space(16, 4, "per-sum", 2),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_networks_are_alive_and_follow_from_the_seed(make: Any) -> None:
    network = make()
    codes = networks.inputs(2, network.nodes["input"].size)
    assert codes.mean() == pytest.approx(networks.DENSITY, rel=0.1)
    layers = reference.run(network, codes.astype(np.int64), trace="spikes").layers
    assert all(0.05 <= layer.spikes.mean() <= 0.15 for layer in layers.values())  # type: ignore[union-attr]
    networks.network.cache_clear()
    again = make()
    assert again is not network
    for name, node in network.nodes.items():
        assert node == again.nodes[name]


def test_lif_populations_for_lava_have_one_value_each() -> None:
    for neuron in networks.lif(32, 2).populations.values():
        assert all(np.ptp(getattr(neuron, name)) == 0 for name in ("du", "dv", "vth"))


def test_deep_layers_stay_alive() -> None:
    network = networks.first_layers(networks.lif(32, 9), 7)
    layers = reference.run(network, networks.inputs(2, 32).astype(np.int64), trace="spikes").layers
    assert len(layers) == 7
    assert all(0.03 <= layer.spikes.mean() <= 0.2 for layer in layers.values())  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # Norse, at its import
def test_training_times_each_network_in_each_turn() -> None:
    size = training_job.Size(layers=2, channels=8, states=2, batch=2, steps=20, threads=1)
    found = training_job.seconds(size, 2)
    rivals = {rival.name for rival in training.RIVALS.values()}
    assert set(found) == {*training.RIVALS, *rivals, *training_job.STEP_BY_STEP}
    assert all(len(times) == 2 for times in found.values())


def test_the_plain_s4d_is_the_s4d_of_the_models() -> None:
    plain = training_job.PlainS4D(training_job.Size(channels=4, states=3)).double()
    layer = training_job.S4D(4, 3).double()
    layer.load_state_dict(plain.state_dict())
    u = torch.randn(2, 70, 4, dtype=torch.float64)
    torch.testing.assert_close(plain(u), layer.outputs(u))
