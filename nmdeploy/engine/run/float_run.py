"""Run of the float network, population after population, each compiled: much faster than the loop of `run_float`.

All synaptic sums of a population are one matrix product; then its steps run in machine code. The populations of a
feedback loop run step by step together, each in machine code too. A population that cannot be compiled, and one with
little work, runs in NumPy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.memory import chunk_bytes
from nmdeploy._util.system import processors
from nmdeploy.engine.lower.order import components
from nmdeploy.engine.run.float_population import PopulationRun
from nmdeploy.engine.run.float_stepwise import FloatPopulation, float_population
from nmdeploy.engine.run.thread_pool import run_tasks, split_samples
from nmdeploy.network.float_run import FloatRun, OnSums, merge, run_float
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, StepTime

TASK_VALUES = 1 << 22
"""Sums that a task holds at a time, at most, unless one sample has more."""
MEMBRANE, BEFORE_RESET = "membrane", "before reset"
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
    """Run the float network in float64; parameters and results are those of `run_float`.

    Sums are added in another order than there: states differ by rounding, about 1e-15 of their size, and a membrane
    that close to its threshold may decide otherwise. Outputs after a sample's end are 0. Without `keep_spikes`, the
    result holds no spikes, and memory does not grow with the samples. `on_arrival` is called, perhaps from several
    threads, with each synapse's name, some samples, and what arrives in them, (samples, steps, inputs).
    """
    values = np.asarray(inputs, np.float64)
    valid = np.full(len(values), values.shape[1], np.int64) if lengths is None else np.asarray(lengths, np.int64)
    if not len(values) or not runs_in_layers(network):
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
    at_once = chunk_bytes(TASK_VALUES * values.itemsize) // values.itemsize
    most = max(1, at_once // (values.shape[1] * max(n.input_size for n in network.populations.values())))
    threads = processors()
    run_tasks(split_samples(len(values), most, threads), job.run, threads, on_progress)
    return job.result()


def runs_in_layers(network: Network) -> bool:
    """Return True unless a feedback loop has windows, whose outputs are later than their inputs."""
    return not any(_is_late(network, names) for names, loop in components(network) if loop)


def _is_late(network: Network, names: Sequence[str]) -> bool:
    return any(network.populations[name].output_latency for name in names if name in network.populations)


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
        self.populations, self.groups = network.populations, components(network)
        self.done = _last_uses(network, self.groups)
        self.runs = {name: self._run_of(name, neuron) for name, neuron in self.populations.items()}
        self.kept: dict[str, npt.NDArray[Any]] = {}
        self.membranes: dict[str, FloatArray] = {}

    def _run_of(self, name: str, neuron: Neuron) -> FloatPopulation:
        recorded: dict[str, Callable[[Any], Any]] = {MEMBRANE: neuron.membrane} if self.trace else {}
        if name == self.network.output and self.network.reads_membrane:
            recorded[BEFORE_RESET] = neuron.membrane_before_reset
        return float_population(neuron, self.values.shape[0] * self.values.shape[1], self.observe, recorded)

    def run(self, part: slice) -> None:
        """Run some samples through every population, sources first."""
        sent: dict[str, npt.NDArray[Any]] = {self.network.input_name: self.values[part]}
        for (names, loop), done in zip(self.groups, self.done, strict=True):
            if loop:
                self._run_loop(names, part, sent)
            elif names[0] in self.populations:
                self._run_population(names[0], part, sent)
            for name in done:  # of a deep network, all outputs together would not fit in memory
                sent.pop(name, None)

    def _run_population(self, name: str, part: slice, sent: dict[str, npt.NDArray[Any]]) -> None:
        a = np.add.reduce([self._sums(edge.source, part, sent) for edge in self.network.incoming[name]])
        found = self.runs[name].run(a, self.lengths[part])
        sent[name] = found.outputs
        self._keep(name, part, found, a)

    def _sums(self, synapse: str, part: slice, sent: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        arriving = _arriving(self.network, synapse, sent)
        if self.on_arrival:
            self.on_arrival(synapse, part, arriving)
        flat = self.network.synapses[synapse].apply(arriving.reshape(-1, arriving.shape[2]))
        return np.asarray(flat, np.float64).reshape(*arriving.shape[:2], -1)

    def _run_loop(self, names: Sequence[str], part: slice, sent: dict[str, npt.NDArray[Any]]) -> None:
        """Run the populations of a loop, and all synapses into them, step by step."""
        network, lengths, steps = self.network, self.lengths[part], self.values.shape[1]
        members = [name for name in names if name in self.populations]
        runs = {name: self.runs[name].steps(lengths, steps) for name in members}
        sums = {name: np.zeros((len(lengths), steps, self.populations[name].input_size)) for name in members}
        arrived: dict[str, FloatArray] = {}
        for name in names:
            if name in self.populations:
                sent[name] = np.zeros((len(lengths), steps, self.populations[name].output_size))
            else:
                arrived[name] = np.zeros((len(lengths), steps, network.synapses[name].shape[1]))
        for step in range(steps):
            for name in names:
                if name in members:
                    sent[name][:, step] = runs[name].step(sums[name][:, step], step)
                    continue
                for edge in network.incoming[name]:
                    if step >= edge.delay:
                        arrived[name][:, step] += sent[edge.source][:, step - edge.delay]
                sums[network.target[name]][:, step] += network.synapses[name].apply(arrived[name][:, step])
        for name, values in arrived.items() if self.on_arrival else ():
            assert self.on_arrival is not None
            self.on_arrival(name, part, values)
        for name in members:
            found = runs[name].result()
            sent[name] = found.outputs
            self._keep(name, part, found, sums[name])

    def _keep(self, name: str, part: slice, found: PopulationRun, a: FloatArray) -> None:
        with self.lock:
            for step in range(a.shape[1]) if self.on_sums else ():  # the steps of some samples in one piece
                assert self.on_sums is not None
                now, valid = StepTime(step, a.shape[1]), step < self.lengths[part]
                self.on_sums(name, a[:, step], found.outputs[:, step], now, valid)
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


def _last_uses(network: Network, groups: Sequence[tuple[Sequence[str], bool]]) -> list[list[str]]:
    """Return the nodes whose outputs no later group reads, by group."""
    last: dict[str, int] = {}
    for index, (names, _) in enumerate(groups):
        synapses = [edge.source for name in names if name in network.populations for edge in network.incoming[name]]
        for synapse in {*synapses, *(name for name in names if name in network.synapses)}:
            last |= {edge.source: index for edge in network.incoming[synapse]}
    found: list[list[str]] = [[] for _ in groups]
    for name, index in last.items():
        found[index].append(name)
    return found


def _arriving(network: Network, name: str, sent: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Return what arrives at a synapse, (samples, steps, inputs): its sources' outputs, each as late as its edge."""
    first, *more = network.incoming[name]
    if not more and first.delay == 0:
        return np.asarray(sent[first.source], np.float64)
    total: Any = np.zeros(sent[first.source].shape)
    for edge in (first, *more):
        total[:, edge.delay :] += sent[edge.source][:, : total.shape[1] - edge.delay]
    return total
