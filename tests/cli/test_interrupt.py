"""Ctrl-C and SIGTERM: no half-written file, no temporary file, no process, no shared memory left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import processes
import pytest
from processes import wait_for
from requires_lava import require_lava
from shared import CHECKPOINT, TEST, Model

from nmdeploy.nir_io import read
from nmdeploy.recording.reader import read_recording

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to look for processes"),
]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LIMIT_SECONDS = 120
LAVA_PROCESSES = 6  # uv, the worker, Lava's runtime service, its resource tracker, two ProcessModels or more


@dataclass
class Run:
    """A command in a process group of its own, with a folder for results and one for temporary files."""

    out: Path
    temporary: Path
    process: subprocess.Popen[str] | None = None
    shared: set[str] = field(default_factory=set)

    def start(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            processes.command(*arguments),
            cwd=self.out,
            env=processes.environment({"TMPDIR": str(self.temporary)}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )

    def children(self) -> list[Path]:
        """Entries of /proc for processes that work in the temporary folder: Lava's."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str((entry / "cwd").readlink()).startswith(str(self.temporary)):
                    found.append(entry)
                    self.shared |= {
                        str(link.readlink()) for link in (entry / "fd").iterdir() if "/dev/shm/" in str(link.readlink())
                    }
            except OSError:
                continue
        return found

    def uses(self, library: str) -> bool:
        """Whether the command has come as far as to load a library."""
        assert self.process is not None
        return library in Path(f"/proc/{self.process.pid}/maps").read_text()

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Signal it as a terminal does (SIGINT to the group) or as a service manager does; exit code and stderr."""
        assert self.process is not None
        os.killpg(self.process.pid, number) if number == signal.SIGINT else self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=LIMIT_SECONDS)
        return self.process.returncode, errors

    def assert_tidy(self) -> None:
        assert self.process is not None
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        assert wait_for(lambda: not self.children(), 5), "Lava's processes are still there"
        assert list(self.temporary.iterdir()) == []
        assert [name for name in self.shared if Path(name.removesuffix(" (deleted)")).exists()] == []


def _heed_interrupts() -> None:
    """Undo what a shell does for a test run in the background: its processes ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "out").mkdir()
    with tempfile.TemporaryDirectory(prefix="nm-") as temporary:  # short: Lava's sockets lie there
        started = Run(tmp_path / "out", Path(temporary))
        try:
            yield started
        finally:
            if started.process is not None:
                started.process.kill()
                started.process.communicate()


@pytest.fixture
def much_data(tmp_path: Path) -> Path:
    """A minute of work, and more."""
    np.savez(tmp_path / "much.npz", inputs=np.ones((400_000, 64, 1), np.uint8))
    return tmp_path / "much.npz"


def assert_stopped(code: int, errors: str, number: signal.Signals) -> None:
    assert code == 128 + number, errors
    assert "Traceback" not in errors
    assert errors.count("\n") <= 1, errors


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.5])
@pytest.mark.parametrize(
    "line",
    [
        "simulate MODEL --data DATA -o result.h5",
        "export CHECKPOINT --data DATA -o result.nir",
        "report MODEL --data DATA -o result.json",
    ],
)
def test_nothing_is_left(
    line: str, seconds: float, existing: bool, number: signal.Signals, run: Run, digits_model: Model, much_data: Path
) -> None:
    places = {"MODEL": digits_model.path, "CHECKPOINT": CHECKPOINT, "DATA": much_data}
    arguments = [places.get(word, word) for word in line.split()]
    if existing:
        (run.out / str(arguments[-1])).write_text("kept")
    before = processes.files(run.out)
    run.start(*arguments)
    assert wait_for(lambda: run.uses("_multiarray_umath"), LIMIT_SECONDS)
    time.sleep(seconds)
    assert_stopped(*run.end(number), number)
    assert processes.files(run.out) == before
    run.assert_tidy()


@pytest.mark.lava
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("demo", [False, True])
def test_lava_is_ended(demo: bool, number: signal.Signals, run: Run, digits_model: Model) -> None:
    require_lava()
    if demo:
        run.start("demo", "-o", "demo", "--samples", 450)
    else:
        run.start("verify", digits_model.path, "--data", TEST)
    assert wait_for(lambda: len(run.children()) >= LAVA_PROCESSES, LIMIT_SECONDS), "Lava never started"
    assert wait_for(lambda: bool(run.children()) and bool(run.shared), LIMIT_SECONDS), "Lava has no shared memory"
    assert_stopped(*run.end(number), number)
    run.assert_tidy()
    if demo:
        assert {path.name for path in (run.out / "demo").iterdir()} == {"model.nir", "recording.h5"}
        assert read_recording(run.out / "demo" / "recording.h5").samples == 450
        assert read(run.out / "demo" / "model.nir").profile == "loihi2"
    else:
        assert processes.files(run.out) == {}


def test_an_exit_that_c_code_makes_an_error_of_its_own(tmp_path: Path) -> None:
    """Cython reports an exception that comes while it leaves a lock as a SystemError."""
    program = """
import os, signal, time
from nmdeploy.cli import commands as cli
@cli.main.command()
def wait():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
    except SystemExit:
        raise SystemError("returned a result with an exception set") from None
cli.main(["wait"])
"""
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (outcome.returncode, outcome.stderr) == (128 + signal.SIGTERM, "")


def test_an_interrupt_while_modules_load_leaves_no_traceback(run: Run) -> None:
    (run.out / "click.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(20)\n")
    run.start("profiles")
    assert run.process is not None and run.process.stdout is not None and run.process.stdout.readline() == "loading\n"
    assert run.end(signal.SIGINT) == (-signal.SIGINT, "")


def test_an_exit_that_python_drops_is_raised_again(tmp_path: Path) -> None:
    """Python only reports, and otherwise ignores, what is raised in a destructor."""
    program = """
import os, signal, time
from nmdeploy.cli import commands as cli
class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
@cli.main.command()
def wait():
    Dropping()
    time.sleep(20)
cli.main(["wait"])
"""
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (outcome.returncode, outcome.stderr) == (128 + signal.SIGTERM, "")
