"""Run of the float network in NumPy, which computes the same as training, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nmdeploy.network.network import Network
from nmdeploy.network.step_loop import run_steps
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, StepTime

BATCH = 64
OnSums: TypeAlias = Callable[[str, npt.NDArray[Any], npt.NDArray[Any], StepTime, npt.NDArray[np.bool_]], None]


@dataclass(frozen=True)
class FloatRun:
    """Outputs, ranges and traces of a float run.

    Parameters
    ----------
    output : (samples, steps, channels)
        Outputs of the population that is read out, or for a readout of membranes, these from before their reset.
    spikes : mapping of population to (samples, steps, output_size)
        Spikes of the spiking populations, as bool, or as values of signed and graded spikes.
    membranes : mapping of population to (samples, steps, H) or (samples, steps, H, p)
        Membranes, if they were traced.
    ranges : mapping of population to mapping of str to array
        Largest magnitude of each observed quantity.
    """

    output: npt.NDArray[Any]
    spikes: dict[str, npt.NDArray[Any]]
    membranes: dict[str, FloatArray]
    ranges: dict[str, dict[str, FloatArray]]


@dataclass
class _Batch:
    populations: Mapping[str, Neuron]
    steps: int
    trace: bool
    observe: bool
    lengths: IntArray
    read: str | None = None
    on_sums: OnSums | None = None
    outputs: dict[str, list[Any]] = field(default_factory=dict)
    read_membranes: dict[str, list[Any]] = field(default_factory=dict)
    membranes: dict[str, list[Any]] = field(default_factory=dict)
    ranges: dict[str, dict[str, FloatArray]] = field(default_factory=dict)

    def advance(self, name: str, state: Any, a: npt.NDArray[Any], now: StepTime) -> tuple[Any, npt.NDArray[Any]]:
        neuron = self.populations[name]
        state, output = neuron.step(state, a, now)
        if now.step >= neuron.output_latency:
            self.outputs.setdefault(name, []).append(output)
        if name == self.read:
            self.read_membranes.setdefault(name, []).append(neuron.membrane_before_reset(state).reshape(len(a), -1))
        if self.trace and now.step < self.steps:
            self.membranes.setdefault(name, []).append(neuron.membrane(state))
        valid = now.step < self.lengths
        if self.on_sums:
            self.on_sums(name, a, output, now, valid)
        if self.observe and valid.any():
            seen = {key: values[valid] for key, values in state.items()}
            merge(self.ranges.setdefault(name, {}), neuron.observe(seen))
        return state, output


def merge(ranges: dict[str, FloatArray], new: dict[str, FloatArray]) -> None:
    """Keep the larger of each magnitude, in place."""
    for key, value in new.items():
        ranges[key] = np.maximum(ranges[key], value) if key in ranges else value


def run_float(
    network: Network,
    inputs: npt.ArrayLike,
    *,
    trace: bool = False,
    observe: bool = False,
    dtype: Any = np.float64,
    lengths: IntArray | None = None,
    on_sums: OnSums | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> FloatRun:
    """Run the float network on real inputs.

    Parameters
    ----------
    network : Network
        The float network.
    inputs : (samples, steps, channels)
        Values, not codes: ``network.input.format.dequantize(codes)``.
    trace : bool
        If true, keep every population's membrane.
    observe : bool
        If true, collect the ranges that fix the integer scales.
    dtype : float64 or float32
        Type of all states and outputs.
    lengths : (samples,) int, optional
        Valid steps of each sample. Later steps are not observed, and no window includes them.
    on_sums : callable, optional
        Called per batch for each population and own step, with its name, its synaptic sums, its output, the step, and
        the samples that are still valid.
    on_progress : callable
        Called with the number of samples done.
    """
    values = np.asarray(inputs, dtype)
    valid = np.full(len(values), values.shape[1], np.int64) if lengths is None else lengths
    batches = []
    for first in range(0, len(values), BATCH):
        part = values[first : first + BATCH]
        part_valid = valid[first : first + BATCH]
        read = network.output if network.reads_membrane else None
        batch = _Batch(network.populations, values.shape[1], trace, observe, part_valid, read, on_sums)
        start = {name: neuron.start(len(part), dtype) for name, neuron in network.populations.items()}
        run_steps(network, part, start, batch.advance, lengths=part_valid)
        batches.append(batch)
        if on_progress:
            on_progress(min(first + BATCH, len(values)))
    return _join(network, batches)


def _join(network: Network, batches: list[_Batch]) -> FloatRun:
    def stacked(name: str, what: str) -> npt.NDArray[Any]:
        return np.concatenate([np.stack(getattr(batch, what)[name], 1) for batch in batches])

    ranges: dict[str, dict[str, FloatArray]] = {}
    for batch in batches:
        for name, new in batch.ranges.items():
            merge(ranges.setdefault(name, {}), new)
    spiking = [name for name, neuron in network.populations.items() if neuron.spiking]
    traced = list(network.populations) if batches[0].trace else []
    return FloatRun(
        output=stacked(network.output, "read_membranes" if network.reads_membrane else "outputs"),
        spikes={name: stacked(name, "outputs") for name in spiking},
        membranes={name: stacked(name, "membranes") for name in traced},
        ranges=ranges,
    )
