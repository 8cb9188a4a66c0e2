"""Numbers of each population of one network, float or integer, and its activity on the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.analysis.activity import Activity
from nmdeploy.analysis.dynamics import Dynamics, dynamics
from nmdeploy.analysis.weights import Weights, dequantized_weights, synapses_of, weights_of
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers of one population, real, and its activity.

    Parameters
    ----------
    name : str
    tensors : mapping of str to array
        Tensors of the population, empty for a family that declares none.
    dynamics : Dynamics or None
    weights : mapping of synapse to Weights
    arriving : mapping of synapse to (inputs,)
        Mean of what arrives per step.
    largest : mapping of synapse to float
        Largest magnitude that arrives: 1 of spikes.
    activity : Activity
    inputs : int
        Synaptic sums per neuron.
    dt : float
    steps : int
        Steps of the longest sample.
    """

    name: str
    tensors: Mapping[str, Any]
    dynamics: Dynamics | None
    weights: Mapping[str, Weights]
    arriving: Mapping[str, FloatArray]
    largest: Mapping[str, float]
    activity: Activity
    inputs: int
    dt: float
    steps: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.activity.size

    @property
    def reached(self) -> bool:
        """True if something arrives."""
        return any(mean.any() for mean in self.arriving.values())

    def by_neuron(self, rows: FloatArray) -> FloatArray:
        """(H,) sums over the inputs of each neuron."""
        return np.asarray(rows.reshape(self.size, self.inputs).sum(1))

    def drive(self, magnitude: bool = False) -> FloatArray:
        """(H,) mean synaptic sum without biases, or that of the weights' magnitudes."""
        total = np.zeros(self.size)
        for name, held in self.weights.items():
            codes, arriving = held.rows.codes, self.arriving[name][held.rows.sources]
            entries = np.abs(codes * arriving) if magnitude else codes * arriving
            total += self.by_neuron(held.by_row(entries))
        return total

    def reach(self) -> FloatArray:
        """(H,) bound of the membrane: every input came in every step, and all weights excited."""
        assert self.dynamics is not None
        total = np.zeros(self.size)
        for name, held in self.weights.items():
            total += self.by_neuron(held.by_row(np.abs(held.rows.codes))) * self.largest[name]
        biases = np.sum([values * self.scale for values in self.biases().values()], axis=0)
        with np.errstate(invalid="ignore"):
            most = total * self.dynamics.bound
        return np.asarray(np.where(np.isnan(most), 0.0, most) + biases)

    @property
    def scale(self) -> FloatArray:
        """(H,) threshold, or the usual membrane of a population that does not spike."""
        dynamics = self.dynamics
        if dynamics is not None and dynamics.threshold is not None:
            return np.asarray(np.maximum(np.abs(dynamics.threshold), 1e-12))
        peak = self.activity.peak
        usual = 0.0 if peak is None else float(np.median(np.abs(peak)))
        return np.full(self.size, usual or 1.0)

    def biases(self) -> dict[str, FloatArray]:
        """Steady membrane that each bias makes, (H,), in thresholds, by the tensor that holds it."""
        found: dict[str, FloatArray] = {}
        if self.dynamics is None:
            return found
        for name, own in self.tensors.items():
            if name == "bias":
                flat = own.reshape(self.size, -1)
                found[name] = np.take_along_axis(flat, np.abs(flat).argmax(1)[:, None], 1)[:, 0]
            elif name == "input_bias":
                found[name] = self.by_neuron(own.ravel())
        found |= {f"{name} bias": self.by_neuron(held.bias) for name, held in self.weights.items()}
        return {name: values * self.gain_of(name) / self.scale for name, values in found.items() if values.any()}

    def gain_of(self, bias: str) -> FloatArray:
        """(H,) steady membrane per unit of a bias, of the population itself or of its sums."""
        assert self.dynamics is not None
        gain = self.dynamics.bias_gain if bias == "bias" else self.dynamics.gain
        return np.where(np.abs(gain) > 1e-9, gain, 1e-9)


def float_numbers(
    network: Network, names: Mapping[str, Any], activity: Mapping[str, Activity], arriving: Activity
) -> list[Numbers]:
    """Return those of a float network; `names` are the tensors of each population, `arriving` is the input."""
    tensors = {name: {key: neuron.tensor(key) for key in names[name]} for name, neuron in network.populations.items()}
    weights = {name: weights_of(synapse) for name, synapse in network.synapses.items()}
    return _numbers(network, tensors, weights, activity, arriving)


def integer_numbers(network: QuantizedNetwork, activity: Mapping[str, Activity], arriving: Activity) -> list[Numbers]:
    """Return those of an integer network, as real numbers."""
    tensors = {
        name: {key: tensor.values for key, tensor in (neuron.held_tensors() or {}).items()}
        for name, neuron in network.populations.items()
    }
    weights = {name: dequantized_weights(network, name) for name in network.synapses}
    return _numbers(network, tensors, weights, activity, arriving)


def _numbers(
    network: Network | QuantizedNetwork,
    tensors: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Weights],
    activity: Mapping[str, Activity],
    arriving: Activity,
) -> list[Numbers]:
    sources = {network.input_name: arriving, **activity}
    sent = {name: held.mean for name, held in sources.items()}
    steps = arriving.outputs.shape[1]
    return [
        Numbers(
            name=name,
            tensors=tensors[name],
            dynamics=dynamics(neuron.kind, tensors[name], steps),
            weights={key: weights[key] for key in synapses_of(network, name)},
            arriving={
                key: np.sum([sent[edge.source] for edge in network.incoming[key]], axis=0)
                for key in synapses_of(network, name)
            },
            largest={
                key: sum(_largest(sources[edge.source]) for edge in network.incoming[key])
                for key in synapses_of(network, name)
            },
            activity=activity[name],
            inputs=neuron.inputs,
            dt=network.dt,
            steps=steps,
        )
        for name, neuron in network.populations.items()
    ]


def _largest(source: Activity) -> float:
    """Return the largest magnitude that a population sends: 1 of spikes."""
    return max(float(np.abs(source.outputs).max(initial=0)), 1.0)
