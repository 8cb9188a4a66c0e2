"""Checks of a model's forms against each other and against Lava, for one row of `docs/models/checks.json`.

The functions that compare come from the tests, so the page shows what the tests assert.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models_results import CACHE, ROOT, rows, train
from torch import Tensor

from nmdeploy import pipeline
from nmdeploy.analysis.comparison import compare
from nmdeploy.backends.lava import run_many
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint import read_checkpoint
from nmdeploy.models.catalog import neuron_model
from nmdeploy.models.checkpoint import load, save
from nmdeploy.models.modules.spiking_network import SpikingNetwork
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording
from nmdeploy.samples.source import Data

sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from agreement import disagreements, gradient_error, live, population_disagreements, values

NETWORKS = 20
FORMAT = FixedPoint(bits=5, frac=4, signed=False)
SAMPLES = 128  # with 64 steps and 3 x 64 neurons each: more than 10**6 neuron steps


def check(row: str) -> dict[str, Any]:
    """Compare the parallel with the sequential form, with the float population, in its gradients, and with Lava.

    The weights are random in one comparison and trained in another.
    """
    name, options = rows()[row]
    random = live(name, 3, channels=64, **options)
    trained = load(train(row)).double().eval()
    digits = torch.from_numpy(np.load(CACHE / f"{row}.npz")["inputs"][:SAMPLES].astype(np.float64))
    return {
        "parallel": neuron_model(name).parallel,
        "spikes": {
            "random": _counted(disagreements, random, inputs(0, 160, 53)),
            "trained": _counted(disagreements, trained, digits),
            "population": _counted(population_disagreements, trained, digits),
        },
        "gradient_error": gradient_error(live(name, 4, **options), inputs(1, 8, 23)),
        "lava": lava(name, options),
    }


def _counted(count: Callable[..., tuple[int, int]], network: SpikingNetwork, x: Tensor) -> dict[str, int]:
    different, total = count(network, x)
    return {"different": different, "compared": total}


def inputs(seed: int, samples: int, steps: int) -> Tensor:
    """Return random values for the four inputs of a `live` network."""
    return values(torch.Generator().manual_seed(seed), samples, steps, 4)


def lava(name: str, options: dict[str, Any]) -> dict[str, int]:
    """Compare every spike and state of small live networks, quantized, in the reference and in Lava."""
    runs = []
    for seed in range(5 * NETWORKS):
        if len(runs) == NETWORKS:
            break
        network, data = deployed(name, seed, options)
        recording = pipeline.run(network, data, trace="states")
        if is_live(recording):
            runs.append((network, data, recording))
    actual = run_many([(network, data.codes) for network, data, _ in runs])
    found = [compare(expected, other) for (_, _, expected), other in zip(runs, actual, strict=True)]
    return {
        "networks": len(found),
        "values": sum(each.values_compared for each in found),
        "different": sum(each.mismatches for each in found),
    }


def is_live(recording: Recording) -> bool:
    """Return True if each spiking layer sends something, but not in every step of every output."""
    sent = [layer.spikes != 0 for layer in recording.layers.values() if layer.spikes is not None]
    return all(0 < spikes.mean() < 1 for spikes in sent)


def deployed(name: str, seed: int, options: dict[str, Any]) -> tuple[QuantizedNetwork, Data]:
    """Return a small network, exported through a checkpoint, and its data."""
    codes = np.asarray(16 * inputs(seed, 2, 40).numpy(), np.int64)
    data = Data(codes, None, np.full(2, 40))
    with tempfile.TemporaryDirectory() as folder:
        save(live(name, seed, **options).float(), Path(folder) / "small.safetensors", input_format=FORMAT)
        floats = read_checkpoint(Path(folder) / "small.safetensors")
    return pipeline.quantize(floats, "loihi2", data), data
