"""Time and memory that the quick commands take to answer: ``python benchmarks/startup.py [RUNS]``.

It prints the median of wall-clock seconds and of CPU seconds (user and system) over the runs, also for Python alone.
For simulate on the demo's model it prints the most memory, for the demo's samples, for 1,000 and for 100,000. Exit code
1 if a limit is missed: 0.15 s for --help and profiles, 0.3 s for inspect, and for simulate the limits of `make bench`.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, judge
from nmdeploy import pipeline
from nmdeploy.examples import digits

RUNS, SAMPLES = 10, (1_000, 100_000)
NMDEPLOY, STATUS = [sys.executable, "-m", "nmdeploy"], Path("/proc/self/status")
LIMITS = {"--help": 0.15, "profiles": 0.15, "inspect": 0.3}
# Not getrusage: its ru_maxrss counts what the process was before exec, a copy of this one.
PEAK = """
import sys
from pathlib import Path
from nmdeploy.cli.commands import main
try:
    main(sys.argv[1:])
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


def timed(arguments: list[str], runs: int) -> tuple[float, float]:
    """Return the median wall-clock and CPU seconds of a command, after a run that warms the caches."""
    walls, cpus = [], []
    for _ in range(1 + runs):
        before, start = _cpu(), time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start)
        cpus.append(_cpu() - before)
    return statistics.median(walls[1:]), statistics.median(cpus[1:])


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak_megabytes(arguments: list[str]) -> float:
    """Return the most memory that a command of nmdeploy held."""
    command = [sys.executable, "-c", PEAK, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return int(done.stderr.splitlines()[-1]) * 1024 / 1e6


def demo_model(folder: Path) -> str:
    """Write the demo's model."""
    floats, path = pipeline.load(digits().checkpoint), str(folder / "model.nir")
    pipeline.write(pipeline.quantize(floats, data=pipeline.load_data(digits().calibration, floats.input)), path)
    return path


def demo_inputs(folder: Path, samples: int) -> str:
    """Write `samples` samples, repeating the demo's."""
    path = folder / f"{samples}.npy"
    with np.load(digits().test) as arrays:
        np.save(path, np.resize(arrays["inputs"], (samples, *arrays["inputs"].shape[1:])))
    return str(path)


def simulate(model: str, data: str, folder: Path) -> list[str]:
    """Return the command's arguments."""
    return ["simulate", model, "--data", data, "-o", str(folder / "recording.h5")]


def measure(runs: int) -> dict[str, Any]:
    """Measure the whole process of simulate: seconds, and the most memory in megabytes (10^6 bytes).

    Memory is read from Linux's /proc. On other systems it is left out.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = demo_model(folder)
        demo = simulate(model, str(digits().test), folder)
        found: dict[str, Any] = {"seconds": timed([*NMDEPLOY, *demo], runs)[0]}
        if STATUS.exists():
            found["megabytes"] = peak_megabytes(demo)
            parts = {n: simulate(model, demo_inputs(folder, n), folder) for n in SAMPLES}
            found["with_samples"] = {str(n): peak_megabytes(arguments) for n, arguments in parts.items()}
    return found


def show_commands(runs: int, show: Callable[[str], None]) -> bool:
    """Print the times of commands that only answer; return whether they keep their limits."""
    kept = True
    with tempfile.TemporaryDirectory() as name:
        model = demo_model(Path(name))
        commands = {
            **{code: [sys.executable, "-c", code] for code in ("pass", "import numpy", "import h5py")},
            **{f"nmdeploy {name}": [*NMDEPLOY, name] for name in ("--help", "profiles")},
            "nmdeploy inspect model.nir": [*NMDEPLOY, "inspect", model],
        }
        show(f"{'median of ' + str(runs):<28} {'wall/s':>7} {'CPU/s':>7} {'limit/s':>8}")
        for title, arguments in commands.items():
            wall, cpu = timed(arguments, runs)
            limit = LIMITS.get(arguments[3]) if title.startswith("nmdeploy") else None
            kept = kept and (limit is None or wall < limit)
            missed = "  MISSED" if limit and wall >= limit else ""
            show(f"{title:<28} {wall:7.3f} {cpu:7.3f} {limit or '-':>8}{missed}")
    return kept


def main(runs: int) -> int:
    """Measure and print; return the exit code."""
    kept = show_commands(runs, print)
    found = measure(runs)
    print(f"\nnmdeploy simulate on the demo's model: {told(found)}")
    for line in (judge(case, {"startup": found}, {}) for case in CASES if case.measure == "startup"):
        kept = kept and line["ok"]
        print(f"{line['name']} against {line['against']}: {line['ratio']:.3f}, {'kept' if line['ok'] else 'MISSED'}")
    return 0 if kept else 1


def told(found: dict[str, Any]) -> str:
    """Return the measurements in words."""
    parts = [f"{found['seconds']:.3f} s"]
    if "megabytes" in found:
        more = (f"{value:.1f} MB for {samples} samples" for samples, value in found["with_samples"].items())
        parts += [f"at most {found['megabytes']:.1f} MB", *more]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))
