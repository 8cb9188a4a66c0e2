"""Run of the float network, population after population, each compiled: much faster than the loop of `run_float`.

All synaptic sums of a population are one matrix product; then its steps run in machine code. A network with a feedback
loop runs in `run_float`. A population that cannot be compiled, and one with little work, runs step by step in NumPy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.system import processors
from nmdeploy.engine.run.float_population import PopulationRun, compile_float, run_compiled
from nmdeploy.engine.run.thread_pool import run_tasks, split_samples
from nmdeploy.engine.trace.float_step import Recorded
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.network.float_run import FloatRun, OnSums, merge, run_float
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, StepTime

TASK_VALUES = 1 << 22
"""Sums that a task holds at a time, at most, unless one sample has more."""
LEAST_WORK = 1 << 20
"""State updates from which a kernel pays for its compilation (0.1 to 0.4 s)."""
MEMBRANE, BEFORE_RESET = "membrane", "before reset"
Run = Callable[[FloatArray, IntArray], PopulationRun]
OnArrival = Callable[[str, slice, npt.NDArray[Any]], None]


def run_float_layers(
    network: Network,
    inputs: npt.ArrayLike,
    *,
    trace: bool = False,
    observe: bool = False,
    lengths: IntArray | None = None,
    keep_spikes: bool = True,
    on_sums: OnSums | None = None,
    on_arrival: OnArrival | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> FloatRun:
    """Run the float network, without feedback loops, in float64; parameters and results are those of `run_float`.

    Sums are added in another order than there: states differ by rounding, about 1e-15 of their size, and a membrane
    that close to its threshold may decide otherwise. Outputs after a sample's end are 0. Without `keep_spikes`, the
    result holds no spikes, and memory does not grow with the samples. `on_arrival` is called, perhaps from several
    threads, with each synapse's name, some samples, and what arrives in them, (samples, steps, inputs).
    """
    values = np.asarray(inputs, np.float64)
    valid = np.full(len(values), values.shape[1], np.int64) if lengths is None else np.asarray(lengths, np.int64)
    if has_loop(network) or not len(values):
        return run_float(
            network,
            values,
            trace=trace,
            observe=observe,
            lengths=lengths,
            on_sums=on_sums,
            on_progress=on_progress,
        )
    job = _Job(network, values, valid, trace, observe, keep_spikes, on_sums, on_arrival)
    most = max(1, TASK_VALUES // (values.shape[1] * max(n.input_size for n in network.populations.values())))
    threads = processors()
    run_tasks(split_samples(len(values), most, threads), job.run, threads, on_progress)
    return job.result()


def has_loop(network: Network) -> bool:
    """Return True for a network with a feedback loop."""
    return any(network.closes_loop(edge) for edge in network.edges)


@dataclass
class _Job:
    network: Network
    values: FloatArray
    lengths: IntArray
    trace: bool
    observe: bool
    keep_spikes: bool
    on_sums: OnSums | None
    on_arrival: OnArrival | None

    def __post_init__(self) -> None:
        network = self.network
        self.lock = threading.Lock()
        self.ranges: dict[str, dict[str, FloatArray]] = {}
        self.populations = network.populations
        self.runs = {name: self._run_of(name, neuron) for name, neuron in self.populations.items()}
        self.kept: dict[str, npt.NDArray[Any]] = {}
        self.membranes: dict[str, FloatArray] = {}

    def _run_of(self, name: str, neuron: Neuron) -> Run:
        recorded: dict[str, Callable[[Any], Any]] = {MEMBRANE: neuron.membrane} if self.trace else {}
        if name == self.network.output and self.network.reads_membrane:
            recorded[BEFORE_RESET] = neuron.membrane_before_reset
        return population_run(neuron, self.values.shape[0] * self.values.shape[1], self.observe, recorded)

    def run(self, part: slice) -> None:
        """Run some samples through every population, sources first."""
        network, lengths = self.network, self.lengths[part]
        sent: dict[str, npt.NDArray[Any]] = {network.input_name: self.values[part]}
        sums: dict[str, FloatArray] = {}
        for name in network.order:
            if name in network.synapses:
                arriving = _arriving(network, name, sent)
                if self.on_arrival:
                    self.on_arrival(name, part, arriving)
                flat = network.synapses[name].apply(arriving.reshape(-1, arriving.shape[2]))
                sums[name] = np.asarray(flat, np.float64).reshape(*arriving.shape[:2], -1)
            elif name in self.populations:
                a = np.add.reduce([sums.pop(edge.source) for edge in network.incoming[name]])
                found = self.runs[name](a, lengths)
                sent[name] = found.outputs
                self._keep(name, part, found)
                if self.on_sums:
                    self._tell(name, a, found.outputs, lengths)

    def _tell(self, name: str, a: FloatArray, outputs: npt.NDArray[Any], lengths: IntArray) -> None:
        assert self.on_sums is not None
        with self.lock:  # the steps of some samples in one piece
            for step in range(a.shape[1]):
                self.on_sums(name, a[:, step], outputs[:, step], StepTime(step, a.shape[1]), step < lengths)

    def _keep(self, name: str, part: slice, found: PopulationRun) -> None:
        with self.lock:
            merge(self.ranges.setdefault(name, {}), dict(found.extremes))
            if name == self.network.output or (self.keep_spikes and self.populations[name].spiking):
                self._store(self.kept, name, part, found.outputs)
            if MEMBRANE in found.recorded:
                self._store(self.membranes, name, part, found.recorded[MEMBRANE])
            if BEFORE_RESET in found.recorded:
                before = found.recorded[BEFORE_RESET]
                self._store(self.kept, BEFORE_RESET, part, before.reshape(*before.shape[:2], -1))

    def _store(self, where: dict[str, npt.NDArray[Any]], name: str, part: slice, values: npt.NDArray[Any]) -> None:
        if name not in where:
            where[name] = np.zeros((len(self.values), *values.shape[1:]), values.dtype)
        where[name][part] = values

    def result(self) -> FloatRun:
        """Return what was kept."""
        spiking = [name for name, neuron in self.populations.items() if neuron.spiking and self.keep_spikes]
        return FloatRun(
            output=self.kept[BEFORE_RESET if self.network.reads_membrane else self.network.output],
            spikes={name: self.kept[name] for name in spiking},
            membranes=self.membranes,
            ranges=self.ranges if self.observe else {},
        )


def _arriving(network: Network, name: str, sent: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Return what arrives at a synapse, (samples, steps, inputs): its sources' outputs, each as late as its edge."""
    first, *more = network.incoming[name]
    if not more and first.delay == 0:
        return np.asarray(sent[first.source], np.float64)
    total: Any = np.zeros(sent[first.source].shape)
    for edge in (first, *more):
        total[:, edge.delay :] += sent[edge.source][:, : total.shape[1] - edge.delay]
    return total


def population_run(neuron: Neuron, steps: int, observe: bool = False, recorded: Recorded | None = None) -> Run:
    """Return what runs a population on its sums, for a job of that many steps of all samples together."""
    if steps * max(values.size for values in neuron.start(1).values()) >= LEAST_WORK:
        try:
            return partial(run_compiled, compile_float(neuron, observe, recorded or {}))
        except NotTraceable:
            pass  # a family of someone else's, perhaps: its own step runs in NumPy
    return partial(run_stepwise, neuron, observe=observe, recorded=recorded or {})


def run_stepwise(
    neuron: Neuron, sums: FloatArray, lengths: IntArray, *, observe: bool, recorded: Recorded
) -> PopulationRun:
    """Run a population as `run_compiled` does, step by step in NumPy."""
    latency, (samples, steps) = neuron.output_latency, sums.shape[:2]
    ends: Any = lengths[:, None] if latency else steps
    state, nothing = neuron.start(samples), np.zeros_like(sums[:, 0])
    outputs: list[npt.NDArray[Any]] = []
    kept: dict[str, list[FloatArray]] = {name: [] for name in recorded}
    extremes: dict[str, FloatArray] = {}
    for step in range(steps + latency):
        state, output = neuron.step(state, sums[:, step] if step < steps else nothing, StepTime(step, ends))
        valid = step < lengths
        if step >= latency:
            within = np.reshape(step - latency < lengths, (-1, 1))
            outputs.append(np.where(within, output, 0).astype(output.dtype))
        for name, read in recorded.items() if step < steps else ():
            kept[name].append(read(state))
        if observe and valid.any():
            merge(extremes, neuron.observe({key: values[valid] for key, values in state.items()}))
    return PopulationRun(np.stack(outputs, 1), {name: np.stack(each, 1) for name, each in kept.items()}, extremes)
