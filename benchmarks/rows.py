"""Sparse synapses: the form of rows that the engine chooses against dense rows of the same weights."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import networks
from benchmarks.timing import seconds_of
from nmdeploy.backends import reference
from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.run.memory import Spare
from nmdeploy.engine.run.runner import Engine
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.synapses.sparse import QuantizedSparse

CHECKED_STEPS, TUNED_STEPS, VALUES = 6, 32, 1 << 22
TURN_SECONDS = 0.1
"""Seconds of each form in a turn, at least: a call takes milliseconds, and one pause of a thread would decide."""


@dataclass(frozen=True)
class Workload:
    """A layer of as many inputs as neurons, a share `density` of whose weights are not zero."""

    neurons: int
    density: float

    @property
    def title(self) -> str:
        """The workload in words."""
        return f"LIF, {self.neurons:,} neurons, {100 * (1 - self.density):g} % of the weights 0"


WORKLOADS = {
    "rows-8192-99": Workload(8192, 0.01),
    "rows-2048-94": Workload(2048, 0.06),
    "rows-512-98": Workload(512, 0.02),
    "rows-512-96": Workload(512, 0.04),
    "rows-512-92": Workload(512, 0.08),
}


def network(workload: Workload) -> QuantizedNetwork:
    """LIF neurons that spike in about a tenth of their steps; every input has as many synapses."""
    rng, size = np.random.default_rng([networks.SEED, workload.neurons]), workload.neurons
    fan_out = round(workload.density * size)
    targets = np.sort(rng.random((size, size), np.float32).argpartition(fan_out, 1)[:, :fan_out], 1).reshape(-1)
    codes = rng.integers(1, 128, targets.size) * rng.choice([-1, 1], targets.size)
    offsets = np.arange(size + 1) * fan_out
    synapse = QuantizedSparse(offsets, targets, codes, size, weight_exp=networks.WEIGHT_EXP["lif"])
    sent = networks.inputs(2, size, TUNED_STEPS, seed=networks.SEED + 1).astype(np.int64)
    sums = np.stack([synapse.apply(sample) for sample in sent])
    neuron, _ = networks.lif_layer(rng, networks.Shape("lif", size), sums)
    nodes: dict[str, Any] = {"input": Input((size,), FixedPoint(1, 0, signed=False)), "synapse": synapse, "n": neuron}
    return QuantizedNetwork(nodes, (Edge("input", "synapse"), Edge("synapse", "n")), 1e-3, "n")


def measure(name: str, turns: int) -> dict[str, Any]:
    """Return the form that is chosen, its time and that of dense rows, their ratio, and if all spikes agree.

    The forms take turns, so that a disturbance meets both. The ratio is the median over the turns.
    """
    workload = WORKLOADS[name]
    made = network(workload)
    samples = max(1, VALUES // (workload.neurons * networks.STEPS))
    codes, lengths = networks.inputs(samples, workload.neurons), np.full(samples, networks.STEPS, np.int64)
    engines = Engine(compile_network(made)), Engine(compile_network(made, forms=("dense",)))
    while not engines[0].rows_choice.decided:
        engines[0].run(codes, lengths)
    found = [[seconds / samples for seconds in _turn(engines, codes, lengths, turn)] for turn in range(turns)]
    chosen, dense = (statistics.median(times) for times in zip(*found, strict=True))
    ratios = [slow / fast for fast, slow in found]
    return {
        "form": "sparse" if engines[0].program.synapses["synapse"].form.sparse else "dense",
        "chosen": chosen,
        "dense": dense,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "equal": _equal(made, codes, engines),
    }


def _turn(engines: Sequence[Engine], codes: networks.Codes, lengths: npt.NDArray[np.int64], turn: int) -> list[float]:
    """Return the median seconds of each engine; they alternate until `TURN_SECONDS` per engine are over.

    Where the memory of the same program lies makes up to 10 %. Each turn gives it back and takes it again, the engines
    in the other order than in the turn before.
    """
    for engine in engines:
        engine.use(engine.program)
        engine.spare = Spare()
    for engine in engines[:: -1 if turn % 2 else 1]:
        engine.run(codes, lengths)  # the first run finds cold caches
    rounds: list[list[float]] = []
    while sum(map(sum, rounds)) < TURN_SECONDS * len(engines):
        rounds.append([seconds_of(partial(engine.run, codes, lengths)) for engine in engines])
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _equal(made: QuantizedNetwork, codes: networks.Codes, engines: tuple[Engine, Engine]) -> bool:
    """True if both engines send the reference's spikes in the first steps, and the same ones in all."""
    some = np.ascontiguousarray(codes[:1, :CHECKED_STEPS])
    few = [engine.run(some, np.full(1, CHECKED_STEPS, np.int64)).outputs["n"] for engine in engines]
    whole = [engine.run(codes[:1], np.full(1, codes.shape[1], np.int64)).outputs["n"] for engine in engines]
    expected = reference.run(made, some.astype(np.int64)).output
    same = all(np.array_equal(each[:, :, 0, : made.populations["n"].size], expected) for each in few)
    return same and np.array_equal(*whole)
