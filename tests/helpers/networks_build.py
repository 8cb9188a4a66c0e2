"""Random quantized networks from families of layers, with each layer's threshold set so that it spikes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from nmdeploy.backends import reference
from nmdeploy.errors import OverflowPossible
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.synapses.dense import SIGN_MODES, QuantizedDense, code_range
from nmdeploy.synapses.sparse import QuantizedSparse
from nmdeploy.synapses.weights import QuantizedWeights

Rng = np.random.Generator
S_MAX = 7  # largest input code; the largest sum of binary spikes in these networks is smaller
TRIES = 8


@dataclass(frozen=True)
class Case:
    """A network, its input codes (samples, steps, channels), and a name that reproduces it."""

    name: str
    network: QuantizedNetwork
    inputs: Any


@dataclass(frozen=True)
class Draft:
    """A population whose threshold is still open: `at` returns it at a level between `low` and `high`."""

    at: Callable[[int], QuantizedNeuron]
    low: int
    high: int


@dataclass(frozen=True)
class Family:
    """Layers of one kind.

    `make` draws a layer from (rng, neurons, inputs per neuron). `exponents` limits the exponents of its weights.
    `inputs` are the numbers of inputs to choose from. `synapse` draws its synapses from (rng, outputs, inputs), by
    default `random_dense`.
    """

    name: str
    make: Callable[[Rng, int, int], Draft]
    exponents: tuple[int, int] = (-2, 2)
    inputs: tuple[int, ...] = (1,)
    recurrent: float = 0.25
    synapse: Callable[[Rng, int, int], QuantizedWeights] | None = None


def sparse_of(dense: QuantizedDense) -> QuantizedSparse:
    """The same weights, without those that are 0."""
    rows = dense.rows.sparse()
    formats = {f.name: getattr(dense, f.name) for f in fields(dense) if f.name != "weight"}
    return QuantizedSparse(rows.offsets, rows.targets, rows.codes, dense.shape[0], **formats)


def either(dense: QuantizedDense) -> QuantizedWeights:
    """The synapses, or sparse ones of the same weights: by the weights, so that no other choice changes."""
    return sparse_of(dense) if int(dense.weight.sum()) % 3 == 0 else dense


def random_dense(
    rng: Rng, outputs: int, inputs: int, exponents: tuple[int, int], bias: bool = True, s_max: int = S_MAX
) -> QuantizedWeights:
    """Return weights over the whole range of a random sign mode, both ends included."""
    mode, bits = str(rng.choice(SIGN_MODES)), int(rng.choice([1, 2, 4, 8, 8, 8]))
    low, high = code_range(mode, bits)
    weight = rng.integers(low, high + 1, (outputs, inputs))
    weight[rng.random(weight.shape) < 0.3] = 0
    weight.flat[0], weight.flat[-1] = low, high
    exponent = int(rng.integers(*exponents, endpoint=True)) + 8 - bits
    low, high = code_range("mixed", bits)
    codes = rng.integers(low, high + 1, outputs) if bias and rng.random() < 0.3 else None
    worst = int(np.abs(weight).sum(1).max()) * s_max + (0 if codes is None else int(np.abs(codes).max()))
    exponent = min(exponent, 23 - worst.bit_length())
    return either(QuantizedDense(weight, bits, 0, mode, exponent, codes, 0, exponent if codes is not None else 0))


class Builder:
    """A network under construction, and the outputs of its layers."""

    def __init__(self, rng: Rng, inputs: Any, number: FixedPoint) -> None:
        self.rng = rng
        self.nodes: dict[str, Any] = {"input": Input((inputs.shape[-1],), number)}
        self.edges: list[Edge] = []
        self.outputs = {"input": inputs}

    def add(self, name: str, family: Family, size: int, sources: list[str]) -> None:
        """Draw a layer until one is alive, and add it."""
        rng, arriving = self.rng, np.asarray(sum(self.outputs[source] for source in sources))
        s_max = max(S_MAX, sum(largest(self.nodes[source]) for source in sources))
        best: Any = None
        for _ in range(TRIES):
            target = float(rng.uniform(0.05, 0.4))
            draft, parts = self._drawn(family, size, arriving.shape[-1], s_max)
            neuron, parts, spikes = tuned(draft, parts, arriving, s_max, target)
            rate = float((spikes != 0).mean())
            dead = not 0.02 <= rate <= 0.7 and neuron.spiking
            if best is None or (dead, abs(rate - target)) < best[0]:
                best = (dead, abs(rate - target)), neuron, parts, spikes
            if not dead:
                break
        _, neuron, parts, self.outputs[name] = best
        self.nodes |= {f"{name}.synapse": parts["synapse"], name: neuron}
        self.edges += [*(Edge(source, f"{name}.synapse") for source in sources), Edge(f"{name}.synapse", name)]
        if "recurrent" in parts:
            self.nodes[f"{name}.recurrent"] = parts["recurrent"]
            self.edges += [Edge(name, f"{name}.recurrent", 1), Edge(f"{name}.recurrent", name)]

    def _drawn(self, family: Family, size: int, arriving: int, s_max: int) -> tuple[Draft, dict[str, QuantizedWeights]]:
        rng, exponents = self.rng, family.exponents
        q = int(rng.choice(family.inputs)) if len(family.inputs) > 1 else family.inputs[0]
        if family.synapse is None:
            synapse = random_dense(rng, size * q, arriving, exponents, s_max=s_max)
        else:
            synapse = family.synapse(rng, size * q, arriving)
        draft = family.make(rng, size, q)
        sent, parts = draft.at(draft.high), {"synapse": synapse}
        if rng.random() < family.recurrent:
            lower = (exponents[0] - 2, exponents[1] - 2)
            sends = max(S_MAX, largest(sent))
            parts["recurrent"] = random_dense(rng, size * q, sent.output_size, lower, bias=False, s_max=sends)
        return draft, parts

    def readout(self, source: str) -> str:
        """Add an integrating readout."""
        self.nodes["readout.synapse"] = random_dense(self.rng, 5, self.outputs[source].shape[-1], (0, 3))
        dv, bias = self.rng.choice([0, 1, 500, 4096], 5), self.rng.integers(-99, 99, 5)
        self.nodes["readout"] = QuantizedIntegrator(dv, bias, 24)
        self.edges += [Edge(source, "readout.synapse"), Edge("readout.synapse", "readout")]
        return "readout"

    def case(self, name: str, output: str) -> Case:
        """Return the network built so far as a case."""
        network = QuantizedNetwork(self.nodes, tuple(self.edges), 1e-3, output)
        return Case(name, network, self.outputs["input"])


def largest(node: Any) -> int:
    """Return the largest magnitude that an input or a population sends."""
    return max(node.format.max, -node.format.min) if isinstance(node, Input) else int(node.output_max)


def alone(neuron: Any, parts: dict[str, QuantizedWeights], arriving: Any, s_max: int) -> QuantizedNetwork:
    """Return a layer by itself, on an input that holds its arriving values."""
    signed = bool((np.asarray(arriving) < 0).any())
    number = FixedPoint(s_max.bit_length() + signed, 0, signed=signed)
    nodes = {"input": Input((arriving.shape[-1],), number), **parts, "n": neuron}
    edges = [Edge("input", "synapse"), Edge("synapse", "n")]
    edges += [Edge("n", "recurrent", 1), Edge("recurrent", "n")] if "recurrent" in parts else []
    return QuantizedNetwork(nodes, tuple(edges), 1e-3, "n")


def tuned(
    draft: Draft, parts: dict[str, QuantizedWeights], arriving: Any, s_max: int, target: float
) -> tuple[Any, dict[str, QuantizedWeights], Any]:
    """Return the population at the level that comes nearest to a rate, with its synapses and outputs.

    The level is found by bisection.
    """
    low, high = draft.low, draft.high
    best, gap = (draft.at(high), parts, None), np.inf
    while True:
        try:
            _ = alone(best[0], parts, arriving, s_max)
            break
        except OverflowPossible:
            parts = {name: weaker(synapse) for name, synapse in parts.items()}
    for _ in range(16):
        middle = between(low, high)
        neuron = draft.at(middle)
        sent = reference.run(alone(neuron, parts, arriving, s_max), arriving).output.astype(np.int64)
        rate = float((sent != 0).mean())
        if best[2] is None or abs(rate - target) < gap:
            best, gap = (neuron, parts, sent), abs(rate - target)
        if gap < target / 3 or high - low < 2:
            break
        low, high = (middle, high) if rate > target else (low, middle)
    return best[0], best[1], best[2]


def between(low: int, high: int) -> int:
    """Return a level between two, for bisection.

    It is 0 between unlike signs, else the geometric mean, because levels span decades.
    """
    if low < 0 < high:
        return 0
    near, far = sorted((abs(low), abs(high)))
    mean = min(max(math.isqrt((near + 1) * (far + 1)) - 1, near + 1), far - 1)
    return max(mean, near) if high > 0 else -max(mean, near)


def weaker(synapse: QuantizedWeights) -> QuantizedWeights:
    """Return the synapse with half the weights."""
    return replace(synapse, weight_exp=synapse.weight_exp - 1, bias_exp=synapse.bias_exp - 1)


def random_inputs(rng: Rng, steps: int, samples: int) -> tuple[Any, FixedPoint]:
    """Return sparse codes of one or three bits."""
    channels = int(rng.integers(2, 9))
    number = FixedPoint(int(rng.choice([1, 1, 3])), 0, signed=False)
    shape = (samples, steps, channels)
    return rng.integers(0, number.max + 1, shape) * (rng.random(shape) < 0.4), number


def random_case(
    seed: int, family: Family | Sequence[Family], steps: int = 60, samples: int = 1, sizes: tuple[int, int] = (8, 64)
) -> Case:
    """Return 1 to 4 layers of a family, or of families in turn, with optional recurrence, residual edge and readout."""
    rng = np.random.default_rng(seed)
    families = [family] if isinstance(family, Family) else list(family)
    layers = int(rng.integers(1, 5))
    builder = Builder(rng, *random_inputs(rng, steps, samples))
    widths = [w for w in (8, 16, 40) if sizes[0] <= w <= sizes[1]]
    neurons = [int(rng.choice([*widths, int(rng.integers(sizes[0], sizes[1] + 1))])) for _ in range(layers)]
    for index, size in enumerate(neurons):
        names = [f"layer{i}" if i >= 0 else "input" for i in (index - 1, index - 2)]
        shapes = [builder.outputs[name].shape for name in names]
        sources = names if index > 1 and shapes[0] == shapes[1] else names[:1]
        builder.add(f"layer{index}", families[index % len(families)], size, sources)
    output = f"layer{layers - 1}"
    output = builder.readout(output) if rng.random() < 0.3 else output
    return builder.case(f"{families[0].name}-{seed}", output)
