"""Float libraries that run the same LIF network, in a Python process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network import QuantizedNetwork

ROOT = Path(__file__).parent.parent
BATCHES = (1, 16, 64, 128, 256)
LIMIT_SECONDS = 240.0


def measure(
    network: QuantizedNetwork,
    codes: npt.NDArray[Any],
    output: npt.NDArray[Any],
    repeats: int,
    on_result: Callable[[str, dict[str, Any]], None],
) -> dict[str, dict[str, Any]]:
    """Seconds a sample of every library at the batch size that suits it best; `output` is what `codes` give.

    Raises
    ------
    RuntimeError
        None could be measured; the message is what the process wrote last.
    """
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "errors").open("w+") as errors:
        job = Path(folder) / "job.npz"
        np.savez(job, codes=codes, output=output, repeats=repeats, **parameters(network))
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peer_job", str(job)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            found = _results(process, on_result)
        if all("error" in result for result in found.values()):
            errors.seek(0)
            raise RuntimeError((errors.read().strip().splitlines() or ["no library answered"])[-1])
        return found


def _results(
    process: subprocess.Popen[str], on_result: Callable[[str, dict[str, Any]], None]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    limit = threading.Timer(LIMIT_SECONDS, process.kill)
    limit.start()
    try:
        for line in process.stdout or ():
            if line.startswith("{"):
                result = json.loads(line)
                name = result.pop("peer")
                found[name] = result
                on_result(name, result)
    finally:
        limit.cancel()
    return found


def parameters(network: QuantizedNetwork) -> dict[str, Any]:
    """Weights (layers, outputs, inputs), factors alpha, beta and threshold (layers,) in units of the synaptic sum."""
    neurons: list[Any] = list(network.populations.values())
    synapses: list[Any] = list(network.synapses.values())
    return {
        "weights": np.stack([np.ldexp(synapse.weight.astype(float), synapse.weight_exp) for synapse in synapses]),
        "alpha": np.array([(4095 - neuron.du[0]) / 4096 for neuron in neurons]),
        "beta": np.array([(4096 - neuron.dv[0]) / 4096 for neuron in neurons]),
        "threshold": np.array([float(neuron.vth[0]) for neuron in neurons]),
    }
