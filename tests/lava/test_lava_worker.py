"""Refusals, failures and time limits: one clear line, and no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lava_models as m
import numpy as np
import pytest
from processes import wait_for

from nmdeploy.backends import _lava_python as lava_python
from nmdeploy.backends import _lava_worker as lava_worker
from nmdeploy.backends._lava_worker import LavaJob, available, run_jobs
from nmdeploy.errors import LavaFailed, LavaUnavailable

pytestmark = pytest.mark.lava
NO_JOB = LavaJob(Path("model.nir"), np.ones((1, 1, 1), int))


def test_refusal_is_one_line(tmp_path: Path) -> None:
    model = m.chain({**m.state_space(np.random.default_rng(1), 4, 2), "state_bits": 40})
    job = LavaJob(m.write(tmp_path / "model.nir", model), np.ones((1, 3, 4), int))
    with pytest.raises(LavaFailed) as caught:
        run_jobs([job], timeout=60)
    assert "node 'n': state_bits is 40; Lava holds 2 to 32 bits" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" in caught.value.traceback


@pytest.fixture
def temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short, as the default is: sockets live there."""
    with tempfile.TemporaryDirectory(prefix="nm-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def long_job(tmp_path: Path) -> LavaJob:
    model = m.write(tmp_path / "model.nir", m.chain(m.lif(np.random.default_rng(1), 4)))
    return LavaJob(model, np.ones((1, 1_000_000, 4), int))


def processes_in(folder: Path) -> list[str]:
    """Processes that work in `folder`, which may be gone already."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()).startswith(str(folder)):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to look for processes")
def test_time_limit_leaves_nothing(long_job: LavaJob, temp: Path) -> None:
    with pytest.raises(LavaFailed, match="did not finish within 5 s"):
        run_jobs([long_job], timeout=5)
    assert processes_in(temp) == []
    assert list(temp.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to look for processes")
def test_killed_parent_leaves_nothing(long_job: LavaJob, temp: Path) -> None:
    program = (
        "import sys, numpy; from nmdeploy.backends._lava_worker import *\n"
        "run_jobs([LavaJob(sys.argv[1], numpy.ones((1, 1_000_000, 4), int))], timeout=100)"
    )
    environment = {**os.environ, "TMPDIR": str(temp), "PYTHONPATH": str(Path(lava_worker.__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, "-c", program, str(long_job.model)], env=environment)
    try:
        assert wait_for(lambda: len(processes_in(temp)) > 4), "Lava's processes never appeared"
    finally:
        parent.kill()
        parent.wait()
    assert wait_for(lambda: not processes_in(temp))
    assert wait_for(lambda: not list(temp.iterdir()))


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to look for processes")
def test_a_signal_while_the_process_is_started_leaves_nothing(
    long_job: LavaJob, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options)
        signal.raise_signal(signal.SIGINT)
        return process

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", started)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs([long_job], timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert processes_in(temp) == [] and list(temp.iterdir()) == []


def test_no_jobs() -> None:
    assert run_jobs([], timeout=1) == []


def test_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMDEPLOY_LAVA_PYTHON", sys.executable if sys.version_info[:2] != (3, 10) else "/bin/false")
    reason = available()
    assert reason is not None
    assert "NMDEPLOY_LAVA_PYTHON" in reason
    with pytest.raises(LavaUnavailable):
        run_jobs([NO_JOB], timeout=1)


def test_environment_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_worker, "commands", lambda: [["sh", "-c", "echo no such package >&2; exit 2"]])
    with pytest.raises(LavaUnavailable, match=r"uv python install 3.10.*no such package"):
        run_jobs([NO_JOB], timeout=10)


@pytest.mark.skipif(lava_python._uv() is None, reason="needs uv")
def test_uv_commands_name_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NMDEPLOY_LAVA_PYTHON", raising=False)
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    offline, online = lava_python.commands()
    assert [argument for argument in offline if argument not in online] == ["--offline"]
    assert {"lava-nc==0.10.0", "--no-project"} <= set(online)


PYTHON_IS_MISSING = "error: No interpreter found for Python 3.10\n\nhint: ... but uv is set to offline mode"
PACKAGE_IS_MISSING = "cause: lava-nc was not found in the cache\n\nhint: ... because the network was disabled"


@pytest.mark.skipif(lava_python._uv() is None, reason="needs uv")
def test_a_download_is_announced_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NMDEPLOY_LAVA_PYTHON", raising=False)
    monkeypatch.delenv("UV_OFFLINE", raising=False)
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    offline, online = lava_python.commands()
    note = lava_python.download_note
    assert "downloading Python 3.10, lava-nc 0.10.0 and more, up to 105 MiB" in str(note(online, PYTHON_IS_MISSING))
    assert "downloading lava-nc 0.10.0 and more, up to 77 MiB" in str(note(online, PACKAGE_IS_MISSING))
    assert note(offline, PACKAGE_IS_MISSING) is None and note(online, "") is None
    assert note(online, "Traceback (most recent call last):\nImportError: x") is None
    assert note(["python3.10"], PACKAGE_IS_MISSING) is None
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert note(online, PACKAGE_IS_MISSING) is None


def test_the_announcement_comes_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    offline = ["sh", "-c", "echo the network was disabled >&2; exit 1", "--no-project", "--offline"]
    online = ["sh", "-c", "exit 1", "--no-project"]
    monkeypatch.delenv("UV_OFFLINE", raising=False)
    monkeypatch.setattr(lava_worker, "commands", lambda: [offline, online])
    with (
        pytest.warns(RuntimeWarning, match="lava-nc 0.10.0 and more, up to 77 MiB, once"),
        pytest.raises(LavaUnavailable),
    ):
        run_jobs([NO_JOB], timeout=10)
    monkeypatch.setattr(lava_worker, "commands", lambda: [offline])
    with pytest.raises(LavaUnavailable):
        run_jobs([NO_JOB], timeout=10)
