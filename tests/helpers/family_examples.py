"""Float populations of every neuron family, from the families' own modules, and a small network around one."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy._util.plugins import modules
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import Dense

SIZE, CHANNELS, STEPS = 12, 4, 60
FORMATS = QuantizationConfig()


def examples() -> list[Neuron]:
    """Return the examples of all families' modules, including those of other distributions."""
    found = [module.examples(SIZE) for module in modules("nmdeploy.neurons") if hasattr(module, "examples")]
    return [neuron for neurons in found for neuron in neurons]


def network(neuron: Neuron) -> Network:
    """Return input, dense synapses and the population."""
    weight = np.random.default_rng(1).normal(size=(neuron.input_size, CHANNELS))
    return Network(
        {"input": Input((CHANNELS,)), "synapse": Dense(weight), "n": neuron},
        (Edge("input", "synapse"), Edge("synapse", "n")),
        1e-3,
        "n",
        "sum" if neuron.spiking else "last",
    )


def inputs() -> Any:
    """Return spikes (20, STEPS, CHANNELS)."""
    return (np.random.default_rng(2).random((20, STEPS, CHANNELS)) < 0.3).astype(np.int64)


def quantized(neuron: Neuron, config: QuantizationConfig = FORMATS) -> QuantizedNetwork:
    """Return the network around a population, in integers."""
    floats = network(neuron)
    return quantize_network(floats, config, ranges=calibrate(floats, inputs()))
