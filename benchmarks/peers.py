"""Float libraries that run the same LIF network, in a Python process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network.network import QuantizedNetwork

ROOT = Path(__file__).parent.parent
BATCHES = (1, 4, 16, 32, 64, 128, 256, 512, 1024)
WORSE, FAR_WORSE, COPIES = 2, 2.0, 8
UNFINISHED = {"error": "did not finish"}
LIMIT_SECONDS, SWEEP_SECONDS = 300.0, 30.0


def swept(seconds: Callable[[int], float], batches: Sequence[int]) -> dict[int, float]:
    """Return seconds per sample by batch size.

    The search stops after two sizes in a row that are slower than the best, after one that is far slower, or when time
    is up.

    >>> swept({1: 9.0, 4: 3.0, 16: 4.0, 32: 2.0, 64: 2.1, 128: 2.2, 256: 1.0}.__getitem__, BATCHES)
    {1: 9.0, 4: 3.0, 16: 4.0, 32: 2.0, 64: 2.1, 128: 2.2}
    """
    tried: dict[int, float] = {}
    worse, start = 0, time.perf_counter()
    for batch in batches:
        tried[batch] = seconds(batch)
        least = min(tried.values())
        worse = worse + 1 if tried[batch] > least else 0
        if worse == WORSE or tried[batch] > FAR_WORSE * least or time.perf_counter() - start > SWEEP_SECONDS:
            break
    return tried


def fitting(steps: int, channels: int) -> list[int]:
    """Return the batch sizes whose sequences of float32, several of them at once, fit into half of the free memory."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        free = 1 << 31
    return [batch for batch in BATCHES if batch == 1 or batch * steps * channels * 4 * COPIES <= free // 2]


def measure(
    network: QuantizedNetwork,
    codes: npt.NDArray[Any],
    output: npt.NDArray[Any],
    repeats: int,
    on_result: Callable[[str, dict[str, Any]], None],
) -> dict[str, dict[str, Any]]:
    """Return the seconds per sample of every library at its best batch size; `output` holds the spikes of `codes`.

    Raises
    ------
    RuntimeError
        No library could be measured; the message is the last line that the process wrote.
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
    """Return weights (layers, outputs, inputs) and factors alpha, beta, threshold (layers,).

    The threshold is in units of the synaptic sum.
    """
    neurons: list[Any] = list(network.populations.values())
    synapses: list[Any] = list(network.synapses.values())
    return {
        "weights": np.stack([np.ldexp(synapse.weight.astype(float), synapse.weight_exp) for synapse in synapses]),
        "alpha": np.array([(4095 - neuron.du[0]) / 4096 for neuron in neurons]),
        "beta": np.array([(4096 - neuron.dv[0]) / 4096 for neuron in neurons]),
        "threshold": np.array([float(neuron.vth[0]) for neuron in neurons]),
    }
