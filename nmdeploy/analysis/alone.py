"""One population by itself, on what the float network sends to it.

In a run of the whole network, one spike that differs changes all that follows. Here every population gets what the
float network sent, so that the difference of its outputs is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.analysis.activity import Activity, activity_of
from nmdeploy.analysis.weights import source_frac
from nmdeploy.network.float_run import merge
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.step_loop import run_steps
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, StepTime
from nmdeploy.quantization.bias_terms import further_biases
from nmdeploy.samples.source import Data
from nmdeploy.synapses.base import QuantizedSynapse, Synapse

Array = npt.NDArray[Any]
Step = Callable[[Any, Array, StepTime], tuple[Any, Array, Array | None]]
"""A step of a population: (state, synaptic sums, time) -> (state', output, membrane)."""


@dataclass
class _Kept:
    outputs: list[Array] = field(default_factory=list)
    membranes: list[Array] = field(default_factory=list)
    ranges: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sent:
    """Run of the float network.

    Parameters
    ----------
    network : Network
    lengths : (samples,) int
        Valid steps of each sample.
    activity : mapping of population to Activity
    arriving : mapping of synapse to (samples, steps, inputs)
        Values that arrive at it.
    """

    network: Network
    lengths: IntArray
    activity: dict[str, Activity]
    arriving: Mapping[str, Array]

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return int(next(iter(self.arriving.values())).shape[1])

    def alone(self, neuron: Neuron, synapses: Mapping[str, Synapse]) -> Array:
        """Return the outputs of a float population, or its membranes, on what the float network sent to it."""

        def step(state: Any, a: Array, now: StepTime) -> tuple[Any, Array, Array | None]:
            state, output = neuron.step(state, a, now)
            return state, output, neuron.membrane(state)

        arriving = {key: self.arriving[key] for key in synapses}
        start = neuron.start(len(self.lengths), np.float64)
        return self._run(neuron, synapses, arriving, start, step, lambda synapse, s: synapse.apply(s))

    def integers_alone(self, name: str, network: QuantizedNetwork) -> Array:
        """Return the outputs of an integer population, or its membranes, on what the float network sent to it."""
        neuron, membrane = network.populations[name], self.network.populations[name].membrane_name
        synapses = {edge.source: network.synapses[edge.source] for edge in network.incoming[name]}
        further = further_biases(network)
        arriving = {}
        for key in synapses:
            codes = np.ldexp(self.arriving[further.get(key, key)], source_frac(network, key))
            arriving[key] = np.rint(codes).astype(np.int64)

        def step(registers: Any, a: Array, now: StepTime) -> tuple[Any, Array, Array | None]:
            registers, output, _ = neuron.advance(registers, a, now)
            return registers, output, neuron.recorded_states(registers).get(membrane)

        outputs = self._run(neuron, synapses, arriving, neuron.start(len(self.lengths)), step, _integer_sums)
        return neuron.dequantize_output(outputs)

    def _run(
        self,
        neuron: Any,
        synapses: Mapping[str, Any],
        arriving: Mapping[str, Array],
        state: Any,
        step: Step,
        sums: Callable[[Any, Array], Array],
    ) -> Array:
        samples, steps, latency = len(self.lengths), self.steps, neuron.output_latency
        first = next(iter(arriving.values()))
        kept = []
        for now in range(steps + latency):
            a = np.zeros((samples, neuron.input_size), first.dtype)
            for key, synapse in synapses.items() if now < steps else ():
                a = a + sums(synapse, arriving[key][:, now])
            time = StepTime(now, self.lengths[:, None] if self.network.timing.drain_steps else steps)
            state, output, membrane = step(state, a, time)
            if now >= latency:
                kept.append(output if neuron.spiking or membrane is None else membrane)
        valid = np.arange(steps) < self.lengths[:, None]
        return np.asarray(np.stack(kept, 1).reshape(samples, steps, -1) * valid[..., None])


def _integer_sums(synapse: QuantizedSynapse, s: Array) -> Array:
    """Return the synaptic sums of codes, in float64, which is far faster and exact: sums are proved to be small."""
    return np.asarray(synapse.finish(synapse.rows.sums(s.astype(np.float64)).astype(np.int64)))


def run_source(network: Network, data: Data) -> Sent:
    """Run the float network on samples, and keep what arrives at every synapse."""
    values, lengths = network.input.format.dequantize(data.codes), data.lengths
    steps = values.shape[1]
    kept = {name: _Kept() for name in network.populations}
    arriving: dict[str, list[Array]] = {name: [] for name in network.synapses}

    def advance(name: str, state: Any, a: Array, now: StepTime) -> tuple[Any, Array]:
        neuron, own = network.populations[name], kept[name]
        state, output = neuron.step(state, a, now)
        if now.step >= neuron.output_latency:
            own.outputs.append(output)
        if now.step < steps:
            own.membranes.append(neuron.membrane(state))
        valid = now.step < lengths
        if valid.any():
            merge(own.ranges, neuron.observe({key: held[valid] for key, held in state.items()}))
        return state, output

    start = {name: neuron.start(len(values), np.float64) for name, neuron in network.populations.items()}
    run_steps(network, values, start, advance, lambda name, s, _: arriving[name].append(s), lengths)
    activity = {name: _activity(network.populations[name], own, lengths) for name, own in kept.items()}
    return Sent(network, lengths, activity, {name: np.stack(held, 1) for name, held in arriving.items()})


def _activity(neuron: Neuron, kept: _Kept, lengths: IntArray) -> Activity:
    membranes = np.stack(kept.membranes, 1)
    outputs = np.stack(kept.outputs, 1) if neuron.spiking else membranes
    found = activity_of(neuron, outputs, membranes, lengths)
    soma = kept.ranges.get("v") if neuron.spiking else None
    return found if soma is None else found.with_peak(np.reshape(soma, (neuron.size, -1)).max(1))
