"""Density above which a library's product is faster than adding events: ``python benchmarks/crossover.py [--docs]``.

Each way has one thread; NumPy's library takes its number from the environment: ``OPENBLAS_NUM_THREADS=1``.

The engine never tries a product below `nmdeploy.engine.run.dense_input.DENSE_SHARE`. Exit code 1 if a product was
faster there, or if onnxruntime takes more than `PART` of `TRIAL_AFTER_SECONDS` to start.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.compilers import child
from benchmarks.networks import WEIGHT_SPREAD, Rng
from benchmarks.pages import Table, draw, fill, markdown, printed_by
from benchmarks.results import load_now
from benchmarks.timing import seconds_of
from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.lower.program import Program, Rows
from nmdeploy.engine.run import dense_input, products
from nmdeploy.engine.run.runner import single_synapse_run
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.synapses.dense import QuantizedDense

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARKER = "crossover"
SHAPES = ((64, 128), (128, 128), (256, 512), (784, 256))
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
KINDS = {
    "binary": FixedPoint(1, 0, signed=False),
    "0 to 255": FixedPoint(8, 0, signed=False),
    "-128 to 127": FixedPoint(8, 0, signed=True),
}
PART, STARTS = 0.25, 5
START = """
import json, time
import numpy as np
from nmdeploy.engine.run import products
start = time.perf_counter()
products.sums(np.ones((4, 8), np.uint8), np.ones((8, 4), np.int8), "onnxruntime")
print(json.dumps(time.perf_counter() - start))
"""
STEPS, VALUES, REPEATS, SEED = 256, 1 << 21, 5, 2026
SYNAPSE, POPULATION, NUMPY = "synapse", "population", "NumPy"


@dataclass(frozen=True)
class Curve:
    """Seconds by density, of the events, of each library's product, and of NumPy's."""

    shape: tuple[int, int]
    kind: str
    events: tuple[float, ...]
    products: dict[str, tuple[float, ...]]
    numpy: tuple[float, ...]

    def over_best(self) -> list[float]:
        """Return NumPy's seconds over those of the fastest library, by density."""
        return [own / min(others) for own, *others in zip(self.numpy, *self.products.values(), strict=True)]


def crossover(densities: Sequence[float], events: Sequence[float], product: Sequence[float]) -> float | None:
    """Return the least density from which on the product was always faster, interpolated between two measured ones.

    The lines run through the logarithms, because times grow as powers. None if the last product is slower; the first
    density if all are faster.

    >>> crossover([0.1, 0.4], [1.0, 4.0], [2.0, 2.0])
    0.2
    >>> crossover([0.1, 0.4], [1.0, 4.0], [5.0, 5.0]) is None
    True
    """
    gains: list[float] = [math.log(e / p) for e, p in zip(events, product, strict=True)]
    slower = [index for index, gain in enumerate(gains) if gain <= 0]
    if not slower:
        return densities[0]
    low = slower[-1]
    if low == len(gains) - 1:
        return None
    share: float = -gains[low] / (gains[low + 1] - gains[low])
    found: float = densities[low] * (densities[low + 1] / densities[low]) ** share
    return round(found, 6)


def least(curves: Sequence[Curve]) -> float | None:
    """Return the lowest density at which a product was faster."""
    found = [crossover(DENSITIES, c.events, times) for c in curves for times in c.products.values()]
    return min((each for each in found if each is not None), default=None)


def layer(inputs: int, outputs: int, kind: FixedPoint, rng: Rng) -> QuantizedNetwork:
    """Return one dense synapse of 8-bit weights into LIF neurons."""
    weight = np.clip(np.rint(rng.normal(0, WEIGHT_SPREAD, (outputs, inputs))), -127, 127).astype(np.int64)
    zeros = np.zeros(outputs, np.int64)
    nodes: dict[str, Any] = {
        "input": Input((inputs,), kind),
        SYNAPSE: QuantizedDense(weight),
        POPULATION: QuantizedLIF(zeros + 1024, zeros + 256, zeros + 1000, zeros, zeros),
    }
    return QuantizedNetwork(nodes, (Edge("input", SYNAPSE), Edge(SYNAPSE, POPULATION)), 1e-3, POPULATION)


def codes_of(kind: FixedPoint, samples: int, inputs: int, density: float, rng: Rng) -> npt.NDArray[Any]:
    """Return (samples, STEPS, inputs) codes, of which a share of `density` is not zero."""
    dtype = np.int8 if kind.min < 0 else np.uint8
    shape = (samples, STEPS, inputs)
    codes = rng.integers(1, kind.max, shape, dtype, endpoint=True)
    if kind.min < 0:
        codes = np.where(rng.random(shape, np.float32) < 0.5, codes, ~codes)  # -128 to -2
    return np.ascontiguousarray(codes * (rng.random(shape, np.float32) < density).astype(dtype))


def measured(shape: tuple[int, int], kind: str, libraries: Sequence[str]) -> Curve:
    """Measure the times of a shape and a kind of input, one thread each."""
    rng = np.random.default_rng(SEED)
    made = compile_network(layer(*shape, KINDS[kind], rng))
    times: dict[str, list[float]] = {name: [] for name in ("events", *libraries, NUMPY)}
    for density in DENSITIES:
        codes = codes_of(KINDS[kind], max(1, VALUES // (STEPS * shape[0])), shape[0], density, rng)
        for name, seconds in times_of(made, codes, libraries).items():
            times[name].append(seconds)
    events, numpy = (tuple(times.pop(name)) for name in ("events", NUMPY))
    return Curve(shape, kind, events, {name: tuple(each) for name, each in times.items()}, numpy)


def times_of(made: Program, codes: npt.NDArray[Any], libraries: Sequence[str]) -> dict[str, float]:
    """Return the least seconds of each way; the ways take turns, so that a disturbance affects all."""
    rows: Rows = made.synapses[SYNAPSE]
    calls: dict[str, Callable[[], object]] = {"events": single_synapse_run(made, SYNAPSE, codes)}
    calls |= {name: partial(dense_input.product, codes, rows, name) for name in libraries}
    weights = np.ascontiguousarray(rows.weights[: codes.shape[2]]).astype(np.float32)
    calls[NUMPY] = partial(by_numpy, codes.reshape(-1, codes.shape[2]), weights, f"i{rows.form.sum_bits // 8}")
    best = dict.fromkeys(calls, math.inf)
    for _ in range(REPEATS):
        for name, call in calls.items():
            best[name] = min(best[name], seconds_of(call))
    return best


def by_numpy(codes: npt.NDArray[Any], weights: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[Any]:
    """Return the sums by a float32 product, which is exact below 2**24."""
    return (codes.astype(np.float32) @ weights).astype(dtype)


def installed() -> list[str]:
    """Return the libraries that can multiply here.

    torch is limited to one thread, as is the engine's own session of onnxruntime.
    """
    found = [name for name in products.PRODUCTS if importlib.util.find_spec(name)]
    if "torch" in found:
        import torch

        torch.set_num_threads(1)
    return found


def tables(curves: Sequence[Curve]) -> list[Table]:
    """Return the crossovers, and the times that they follow from."""
    first, second = [], []
    for curve in curves:
        head = (f"{curve.shape[0]} x {curve.shape[1]}", curve.kind)
        found = {name: crossover(DENSITIES, curve.events, times) for name, times in curve.products.items()}
        first.append((*head, *map(words, found.values())))
        for name, times in {"events": curve.events, **curve.products, NUMPY: curve.numpy}.items():
            second.append((*head, name, *(f"{1e3 * each:.3g}" for each in times)))
    columns = ("inputs x outputs", "codes")
    return [
        Table("density from which on the product is faster", (*columns, *curves[0].products), first),
        Table("milliseconds, by density", (*columns, "", *map(str, DENSITIES)), second),
    ]


def words(found: float | None) -> str:
    """Return a crossover in words."""
    if found is None:
        return "never"
    return f"below {found:g}" if found <= DENSITIES[0] else f"{found:.2f}"


def start_seconds() -> float | None:
    """Measure the seconds until onnxruntime's first product in a new process; return None without onnxruntime.

    torch is used only if it is imported already.
    """
    if not importlib.util.find_spec("onnxruntime"):
        return None
    return statistics.median(float(child(["-c", START], "")) for _ in range(STARTS))


def numpys(curves: Sequence[Curve]) -> str:
    """Return how long NumPy takes, in words."""
    found = [each for curve in curves for each in curve.over_best()]
    return f"NumPy's float32 product takes {min(found):.1f} to {max(found):.1f} times as long as the faster library's."


def verdict(lowest: float | None, start: float | None) -> str:
    """Return the last line."""
    found = "never" if lowest is None else f"{lowest:.3g}"
    place = "below every crossover" if holds(lowest) else "NOT below every crossover"
    dense = f"`DENSE_SHARE` {dense_input.DENSE_SHARE} lies {place} (lowest: {found})."
    worth = f" `TRIAL_AFTER_SECONDS` {dense_input.TRIAL_AFTER_SECONDS}: onnxruntime begins in {start or 0:.2g} s"
    return dense if start is None else f"{dense}{worth}, {part(start):.2g} of it (at most {PART:g})."


def holds(lowest: float | None) -> bool:
    """Return True if events were faster at all densities for which the engine chooses them without a measurement."""
    return lowest is None or lowest >= dense_input.DENSE_SHARE


def part(start: float) -> float:
    """Return a library's start-up time as a share of the time that events have taken before the library is tried."""
    return start / dense_input.TRIAL_AFTER_SECONDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python benchmarks/crossover.py", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/benchmarks.md too")
    chosen = parser.parse_args(arguments)
    libraries = installed()
    if not libraries:
        print(f"none of {', '.join(products.PRODUCTS)} is installed", file=sys.stderr)
        return 2
    load = load_now()
    curves = [measured(shape, kind, libraries) for shape in SHAPES for kind in KINDS]
    lowest, start, made = least(curves), start_seconds(), tables(curves)
    draw(made)
    print(verdict(lowest, start), numpys(curves))
    if chosen.docs:
        head = printed_by("OPENBLAS_NUM_THREADS=1 python benchmarks/crossover.py", ("nmdeploy", *libraries), load)
        fill(PAGE, MARKER, "\n\n".join([f"{head} {verdict(lowest, start)} {numpys(curves)}", markdown(made[0])]))
    return 0 if holds(lowest) and (start is None or part(start) <= PART) else 1


if __name__ == "__main__":
    sys.exit(main())
