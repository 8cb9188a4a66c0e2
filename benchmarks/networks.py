"""Networks and inputs of the measurements: layers of random weights, each tuned to spike like a trained one.

Everything follows from a seed. Weights are bell-shaped, as in a trained layer after quantization. Thresholds are set
from a short run of the layers before, so that every layer sends spikes in about a tenth of its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron, StepTime
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

Rng = np.random.Generator
Codes = npt.NDArray[np.uint8]

CHANNELS, STEPS, DENSITY, RATE, LAYERS, SEED = 128, 784, 0.08, 0.10, 4, 2026
TUNING_SAMPLES = 4
WEIGHT_SPREAD, WEIGHT_EXP = 36, {"lif": 2, "state_space": 6}
FRACTIONS: dict[str, Any] = {"frac_a": 15, "frac_b": 12, "frac_c": 15, "frac_d": 12}
DU, DV = 1024, 256
FIRST_VTH, HALVINGS = 512.0, 9


@dataclass(frozen=True)
class Shape:
    """Shape of a network.

    `states` is 0 for LIF. `uniform` LIF populations have one du, dv and vth each, as Intel's LIF in Lava requires.
    """

    family: str
    channels: int
    states: int = 0
    rounding: str = ""
    layers: int = LAYERS
    uniform: bool = True


def lif(channels: int, layers: int = LAYERS, uniform: bool = True) -> QuantizedNetwork:
    """Return LIF layers of `channels` neurons, with as many input channels."""
    return network(Shape("lif", channels, layers=layers, uniform=uniform))


def state_space(channels: int, states: int, rounding: str, layers: int = LAYERS) -> QuantizedNetwork:
    """Return layers of state-space neurons with `states` complex states each, no reset, binary spikes."""
    return network(Shape("state_space", channels, states, rounding, layers))


def inputs(samples: int, channels: int, steps: int = STEPS, density: float = DENSITY, seed: int = SEED) -> Codes:
    """Return (samples, steps, channels) events, 0 or 1; the first samples do not depend on how many follow."""
    rng, codes = np.random.default_rng(seed), np.empty((samples, steps, channels), np.uint8)
    for sample in codes:
        sample[:] = rng.random((steps, channels), np.float32) < density
    return codes


def first_layers(whole: QuantizedNetwork, layers: int) -> QuantizedNetwork:
    """Return the network cut off after `layers` layers."""
    kept = {"input", *(f"layer{i}{part}" for i in range(layers) for part in ("", ".synapse"))}
    edges = tuple(edge for edge in whole.edges if {edge.source, edge.target} <= kept)
    nodes = {name: node for name, node in whole.nodes.items() if name in kept}
    return QuantizedNetwork(nodes, edges, whole.dt, f"layer{layers - 1}")


@cache
def network(shape: Shape) -> QuantizedNetwork:
    """Return the network of a shape, with thresholds tuned layer by layer."""
    rng = np.random.default_rng([SEED, shape.channels, shape.states])
    sent: npt.NDArray[Any] = inputs(TUNING_SAMPLES, shape.channels, seed=SEED + 1)
    nodes: dict[str, Any] = {"input": Input((shape.channels,), FixedPoint(1, 0, signed=False))}
    edges, source = [], "input"
    for index in range(shape.layers):
        name = f"layer{index}"
        synapse = dense(rng, shape.channels, WEIGHT_EXP[shape.family])
        nodes[f"{name}.synapse"] = synapse
        sums = synapse.apply(sent.astype(np.int64))
        nodes[name], sent = LAYER[shape.family](rng, shape, sums)
        edges += [Edge(source, f"{name}.synapse"), Edge(f"{name}.synapse", name)]
        source = name
    return QuantizedNetwork(nodes, tuple(edges), 1e-3, source)


def dense(rng: Rng, channels: int, exponent: int) -> QuantizedDense:
    """Return 8-bit weights of a bell-shaped distribution that fills their range."""
    weight = np.clip(np.rint(rng.normal(0, WEIGHT_SPREAD, (channels, channels))), -127, 127).astype(np.int64)
    return QuantizedDense(weight, 8, 0, "mixed", exponent)


def lif_layer(rng: Rng, shape: Shape, sums: npt.NDArray[Any]) -> tuple[QuantizedLIF, npt.NDArray[Any]]:
    """Return a population whose threshold is found by bisection, and its spikes."""
    size = shape.channels
    spread = np.ones(size) if shape.uniform else rng.uniform(0.7, 1.3, size)
    du, dv = np.full(size, DU), np.full(size, DV)
    if not shape.uniform:
        du, dv = rng.integers(0, 2048, size), rng.integers(0, 1024, size)
    zeros = np.zeros(size, np.int64)
    draft = QuantizedLIF(du, dv, zeros, zeros, zeros)

    def at(level: float) -> QuantizedLIF:
        return replace(draft, vth=np.rint(level * spread).astype(np.int64))

    def many(level: float) -> bool:
        return bool(_spikes(at(level), sums[:2]).mean() > RATE)

    low, high = 0.0, FIRST_VTH
    while 2 * high * spread.max() <= VTH_MAX and many(high):
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if many(middle) else (low, middle)
    return at(high), _spikes(at(high), sums)


def state_space_layer(rng: Rng, shape: Shape, sums: npt.NDArray[Any]) -> tuple[QuantizedStateSpace, npt.NDArray[Any]]:
    """Return a population with S4D poles, and its spikes; each neuron's threshold is a quantile of its output."""
    h, n = shape.channels, shape.states
    scale = {name: 1 << FRACTIONS[f"frac_{name}"] for name in "abcd"}
    dt = np.exp(rng.uniform(np.log(4e-3), np.log(1e-1), (h, 1)))
    poles = np.exp(dt * (-0.5 + 1j * np.pi * np.arange(n)))
    b = (rng.normal(0, 1, (h, n)) + 1j * rng.normal(0, 1, (h, n))) * np.sqrt(8 * dt)
    c = (rng.normal(0, 0.35, (h, n)) + 1j * rng.normal(0, 0.35, (h, n))) / np.sqrt(n)
    draft = QuantizedStateSpace(
        rounding=shape.rounding, state_bits=24, coefficient_bits=16, **FRACTIONS,
        **_parts("a", poles * scale["a"]), **_parts("b", b * scale["b"]), **_parts("c", c * scale["c"]),
        d=np.rint(rng.normal(0, 0.1, h) * scale["d"]).astype(np.int64),
        bias=np.zeros(h, np.int64), vth=np.zeros(h, np.int64),
    )  # fmt: skip
    y = _outputs(draft, sums)
    vth = np.quantile(y, 1 - RATE, axis=(0, 1), method="lower").astype(np.int64)
    return replace(draft, vth=vth), y > vth


def _parts(name: str, values: npt.NDArray[np.complex128]) -> dict[str, Any]:
    codes = [np.clip(np.rint(part), -(2**15), 2**15 - 1).astype(np.int64) for part in (values.real, values.imag)]
    return dict(zip((f"{name}_re", f"{name}_im"), codes, strict=True))


def _spikes(neuron: QuantizedNeuron, sums: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return _run(neuron, sums, lambda registers, spikes: spikes)


def _outputs(neuron: QuantizedStateSpace, sums: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return _run(neuron, sums, lambda registers, spikes: registers[1][1][..., 0])


def _run(neuron: QuantizedNeuron, sums: npt.NDArray[Any], kept: Callable[[Any, Any], Any]) -> npt.NDArray[Any]:
    """Return what `kept` takes of a population's registers and spikes, (samples, steps, H), for the given `sums`."""
    registers, rows = neuron.start(len(sums)), []
    for step in range(sums.shape[1]):
        registers, spikes, _ = neuron.advance(registers, sums[:, step], StepTime(step, sums.shape[1]))
        rows.append(kept(registers, spikes))
    return np.stack(rows, 1)


LAYER: dict[str, Callable[[Rng, Shape, npt.NDArray[Any]], tuple[Any, npt.NDArray[Any]]]] = {
    "lif": lif_layer,
    "state_space": state_space_layer,
}
