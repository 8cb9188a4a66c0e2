"""Windows: by hand, a whole chain against a computation layer by layer, what is computed and sent once, and timing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from requires_lava import require_lava
from windows import quantized_windowed, windowed_of

from nmdeploy import pipeline
from nmdeploy.analysis.comparison import compare
from nmdeploy.analysis.energy import layer_events
from nmdeploy.analysis.metrics import layer_metrics
from nmdeploy.backends import lava
from nmdeploy.backends.reference import run
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space.windowed import QuantizedWindowedStateSpace, WindowedStateSpace
from nmdeploy.pipeline import verification
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense, QuantizedDense

H, CHANNELS, CLASSES = 6, 4, 3


def direct(kernel: list[int], vth: int, **fields: Any) -> QuantizedWindowedStateSpace:
    """One neuron whose y is its synaptic sum."""
    coefficients = {key: [[0]] for key in ("a_re", "a_im", "b_im", "c_im")} | {"b_re": [[1]], "c_re": [[1]], "d": [0]}
    widths = {"rounding": "per-product", "state_bits": 24, "coefficient_bits": 16, "frac_a": 12}
    fractions = dict.fromkeys(("frac_b", "frac_c", "frac_d", "frac_k"), 0)
    return quantized_windowed(
        **widths, **(coefficients | fractions | fields), window=len(kernel), kernel=[kernel], vth=vth
    )


def alone(neuron: QuantizedWindowedStateSpace) -> QuantizedNetwork:
    nodes = {"i": Input((1,), FixedPoint(8)), "s": QuantizedDense([[1]]), "n": neuron}
    return QuantizedNetwork(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")


def test_windows_by_hand() -> None:
    """Seven steps, windows of three: the last window holds one step, the rest of it counts as zero."""
    recording = run(alone(direct([1, 2, -1], 4)), np.array([[[1], [2], [0], [3], [3], [5], [5]]]), trace="states")
    layer = recording.layers["n"]
    assert layer.states["y"][0, :, 0].tolist() == [1, 2, 0, 3, 3, 5, 5]
    assert layer.states["u"][0, :, 0].tolist() == [1, 5, 5, 3, 9, 4, 5]
    assert layer.spikes is not None
    assert layer.spikes[0, :, 0].tolist() == [True, True, True, False, False, False, True]
    assert layer.counts["spikes"].tolist() == [4]
    assert recording.latency == 1 + 2


def test_the_product_rounds_towards_zero_before_it_is_added() -> None:
    layer = run(alone(direct([3, -3], 0, frac_k=2)), np.array([[[3], [3], [-3], [2]]]), trace="states").layers["n"]
    assert layer.states["u"][0, :, 0].tolist() == [2, 0, -2, -3]


def test_u_saturates_and_is_counted() -> None:
    neuron = direct([32767] * 5, 0, frac_c=8, c_re=[[32767]])
    layer = run(alone(neuron), np.full((1, 6, 1), 127), trace="states").layers["n"]
    y = (127 * 32767) >> 8
    assert layer.states["u"][0, :, 0].tolist() == [*(k * 32767 * y for k in (1, 2, 3, 4)), (1 << 31) - 1, 32767 * y]
    assert layer.counts["u_saturations"].tolist() == [1]


@pytest.mark.parametrize("steps", [1, 2, 4, 6, 7])
def test_send_once_sends_in_the_first_step_of_a_window(steps: int) -> None:
    inputs = np.random.default_rng(0).integers(-9, 9, (5, steps, 1))
    held, once = (run(alone(direct([1, 2, 1], 0, send_once=how)), inputs, trace="spikes") for how in (False, True))
    first = np.arange(steps) % 3 == 0
    assert np.array_equal(once.layers["n"].spikes, held.layers["n"].spikes & first[:, None])


def dynamics(rng: np.random.Generator) -> dict[str, Any]:
    c = rng.normal(size=(H, 3)) + 1j * rng.normal(size=(H, 3))
    a = np.exp(-0.1 * (0.5 + 1j * np.pi * np.arange(3))) * np.ones((H, 1))
    return {"a": a, "b": 0.3, "c": c, "d": rng.normal(size=H), "bias": 0.05}


def chain(r: int, **fields: Any) -> Network:
    """Input, windows, mixer, gate, identity, windows, readout."""
    rng = np.random.default_rng(3)
    windows = [
        windowed_of(**dynamics(rng), kernel=rng.normal(0.5, 0.5, (H, r)), v_threshold=np.full(H, 0.3), **fields)
        for _ in range(2)
    ]
    nodes: dict[str, Any] = {
        "input": Input((CHANNELS,)),
        "w0.synapse": Dense(rng.normal(size=(H, CHANNELS))),
        "w0": windows[0],
        "mixer": Dense(rng.normal(size=(2 * H, H)), rng.normal(size=2 * H)),
        "gate": GatedLinearUnit(H),
        "w1.synapse": Dense(np.eye(H)),
        "w1": windows[1],
        "out.synapse": Dense(rng.normal(size=(CLASSES, H)), rng.normal(size=CLASSES)),
        "out": Integrator(np.full(CLASSES, 0.9)),
    }
    names = list(nodes)
    return Network(nodes, tuple(Edge(a, b) for a, b in pairwise(names)), 1e-3, "out", "last")


def samples(steps: int) -> Any:
    return (np.random.default_rng(5).random((8, steps, CHANNELS)) < 0.4).astype(np.int64)


def exact(floats: Network, inputs: Any) -> QuantizedNetwork:
    return quantize_network(floats, QuantizationConfig(), ranges=calibrate(floats, inputs))


def over_steps(synapse: Any, s: Any) -> Any:
    return np.stack([synapse.apply(s[:, t]) for t in range(s.shape[1])], 1)


def rz(x: Any, k: int) -> Any:
    return np.sign(x) * (np.abs(x) >> k)


def windowed_layer(n: Any, a: Any) -> tuple[Any, Any]:
    """The spikes and y of all steps, written from docs/arithmetic.md."""
    x, (samples, steps, _) = n.dynamics, a.shape
    re, im = np.zeros((2, samples, n.size, n.states_per_neuron), np.int64)
    y = np.zeros((samples, steps, n.size), np.int64)
    top = 2 ** (n.state_bits - 1) - 1
    for t in range(steps):
        old_re, old_im, into = re, im, a[:, t, :, None]
        re = rz(x.a_re * old_re, x.frac_a) - rz(x.a_im * old_im, x.frac_a) + rz(x.b_re[..., 0] * into, x.frac_b)
        im = rz(x.a_im * old_re, x.frac_a) + rz(x.a_re * old_im, x.frac_a) + rz(x.b_im[..., 0] * into, x.frac_b)
        re, im = np.clip(re, -top, top), np.clip(im, -top, top)
        states = rz(x.c_re[:, 0] * re, x.frac_c) - rz(x.c_im[:, 0] * im, x.frac_c)
        y[:, t] = states.sum(-1) + rz(x.d[:, 0, 0] * a[:, t], x.frac_d) + x.bias[:, 0]
    r = n.window
    padded = np.concatenate([y, np.zeros((samples, -steps % r, n.size), np.int64)], 1).reshape(samples, -1, r, n.size)
    u = rz(n.kernel.T * padded, n.frac_k).sum(2)
    return np.repeat(u > n.vth, r, 1)[:, :steps], y


def gate_layer(n: Any, a: Any) -> Any:
    shifted = a[..., 1::2] << (12 - n.frac_in) if n.frac_in < 12 else a[..., 1::2] >> (n.frac_in - 12)
    g = np.clip(shifted, -32768, 32767) + 32768
    i, f = g >> 10, g & 1023
    gate = n.table[i] + rz((n.table[i + 1] - n.table[i]) * f, 10)
    top = 2 ** (n.output_bits - 1) - 1
    return np.clip(rz(a[..., ::2] * gate, n.gate_shift), -top, top)


@pytest.mark.parametrize(("r", "steps"), [(5, 20), (3, 20), (5, 1), (3, 2), (4, 17)])
def test_the_integer_chain_equals_a_computation_layer_by_layer(r: int, steps: int) -> None:
    q, inputs = exact(chain(r), samples(20)), samples(steps)
    recording = run(q, inputs, trace="states")
    n, s = q.populations, q.synapses
    first, y0 = windowed_layer(n["w0"], over_steps(s["w0.synapse"], inputs))
    gated = gate_layer(n["gate"], over_steps(s["mixer"], first.astype(np.int64)))
    second, y1 = windowed_layer(n["w1"], over_steps(s["w1.synapse"], gated))
    v, found = np.zeros((len(inputs), CLASSES), np.int64), []
    out: Any = n["out"]
    for t in range(steps):
        v = rz(v * (4096 - out.dv), 12) + s["out.synapse"].apply(second[:, t].astype(np.int64)) + out.bias
        found.append(v)
    layers = recording.layers
    assert np.array_equal(layers["w0"].spikes, first) and np.array_equal(layers["w0"].states["y"], y0)
    assert np.array_equal(layers["gate"].states["g"], gated)
    assert np.array_equal(layers["w1"].spikes, second) and np.array_equal(layers["w1"].states["y"], y1)
    assert np.array_equal(recording.output, np.stack(found, 1))
    unbounded = run(q, inputs, trace="states", dtype=object)
    assert np.array_equal(unbounded.output, recording.output)
    assert all(np.array_equal(unbounded.layers[name].spikes, layers[name].spikes) for name in ("w0", "w1"))
    if steps == 20:
        assert 0.05 < first.mean() < 0.95 and 0.05 < second.mean() < 0.95


@pytest.mark.parametrize(("r", "steps"), [(5, 20), (3, 20), (4, 3)])
def test_the_float_chain_equals_a_computation_layer_by_layer(r: int, steps: int) -> None:
    network, inputs = chain(r), samples(steps).astype(float)

    def windowed(n: WindowedStateSpace, a: Any) -> Any:
        x, y = np.zeros((len(a), *n.dynamics.a.shape), complex), []
        for t in range(steps):
            x = n.dynamics.a * x + n.dynamics.b[..., 0] * a[:, t, :, None]
            y.append((n.dynamics.c[:, 0] * x).real.sum(-1) + n.dynamics.d[:, 0, 0] * a[:, t] + n.dynamics.bias[:, 0])
        padded = np.concatenate([np.stack(y, 1), np.zeros((len(a), -steps % r, H))], 1).reshape(len(a), -1, r, H)
        return np.repeat((n.kernel.T * padded).sum(2) > n.v_threshold, r, 1)[:, :steps].astype(float)

    n: Any = network.populations
    s = network.synapses
    first = windowed(n["w0"], over_steps(s["w0.synapse"], inputs))
    mixed = over_steps(s["mixer"], first)
    gated = mixed[..., ::2] / (1 + np.exp(-mixed[..., 1::2]))
    second = windowed(n["w1"], over_steps(s["w1.synapse"], gated))
    floats = run_float(network, inputs, trace=True)
    assert np.array_equal(floats.spikes["w0"], first) and np.array_equal(floats.spikes["w1"], second)
    assert np.allclose(floats.membranes["gate"], gated, rtol=1e-12)
    v = np.zeros((len(inputs), CLASSES))
    for t in range(steps):
        v = 0.9 * v + s["out.synapse"].apply(second[:, t])
    assert np.allclose(floats.output[:, -1], v, rtol=1e-12)


def test_integers_follow_the_float_chain() -> None:
    network, inputs = chain(5), samples(40)
    q = exact(network, inputs)
    floats, recording = run_float(network, inputs), run(q, inputs, trace="spikes")
    for name in ("w0", "w1"):
        assert (floats.spikes[name] != recording.layers[name].spikes).mean() < 0.02


def test_latency_and_depth_count_the_lookahead() -> None:
    q = exact(chain(5), samples(20))
    assert [q.timing.arrival_step[name] for name in ("w0", "gate", "w1", "out")] == [1, 6, 7, 12]
    assert (q.latency, q.timing.drain_steps, q.timing.start_offset["w1"], q.timing.start_offset["out"]) == (12, 8, 4, 8)
    assert run(q, samples(7)).latency == 12


@pytest.mark.parametrize("r", [3, 5])
def test_what_is_constant_over_a_window_is_computed_and_sent_once(r: int) -> None:
    steps = 30
    q = exact(chain(r), samples(steps))
    recording = run(q, samples(steps))
    assert [q.timing.hold_steps[name] for name in q.nodes] == [1, 1, r, r, r, r, r, r, 1]
    for layer in layer_metrics(q, recording):
        share = 1 if layer.name == "w0" else r
        assert layer.synaptic_operations_computed * share == pytest.approx(layer.synaptic_operations)
        assert layer.synaptic_operations > 0
    counts = recording.layers
    assert np.array_equal(counts["w0"].counts["events_sent"] * r, counts["w0"].counts["spikes"])
    assert counts["gate"].counts["spikes"].sum() == 0 < counts["gate"].counts["events_sent"].sum()
    assert (counts["gate"].counts["bias_operations"] == 2 * H * steps // r).all()
    mapped = map_network(q, load_profile("loihi2"))
    events = layer_events(q, "gate", recording, mapped)
    computed = recording.total("gate", "synaptic_operations_computed") / 8
    assert events["synaptic_operation"] == pytest.approx(computed + 2 * H * steps / r)
    # Each kept sum is a register of 32 bits: the gate has two inputs.
    gate = next(core for core in mapped.cores if core.population == "gate")
    assert gate.usage["neuron_bits"].used == -(-q.populations["gate"].footprint_bits // H) + 2 * 32


def test_a_short_sample_sees_nothing_of_what_follows_it() -> None:
    network = chain(5)
    q, inputs, lengths = exact(network, samples(20)), samples(20), np.array([20, 1, 4, 5, 6, 7, 13, 20])
    together, floats = run(q, inputs, lengths=lengths, trace="states"), run_float(network, inputs, lengths=lengths)
    for i, length in enumerate(lengths):
        by_itself = run(q, inputs[i : i + 1, :length], trace="states")
        for name, layer in by_itself.layers.items():
            for key, values in layer.states.items():
                assert np.array_equal(together.layers[name].states[key][i, :length], values[0])
            for key, counts in layer.counts.items():
                assert together.layers[name].counts[key][i] == counts[0], key
        assert np.array_equal(together.output[i, :length], by_itself.output[0])
        assert np.allclose(floats.output[i, :length], run_float(network, inputs[i : i + 1, :length]).output[0])


@pytest.mark.slow
def test_the_chain_equals_lava_in_both_forms() -> None:
    """Multiples of the window and not, a sample shorter than one window."""
    require_lava()
    jobs = [
        (pipeline.quantize(chain(r), "loihi2", data(20), window_input=form), samples(steps)[:3])
        for r, steps in ((5, 20), (4, 17), (5, 3))
        for form in ("exact", "scaled")
    ]
    for (q, inputs), recording in zip(jobs, lava.run_many(jobs), strict=True):
        expected = run(q, inputs, trace="states")
        found = compare(expected, recording)
        assert found.mismatches == 0, found.first_divergence
        assert recording.latency == expected.latency


@pytest.mark.slow
def test_samples_of_different_lengths_equal_lava() -> None:
    require_lava()
    q = exact(chain(5), samples(20))
    uneven = replace(data(20), lengths=np.array([20, 1, 4, 5, 6, 7, 13, 20]))
    one, other = (pipeline.run(q, uneven, backend, "states") for backend in ("reference", "lava"))
    found = compare(one, other)
    assert found.mismatches == 0 and found.samples == 8, found.first_divergence
    assert np.array_equal(one.output, other.output) and np.array_equal(one.lengths, other.lengths)


def data(steps: int) -> Data:
    return Data(samples(steps), None, np.full(8, steps))


def test_edges_with_delays_and_residual_paths_refer_to_aligned_steps() -> None:
    """A second path around the windows arrives with them; a delayed feedback comes from the aligned step before."""
    one = direct([1, 1, 1], 1)
    nodes: dict[str, Any] = {"i": Input((1,)), "s": QuantizedDense([[1]]), "w": one, "t": QuantizedDense([[1]])}
    nodes |= {"skip": QuantizedDense([[2]]), "back": QuantizedDense([[4]])}
    nodes |= {"out": exact_integrator()}
    edges = (Edge("i", "s"), Edge("s", "w"), Edge("w", "t"), Edge("t", "out"), Edge("i", "skip"), Edge("skip", "out"))
    edges += (Edge("w", "back", 4), Edge("back", "out"))
    q = QuantizedNetwork(nodes, edges, 1e-3, "out")
    inputs = np.random.default_rng(1).integers(0, 2, (6, 11, 1))
    recording = run(q, inputs, trace="spikes")
    spikes = recording.layers["w"].spikes
    assert spikes is not None and 0 < spikes.mean() < 1
    late = np.concatenate([np.zeros((6, 4, 1), int), spikes[:, :-4]], 1)
    assert np.array_equal(recording.output, spikes + 2 * inputs + 4 * late)
    assert (
        q.timing.hold_steps["t"] == 3
        and q.timing.hold_steps["back"] == 1
        and q.timing.inserted_delays["i", "skip"] == 3
    )
    # One of its two receivers keeps no sum: it sends in every step.
    assert np.array_equal(recording.layers["w"].counts["events_sent"], recording.layers["w"].counts["spikes"])


def exact_integrator() -> Any:
    from nmdeploy.neurons.integrator import QuantizedIntegrator

    return QuantizedIntegrator([4096], 0)


def test_cores_are_busy_while_the_last_outputs_leave() -> None:
    q = exact(chain(5), samples(20))
    events = layer_events(q, "out", run(q, samples(20)), map_network(q, load_profile("loihi2")))
    assert events["static_power_per_core"] == pytest.approx((20 + 8) * 1e-3)


def test_agreement_is_that_of_the_same_form() -> None:
    network, given = chain(5), data(20)
    q = pipeline.quantize(network, "loihi2", given, window_input="scaled")
    recording = run(q, given.codes, trace="states")
    agreement, _ = verification._agreement(network, given, q, recording)
    assert agreement is not None
    assert all((agreement[name].spike_agreement or 0) > 0.97 for name in ("w0", "w1"))
    assert (agreement["w1"].membrane_snr_db or 0) > 20


def test_feedback_into_windows_needs_a_delay_of_a_whole_window() -> None:
    def looped(delay: int) -> QuantizedNetwork:
        nodes = {"i": Input((1,)), "s": QuantizedDense([[1]]), "w": direct([1, 1, 1], 1), "b": QuantizedDense([[-1]])}
        edges = (Edge("i", "s"), Edge("s", "w"), Edge("w", "b", delay), Edge("b", "w"))
        return QuantizedNetwork(nodes, edges, 1e-3, "w")

    with pytest.raises(UnsupportedParameter, match=r"'w' -> 'b' cannot be aligned.*at least 3"):
        looped(2)
    inputs = np.random.default_rng(2).integers(0, 2, (4, 12, 1))
    layer = run(looped(3), inputs, trace="states").layers["w"]
    assert layer.spikes is not None and layer.spikes.any()
    late = np.concatenate([np.zeros((4, 3, 1), int), layer.spikes[:, :-3]], 1)
    assert np.array_equal(layer.states["y"], inputs - late)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, "window = 0"),
        ({"frac_k": 32}, "frac_k = 32"),
        ({"kernel": [[1 << 15] * 2]}, "kernel = 32768 exceeds"),
        ({"vth": [1 << 31]}, "vth = 2147483648 exceeds"),
        ({"dynamics": {"b_re": np.ones((1, 1, 2)), "b_im": np.zeros((1, 1, 2))}}, "2 inputs"),
        ({"dynamics": {"input_bias": [[1]]}}, "windows have no input bias"),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    neuron = direct([1, 1], 0)
    if "dynamics" in fields:
        fields = {"dynamics": replace(neuron.dynamics, **fields["dynamics"])}
    with pytest.raises(BadOption, match=message):
        replace(neuron, **fields)


def test_a_float_kernel_needs_two_dimensions() -> None:
    with pytest.raises(BadOption, match="kernel of shape"):
        windowed_of(**dynamics(np.random.default_rng(0)), kernel=np.ones(H), v_threshold=np.ones(H))


def test_a_kernel_of_any_size_decides_alike() -> None:
    """Kernel and threshold have a scale of their own: what they share changes no code."""
    network, inputs = chain(3), samples(20)
    w0: Any = network.populations["w0"]
    scaled = replace(w0, kernel=w0.kernel * 2.0**20, v_threshold=w0.v_threshold * 2.0**20)
    other = replace(network, nodes=dict(network.nodes) | {"w0": scaled})
    one, two = (exact(n, inputs).populations["w0"] for n in (network, other))
    assert np.array_equal(one.kernel, two.kernel) and np.array_equal(one.vth, two.vth)  # type: ignore[attr-defined]
