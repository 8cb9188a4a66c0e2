"""Timing of models in Lava: ``python lava_job.py JOBFILE``, on the Python that has lava-nc.

JOBFILE is JSON: ``{"jobs": [{"model": path, "inputs": path.npy, "repeats": n, "output": path.npy}]}``. Standard output
carries one JSON object per line. The first is ``{"ready": true}``. The others are ``{"job": i, "seconds": [...]}``,
with the seconds of each run over one sample; the first run warms up. The .npy holds the output layer's spikes (samples,
steps, channels) of all runs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.proc.io.source import RingBuffer

from nmdeploy.lava import LavaNetwork, build
from nmdeploy.lava.worker import abandon, follow_parent, insert_gaps, remember_models


def run_job(job: dict[str, Any]) -> list[float]:
    """Return the seconds of each run, and write the spikes of the output layer."""
    codes = np.load(job["inputs"])
    steps, runs = codes.shape[1], job["repeats"] + 1
    codes = codes[np.arange(runs) % len(codes)]
    with tempfile.TemporaryDirectory(dir=Path(job["output"]).parent) as folder:
        network = build(job["model"], steps=steps, samples=runs, record="spikes", folder=folder)
        for name, trace in network.traces.items():
            trace.names = trace.names if name == network.output else ()
        network.connect_input(RingBuffer(data=insert_gaps(codes, network.interval)).s_out)
        seconds = timed(network, steps, runs)
        spikes = np.load(network.traces[network.output].path("spikes"))
    np.save(job["output"], spikes.reshape(runs, steps, -1).astype(np.uint8))
    return seconds


def timed(network: LavaNetwork, steps: int, runs: int) -> list[float]:
    """Run after run in one runtime, so that no time includes compilation or start-up."""
    process, seconds = network.processes[network.output], []
    process.create_runtime(run_cfg=network.run_config())
    try:
        for _ in range(runs):
            start = time.perf_counter()
            process.run(RunSteps(steps))
            seconds.append(time.perf_counter() - start)
        process.run(RunSteps(network.latency))
    finally:
        process.stop()
    return seconds


def main(job_file: Path) -> None:
    """Run the jobs of the file; end when standard input closes."""
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    follow_parent(job_file.parent)
    reports.write('{"ready": true}\n')
    remember_models()
    try:
        for index, job in enumerate(json.loads(job_file.read_text())["jobs"]):
            reports.write(json.dumps({"job": index, "seconds": run_job(job)}) + "\n")
    except Exception as error:
        message = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        reports.write(json.dumps(message) + "\n")
        abandon(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
