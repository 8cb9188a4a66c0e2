"""Random networks of windowed layers and gates: windowed -> dense -> gate -> dense -> windowed ..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from networks_build import Builder, Case, Draft, Family, Rng, either, largest, random_dense, random_inputs
from networks_neurons import STATE_SPACE, codes, diagonal_dynamics, formats
from windows import quantized_windowed

from nmdeploy.network.graph import Edge
from nmdeploy.neurons.gated_linear_unit import QuantizedGatedLinearUnit
from nmdeploy.synapses.dense import QuantizedDense
from nmdeploy.synapses.weights import QuantizedWeights

TABLE = np.rint(2**15 / (1 + np.exp(-np.arange(-32, 33) / 4))).astype(int)


def windowed(rng: Rng, size: int, _q: int, window: int, send_once: bool) -> Draft:
    """Draw weighted sums over windows, decided at their ends."""
    shape, shared = (size, int(rng.integers(1, 7)), 1, 1), formats(rng)
    dynamics = diagonal_dynamics(rng, shape)
    del dynamics["input_bias"]  # windows have none
    neuron = quantized_windowed(
        **shared | dynamics,
        window=window,
        kernel=codes(rng, 2**12, (size, window)),
        frac_k=int(rng.integers(8, 13)),
        vth=np.zeros(size, int),
        send_once=send_once,
    )
    spread = rng.uniform(0.7, 1.3, size)
    at = lambda level: replace(neuron, vth=np.rint(level * spread).astype(int))  # noqa: E731
    return Draft(at, -(1 << shared["state_bits"] + 3), 1 << shared["state_bits"] + 3)


def gate(rng: Rng, size: int, _q: int, window: int, send_once: bool) -> Draft:
    """Draw a gate whose sums reach the table's middle, its ends and the range beyond."""
    neuron = QuantizedGatedLinearUnit(
        neurons=size,
        table=TABLE,
        gate_shift=int(rng.integers(13, 19)),
        output_bits=int(rng.choice([4, 6, 8])),
        frac_in=int(rng.integers(3, 14)),
        send_once=send_once,
        window=window,
    )
    return Draft(lambda _level: neuron, 0, 1)


def nearly_identity(rng: Rng, outputs: int, inputs: int) -> QuantizedWeights:
    """Draw synapses from a gate's output to one neuron, with some crosstalk."""
    weight = np.eye(outputs, inputs, dtype=int) * int(rng.integers(20, 128))
    weight += codes(rng, 5, weight.shape) * (rng.random(weight.shape) < 0.1)
    return either(QuantizedDense(np.clip(weight, -128, 127), 8, 0, "mixed", int(rng.integers(-3, 2))))


def mixing(rng: Rng, outputs: int, inputs: int) -> QuantizedWeights:
    """Draw synapses from windowed neurons to both inputs of every gate, (2H, H)."""
    return random_dense(rng, outputs, inputs, (0, 4), bias=bool(rng.random() < 0.3))


def layer(rng: Rng, window: int, after_gate: bool, send_once: bool) -> Family:
    """Return a windowed layer."""
    make: Callable[[Rng, int, int], Draft] = partial(windowed, window=window, send_once=send_once)
    return Family("windowed", make, (-2, 2), recurrent=0.0, synapse=nearly_identity if after_gate else None)


def gates(window: int, send_once: bool) -> Family:
    """Return a layer of gates."""
    make: Callable[[Rng, int, int], Draft] = partial(gate, window=window, send_once=send_once)
    return Family("gate", make, inputs=(2,), recurrent=0.0, synapse=mixing)


def windowed_case(seed: int, steps: int = 0, samples: int = 2) -> Case:
    """Return 1 to 3 windowed layers with a gate between each two, other ends, delays and windows of unlike lengths."""
    rng = np.random.default_rng(seed)
    steps = steps or int(rng.integers(40, 80))
    builder = Builder(rng, *random_inputs(rng, steps, samples))
    size, layers, window = int(rng.integers(8, 41)), int(rng.integers(1, 4)), int(rng.integers(2, 9))
    send_once = bool(rng.random() < 0.25)
    last = "input"
    for index in range(layers):
        if rng.random() < 0.2:
            window = int(rng.integers(1, 9))
        name = f"window{index}"
        builder.add(name, layer(rng, window, index > 0, send_once), size, [last])
        if index < layers - 1 or rng.random() < 0.4:
            builder.add(f"gate{index}", gates(window, send_once), size, [name])
        last = f"gate{index}" if f"gate{index}" in builder.nodes else name
    if rng.random() < 0.4:
        builder.add("plain", STATE_SPACE, size, [last])
        if rng.random() < 0.5:
            late(builder, last, "plain")
        last = "plain"
    last = builder.readout(last) if rng.random() < 0.3 or last.startswith("gate") else last
    return builder.case(f"windowed-ssm-{seed}", last)


def late(builder: Builder, source: str, target: str) -> None:
    """Add a weak, delayed edge between two populations; the target stays alive."""
    rng, nodes = builder.rng, builder.nodes
    sums, sent = nodes[target].input_size, builder.outputs[source].shape[-1]
    nodes["late"] = random_dense(rng, sums, sent, (-6, -4), bias=False, s_max=max(7, largest(nodes[source])))
    builder.edges += [Edge(source, "late", int(rng.integers(1, 4))), Edge("late", target)]
