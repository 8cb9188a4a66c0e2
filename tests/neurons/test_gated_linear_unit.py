"""The gated linear unit: by hand, against the float one, and what it offers to what comes behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nmdeploy.backends.reference import run
from nmdeploy.errors import BadOption, DoesNotFit
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig, StepTime
from nmdeploy.neurons.gated_linear_unit import OUTPUT_BITS, SIGMOID, GatedLinearUnit, QuantizedGatedLinearUnit
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import Dense

TABLE = SIGMOID


def gate(**fields: Any) -> QuantizedGatedLinearUnit:
    plain: dict[str, Any] = {"neurons": 1, "table": TABLE, "gate_shift": 15, "output_bits": 14, "frac_in": 12}
    return QuantizedGatedLinearUnit(**(plain | fields))


def outputs(neuron: QuantizedGatedLinearUnit, value: int, *gates: int) -> list[int]:
    arriving = np.array([[value, g] for g in gates])
    return neuron.advance(neuron.start(len(gates)), arriving, StepTime(0, 1))[1][:, 0].tolist()


def test_the_table_is_the_sigmoid() -> None:
    assert len(TABLE) == 65 and TABLE[32] == 1 << 14 and TABLE[36] == round(2**15 / (1 + np.exp(-1)))
    assert (TABLE + TABLE[::-1] == 1 << 15).all()


def test_by_hand() -> None:
    """GatedLinearUnit 0 halves; beyond 8 the ends of the table; between two points the line, rounded towards zero."""
    assert outputs(gate(), 1000, 0, 1 << 15, 1 << 20, -(1 << 20)) == [500, 999, 999, 0]
    assert outputs(gate(), -1001, 0) == [-500]
    # GatedLinearUnit 0.1 = 410 / 4096: table[32] + (table[33] - table[32]) * 410 / 1024.
    sigmoid = TABLE[32] + (TABLE[33] - TABLE[32]) * 410 // 1024
    assert outputs(gate(), 8000, 410) == [8000 * sigmoid >> 15]
    # The same gate with 10 and with 14 fraction bits; the shift to 12 floors.
    assert outputs(gate(frac_in=10), 8000, -103) == outputs(gate(), 8000, -412)
    assert outputs(gate(frac_in=14), 8000, -1647) == outputs(gate(), 8000, -412)


def test_the_output_saturates_and_is_counted() -> None:
    neuron = gate(gate_shift=0, output_bits=8)
    assert outputs(neuron, 1 << 20, 0) == [127] and outputs(neuron, -(1 << 20), 0) == [-127]
    assert neuron.output_max == 127
    flags = neuron.advance(neuron.start(1), np.array([[1 << 20, 0]]), StepTime(0, 1))[2]
    assert [flag.sum() for flag in flags] == [1]


def test_send_once() -> None:
    neuron = gate(send_once=True, window=3)
    arriving = np.array([[1000, 0]])
    sent = [int(neuron.advance(neuron.start(1), arriving, StepTime(t, 7))[1][0, 0]) for t in range(7)]
    assert sent == [500, 0, 0, 500, 0, 0, 500]
    assert (neuron.hold_steps(3), gate().hold_steps(3)) == (1, 3)


def network(neurons: int = 8, scale: float = 1.0, inputs: int = 16) -> Network:
    """Two layers of gates; the weights are multiples of a power of two, so that eight bits hold them exactly."""
    rng = np.random.default_rng(0)
    codes = lambda *shape: np.clip(np.rint(rng.normal(size=shape) * 40), -127, 127) / 64  # noqa: E731
    nodes: dict[str, Any] = {
        "i": Input((inputs,), FixedPoint(4, 2)),
        "s": Dense(codes(2 * neurons, inputs) * scale, codes(2 * neurons) * scale),
        "g": GatedLinearUnit(neurons),
        "r": Dense(codes(neurons, neurons)),
        "o": GatedLinearUnit(neurons // 2),
    }
    edges = (Edge("i", "s"), Edge("s", "g"), Edge("g", "r"), Edge("r", "o"))
    return Network(nodes, edges, 1e-3, "o", "last")


@pytest.mark.parametrize("scale", [2**-6, 1.0, 4.0])
def test_integers_follow_the_float_gates(scale: float) -> None:
    floats, inputs = network(scale=scale), np.random.default_rng(1).integers(-8, 8, (20, 10, 16))
    values = floats.input.format.dequantize(inputs)
    q = quantize_network(floats, QuantizationConfig(), ranges=calibrate(floats, values))
    found, wanted = run(q, inputs, trace="states"), run_float(floats, values, trace=True)
    for name in ("g", "o"):
        real = q.populations[name].dequantize_state("g", found.layers[name].states["g"])
        error = np.linalg.norm(real - wanted.membranes[name]) / np.linalg.norm(wanted.membranes[name])
        assert error < 0.004, name
        assert found.total(name, "g_saturations") == 0
    g: Any = q.populations["g"]
    assert q.s_max("r") == (1 << (OUTPUT_BITS - 1)) - 1 and g.gate_shift >= 0 and (g.scale == 1).all()
    # The largest output takes half of its width at least: one bit of headroom.
    assert np.abs(found.layers["g"].states["g"]).max() >= 1 << (OUTPUT_BITS - 3)
    assert found.layers["g"].spikes is None and not found.spiking


def test_without_data_static_bounds_hold() -> None:
    q = quantize_network(network(), QuantizationConfig())
    inputs = np.random.default_rng(1).integers(-8, 8, (20, 10, 16))
    recording = run(q, inputs)
    assert recording.total("g", "g_saturations") == recording.total("o", "g_saturations") == 0


def test_sums_of_64_inputs_stay_within_the_receivers_32_bits() -> None:
    q = quantize_network(network(64), QuantizationConfig())
    assert isinstance(q, QuantizedNetwork) and q.a_max("o").max() < 1 << 31


def test_a_chip_with_narrower_events_is_refused() -> None:
    profile = load_profile("loihi2")
    payload = replace(profile.arithmetic.graded_payload_bits, value=13)
    narrow = replace(profile, arithmetic=replace(profile.arithmetic, graded_payload_bits=payload))
    q = quantize_network(network(), QuantizationConfig())
    assert map_network(q, profile).fits
    assert any("graded values of 14 bits" in problem for problem in map_network(q, narrow).problems)


def test_a_gate_that_feeds_back_needs_calibration_data() -> None:
    floats = network()
    nodes = dict(floats.nodes) | {"b": Dense(np.eye(16, 8) / 4)}
    looped = replace(floats, nodes=nodes, edges=(*floats.edges, Edge("g", "b", 1), Edge("b", "g")))
    with pytest.raises(BadOption, match="node 'g': values that feed back have no static bound"):
        quantize_network(looped, QuantizationConfig())
    inputs = np.random.default_rng(1).integers(-8, 8, (20, 10, 16))
    values = floats.input.format.dequantize(inputs)
    q = quantize_network(looped, QuantizationConfig(), ranges=calibrate(looped, values))
    found, wanted = run(q, inputs, trace="states"), run_float(looped, values, trace=True)
    real = q.populations["g"].dequantize_state("g", found.layers["g"].states["g"])
    assert np.linalg.norm(real - wanted.membranes["g"]) < 0.01 * np.linalg.norm(wanted.membranes["g"])


def test_values_too_small_for_their_weights_are_refused() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 4)) * [[1e-9], [1], [1e-9], [1]]
    nodes: dict[str, Any] = {"i": Input((4,)), "s": Dense(weight), "g": GatedLinearUnit(2)}
    floats = Network(nodes, (Edge("i", "s"), Edge("s", "g")), 1e-3, "g", "last")
    with pytest.raises(DoesNotFit, match="node 'g': its sums have"):
        quantize_network(floats, QuantizationConfig())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gate_shift": -1}, "gate_shift = -1"),
        ({"output_bits": 33}, "output_bits = 33"),
        ({"window": 0}, "window = 0"),
        ({"table": TABLE + 12}, "outside of 0 to 32768"),
        ({"scale": 0.5}, "scale 0.5"),
    ],
)
def test_refusals(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        replace(gate(), **fields)
