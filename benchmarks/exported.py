"""Exported networks against the benchmark's network of the same shape: ``python -m benchmarks.run --only exported``.

An exported network is quantized from a float network, calibrated on real sequences: the digits of the demo, one after
the other. Its scales and widths are those that users get. Those of the benchmark's network are chosen by hand.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.timing import run, seconds_of
from nmdeploy import examples
from nmdeploy.backends import reference
from nmdeploy.engine.run.float_stepwise import float_population
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.pipeline.conversion import quantize
from nmdeploy.synapses.dense import Dense

LAYERS, NEURONS, RATE = 4, 128, 0.1
SEQUENCES, CHECKED = 32, 2
PIXEL = FixedPoint(5, 4, signed=False)
SHAPES = {"exported-16": 16, "exported-64": 64}


@cache
def sequences() -> Any:
    """Return (SEQUENCES, networks.STEPS, 1) real values: digits, pixel by pixel and one after the other."""
    values = np.load(examples.digits().test)["inputs"]
    steps = networks.STEPS
    each = -(-steps // values.shape[1])
    return np.stack([np.concatenate(values[i * each : (i + 1) * each])[:steps] for i in range(SEQUENCES)])


@cache
def floats(states: int) -> Network:
    """Return layers with S4D poles; each neuron's threshold is a quantile of its output on two sequences."""
    rng, sent = np.random.default_rng([networks.SEED, states]), sequences()[:2].astype(np.float64)
    nodes: dict[str, Any] = {"input": Input((1,), PIXEL)}
    edges, before = [], "input"
    for layer in range(LAYERS):
        synapse = Dense(rng.normal(0, 1 / np.sqrt(sent.shape[2]), (NEURONS, sent.shape[2])))
        neuron, sent = _layer(rng, states, synapse.apply(sent.reshape(-1, sent.shape[2])).reshape(2, -1, NEURONS))
        names = f"fc{layer}", f"layer{layer}"
        nodes |= dict(zip(names, (synapse, neuron), strict=True))
        edges += [Edge(before, names[0]), Edge(*names)]
        before = names[1]
    return Network(nodes, tuple(edges), 1e-3, before)


def _layer(rng: networks.Rng, states: int, sums: Any) -> tuple[StateSpace, Any]:
    shape = (NEURONS, states)
    dt = np.exp(rng.uniform(np.log(4e-3), np.log(1e-1), (NEURONS, 1)))
    neuron = StateSpace(
        a=np.exp(dt * (-0.5 + 1j * np.pi * np.arange(states))),
        b=dt * (rng.normal(size=shape) + 1j * rng.normal(size=shape)),
        c=rng.normal(size=shape) + 1j * rng.normal(size=shape),
        d=rng.normal(0, 0.1, NEURONS),
        v_threshold=np.zeros(NEURONS),
    )
    found = float_population(neuron, len(sums) * sums.shape[1], recorded={"y": neuron.membrane})
    y = found.run(sums, np.full(len(sums), sums.shape[1])).recorded["y"]
    threshold = np.quantile(y, 1 - RATE, axis=(0, 1))
    return replace(neuron, v_threshold=threshold), (y > threshold).astype(np.float64)


@cache
def exported(states: int) -> QuantizedNetwork:
    """Return the integers, calibrated on the sequences."""
    return quantize(floats(states), data=sequences())


def measure(name: str, turns: int) -> dict[str, Any]:
    """Return nanoseconds per state and step of both, the median of the turns' ratios, rates, and if spikes are equal.

    The two networks take turns, so that a disturbance meets both.
    """
    states = SHAPES[name]
    network, other = exported(states), networks.state_space(NEURONS, states, "per-product")
    codes = PIXEL.quantize(sequences()).astype(np.uint8)
    jobs = (other, networks.inputs(SEQUENCES, NEURONS)), (network, codes)
    calls = [partial(run, "compiled", *job) for job in jobs]
    for call in calls:
        call()
    found = [[min(seconds_of(call) for _ in range(2)) for call in calls] for _ in range(turns)]
    ratios = [benchmark / own for benchmark, own in found]
    work = LAYERS * NEURONS * states * networks.STEPS * SEQUENCES / 1e9
    expected, actual = (reference.run(network, codes[:CHECKED].astype(np.int64)), calls[1]())
    spikes = {layer: each.counts["spikes"].sum() for layer, each in actual.layers.items()}
    rates = {layer: float(count / (NEURONS * networks.STEPS * SEQUENCES)) for layer, count in spikes.items()}
    return {
        "benchmark": statistics.median(b for b, _ in found) / work,
        "exported": statistics.median(own for _, own in found) / work,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "rates": rates,
        "equal": bool(np.array_equal(expected.output, actual.output[:CHECKED])),
    }
