"""Runs of the command line in a process of its own, and waiting for other processes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def command(*arguments: object) -> list[str]:
    """Return the command line that runs nmdeploy in another process."""
    return [sys.executable, "-m", "nmdeploy", *map(str, arguments)]


def environment(changes: Mapping[str, str | None] = os.environ) -> dict[str, str]:
    """Return this process's environment with changes; None removes a variable."""
    return {name: value for name, value in {**os.environ, **changes}.items() if value is not None}


def run(
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str | None] = os.environ,
    before: Callable[[], None] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(env),
        preexec_fn=before,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )


def without_python310(folder: Path) -> dict[str, str | None]:
    """Return changes of the environment under which no Python 3.10 is found, and none is fetched."""
    empty = folder / "empty"
    empty.mkdir()
    nowhere = dict.fromkeys(("PATH", "HOME", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "UV_CACHE_DIR"), str(empty))
    return {**nowhere, "UV_PYTHON_DOWNLOADS": "never", "NMDEPLOY_LAVA_PYTHON": None}


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Return True if a condition holds in time."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def on_a_terminal(*arguments: object) -> tuple[int, str, str]:
    """Run a command, and return its exit code, its stdout on a pipe and its stderr on a terminal."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=secondary,
        text=True,
        env=environment({"TERM": "xterm"}),
    )
    os.close(secondary)
    shown = b""
    while True:
        try:
            part = os.read(primary, 4096)
        except OSError:  # the terminal's last writer is gone
            break
        if not part:
            break
        shown += part
    output, _ = process.communicate(timeout=60)
    os.close(primary)
    return process.returncode, output, shown.decode()
