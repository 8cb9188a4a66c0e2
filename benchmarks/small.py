"""Measurements for the choice between the backends for small jobs: ``python benchmarks/small.py [--docs]``.

It measures the constants of `nmdeploy.backends.auto` on this machine, and the backend that `auto` picks for some tiny
jobs. Exit code 1 if a constant is off by more than a factor of `FACTOR`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import networks
from benchmarks.compilers import child
from benchmarks.networks import Shape
from benchmarks.pages import Table, draw, fill, markdown, printed_by
from benchmarks.results import load_now
from benchmarks.timing import seconds_of
from nmdeploy.backends import auto, compiled, reference
from nmdeploy.cli.demo import demo_model
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io import model_sha256

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARKER = "small"
FACTOR, REPEATS, STEPS, ITERATIONS = 5.0, 3, 64, 50
SHAPES = {
    "LIF 16, 1 layer": Shape("lif", 16, layers=1),
    "LIF 128, 2 layers": Shape("lif", 128, layers=2),
    "state-space 32 x 4, 1 layer": Shape("state_space", 32, 4, "per-product", layers=1),
    "state-space 64 x 8, 2 layers": Shape("state_space", 64, 8, "per-sum", layers=2),
}
FITTED_SAMPLES = (1, 16, 128)
JOBS = (
    *(("demo", samples, 64) for samples in (1, 10, 100)),
    *(("LIF 16, 1 layer", 1, steps) for steps in (50, 1000)),
    *(("LIF 128, 2 layers", samples, 200) for samples in (1, 64)),
    ("state-space 32 x 4, 1 layer", 4, 100),
)


@dataclass(frozen=True)
class Constants:
    """Constants of `compiled`."""

    step: float
    state: float
    compile: float

    def off(self, other: Constants) -> float:
        """Return the largest factor between two constants."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return max(max(a / b, b / a) if min(a, b) > 0 else float("inf") for a, b in pairs)


IN_THE_CODE = Constants(auto.STEP_SECONDS, auto.STATE_SECONDS, auto.COMPILE_SECONDS)


def amounts(network: QuantizedNetwork, samples: int, steps: int) -> tuple[float, float]:
    """Return the amounts that `compiled` multiplies by STEP_SECONDS and by STATE_SECONDS."""
    states = sum(neuron.size * max(neuron.real_states, 1) for neuron in network.populations.values())
    batches = -(-samples // reference.BATCH)
    return float(steps * batches * len(network.populations)), float(steps * samples * states)


def fitted(work: Sequence[tuple[float, float]], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the seconds of each amount by least squares of the logarithms (Gauss-Newton).

    A short job counts as much as a long one, and half as long as much as twice as long.
    """
    amount, found = np.array(work), np.array(seconds)
    log = np.log(found.sum() / 2 / amount.sum(0))
    for _ in range(ITERATIONS):
        parts = amount * np.exp(log)
        whole = parts.sum(1)
        log = log + np.linalg.lstsq(parts / whole[:, None], np.log(found / whole), rcond=None)[0]
    step, state = np.exp(log)
    return float(step), float(state)


def network_of(name: str) -> QuantizedNetwork:
    """Return the demo's model, or one of `SHAPES`."""
    return demo_model() if name == "demo" else networks.network(SHAPES[name])


def codes_of(network: QuantizedNetwork, samples: int, steps: int) -> npt.NDArray[Any]:
    """Return random codes that the input takes, a tenth of them not zero."""
    rng, size, kind = np.random.default_rng(networks.SEED), network.input.size, network.input.format
    codes = rng.integers(kind.min, kind.max, (samples, steps, size), endpoint=True)
    return codes if (kind.min, kind.max) != (0, 1) else (rng.random(codes.shape) < networks.RATE).astype(np.int64)


def least_seconds(call: Callable[[], Any]) -> float:
    """Return the least seconds of some calls."""
    return min(seconds_of(call) for _ in range(REPEATS))


def reference_seconds() -> tuple[float, float]:
    """Return the reference's seconds for a population's step of a batch, and for a state's step."""
    work, seconds = [], []
    for name in (*SHAPES, "demo"):
        network = network_of(name)
        for samples in FITTED_SAMPLES:
            codes = codes_of(network, samples, STEPS)
            work.append(amounts(network, samples, STEPS))
            seconds.append(least_seconds(partial(reference.run, network, codes)))
    return fitted(work, seconds)


def compile_seconds(network: QuantizedNetwork) -> tuple[float, float]:
    """Measure, with an empty cache, the seconds to plan and compile a population, and all else that a network needs."""
    from nmdeploy.engine.llvm import machine
    from nmdeploy.engine.llvm.compilation import compile_network, driver_text, input_text

    before = os.environ.get(machine.VARIABLE)
    with tempfile.TemporaryDirectory() as cache:
        os.environ[machine.VARIABLE] = cache
        try:
            start = time.perf_counter()
            made = compile_network(network)
            compile_all([population.text for population in made.populations.values()])
            middle = time.perf_counter()
            coded = made.wires[network.input_name].coded
            compile_all([*made.texts, driver_text(), input_text(np.dtype(np.int64), not coded)])
            return (middle - start) / len(network.populations), time.perf_counter() - middle
        finally:
            os.environ.pop(machine.VARIABLE)
            os.environ |= {machine.VARIABLE: before} if before is not None else {}


def compile_all(texts: Sequence[str]) -> None:
    """Compile what the cache does not have."""
    from nmdeploy.engine.llvm import machine

    for text in texts:
        machine.compile_module(text)


def measured() -> tuple[Constants, float]:
    """Return this machine's constants, and the seconds to compile what a network needs besides its populations."""
    runs = [[compile_seconds(network_of(name)) for _ in range(REPEATS)] for name in (*SHAPES, "demo")]
    population, besides = (statistics.median(min(each) for each in part) for part in _parts(runs))
    return Constants(*reference_seconds(), population), besides


def _parts(runs: Sequence[Sequence[tuple[float, float]]]) -> list[list[list[float]]]:
    return [[[run[part] for run in each] for each in runs] for part in (0, 1)]


def first_run(name: str, samples: int, steps: int) -> dict[str, Any]:
    """Return the backend that `auto` picks in a new process, and the seconds of both backends' first run.

    `compiled` compiles.
    """
    network = network_of(name)
    model_sha256(network)  # known, as for a model that is read from a file: its plans are kept
    codes = codes_of(network, samples, steps)
    picked, _ = auto.choose(network, samples, steps, "none")
    vars(network).pop("_engines", None)
    batches, states = amounts(network, samples, steps)
    return {
        "estimate": batches * IN_THE_CODE.step + states * IN_THE_CODE.state,
        "picked": picked.NAMES[0],
        "reference": seconds_of(lambda: reference.run(network, codes)),
        "compiled": seconds_of(lambda: compiled.run(network, codes)),
    }


def constants_table(found: Constants, besides: float, start: Start) -> Table:
    """Return the measured constants beside those in the code, and the compilation that no constant includes."""
    names = ("STEP_SECONDS", "STATE_SECONDS", "COMPILE_SECONDS")
    values = zip(names, vars(IN_THE_CODE).values(), vars(found).values(), strict=True)
    rows = [(name, f"{code:.2g}", f"{here:.2g}") for name, code, here in values]
    rows.append(("START_SECONDS", f"{auto.START_SECONDS:.2g}", f"{start.warm:.2g} to {start.cold:.2g}"))
    rows.append(("synapses, input and driver of a network, compiled for the first time", "-", f"{besides:.2g}"))
    return Table("Constants of nmdeploy/backends/auto.py, seconds", ("seconds", "in the code", "measured"), rows)


@dataclass(frozen=True)
class Run:
    """A job in two processes, the first of which has nothing compiled."""

    name: str
    samples: int
    steps: int
    cold: dict[str, Any]
    warm: dict[str, Any]

    @property
    def reference(self) -> float:
        """Seconds of the reference."""
        return float(min(self.cold["reference"], self.warm["reference"]))

    @property
    def lost(self) -> str:
        """Note for a job whose other backend would have been faster, with nothing compiled or with all."""
        title, found = f"{self.name}, {self.samples} samples of {self.steps} steps", []
        for run, when in ((self.cold, "nothing"), (self.warm, "all")):
            faster = "reference" if self.reference <= run["compiled"] else "compiled"
            if run["picked"] != faster:
                found.append(f"{title}: {run['picked']}, though the {faster} was faster with {when} compiled")
        return "; ".join(found)

    def row(self) -> tuple[str, ...]:
        """Row of the table."""
        times = (self.cold["estimate"], self.reference, self.cold["compiled"], self.warm["compiled"])
        picked = self.cold["picked"], self.warm["picked"]
        return self.name, str(self.samples), str(self.steps), *(f"{1e3 * t:.3g}" for t in times), *picked


@dataclass(frozen=True)
class Start:
    """Seconds before the first step, from a cache that holds all, and from one that holds only populations."""

    warm: float
    cold: float

    def off(self, constant: float) -> float:
        """Return the factor by which a constant lies outside of these two; 1 if it lies between."""
        return max(1.0, constant / self.cold, self.warm / constant)


def run_jobs() -> list[Run]:
    """Run every job."""
    found = []
    for job in JOBS:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (child(["-m", "benchmarks.small", "--child", json.dumps(job)], cache) for _ in range(2))
        found.append(Run(*job, cold, warm))
    return found


def start_of(runs: Sequence[Run], compiling: float) -> Start:
    """Return the start-up time of the job whose steps take the least.

    It has one population, whose compilation has a constant of its own.
    """
    least = min(runs, key=lambda run: float(run.cold["estimate"]))
    warm = float(least.warm["compiled"])
    return Start(warm, max(warm, float(least.cold["compiled"]) - compiling))


def jobs_table(runs: Sequence[Run]) -> Table:
    """Return the picks and both times, each in a process of its own.

    `compiled` runs with nothing compiled, then with all.
    """
    columns = (
        "network",
        "samples",
        "steps",
        "reference, estimated",
        "reference",
        "compiled",
        "compiled before",
        "picked",
        "picked then",
    )
    lost = "; ".join(run.lost for run in runs if run.lost)
    note = f"The slower one was picked for: {lost}." if lost else "The faster one was picked each time."
    return Table("Small jobs, milliseconds of the first run of a process", columns, [run.row() for run in runs], note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python benchmarks/small.py", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        print(json.dumps(first_run(*json.loads(chosen.child))))
        return 0
    load = load_now()
    found, besides = measured()
    runs = run_jobs()
    start = start_of(runs, found.compile)
    made = [constants_table(found, besides, start), jobs_table(runs)]
    factor = max(found.off(IN_THE_CODE), start.off(auto.START_SECONDS))
    verdict = f"The largest factor between a constant and what was measured: {factor:.2g} (at most {FACTOR:g})."
    draw(made)
    print(verdict)
    if chosen.docs:
        head = printed_by("python benchmarks/small.py", ("nmdeploy", "numpy", "llvmlite"), load)
        fill(PAGE, MARKER, "\n\n".join([f"{head} {verdict}", *map(markdown, made)]))
    return 0 if factor <= FACTOR else 1


if __name__ == "__main__":
    sys.exit(main())
