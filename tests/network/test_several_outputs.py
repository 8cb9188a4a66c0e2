"""Several inputs and outputs a neuron, signed and graded events: runs, counts, files, comparisons, mapping, scales."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requires_lava import require_lava

from nmdeploy import pipeline
from nmdeploy._util.frozen import same
from nmdeploy.analysis.comparison import agree, compare
from nmdeploy.analysis.metrics import activation_sparsity, layer_metrics, operation_kind, saturated_share
from nmdeploy.backends import lava
from nmdeploy.backends.reference import run
from nmdeploy.errors import BadFile, BadOption, DoesNotFit
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.hardware.limits import payload_bits
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace, StateSpace
from nmdeploy.pipeline import conversion
from nmdeploy.quantization.drives import NO_DRIVES
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.recording.reader import read_recording, write_recording
from nmdeploy.recording.types import join
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense, QuantizedDense

H, Q, P = 4, 2, 3
INPUTS = np.random.default_rng(0).integers(-4, 4, (6, 12, 3))


def direct(spike: str = "graded", size: int = H, **fields: Any) -> QuantizedStateSpace:
    """y[h, k] = a[h, 0] * (k + 1) + a[h, 1]; graded codes of half of it, beyond 3."""
    zero = np.zeros((size, 1), np.int64)
    codes = dict.fromkeys(("a_re", "a_im"), zero) | {name: np.zeros((size, 1, Q), int) for name in ("b_re", "b_im")}
    codes |= {name: np.zeros((size, P, 1), np.int64) for name in ("c_re", "c_im")}
    through = np.stack([np.arange(1, P + 1), np.ones(P, int)], 1)[None]
    widths = {"rounding": "per-product", "state_bits": 24, "coefficient_bits": 16}
    fractions = {"frac_a": 12, "frac_b": 0, "frac_c": 15, "frac_d": 0, "graded_shift": 1, "graded_bits": 5}
    shared = {"bias": 0, "vth": 3, "d": np.broadcast_to(through, (size, P, Q)), "spike": spike, "frac_out": 2}
    return QuantizedStateSpace(**(widths | fractions | shared | codes | fields))


def network(spike: str = "graded", weight: Any = None) -> QuantizedNetwork:
    rng = np.random.default_rng(1)
    nodes: dict[str, Any] = {
        "i": Input((3,), FixedPoint(3)),
        "s": QuantizedDense(rng.integers(-2, 3, (H * Q, 3))),
        "n": direct(spike),
        "t": QuantizedDense(rng.integers(-2, 3, (2 * Q, H * P)) if weight is None else weight),
        "o": direct("ternary", 2),
    }
    return QuantizedNetwork(nodes, (Edge("i", "s"), Edge("s", "n"), Edge("n", "t"), Edge("t", "o")), 1e-3, "o")


def by_hand(q: QuantizedNetwork) -> tuple[Any, Any]:
    a = (INPUTS @ q.synapses["s"].weight.T).reshape(6, 12, H, Q)  # type: ignore[attr-defined]
    y = a[..., :1] * np.arange(1, P + 1) + a[..., 1:]
    s = np.where(np.abs(y) > 3, np.clip(np.sign(y) * (np.abs(y) >> 1), -15, 15), 0).reshape(6, 12, H * P)
    b = (s @ q.synapses["t"].weight.T).reshape(6, 12, 2, Q)  # type: ignore[attr-defined]
    z = b[..., :1] * np.arange(1, P + 1) + b[..., 1:]
    return s, (np.sign(z) * (np.abs(z) > 3)).reshape(6, 12, 2 * P)


def test_codes_travel_neuron_by_neuron() -> None:
    q = network()
    graded, ternary = by_hand(q)
    recording = run(q, INPUTS, trace="states")
    assert np.array_equal(recording.layers["n"].spikes, graded)
    assert np.array_equal(recording.output, ternary) and recording.output.dtype == np.int64 and recording.spiking
    assert recording.layers["n"].states["y"].shape == (6, 12, H, P)
    assert same(run(q, INPUTS, trace="states", dtype=object).layers["n"].counts, recording.layers["n"].counts)


def test_codes_equal_lava() -> None:
    require_lava()
    jobs = [(network(spike), INPUTS) for spike in ("graded", "ternary")]
    for (q, inputs), recording in zip(jobs, lava.run_many(jobs), strict=True):
        found = compare(run(q, inputs, trace="states"), recording)
        assert found.mismatches == 0, found.first_divergence
        assert recording.output.dtype == np.int64 and (recording.output < 0).any()


def test_samples_run_in_parts_make_one_recording() -> None:
    """Out of order and of different lengths: what is behind a part's steps is zero."""
    q, lengths = network(), np.array([12, 5, 12, 5, 5, 12])
    groups = [np.flatnonzero(lengths == length) for length in (12, 5)]
    parts = [(which, run(q, INPUTS[which, : lengths[which[0]]], trace="states")) for which in groups]
    assert same(vars(join(parts, 12)), vars(run(q, INPUTS, lengths=lengths, trace="states")))


def test_counts_by_hand() -> None:
    q = network()
    graded, _ = by_hand(q)
    lengths = np.array([12, 12, 1, 5, 12, 12])
    recording = run(q, INPUTS, lengths=lengths, trace="spikes")
    valid = (np.arange(12) < lengths[:, None])[..., None]
    events = (graded != 0) & valid
    assert np.array_equal(recording.layers["n"].counts["spikes"], events.sum((1, 2)))
    assert np.array_equal(recording.layers["n"].spikes, graded * valid)
    fan_out = (q.synapses["t"].weight != 0).sum(0)  # type: ignore[attr-defined]
    assert np.array_equal(recording.layers["o"].counts["synaptic_operations"], (events * fan_out).sum((1, 2)))
    assert (recording.layers["n"].counts["neuron_updates"] == H * lengths).all()
    assert activation_sparsity(q, recording, ["n"]) == pytest.approx(1 - events.sum() / (H * P * lengths.sum()))
    assert (operation_kind(q, "o"), q.s_max("t")) == ("MAC", 15)
    metrics = layer_metrics(q, recording)[1]
    assert (metrics.neurons, metrics.dense_synaptic_operations) == (2, 2 * Q * H * P * lengths.sum() / 6)
    arriving = ((INPUTS @ q.synapses["s"].weight.T).reshape(6, 12, H, Q) != 0).any(-1)  # type: ignore[attr-defined]
    active = arriving | (graded.reshape(6, 12, H, P) != 0).any(-1)
    assert np.array_equal(recording.layers["n"].counts["neuron_updates_active"], (active & valid).sum((1, 2)))


@pytest.mark.parametrize("trace", ["none", "spikes", "states"])
def test_a_recording_of_codes_is_read_as_it_was_written(tmp_path: Path, trace: str) -> None:
    recording = pipeline.run(network(), Data(INPUTS, None, np.full(6, 12)), trace=trace)
    write_recording(recording, tmp_path / "r.h5")
    assert same(vars(read_recording(tmp_path / "r.h5")), vars(recording))


def test_a_changed_code_is_found() -> None:
    one = run(network(), INPUTS, trace="spikes")
    spikes = np.array(one.layers["n"].spikes)
    spikes[2, 3, 7] += 1
    other = replace(one, backend="x", layers={**one.layers, "n": replace(one.layers["n"], spikes=spikes)})
    found = compare(one, other).first_divergence
    assert found is not None and (found.sample, found.step, found.neuron, found.kind) == (2, 3, 7, "spikes")
    assert found.actual == found.expected + 1


def test_sizes_that_do_not_meet_are_refused() -> None:
    with pytest.raises(BadFile, match="12 values meet 4 places"):
        network(weight=np.ones((2 * Q, H), int))
    with pytest.raises(BadFile, match="2 values meet 4 places"):
        network(weight=np.ones((2, H * P), int))


@pytest.mark.parametrize(("spike", "bits"), [("binary", 0), ("stochastic", 0), ("ternary", 2), ("graded", 5)])
def test_payload(spike: str, bits: int) -> None:
    """Loihi sends binary spikes only: a sign is a payload."""
    q = network(spike)
    assert payload_bits(q, "n") == bits
    refused = [p for p in map_network(q, load_profile("loihi1")).problems if "synapse 't'" in p]
    assert bool(refused) == (bits > 0) and (not refused or f"graded values of {bits} bits" in refused[0])
    assert map_network(q, load_profile("loihi2")).fits


def test_a_neuron_stays_whole_on_its_core() -> None:
    """Two neurons a core: rows and columns of the synapses are cut between neurons."""
    profile = load_profile("loihi2")
    profile = replace(profile, core=replace(profile.core, neurons=replace(profile.core.neurons, value=2)))
    weight = np.zeros((2 * Q, H * P), int)
    weight[0, :P] = weight[3, 4] = 1
    q = network(weight=weight)
    mapped = map_network(q, profile)
    first, second = mapped.cores_of("n")
    assert [(core.first, core.last) for core in (first, second)] == [(0, 2), (2, 4)]
    # Three outputs of neuron 0 and one of neuron 1 reach the one core of "o"; none of neurons 2 and 3.
    assert (first.usage["output_axons"].used, second.usage["output_axons"].used) == (4, 0)
    assert mapped.traffic["n"]["spike_within_tile"] == 4 / (H * P)
    given = q.synapses["s"].weight  # type: ignore[attr-defined]
    assert first.usage["input_axons"].used == given[: 2 * Q].any(0).sum()
    assert first.usage["synapse_bits"].used == 2 * Q * 3 * 8
    (out,) = mapped.cores_of("o")
    assert out.usage["input_axons"].used == 4


def floats(spike: str = "graded", **fields: Any) -> Network:
    rng = np.random.default_rng(2)
    a = 0.8 * np.exp(0.4j) * np.ones((H, 2))
    memory = {"a": a, "b": rng.normal(size=(H, 2, Q)) / 4, "c": rng.normal(size=(H, P, 2)), "d": np.zeros((H, P, Q))}
    shared: dict[str, Any] = {"v_threshold": 0.2, "spike": spike, "graded_step": 2**-3, "graded_bits": 6}
    nodes: dict[str, Any] = {
        "i": Input((3,), FixedPoint(3)),
        "s": Dense(rng.normal(size=(H * Q, 3))),
        "n": StateSpace(**(memory | shared | fields)),
        "t": Dense(rng.normal(size=(3, H * P))),
        "o": Integrator(np.full(3, 0.9)),
    }
    return Network(nodes, (Edge("i", "s"), Edge("s", "n"), Edge("n", "t"), Edge("t", "o")), 1e-3, "o", "last")


@pytest.mark.parametrize("spike", ["binary", "ternary", "graded"])
def test_integers_follow_the_floats_behind_graded_events(spike: str) -> None:
    """What a graded code is worth enters the scales of the synapse behind it."""
    network = floats(spike)
    q = quantize_network(network, QuantizationConfig(), ranges=calibrate(network, INPUTS))
    recording, wanted = run(q, INPUTS, trace="states"), run_float(network, INPUTS, trace=True)
    agreement = agree(network, wanted, q, recording)
    assert agreement["n"].spike_agreement is not None and agreement["n"].spike_agreement > 0.9
    assert agreement["n"].membrane_snr_db is not None and agreement["n"].membrane_snr_db > 30
    assert agreement["o"].membrane_snr_db is not None and agreement["o"].membrane_snr_db > 25
    assert q.populations["n"].output_frac == (3 if spike == "graded" else 0)
    assert (recording.layers["n"].spikes != 0).mean() > 0.05  # type: ignore[union-attr]


def test_agreement_compares_values_not_only_whether_there_is_one() -> None:
    network = floats()
    q = quantize_network(network, QuantizationConfig(), ranges=calibrate(network, INPUTS))
    recording, wanted = run(q, INPUTS, trace="states"), run_float(network, INPUTS, trace=True)
    spikes = np.array(recording.layers["n"].spikes)
    doubled = replace(recording, layers=recording.layers | {"n": replace(recording.layers["n"], spikes=2 * spikes)})
    share = agree(network, wanted, q, doubled)["n"].spike_agreement
    assert share is not None and share < 1 - 0.5 * float((spikes != 0).mean())


def test_sources_of_different_fractions_are_refused() -> None:
    network = floats()
    wide = {"i": Input((12,), FixedPoint(3)), "s": Dense(np.ones((8, 12)))}
    nodes = dict(network.nodes) | wide | {"t": Dense(np.ones((3, 12)))}
    mixed = replace(network, nodes=nodes, edges=(*network.edges, Edge("i", "t")))
    with pytest.raises(BadOption, match=r"synapse 't': its sources have different fraction bits \[0, 3\]"):
        quantize_network(mixed, QuantizationConfig(), ranges=calibrate(mixed, np.zeros((1, 2, 12))))


def growing(factor: float, steps: int) -> tuple[Network, Data]:
    """One real state that grows by `factor` a step after a first input of 1."""
    n = DenseStateSpace(a=[[[factor]]], b=[[1.0]], c=[[1.0]], d=[0.0], v_threshold=[1e9])
    nodes: dict[str, Any] = {"i": Input((1,)), "s": Dense([[1.0]]), "n": n}
    inputs = np.zeros((2, steps, 1), np.int64)
    inputs[0, 0] = 1
    return Network(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n"), Data(inputs, None, np.full(2, steps))


def test_unstable_poles_are_run_on_the_calibration_data_and_noted() -> None:
    network, data = growing(1.01, 20)
    said = [note for note in pipeline.quantize(network, "loihi2", data).notes if "unit circle" in note]
    assert said == [
        "population 'n': poles outside of the unit circle; on the calibration data (2 samples) 0 saturations, 0.00% of "
        "the updates of the state that saturates most"
    ]
    stable, data = growing(0.99, 20)
    assert not any("outside of the unit circle" in note for note in pipeline.quantize(stable, "loihi2", data).notes)


def test_unstable_poles_that_saturate_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales from a short calibration: later the state leaves its width in most steps."""
    network, short = growing(1.5, 4)
    _, long = growing(1.5, 40)
    q = pipeline.quantize(network, "loihi2", short)
    recording = run(q, long.codes)
    share = saturated_share(q, recording, "n")
    assert 0.3 < share < 0.5 and share == recording.total("n", "x_saturations") / 80
    ranges = calibrate(network, short.codes.astype(float))
    monkeypatch.setattr(conversion, "choose_drives", lambda *_: NO_DRIVES._replace(ranges=ranges))
    with pytest.raises(DoesNotFit, match=r"population 'n': its poles are unstable and \d\d\.\d% .* limit 10%"):
        pipeline.quantize(network, "loihi2", long)
