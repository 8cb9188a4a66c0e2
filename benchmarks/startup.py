"""How long the quick commands take to answer: ``python benchmarks/startup.py [RUNS]``.

Prints the median of wall-clock seconds and of CPU seconds (user and system) over the runs, for Python alone as well.
The limits of the project are 0.15 s for --help and profiles, 0.3 s for inspect, 0.8 s for simulate on the demo's model
and its 450 samples with a warm cache, on a quiet machine.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nmdeploy import pipeline
from nmdeploy.demo import CALIBRATION, CHECKPOINT, TEST

RUNS = 20


def measure(arguments: list[str], runs: int) -> tuple[float, float]:
    """Median wall-clock and CPU seconds of a command."""
    walls, cpus = [], []
    for _ in range(runs):
        before, start = _cpu(), time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start)
        cpus.append(_cpu() - before)
    return statistics.median(walls), statistics.median(cpus)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(runs: int) -> None:
    """Measure and print."""
    nmdeploy = [sys.executable, "-m", "nmdeploy"]
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "model.nir")
        floats = pipeline.load(CHECKPOINT)
        pipeline.write(pipeline.quantize(floats, data=pipeline.load_data(CALIBRATION, floats.input)), model)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import numpy": [sys.executable, "-c", "import numpy"],
            "import h5py": [sys.executable, "-c", "import h5py"],
            "nmdeploy --help": [*nmdeploy, "--help"],
            "nmdeploy profiles": [*nmdeploy, "profiles"],
            "nmdeploy inspect model.nir": [*nmdeploy, "inspect", model],
            "nmdeploy simulate model.nir": [*nmdeploy, "simulate", model, "--data", str(TEST), "-o", f"{folder}/r.h5"],
        }
        print(f"{'median of ' + str(runs):<28} {'wall/s':>7} {'CPU/s':>7}")
        for name, arguments in commands.items():
            measure(arguments, 1)
            wall, cpu = measure(arguments, runs)
            print(f"{name:<28} {wall:7.3f} {cpu:7.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
