"""Seconds per sample of Lava's CPU simulator in the steady state, and its spikes.

One runtime runs sample after sample. Compilation, start-up and the first sample are left out. Only the output layer's
spikes are recorded, by its own ProcessModel into a mapped file, which costs a thousandth of a step. A Monitor would
cost more than the step.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.backends._lava_worker import run_python, workspace
from nmdeploy.errors import LavaFailed
from nmdeploy.network.network import QuantizedNetwork

SCRIPT = Path(__file__).with_name("lava_job.py")
START_SECONDS, SAMPLE_SECONDS = 120.0, 30.0


@dataclass(frozen=True)
class LavaRun:
    """Seconds of each run over one sample, after the warm-up, and the spikes of all runs, warm-up included."""

    seconds: list[float]
    spikes: npt.NDArray[np.uint8]

    @property
    def seconds_per_sample(self) -> float:
        """Median seconds per sample."""
        return statistics.median(self.seconds)


def measure(
    jobs: Mapping[str, tuple[QuantizedNetwork, npt.NDArray[Any]]],
    repeats: int,
    on_result: Callable[[str, float], None] = lambda name, seconds: None,
) -> dict[str, LavaRun]:
    """Time each network on its samples, in one worker that is started once and ended after a time limit.

    Raises
    ------
    LavaUnavailable
        Lava cannot be started.
    LavaFailed
        Lava failed, or took longer than the limit.
    """
    from nmdeploy.nir_io import write

    names, seconds = list(jobs), {}
    with workspace() as folder:
        entries: list[dict[str, Any]] = []
        for index, (network, codes) in enumerate(jobs.values()):
            model, inputs = folder / f"{index}.nir", folder / f"inputs{index}.npy"
            write(network, model)
            np.save(inputs, codes)
            output = str(folder / f"output{index}.npy")
            entries.append({"model": str(model), "inputs": str(inputs), "repeats": repeats, "output": output})
        script, job_file = folder / SCRIPT.name, folder / "jobs.json"
        shutil.copy(SCRIPT, script)
        job_file.write_text(json.dumps({"jobs": entries}))

        def on_message(message: dict[str, Any]) -> None:
            if "error" in message:
                raise LavaFailed(f"Lava failed: {message['error']}", message["traceback"])
            if "job" in message:
                name = names[message["job"]]
                seconds[name] = message["seconds"][1:]
                on_result(name, statistics.median(seconds[name]))

        limit = START_SECONDS + len(entries) * (repeats + 1) * SAMPLE_SECONDS
        run_python([str(script), str(job_file)], folder, timeout=limit, on_message=on_message)
        return {
            name: LavaRun(seconds[name], np.load(entry["output"])) for name, entry in zip(names, entries, strict=True)
        }
