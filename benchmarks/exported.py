"""Exported networks against the benchmark's network of the same shape: ``python -m benchmarks.run --only exported``.

An exported network is quantized from a float network, calibrated on real sequences: the digits of the demo, one after
the other. Its scales and widths are those that users get. Those of the benchmark's network are chosen by hand.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.timing import run, seconds_of
from nmdeploy import examples
from nmdeploy.engine.run.float_stepwise import float_population
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.neurons.state_space.windowed import WindowedStateSpace
from nmdeploy.pipeline.conversion import quantize
from nmdeploy.synapses.dense import Dense

LAYERS, NEURONS, RATE, WINDOW = 4, 128, 0.1, 4
SEQUENCES = 32
RATES = 0.01, 0.6
PIXEL = FixedPoint(5, 4, signed=False)
RECURRENT_SPREAD, GROWTH = 0.3, 1.0005


@dataclass(frozen=True)
class Variant:
    """An exported network: complex states per neuron, and what its layers have besides state-space neurons."""

    title: str
    states: int
    windowed: bool = False
    gated: bool = False
    recurrent: bool = False
    unstable: bool = False

    @property
    def plain(self) -> bool:
        """True if the benchmark has a network of this shape."""
        return not (self.windowed or self.gated or self.recurrent or self.unstable)


VARIANTS = {
    "exported-16": Variant("16 states", 16),
    "exported-64": Variant("64 states", 64),
    "exported-gated": Variant("16 states, gated linear units", 16, gated=True),
    "exported-windowed": Variant(f"16 states, windows of {WINDOW} steps", 16, windowed=True),
    "exported-recurrent": Variant("16 states, a recurrent layer", 16, recurrent=True),
    "exported-unstable": Variant("16 states, poles beyond the unit circle", 16, unstable=True),
}


@cache
def sequences() -> Any:
    """Return (SEQUENCES, networks.STEPS, 1) real values: digits, pixel by pixel and one after the other."""
    values = np.load(examples.digits().test)["inputs"]
    steps = networks.STEPS
    each = -(-steps // values.shape[1])
    return np.stack([np.concatenate(values[i * each : (i + 1) * each])[:steps] for i in range(SEQUENCES)])


@cache
def floats(variant: Variant) -> Network:
    """Return layers with S4D poles; each neuron's threshold is a quantile of its membrane on two sequences."""
    rng = np.random.default_rng([networks.SEED, variant.states])
    sent = sequences()[:2].astype(np.float64)
    nodes: dict[str, Any] = {"input": Input((1,), PIXEL)}
    edges, before = [], "input"

    def add(name: str, synapse: Dense, neuron: Neuron) -> None:
        nonlocal before
        nodes.update({f"fc_{name}": synapse, name: neuron})
        edges.extend([Edge(before, f"fc_{name}"), Edge(f"fc_{name}", name)])
        before = name

    for layer in range(LAYERS):
        synapse = Dense(rng.normal(0, 1 / np.sqrt(sent.shape[2]), (NEURONS, sent.shape[2])))
        neuron, sent = _layer(rng, variant, _sums(synapse, sent))
        add(f"layer{layer}", synapse, neuron)
        if variant.gated:
            mixer = Dense(rng.normal(0, 1 / np.sqrt(RATE * NEURONS), (2 * NEURONS, NEURONS)))
            gate = GatedLinearUnit(NEURONS)
            add(f"gate{layer}", mixer, gate)
            sent = _outputs(gate, _sums(mixer, sent))
    if variant.recurrent:
        nodes["recurrent"] = Dense(rng.normal(0, RECURRENT_SPREAD / np.sqrt(NEURONS), (NEURONS, NEURONS)))
        edges += [Edge("layer1", "recurrent", 1), Edge("recurrent", "layer1")]
    return Network(nodes, tuple(edges), 1e-3, before)


def _sums(synapse: Dense, sent: Any) -> Any:
    return synapse.apply(sent.reshape(-1, sent.shape[2])).reshape(*sent.shape[:2], -1)


def _outputs(neuron: Neuron, sums: Any) -> Any:
    found = float_population(neuron, len(sums) * sums.shape[1])
    return found.run(sums, np.full(len(sums), sums.shape[1])).outputs.astype(np.float64)


def _layer(rng: networks.Rng, variant: Variant, sums: Any) -> tuple[Neuron, Any]:
    shape = (NEURONS, variant.states)
    dt = np.exp(rng.uniform(np.log(4e-3), np.log(1e-1), (NEURONS, 1)))
    a = np.exp(dt * (-0.5 + 1j * np.pi * np.arange(variant.states)))
    if variant.unstable:
        a[:, 1] *= GROWTH / np.abs(a[:, 1])
    dynamics = StateSpace(
        a=a,
        b=dt * (rng.normal(size=shape) + 1j * rng.normal(size=shape)),
        c=rng.normal(size=shape) + 1j * rng.normal(size=shape),
        d=rng.normal(0, 0.1, NEURONS),
        v_threshold=np.zeros(NEURONS),
    )
    neuron: Any = dynamics
    if variant.windowed:
        kernel = rng.uniform(0.5, 1, (NEURONS, WINDOW)) / WINDOW
        neuron = WindowedStateSpace(dynamics=dynamics, kernel=kernel, v_threshold=np.zeros(NEURONS))
    found = float_population(neuron, len(sums) * sums.shape[1], recorded={"y": neuron.membrane})
    y = found.run(sums, np.full(len(sums), sums.shape[1])).recorded["y"]
    made = replace(neuron, v_threshold=np.quantile(y, 1 - RATE, axis=(0, 1)).reshape(-1))
    return made, _outputs(made, sums)


@cache
def exported(variant: Variant) -> QuantizedNetwork:
    """Return the integers, calibrated on the sequences."""
    return quantize(floats(variant), data=sequences())


def codes(samples: int) -> networks.Codes:
    """Return (samples, networks.STEPS, 1) codes: the sequences over and over."""
    return np.resize(PIXEL.quantize(sequences()).astype(np.uint8), (samples, networks.STEPS, 1))


def plain() -> list[str]:
    """Return the names of the variants that have a network of their shape in the benchmark."""
    return [name for name, variant in VARIANTS.items() if variant.plain]


def measure(name: str, turns: int) -> dict[str, Any]:
    """Return nanoseconds per state and step of both, and the median of the turns' ratios.

    The two networks take turns, so that a disturbance meets both.
    """
    variant = VARIANTS[name]
    other = networks.state_space(NEURONS, variant.states, "per-product")
    jobs = (other, networks.inputs(SEQUENCES, NEURONS)), (exported(variant), codes(SEQUENCES))
    calls = [partial(run, "compiled", *job) for job in jobs]
    for call in calls:
        call()
    found = [[min(seconds_of(call) for _ in range(2)) for call in calls] for _ in range(turns)]
    ratios = [benchmark / own for benchmark, own in found]
    work = LAYERS * NEURONS * variant.states * networks.STEPS * SEQUENCES / 1e9
    return {
        "benchmark": statistics.median(b for b, _ in found) / work,
        "exported": statistics.median(own for _, own in found) / work,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }
