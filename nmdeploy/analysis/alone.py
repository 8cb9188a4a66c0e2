"""One population by itself, on what the float network sends to it.

In a run of the whole network, one spike that differs changes all that follows. Here every population gets what the
float network sent, so that the difference of its outputs is its own.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from nmdeploy.quantization.population_runs import (
    integer_sums,
    run_float_population,
    run_integer_population,
    synapse_sums,
)
from nmdeploy.samples.source import Data
from nmdeploy.synapses.base import Synapse

Array = npt.NDArray[Any]


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
        """Return the outputs (samples, steps, outputs) of a float population on what the float network sent to it."""
        sums = [synapse_sums(synapse, self.arriving[key]) for key, synapse in synapses.items()]
        return self._valid(run_float_population(neuron, np.sum(sums, 0), self.lengths))

    def integers_alone(self, name: str, network: QuantizedNetwork) -> Array:
        """Return the outputs of an integer population on what the float network sent to it, in its units."""
        further = further_biases(network)
        sums = [
            integer_sums(network.synapses[key], self.arriving[further.get(key, key)], source_frac(network, key))
            for key in (edge.source for edge in network.incoming[name])
        ]
        return self._valid(run_integer_population(network.populations[name], np.sum(sums, 0), self.lengths))

    def _valid(self, outputs: Array) -> Array:
        """Return the outputs with 0 after the end of a sample."""
        flat = outputs.reshape(len(self.lengths), self.steps, -1)
        return np.asarray(flat * (np.arange(self.steps) < self.lengths[:, None])[..., None])


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
