"""Compiled run of one float population on its synaptic sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower import layout
from nmdeploy.engine.lower.lanes import RealLanes
from nmdeploy.engine.lower.layout import Form, Layout
from nmdeploy.engine.lower.program import KERNEL
from nmdeploy.engine.lower.schedule import loop_sizes
from nmdeploy.engine.lower.stepping import StepWriter
from nmdeploy.engine.trace.float_step import EXTREME, SUM, Recorded, trace_float
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron

LANES, LANES_OF_LOOPS = 32, 16


@dataclass(frozen=True)
class PopulationRun:
    """Outputs (samples, steps, output_size), 0 after a sample's end, what was recorded, and the largest magnitudes."""

    outputs: npt.NDArray[Any]
    recorded: Mapping[str, FloatArray]
    extremes: Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class FloatKernel:
    """Kernel of a float population in machine code, with the memory layout that it expects."""

    neuron: Neuron
    layout: Layout
    address: int
    lanes: int
    blocks: int
    boolean: bool
    names: tuple[str, ...]
    start: npt.NDArray[np.int32] = field(repr=False)

    @property
    def width(self) -> int:
        """Neurons of all blocks."""
        return self.lanes * self.blocks


def compile_float(neuron: Neuron, observe: bool, recorded: Recorded) -> FloatKernel:
    """Trace and compile a population's step; parameters and errors are those of `trace_float`."""
    from nmdeploy.engine.llvm import machine
    from nmdeploy.engine.llvm.population import Kernel
    from nmdeploy.engine.llvm.rows import module

    step = trace_float(neuron, observe, recorded)
    loops = any(loop_sizes(r.old.node.dims) for r in step.registers.values())
    lanes = min(LANES_OF_LOOPS if loops else LANES, max(8, 1 << (neuron.size - 1).bit_length()))
    blocks = -(-neuron.size // lanes)
    form = Form(lanes, False, {SUM: 64}, neuron.output_latency, 1, False, False, bool(recorded))
    made, lowered = module(), StepWriter(step, RealLanes(step), form).lower(blocks)
    Kernel(made, KERNEL, lowered, form).write()
    address = machine.functions(str(made), [KERNEL])[0]
    names = tuple(step.registers)
    start = layout.at_rest(lowered.layout, blocks, lanes)
    return FloatKernel(neuron, lowered.layout, address, lanes, blocks, step.output.node.boolean, names, start)


def run_compiled(kernel: FloatKernel, sums: FloatArray, lengths: IntArray) -> PopulationRun:
    """Run samples on their synaptic sums (samples, steps, input_size), each as far as its length."""
    runner, found = FloatRunner(kernel, sums.shape[1]), _Collected(kernel, *sums.shape[:2])
    size = kernel.neuron.size
    for sample, length in enumerate(lengths.tolist()):
        runner.state[:] = kernel.start
        runner.sums[:length, :, :size] = sums[sample, :length].reshape(length, size, -1).transpose(0, 2, 1)
        runner.call(runner.args.ctypes.data, 0, length + runner.latency, length)
        found.add(sample, length, runner)
    return found.result()


class CompiledSteps:
    """Run of samples whose sums come step by step, as in a feedback loop; each sample has registers of its own.

    It is for a population without an output latency.
    """

    def __init__(self, kernel: FloatKernel, lengths: IntArray, steps: int) -> None:
        self.kernel, self.lengths, self.steps = kernel, lengths.tolist(), steps
        self.runners = [FloatRunner(kernel, steps) for _ in self.lengths]

    def step(self, a: FloatArray, step: int) -> npt.NDArray[Any]:
        """Run one step on sums (samples, input_size), and return the outputs (samples, output_size)."""
        size = self.kernel.neuron.size
        sent = np.zeros((len(a), self.kernel.neuron.output_size))
        for sample, (runner, length) in enumerate(zip(self.runners, self.lengths, strict=True)):
            if step < length:
                runner.sums[0, :, :size] = a[sample].reshape(size, -1).T
                runner.call(runner.args.ctypes.data, step, step + 1, length)
                sent[sample] = runner.out[step, :, :size].T.reshape(-1)
        return sent

    def result(self) -> PopulationRun:
        """Return what all steps sent and recorded."""
        found = _Collected(self.kernel, len(self.runners), self.steps)
        for sample, (runner, length) in enumerate(zip(self.runners, self.lengths, strict=True)):
            found.add(sample, length, runner)
        return found.result()


class _Collected:
    """Results of samples, gathered from the memory of the runners."""

    def __init__(self, kernel: FloatKernel, samples: int, steps: int) -> None:
        neuron, traces = kernel.neuron, kernel.layout.traces
        self.size, self.sizes = neuron.size, {name: sizes for name, sizes, _ in traces}
        self.outputs = np.zeros((samples, steps, neuron.output_size), bool if kernel.boolean else np.float64)
        self.recorded = {name: np.zeros((samples, steps, neuron.size, *sizes)) for name, sizes, _ in traces}
        self.extremes: dict[str, FloatArray] = {}

    def add(self, sample: int, length: int, runner: FloatRunner) -> None:
        """Take over what a sample of this length left in a runner's memory."""
        self.outputs[sample, :length] = runner.out[:length, :, : self.size].transpose(0, 2, 1).reshape(length, -1)
        for name, made in self.recorded.items():
            values = runner.traces[name][:length, :, : self.size].transpose(0, 2, 1)
            made[sample, :length] = values.reshape(length, self.size, *self.sizes[name])
        for name, value in runner.extremes():
            self.extremes[name] = np.maximum(self.extremes[name], value) if name in self.extremes else value

    def result(self) -> PopulationRun:
        return PopulationRun(self.outputs, self.recorded, self.extremes)


class FloatRunner:
    """Registers and buffers of one sample, and the table of addresses that the kernel reads."""

    def __init__(self, kernel: FloatKernel, steps: int) -> None:
        from nmdeploy.engine.llvm import machine

        self.kernel, self.neuron = kernel, kernel.neuron
        made, width = kernel.layout, kernel.width
        self.state = kernel.start.copy()
        self.planes = (self.neuron.input_size // self.neuron.size, self.neuron.output_size // self.neuron.size)
        self.latency = self.neuron.output_latency
        self.sums, self.out = (np.zeros((steps + self.latency, planes, width)) for planes in self.planes)
        self.traces = {name: np.zeros((steps, int(np.prod(sizes)), width)) for name, sizes, _ in made.traces}
        self.memory: dict[str, npt.NDArray[Any]] = {
            "own": made.own,
            "shared": made.shared,
            "state": self.state,
            "scratch": np.zeros((max(made.scratch_slots, 1), kernel.lanes), np.int32),
            "counts": np.zeros(len(made.counters), np.int64),
            "out": self.out,
            **dict.fromkeys(("valid", "record"), np.zeros(1, np.int64)),
        }
        numbers = {"blocks": kernel.blocks, "start_offset": 0}
        table = [numbers[name] if name in numbers else self.memory[name].ctypes.data for name in layout.ARGS]
        table += [self.sums.ctypes.data, *(trace.ctypes.data for trace in self.traces.values())]
        self.args = np.array(table, np.int64)
        self.call = machine.kernel_at(kernel.address)

    def extremes(self) -> list[tuple[str, FloatArray]]:
        """Return the largest magnitudes of the sample that ran, by name: (H, ...)."""
        kernel, found = self.kernel, []
        for name, held in zip(kernel.names, kernel.layout.registers, strict=True):
            if name.startswith(EXTREME):
                count = int(np.prod(held.dims))
                slots = np.ascontiguousarray(self.state[:, held.slot : held.slot + 2 * count])
                values = slots.reshape(kernel.blocks, -1).view(np.float64).reshape(kernel.blocks, count, kernel.lanes)
                flat = values.transpose(0, 2, 1).reshape(kernel.width, count)[: self.neuron.size]
                found.append((name.removeprefix(EXTREME), flat.reshape(self.neuron.size, *held.dims).copy()))
        return found
