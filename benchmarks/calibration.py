"""The compiled float run against the loop in NumPy: ``python -m benchmarks.run --only calibration``.

Four layers of state-space neurons and a readout, on as many samples as a calibration takes. NumPy runs a part of them.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.timing import seconds_of
from nmdeploy.engine.run.float_run import run_float_layers
from nmdeploy.network.float_run import FloatRun, run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.synapses.dense import Dense

LAYERS, NEURONS, STATES, CHANNELS, CLASSES = 4, 128, 16, 8, 10
SAMPLES, STEPS, IN_NUMPY, INPUT_RATE = 128, 784, 4, 0.3


def network(layers: int = LAYERS, neurons: int = NEURONS, states: int = STATES) -> Network:
    """Return a float network of `layers` of state-space neurons, each of which sends spikes, and an integrator."""
    rng, before, size = np.random.default_rng(0), "input", CHANNELS
    nodes: dict[str, Any] = {before: Input((CHANNELS,))}
    edges: list[Edge] = []
    for layer in range(layers):
        shape, names = (neurons, states), (f"fc{layer}", f"layer{layer}")
        a = np.exp(-rng.uniform(0.001, 0.1, shape) + 1j * rng.uniform(0, 3, shape))
        nodes[names[0]] = Dense(rng.normal(0, 1.5 / np.sqrt(0.1 * size), (neurons, size)))
        nodes[names[1]] = StateSpace(
            a=a,
            b=np.full(shape, 0.1 + 0j),
            c=rng.normal(size=shape) + 1j * rng.normal(size=shape),
            d=rng.normal(size=neurons),
            v_threshold=np.full(neurons, 0.75 * np.sqrt(states)),
        )
        edges += [Edge(before, names[0]), Edge(*names)]
        before, size = names[1], neurons
    nodes |= {"fc": Dense(rng.normal(0, 1 / np.sqrt(size), (CLASSES, size))), "out": Integrator(np.full(CLASSES, 0.9))}
    return Network(nodes, (*edges, Edge(before, "fc"), Edge("fc", "out")), 1e-3, "out", "last")


def measure(turns: int) -> dict[str, Any]:
    """Return nanoseconds per state and step of both, their ratio, spikes that differ, and the largest error of a range.

    The compiled run includes the compilation in its first turn only; the fastest turn counts, of NumPy's too.
    """
    floats = network()
    inputs = (np.random.default_rng(1).random((SAMPLES, STEPS, CHANNELS)) < INPUT_RATE).astype(np.float64)
    few = inputs[:IN_NUMPY]
    run_float_layers(floats, inputs[:1], observe=True, keep_spikes=False)
    compiled, numpy_ = [], []
    for _ in range(turns):
        compiled.append(seconds_of(lambda: run_float_layers(floats, inputs, observe=True, keep_spikes=False)))
        numpy_.append(seconds_of(lambda: run_float(floats, few, observe=True)))
    each = LAYERS * NEURONS * STATES * STEPS
    fast, slow = min(compiled) / (each * SAMPLES), min(numpy_) / (each * IN_NUMPY)
    agreement = compared(run_float_layers(floats, few, observe=True), run_float(floats, few, observe=True))
    return {
        "compiled": 1e9 * fast,
        "numpy": 1e9 * slow,
        "ratio": slow / fast,
        "processors": os.cpu_count(),
        **agreement,
    }


def compared(found: FloatRun, wanted: FloatRun) -> dict[str, Any]:
    """Return how many spikes differ, of how many, and the largest relative error of a range."""
    differ = sum(int((found.spikes[name] != spikes).sum()) for name, spikes in wanted.spikes.items())
    errors = [
        float(np.abs(found.ranges[name][key] - value).max() / value.max())
        for name, ranges in wanted.ranges.items()
        for key, value in ranges.items()
    ]
    return {"differ": differ, "spikes": sum(int(s.sum()) for s in wanted.spikes.values()), "error": max(errors)}


def told(found: dict[str, Any]) -> str:
    """Return the measurements in words."""
    return (
        f"compiled {found['compiled']:.3g} ns per state and step, NumPy {found['numpy']:.3g} ns: ratio "
        f"{found['ratio']:.3g}; {found['differ']} of {found['spikes']:,} spikes differ, ranges by {found['error']:.1e}"
    )
