"""Time and memory of `check` and `export` of a large network: ``python -m benchmarks.run --only "10 million"``.

Ten layers of 1,000 LIF neurons, 10 million synapses, and 16 calibration samples of 32 steps. Every layer spikes. The
effects of single tensors are included, as always.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.startup import NMDEPLOY, STATUS, peak_megabytes, timed
from nmdeploy import pipeline
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.population_runs import run_float_population
from nmdeploy.synapses.dense import Dense

LAYERS, WIDTH, SAMPLES, STEPS = 10, 1000, 16, 32
INPUT_RATE, RATE = 0.2, 0.1


def inputs() -> Any:
    """Return the calibration samples, zeros and ones."""
    return (np.random.default_rng(0).random((SAMPLES, STEPS, WIDTH)) < INPUT_RATE).astype(np.int64)


def network() -> Network:
    """Return the network; the weights of a layer are the smallest of a few with which `RATE` of its steps spike."""
    rng, lengths, spikes = np.random.default_rng(1), np.full(SAMPLES, STEPS), inputs().astype(np.float64)
    nodes: dict[str, Any] = {"input": Input((WIDTH,))}
    for layer in range(LAYERS):
        neuron = LIF(np.zeros(WIDTH), np.full(WIDTH, 0.9), np.ones(WIDTH))
        weight = rng.normal(0.0, 1.0, (WIDTH, WIDTH))
        sums = spikes @ weight.T
        for factor in np.geomspace(0.01, 1.0, 30):
            sent = run_float_population(neuron, factor * sums, lengths)
            if sent.mean() >= RATE:
                break
        spikes = sent.astype(np.float64)
        nodes |= {f"fc{layer}": Dense(factor * weight), f"layer{layer}": neuron}
    edges = tuple(Edge(*ends) for ends in pairwise(nodes))
    return Network(nodes, edges, 1e-3, f"layer{LAYERS - 1}")


def measure(runs: int) -> dict[str, Any]:
    """Measure the whole process of each command: seconds, and the most memory in megabytes (10^6 bytes)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipeline.save(network(), folder / "net.safetensors")
        np.save(folder / "samples.npy", inputs())
        given = [str(folder / "net.safetensors"), "--data", str(folder / "samples.npy")]
        commands = {"check": ["check", *given], "export": ["export", *given, "-o", str(folder / "model.nir")]}
        found: dict[str, Any] = {
            key: {"seconds": timed([*NMDEPLOY, *command], runs)[0]} for key, command in commands.items()
        }
        if STATUS.exists():
            for key, command in commands.items():
                found[key]["megabytes"] = peak_megabytes(command)
    return found


def told(found: dict[str, Any]) -> str:
    """Return the measurements in words."""
    return ", ".join(
        f"{key} {each['seconds']:.1f} s" + (f" and {each['megabytes']:.0f} MB" if "megabytes" in each else "")
        for key, each in found.items()
    )
