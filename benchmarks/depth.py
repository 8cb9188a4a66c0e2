"""Growth of the time of `check` with the layers of a chain: ``python -m benchmarks.depth``.

A chain of LIF layers of 100 neurons, without calibration data, from the file to the verdict in this process. CPU
seconds count, because nothing runs in parallel: other programs change them least.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling import exponent
from nmdeploy import pipeline
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.synapses.dense import Dense

WIDTH, LAYERS = 100, (250, 500, 1000, 2000)


def network(layers: int) -> Network:
    """Return the chain with random weights."""
    rng = np.random.default_rng(layers)
    nodes: dict[str, Any] = {"input": Input((WIDTH,))}
    for layer in range(layers):
        nodes[f"fc{layer}"] = Dense(rng.normal(0.0, 0.3, (WIDTH, WIDTH)))
        nodes[f"layer{layer}"] = LIF(np.zeros(WIDTH), np.full(WIDTH, 0.9), np.ones(WIDTH))
    return Network(nodes, tuple(Edge(*ends) for ends in pairwise(nodes)), 1e-3, f"layer{layers - 1}")


def measure(rounds: int) -> dict[str, Any]:
    """Return the least CPU seconds of each number of layers in several rounds, and the exponents."""
    with tempfile.TemporaryDirectory() as name:
        paths = {layers: Path(name) / f"{layers}.safetensors" for layers in LAYERS}
        for layers, path in paths.items():
            pipeline.save(network(layers), path)
        pipeline.check(paths[LAYERS[0]])  # loads the modules
        all_rounds = [[_seconds(path) for path in paths.values()] for _ in range(rounds)]
    seconds = [min(each) for each in zip(*all_rounds, strict=True)]
    exponents = [exponent(LAYERS, each) for each in all_rounds]
    return {"x": list(LAYERS), "seconds": seconds, "exponent": exponent(LAYERS, seconds), "exponents": exponents}


def _seconds(path: Path) -> float:
    start = time.process_time()
    pipeline.check(path)
    return time.process_time() - start


def told(found: dict[str, Any]) -> str:
    """Return the measurements in words."""
    times = ", ".join(f"{layers} layers {s:.2f} s" for layers, s in zip(found["x"], found["seconds"], strict=True))
    return f"check of a chain: {times}: exponent {found['exponent']:.3f}"


if __name__ == "__main__":
    print(told(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1)))
