"""Run of one float population on its sums: compiled, or step by step in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.run.float_population import (
    CompiledSteps,
    FloatKernel,
    PopulationRun,
    compile_float,
    run_compiled,
)
from nmdeploy.engine.trace.float_step import Recorded
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.network.float_run import merge
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, StepTime

LEAST_WORK = 1 << 20
"""State updates from which a kernel pays for its compilation (0.1 to 0.4 s)."""


class Steps(Protocol):
    """Run of samples whose sums come step by step."""

    def step(self, a: FloatArray, step: int) -> npt.NDArray[Any]:
        """Run one step on sums (samples, input_size), and return the outputs (samples, output_size)."""

    def result(self) -> PopulationRun:
        """Return what all steps sent and recorded."""


@dataclass(frozen=True)
class FloatPopulation:
    """A population, what is observed and recorded of it, and its kernel; None if it runs in NumPy."""

    neuron: Neuron
    observe: bool
    recorded: Recorded
    kernel: FloatKernel | None

    def run(self, sums: FloatArray, lengths: IntArray) -> PopulationRun:
        """Run samples on their sums (samples, steps, input_size), each as far as its length."""
        if self.kernel:
            return run_compiled(self.kernel, sums, lengths)
        return run_stepwise(self.neuron, sums, lengths, observe=self.observe, recorded=self.recorded)

    def steps(self, lengths: IntArray, steps: int) -> Steps:
        """Return a run whose sums come step by step."""
        if self.kernel:
            return CompiledSteps(self.kernel, lengths, steps)
        return NumpySteps(self.neuron, lengths, steps, self.observe, self.recorded)


def float_population(
    neuron: Neuron, steps: int, observe: bool = False, recorded: Recorded | None = None
) -> FloatPopulation:
    """Return a population for a job of so many steps of all samples together; it is compiled if that pays.

    A step that branches on values, as that of a family of someone else's may, runs in NumPy.
    """
    kernel = None
    if steps * max(values.size for values in neuron.start(1).values()) >= LEAST_WORK:
        try:
            kernel = compile_float(neuron, observe, recorded or {})
        except NotTraceable:
            kernel = None
    return FloatPopulation(neuron, observe, recorded or {}, kernel)


@dataclass
class NumpySteps:
    """Run in NumPy; parameters are those of `FloatPopulation.steps`."""

    neuron: Neuron
    lengths: IntArray
    length: int
    observe: bool
    recorded: Recorded
    outputs: list[npt.NDArray[Any]] = field(default_factory=list)
    kept: dict[str, list[FloatArray]] = field(default_factory=dict)
    extremes: dict[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.neuron.start(len(self.lengths))
        self.ends: Any = self.lengths[:, None] if self.neuron.output_latency else self.length

    def step(self, a: FloatArray, step: int) -> npt.NDArray[Any]:
        latency = self.neuron.output_latency
        self.state, output = self.neuron.step(self.state, a, StepTime(step, self.ends))
        valid = step < self.lengths
        output = np.where(np.reshape(step - latency < self.lengths, (-1, 1)), output, 0).astype(output.dtype)
        if step >= latency:
            self.outputs.append(output)
        for name, read in self.recorded.items() if step < self.length else ():
            self.kept.setdefault(name, []).append(read(self.state))
        if self.observe and valid.any():
            merge(self.extremes, self.neuron.observe({key: values[valid] for key, values in self.state.items()}))
        return output

    def result(self) -> PopulationRun:
        recorded = {name: np.stack(each, 1) for name, each in self.kept.items()}
        return PopulationRun(np.stack(self.outputs, 1), recorded, self.extremes)


def run_stepwise(
    neuron: Neuron, sums: FloatArray, lengths: IntArray, *, observe: bool, recorded: Recorded
) -> PopulationRun:
    """Run a population as `run_compiled` does, in NumPy; after the last step nothing arrives."""
    steps, nothing = sums.shape[1], np.zeros_like(sums[:, 0])
    run = NumpySteps(neuron, lengths, steps, observe, recorded)
    for step in range(steps + neuron.output_latency):
        run.step(sums[:, step] if step < steps else nothing, step)
    return run.result()
