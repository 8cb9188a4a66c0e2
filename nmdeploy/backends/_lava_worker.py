"""The client that starts Lava in a Python 3.10 of its own and reads what it recorded.

lava-nc 0.10.0 needs Python 3.10 and numpy 1. The worker is `nmdeploy.lava.worker`, copied into a temporary folder so
that nothing else of nmdeploy's environment reaches it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nmdeploy._util.granted_time import GrantedTime
from nmdeploy._util.signals import defer_signals
from nmdeploy.backends._lava_python import commands, download_note
from nmdeploy.errors import LavaFailed, LavaUnavailable

GRACE_SECONDS = 1.5
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class LavaJob:
    """A model to run in Lava.

    Attributes
    ----------
    model : Path
        Model file.
    inputs : ndarray of int, shape (samples, steps, channels)
        Input of every sample.
    trace : {'spikes', 'states'}
        Record the spikes of every population (of integrators, v), or all registers too.
    """

    model: Path
    inputs: NDArray[np.integer[Any]]
    trace: Literal["spikes", "states"] = "spikes"


def available() -> str | None:
    """Return why Lava cannot be run here, or None if no obstacle is found; start and download nothing."""
    try:
        commands()
    except LavaUnavailable as error:
        return str(error)
    return None


def run_jobs(
    jobs: Sequence[LavaJob], *, timeout: float, on_progress: Callable[[int, int], None] | None = None
) -> list[dict[str, NDArray[np.int64]]]:
    """Run models in Lava, one after the other in one worker.

    Parameters
    ----------
    jobs : sequence of LavaJob
        What to run.
    timeout : float
        Seconds for all jobs together, start-up included, as `GrantedTime` counts them.
    on_progress : callable, optional
        Called with (jobs done, number of jobs) after each job.

    Returns
    -------
    list of dict
        For each job, ``<population>|<register>`` arrays (samples, steps, ...), aligned: entry t is
        the population's step t.

    Raises
    ------
    LavaUnavailable
        There is no Python 3.10, or lava-nc cannot be downloaded.
    LavaFailed
        Lava refused a model, raised, or did not finish in time.
    """
    if not jobs:
        return []
    with workspace() as folder:
        entries = [_write_job(folder, index, job) for index, job in enumerate(jobs)]
        job_file = folder / "jobs.json"
        job_file.write_text(json.dumps({"jobs": entries}))

        def on_message(message: dict[str, Any]) -> None:
            if "error" in message:
                raise LavaFailed(f"Lava failed: {message['error'].splitlines()[-1]}", message["traceback"])
            if "job" in message and on_progress is not None:
                on_progress(message["job"] + 1, message["jobs"])

        arguments = ["-m", "nmdeploy.lava.worker", "--follow-parent", str(job_file)]
        run_python(arguments, folder, timeout=timeout, on_message=on_message)
        return [_read_output(Path(entry["output"])) for entry in entries]


def run_python(
    arguments: Sequence[str], folder: Path, *, timeout: float, on_message: Callable[[dict[str, Any]], None]
) -> None:
    """Run a Python program in an environment with lava-nc and h5py, and leave no process running.

    The program's first line of output must be ``{"ready": true}``; every line is a JSON object.

    Parameters
    ----------
    arguments : sequence of str
        Command line after ``python``.
    folder : Path
        Working directory, and the only entry of PYTHONPATH.
    timeout : float
        Seconds after which the program is ended, as `GrantedTime` counts them: a busy machine uses up none.
    on_message : callable
        Called with each object; an exception that it raises ends the program.

    Raises
    ------
    LavaUnavailable
        No environment could be started.
    LavaFailed
        The program did not finish in time, or exited with a code other than 0.
    """
    complaint = ""
    for command in commands():
        note = download_note(command, complaint)
        if note is not None:
            warnings.warn(note, RuntimeWarning, stacklevel=1)
        started, code, complaint = _run([*command, *arguments], folder, timeout, on_message)
        if started and code:
            last = complaint.strip().splitlines()[-1:] or ["no message"]
            raise LavaFailed(f"Lava's worker ended with exit code {code}: {last[0]}", complaint)
        if started:
            return
    reason = " ".join(complaint.split())[-300:]
    raise LavaUnavailable(
        "Lava cannot be started: install Python 3.10 (for example `uv python install 3.10`) and lava-nc 0.10.0, or set "
        f"NMDEPLOY_LAVA_PYTHON to a Python that has lava-nc and h5py ({reason})"
    )


def _run(
    command: list[str], folder: Path, timeout: float, on_message: Callable[[dict[str, Any]], None]
) -> tuple[bool, int, str]:
    """Return if the program reported ready, its exit code and its standard error."""
    with tempfile.TemporaryFile("w+") as errors, _process(command, folder, errors) as process:
        started = False
        try:
            granted = GrantedTime(process.pid)
            for message in _messages(process, granted, timeout):
                started = started or "ready" in message
                on_message(message)
            code = _wait(process, granted, timeout)
        except TimeoutError:
            raise LavaFailed(
                f"Lava did not finish within {timeout:g} s: run fewer samples or steps",
                _text(errors),
            ) from None
        return started, code, _text(errors)


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def _wait(process: subprocess.Popen[str], granted: GrantedTime, timeout: float) -> int:
    while (code := process.poll()) is None:
        if granted.seconds() > timeout:
            raise TimeoutError
        time.sleep(0.01)
    return code


def _messages(process: subprocess.Popen[str], granted: GrantedTime, timeout: float) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of standard output, until it closes or the program ends.

    Raises
    ------
    TimeoutError
        The program was granted more seconds than it may use.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        # Lava's orphans may hold the pipe open after a failure: the program's end counts, not the pipe's.
        ended = process.poll() is not None
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            line = None if ended else ""
        if line is None:
            return
        if line.startswith("{"):
            yield json.loads(line)
        if granted.seconds() > timeout:
            raise TimeoutError


@contextmanager
def _process(command: list[str], folder: Path, errors: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process in a group of its own, none of which is left at the end."""
    with ExitStack() as cleanup:
        with defer_signals():  # a process that nobody knows yet when an exception comes would stay
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            cleanup.callback(_end_group, process)
        yield process


def _environment(folder: Path) -> Mapping[str, str]:
    """Return the environment without what points into another Python; BLAS threads would only slow Lava's forks."""
    foreign = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "PYTHONWARNINGS"}
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    own = {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # Lava's sockets lie in TMPDIR, and their paths may not exceed some 100 characters.
    return {**kept, **own, **({"TMPDIR": str(folder)} if len(str(folder)) < 64 else {})}


@defer_signals()
def _end_group(process: subprocess.Popen[str]) -> None:
    """End every process of the group: after a failure gently first, so that Python can clear the shared memory."""
    until = time.monotonic() + (GRACE_SECONDS if process.poll() != 0 else 0)
    alive = _signal_group(process, signal.SIGTERM)
    while alive and time.monotonic() < until:
        time.sleep(0.01)
        process.poll()
        alive = _signal_group(process, 0)
    if alive:
        _signal_group(process, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _signal_group(process: subprocess.Popen[str], sign: int) -> bool:
    """Send a signal; return True if the group still has a process."""
    try:
        os.killpg(process.pid, sign)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a temporary folder with a package `nmdeploy` that holds `nmdeploy.lava` alone."""
    with tempfile.TemporaryDirectory(prefix="nmdeploy-lava-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        package = folder / "nmdeploy"
        source = Path(__file__).parent.parent / "lava"
        shutil.copytree(source, package / "lava", ignore=shutil.ignore_patterns("__pycache__"))
        (package / "__init__.py").touch()
        yield folder


def _write_job(folder: Path, index: int, job: LavaJob) -> dict[str, str]:
    inputs = folder / f"inputs{index}.npy"
    np.save(inputs, job.inputs)
    output = folder / f"output{index}.npz"
    return {"model": str(Path(job.model).resolve()), "inputs": str(inputs), "trace": job.trace, "output": str(output)}


def _read_output(path: Path) -> dict[str, NDArray[np.int64]]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
