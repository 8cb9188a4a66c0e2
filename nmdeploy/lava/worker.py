"""Worker that runs models in Lava, started as ``python -m nmdeploy.lava.worker JOBFILE``.

JOBFILE is JSON: ``{"jobs": [{"model": path, "inputs": path.npy, "trace": "spikes" | "states", "output": path.npz}]}``.
Standard output carries one JSON object per line. The first is ``{"ready": true}``. Each job ends with
``{"job": i, "jobs": n, "seconds": s}``, or with ``{"error": message, "traceback": text}``.

Each job is one Lava run over all of its samples. The .npz holds arrays ``<population>|<register>`` (samples, steps,
...). They are aligned: entry t is the population's step t.
"""
# mypy: disable-error-code="import-not-found,import-untyped"

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal
from lava.magma.runtime.runtime import Runtime
from lava.proc.io.source import RingBuffer
from numpy.typing import NDArray

from nmdeploy.lava.network import LavaNetwork, build
from nmdeploy.lava.rounding import Integers

POLL_SECONDS = 0.001


class ProcessModelError(RuntimeError):
    """Failure of a ProcessModel, with its traceback as the message."""


def run(process: AbstractProcess, steps: int) -> None:
    """Run the network of `process` for `steps` steps and stop it.

    Lava waits without end for the output of a ProcessModel that raised. This function polls for failures while it
    waits.

    Raises
    ------
    ProcessModelError
        A ProcessModel raised. Lava cannot be stopped then: end the program.
    """
    process.create_runtime(run_cfg=LavaNetwork.run_config())
    runtime = process.runtime
    process.run(RunSteps(steps, blocking=False))
    response = runtime.service_to_runtime[0]
    while not response.probe():
        _raise_failure(runtime)
        time.sleep(POLL_SECONDS)
    while not enum_equal(response.peek(), MGMT_RESPONSE.DONE):
        # The traceback follows the response through another channel.
        _raise_failure(runtime)
        time.sleep(POLL_SECONDS)
    try:
        process.wait()
    finally:
        process.stop()


def _raise_failure(runtime: Runtime) -> None:
    for actor in runtime._messaging_infrastructure.actors:
        if actor.exception is not None:
            raise ProcessModelError(actor.exception[1])
        if actor.exitcode:
            raise ProcessModelError(f"a process of the network died with exit code {actor.exitcode}")


def run_job(job: dict[str, Any]) -> None:
    """Run one job of the job file and write its .npz.

    Raises
    ------
    ValueError
        The inputs do not fit the model, or Lava cannot run the model.
    """
    inputs = np.load(job["inputs"])
    if inputs.ndim < 3 or inputs.dtype.kind not in "iub" or 0 in inputs.shape:
        raise ValueError(
            f"{job['inputs']}: {inputs.dtype}{list(inputs.shape)}; integers (samples, steps, channels) needed"
        )
    samples, steps = inputs.shape[:2]
    with tempfile.TemporaryDirectory(dir=Path(job["output"]).parent) as folder:
        network = build(job["model"], steps=steps, samples=samples, record=job["trace"], folder=folder)
        data = inputs.reshape(samples, steps, -1)
        if data.shape[2] != network.channels:
            raise ValueError(f"{job['inputs']}: {data.shape[2]} channels; {job['model']} takes {network.channels}")
        if np.abs(data.astype(np.int64)).max() >= 2**31:
            raise ValueError(f"{job['inputs']}: holds numbers of 2**31 or more; Lava's ports are 32 bits wide")
        network.connect_input(RingBuffer(data=insert_gaps(data, network.interval)).s_out)
        run(network.processes[network.output], (samples - 1) * network.interval + network.duration)
        arrays: dict[str, Any] = {
            f"{population}|{name}": _samples(trace.path(name), samples, network.interval)[:, :steps]
            for population, trace in network.traces.items()
            for name in trace.names
        }
    np.savez(job["output"], **arrays)


def insert_gaps(data: Integers, interval: int) -> NDArray[np.int32]:
    """Return samples (samples, steps, channels) in a row, (channels, samples * interval), with zeros between."""
    samples, steps, channels = data.shape
    padded = np.zeros((samples, interval, channels), np.int32)
    padded[:, :steps] = data
    return padded.reshape(-1, channels).T


def _samples(path: Path, samples: int, interval: int) -> Integers:
    rows = np.load(path)
    return np.asarray(rows.reshape(samples, interval, *rows.shape[1:]))


def remember_models() -> None:
    """Search for the ProcessModels of a Process class only once.

    Lava compiles every file in the Process's folder again for each Process. This takes three quarters of a network's
    start-up.
    """
    search = ProcGroupDiGraphs._find_proc_models
    known: dict[type, list[type]] = {}

    def find(proc: AbstractProcess) -> list[type]:
        if type(proc) not in known:
            known[type(proc)] = search(proc)
        return list(known[type(proc)])

    ProcGroupDiGraphs._find_proc_models = staticmethod(find)


def follow_parent(folder: Path) -> None:
    """End this process group and remove `folder` when the other end of standard input closes."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def abandon(code: int) -> NoReturn:
    """Exit with `code` after a failure.

    Lava's own destructors wait for ProcessModels that will never answer.
    """
    for child in multiprocessing.active_children():
        child.terminate()
        child.join()
    # Waits until the tracker has unlinked the shared memory that they left.
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    os._exit(code)


def main(arguments: list[str]) -> None:
    """Run the jobs of the file that `arguments` name; with ``--follow-parent``, end when standard input closes."""
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    job_file = Path(arguments[-1])
    if "--follow-parent" in arguments:
        follow_parent(job_file.parent)
    _report(reports, ready=True)
    jobs = json.loads(job_file.read_text())["jobs"]
    remember_models()
    try:
        for index, job in enumerate(jobs):
            start = time.perf_counter()
            run_job(job)
            _report(reports, job=index, jobs=len(jobs), seconds=round(time.perf_counter() - start, 4))
    except Exception as error:
        _report(reports, error=f"{type(error).__name__}: {error}".strip(), traceback=traceback.format_exc())
        abandon(1)


def _report(stream: TextIO, **message: Any) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
