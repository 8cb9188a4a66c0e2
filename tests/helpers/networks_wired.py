"""Small networks wired by hand: delays, feedbacks, sums of several sources, sizes next to those of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mechanisms import Mechanisms
from networks_build import Rng, either
from networks_neurons import random_spiking

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.graph import BINARY
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.synapses.dense import QuantizedDense, code_range
from nmdeploy.synapses.weights import QuantizedWeights

LEVEL = 300


class Wired:
    """A network under construction."""

    def __init__(self, seed: int, channels: int, form: FixedPoint = BINARY) -> None:
        self.seed = seed
        self.rng: Rng = np.random.default_rng(seed)
        self.builder = NetworkBuilder(1e-3)
        self.builder.input(channels, form)
        self.synapses: list[str] = []

    def lif(self, name: str, size: int, refractory: int = 0) -> None:
        """Add neurons that differ from each other."""
        rng = self.rng
        neuron = QuantizedLIF(
            du=rng.integers(0, 4096, size),
            dv=rng.integers(0, 1000, size),
            vth=rng.integers(20, LEVEL, size),
            bias_mant=rng.integers(-40, 41, size) * (rng.random(size) < 0.3),
            bias_exp=rng.integers(0, 3, size),
            refractory_steps=refractory,
        )
        self.builder.population(neuron, name)

    def spiking(self, name: str, size: int, spike: str, outputs: int = 1, inputs: int = 1, soma: bool = False) -> None:
        """Add dense dynamics with a spiking function; all of a network have the same number of states."""
        m = Mechanisms("dense_state_space", spike, "never", "none", "hold", soma, outputs=outputs)
        rng = np.random.default_rng(self.seed)
        self.builder.population(random_spiking(rng, "dense_state_space", size, inputs, m).at(LEVEL), name)

    def readout(self, name: str, size: int) -> None:
        """Add an integrator."""
        rng = self.rng
        neuron = QuantizedIntegrator(rng.choice([0, 1, 500, 4096], size), rng.integers(-9, 10, size))
        self.builder.population(neuron, name)

    def connect(self, sources: Sequence[str | tuple[str, int]], target: str, **fields: Any) -> str:
        """Connect the sum of sources, each a name or (name, delay); returns the synapse's name."""
        name = f"{target}.{sum(name.startswith(f'{target}.') for name in self.synapses)}"
        self.synapses.append(name)
        ways = [(way, 0) if isinstance(way, str) else way for way in sources]
        names, delays = zip(*ways, strict=True)
        source, population = self.builder.node(names[0]), self.builder.node(target)
        assert isinstance(population, QuantizedNeuron)
        synapse = dense(self.rng, population.input_size, source.output_size, **fields)
        return self.builder.connect(names, target, synapse, delay=delays, name=name)

    def network(self, output: str) -> QuantizedNetwork:
        """What was built."""
        return self.builder.build_quantized(output)


def dense(
    rng: Rng, outputs: int, inputs: int, bits: int = 8, mode: str = "mixed", exponent: int = 0, full: bool = False
) -> QuantizedWeights:
    """Draw weights over the whole range of a mode, 70 % of them 0 unless `full`, and a bias in one of two cases."""
    low, high = code_range(mode, bits)
    weight = rng.integers(low, high + 1, (outputs, inputs)) * (full | (rng.random((outputs, inputs)) < 0.3))
    weight.flat[0], weight.flat[-1] = low, high
    low, high = code_range("mixed", bits)
    bias = rng.integers(low, high + 1, outputs) if rng.random() < 0.5 else None
    return either(QuantizedDense(weight, bits, 0, mode, exponent, bias, 0, 0))


def chain(seed: int, channels: int, *sizes: int, form: FixedPoint = BINARY) -> QuantizedNetwork:
    """Return LIF populations in a chain, the last one with a delayed loop back to itself."""
    wired = Wired(seed, channels, form)
    before = "input"
    for index, size in enumerate(sizes):
        wired.lif(f"n{index}", size)
        wired.connect([before], f"n{index}")
        before = f"n{index}"
    wired.connect([(before, 2)], before, exponent=-1)
    return wired.network(before)


def delayed(seed: int, delays: Sequence[int]) -> QuantizedNetwork:
    """Return several synapses into one population, each from the same source with its own delay."""
    wired = Wired(seed, 9)
    wired.lif("first", 20)
    wired.connect(["input"], "first")
    wired.lif("second", 11, refractory=2)
    for delay in delays:
        wired.connect([("first", delay)], "second")
    wired.connect([("input", delays[0])], "second")
    return wired.network("second")


def delayed_paths(seed: int, populations: int = 5) -> QuantizedNetwork:
    """Return paths without a loop, each edge with a delay of 0 to 3; some populations have delayed edges only."""
    wired = Wired(seed, 7)
    names = ["input"]
    for index in range(populations):
        name, size = f"n{index}", int(wired.rng.integers(8, 24))
        wired.lif(name, size, refractory=int(wired.rng.integers(0, 3)))
        for source in dict.fromkeys([names[-1], *wired.rng.choice(names, 2)]):
            wired.connect([(str(source), int(wired.rng.integers(0, 4)))], name)
        names.append(name)
    return wired.network(names[-1])


def two_way(seed: int, delay: int = 2) -> QuantizedNetwork:
    """Return two populations that feed each other, one that listens to both, and a readout after it."""
    wired = Wired(seed, 6)
    for name, size in (("a", 10), ("b", 33), ("c", 12)):
        wired.lif(name, size, refractory=1)
    wired.connect(["input"], "a")
    wired.connect(["a"], "b")
    wired.connect([("b", delay)], "a")
    wired.connect([("b", delay + 2)], "b", exponent=-1)
    wired.connect(["a"], "c")
    wired.connect([("b", 3)], "c")
    wired.readout("out", 4)
    wired.connect(["c"], "out")
    return wired.network("out")


def summed(seed: int, kinds: Sequence[str], form: FixedPoint = BINARY) -> QuantizedNetwork:
    """Return a synapse from the sum of populations and the input, with delays; its own target feeds it too."""
    wired = Wired(seed, 10, form)
    for index, kind in enumerate(kinds):
        if kind == "lif":
            wired.lif(f"n{index}", 10)
        else:
            wired.spiking(f"n{index}", 10, kind, soma=index % 2 == 1)
        wired.connect(["input"], f"n{index}", exponent=index)
    wired.lif("last", 10)
    wired.connect([*((f"n{i}", i) for i in range(len(kinds))), ("input", 1), ("last", 1)], "last")
    return wired.network("last")


def looped(seed: int, spike: str, outputs: int, size: int = 9) -> QuantizedNetwork:
    """Return neurons of several inputs and outputs that feed themselves and each other."""
    wired = Wired(seed, 5, FixedPoint(3, 0, signed=True))
    wired.spiking("a", size, spike, outputs, inputs=2)
    wired.spiking("b", size, spike, outputs, inputs=3)
    wired.connect(["input"], "a")
    wired.connect([("a", 1)], "a", exponent=-3)
    wired.connect(["a", ("b", 2)], "b", exponent=-1)
    return wired.network("b")
