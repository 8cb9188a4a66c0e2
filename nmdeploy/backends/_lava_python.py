"""The search for a Python 3.10 with lava-nc: nmdeploy's own, one that the user names, or one that uv provides."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from nmdeploy.errors import LavaUnavailable

VARIABLE = "NMDEPLOY_LAVA_PYTHON"
LAVA_VERSION = "0.10.0"
PACKAGES = (f"lava-nc=={LAVA_VERSION}", "h5py")
PACKAGES_MIB, PYTHON_MIB = 77, 28  # as uv 0.13.9 prints them on Linux x86-64
PROBE_SECONDS = 20.0


def commands() -> list[list[str]]:
    """Return command lines that start a Python with lava-nc and h5py, in the order in which to try them.

    uv first tries without the network: with a filled cache that is four times faster.

    Raises
    ------
    LavaUnavailable
        There is no such Python, and no uv to provide one.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not _has_lava(named):
            raise LavaUnavailable(
                f"{VARIABLE}={named}: is not a Python 3.10 with lava-nc {LAVA_VERSION} and h5py: install them there"
            )
        return [[named]]
    if sys.version_info[:2] == (3, 10) and _has_lava(sys.executable):
        return [[sys.executable]]
    uv = _uv()
    if uv is None:
        raise LavaUnavailable(
            "Lava needs Python 3.10 and lava-nc 0.10.0: install uv (`pip install uv`), which provides both, "
            f"or set {VARIABLE} to a Python that has them"
        )
    python = _python310()
    # Without a Python 3.10 that runs, uv may only use its own: it gives up at the first broken one in PATH.
    interpreter = ["--python", python] if python else ["--managed-python", "--python", "3.10"]
    packages = [argument for package in PACKAGES for argument in ("--with", package)]
    run = [uv, "run", "--quiet", "--no-project"]
    return [[*run, *offline, *interpreter, *packages, "python"] for offline in (["--offline"], [])]


def download_note(command: Sequence[str], complaint: str) -> str | None:
    """Return what a command of `commands` is about to download, and how much; None if it downloads nothing.

    `complaint` is what the command before it printed: uv without the network says so if that kept it from starting.
    """
    online = "--no-project" in command and "--offline" not in command and not os.environ.get("UV_OFFLINE")
    if not online or not re.search("network|offline", complaint, re.IGNORECASE):
        return None
    python = "No interpreter found" in complaint
    what, size = ("Python 3.10, ", PYTHON_MIB + PACKAGES_MIB) if python else ("", PACKAGES_MIB)
    return f"Lava needs a Python of its own: downloading {what}lava-nc {LAVA_VERSION} and more, up to {size} MiB, once"


def _uv() -> str | None:
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def _candidates() -> Iterator[Path]:
    for folder in os.get_exec_path():
        yield Path(folder) / "python3.10"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.10.*/bin/python3.10"), reverse=True)


@cache
def _python310() -> str | None:
    """Return a Python 3.10 that runs from anywhere (pyenv's shims need a .python-version that names one)."""
    for path in _candidates():
        if path.is_file() and _answers(str(path), "import sys; sys.exit(sys.version_info[:2] != (3, 10))"):
            return str(path)
    return None


@cache
def _has_lava(python: str) -> bool:
    """Return True for a Python 3.10 that has h5py and the one release of lava-nc that the models were checked with."""
    return _answers(
        python,
        "import importlib.metadata as m, importlib.util as u, sys; "
        f"has = sys.version_info[:2] == (3, 10) and m.version('lava-nc') == {LAVA_VERSION!r} and u.find_spec('h5py'); "
        "sys.exit(not has)",
    )


def _answers(python: str, program: str) -> bool:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        outcome = subprocess.run(
            [python, "-c", program], cwd="/", env=environment, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return outcome.returncode == 0
