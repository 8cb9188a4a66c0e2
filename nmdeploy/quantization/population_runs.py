"""Runs of one population by itself, float or integer, on what arrived at its synapses in a run of the float network.

A difference between two such runs is made in this population. None of it is a difference that arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.run.float_run import run_float_layers, runs_in_layers
from nmdeploy.engine.run.float_stepwise import float_population
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.step_loop import run_steps
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, QuantizedNeuron, StepTime
from nmdeploy.quantization.bias_terms import rest_of_bias, rest_synapses
from nmdeploy.synapses.base import QuantizedSynapse, Synapse

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Arrivals:
    """Arriving values at the synapses of a float network in a run.

    Parameters
    ----------
    values : mapping of synapse to (samples, steps, inputs)
        Values of its sources, summed.
    lengths : (samples,) int
        Valid steps of each sample.
    steps : int
        Steps of the longest sample.
    output : (samples, steps, channels)
        Outputs of the population that is read out.
    """

    values: Mapping[str, Array]
    lengths: IntArray
    steps: int
    output: Array

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.lengths)

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(samples, steps, 1) True in the steps of a sample."""
        return (np.arange(self.steps) < self.lengths[:, None])[..., None]


@dataclass
class _Recorder:
    """Receiver of all steps of a float run: keeps what arrives, and what the read-out population sends."""

    network: Network
    arriving: dict[str, list[Array]] = field(default_factory=dict)
    output: list[Array] = field(default_factory=list)

    def arrive(self, name: str, values: Array, step: int) -> None:
        self.arriving.setdefault(name, []).append(_narrow(values))

    def advance(self, name: str, state: Any, a: Array, now: StepTime) -> tuple[Any, Array]:
        neuron = self.network.populations[name]
        state, output = neuron.step(state, a, now)
        if name == self.network.output and now.step >= neuron.output_latency:
            self.output.append(output)
        return state, output


def record_arrivals(network: Network, inputs: Array, lengths: IntArray) -> Arrivals:
    """Run the float network on real inputs (samples, steps, channels), and keep what arrives at each synapse."""
    if runs_in_layers(network) and len(inputs):
        return _record_layers(network, inputs, lengths)
    values = np.asarray(inputs, np.float64)
    recorder = _Recorder(network)
    start = {name: neuron.start(len(values)) for name, neuron in network.populations.items()}
    run_steps(network, values, start, recorder.advance, recorder.arrive, lengths)
    arrived = {name: np.stack(steps, 1) for name, steps in recorder.arriving.items()}
    return Arrivals(arrived, lengths, values.shape[1], np.stack(recorder.output, 1))


def _record_layers(network: Network, inputs: Array, lengths: IntArray) -> Arrivals:
    arrived: dict[str, Array] = {}
    lock = threading.Lock()

    def arrive(name: str, part: slice, values: Array) -> None:
        narrow = _narrow(values)
        with lock:
            held = arrived.get(name, np.zeros((len(inputs), *values.shape[1:]), narrow.dtype))
            arrived[name] = held.astype(np.result_type(held, narrow), copy=False)
            arrived[name][part] = narrow

    run = run_float_layers(network, inputs, lengths=lengths, keep_spikes=False, on_arrival=arrive)
    return Arrivals(arrived, lengths, inputs.shape[1], run.output)


def _narrow(values: Array) -> Array:
    """Return the values in one byte each if none is lost, as spikes are."""
    with np.errstate(invalid="ignore"):
        small = values.astype(np.int8)
    return small if np.array_equal(small, values) else values


@dataclass(frozen=True)
class SynapticSums:
    """Sums that one synapse adds in a run, each (samples, steps, outputs), in units of the float network.

    Parameters
    ----------
    exact : sums of the float weights and biases
    weights : of the rounded weights, the biases exact
    biases : of the rounded biases, the weights exact
    floors : of the exact ones, with what flooring the integer sums takes away
    codes : the integer sums themselves
    """

    exact: FloatArray
    weights: FloatArray
    biases: FloatArray | None
    floors: FloatArray | None
    codes: IntArray


def synaptic_sums(synapse: Synapse, quantized: QuantizedNetwork, name: str, arrivals: Arrivals) -> SynapticSums:
    """Compute the sums of the float synapse `name`, and of the integers that hold it, in all steps at once."""
    rounded = quantized.synapses[name]
    neuron = quantized.populations[quantized.target[name]]
    arriving = arrivals.values[name]
    flat = _flat(arriving)
    shape = (*arriving.shape[:2], -1)
    exact = synapse.apply(flat)
    held = rounded.dequantize(flat) / neuron.scale
    frac = _source_frac(quantized, name)
    sent = _sent(arriving, frac)
    codes = _finished(rounded, sent)
    float_bias = 0.0 if synapse.bias is None else synapse.bias
    own = np.asarray(0.0 if rounded.rounded_bias is None else rounded.rounded_bias) / neuron.scale - float_bias
    bias = own + rest_of_bias(quantized, name) / neuron.scale
    floors = None
    if rounded.dropped_bits:
        whole = rounded.dequantize(np.ldexp(sent, -frac)) / neuron.scale
        floors = exact + np.ldexp(codes, -neuron.frac_in) / neuron.scale - whole
    codes = codes + sum(_finished(quantized.synapses[further], sent) for further in rest_synapses(quantized, name))
    return SynapticSums(
        exact=exact.reshape(shape),
        weights=(held - own).reshape(shape),
        biases=(exact + bias).reshape(shape) if np.any(bias) else None,
        floors=None if floors is None else floors.reshape(shape),
        codes=codes.reshape(shape),
    )


def float_sums(network: Network, name: str, arrivals: Arrivals) -> FloatArray:
    """Return the sums (samples, steps, outputs) of the synapse `name` of the float network."""
    return synapse_sums(network.synapses[name], arrivals.values[name])


def synapse_sums(synapse: Synapse, arriving: Array) -> FloatArray:
    """Return the sums (samples, steps, outputs) of float synapses for what arrives, (samples, steps, inputs)."""
    return synapse.apply(_flat(arriving)).reshape(*arriving.shape[:2], -1)


def integer_sums(synapse: QuantizedSynapse, arriving: Array, frac: int) -> IntArray:
    """Return the sums (samples, steps, outputs) of an integer synapse, where codes of `frac` fraction bits arrive."""
    return _finished(synapse, _sent(arriving, frac)).reshape(*arriving.shape[:2], -1)


def _flat(arriving: Array) -> FloatArray:
    return arriving.reshape(-1, arriving.shape[2]).astype(np.float64)


def _sent(arriving: Array, frac: int) -> FloatArray:
    """Return the codes that arrive, as float64: those of spikes are their values."""
    flat = _flat(arriving)
    return np.rint(np.ldexp(flat, frac)) if frac or arriving.dtype.kind == "f" else flat


def _finished(synapse: QuantizedSynapse, sent: FloatArray) -> IntArray:
    return np.asarray(synapse.finish(synapse.rows.sums(sent).astype(np.int64)))  # sums are proved to be under 2**31


def _source_frac(quantized: QuantizedNetwork, synapse: str) -> int:
    """Return the fraction bits of the codes that arrive: the quantizer gives all sources of a synapse the same."""
    nodes: Any = [quantized.nodes[edge.source] for edge in quantized.incoming[synapse]]
    return int(nodes[0].output_frac)


def run_float_population(neuron: Neuron, sums: FloatArray, lengths: IntArray) -> Array:
    """Return the outputs (samples, steps, output_size) of a float population on its sums (samples, steps, input_size).

    The population starts at rest. An output latency is taken out. Outputs after a sample's end are 0.
    """

    return float_population(neuron, sums.shape[0] * sums.shape[1]).run(sums, lengths).outputs


def run_integer_population(neuron: QuantizedNeuron, sums: IntArray, lengths: IntArray) -> FloatArray:
    """Return the outputs of an integer population as `run_float_population` does, in units of the float network."""

    def advance(registers: Any, a: Array, now: StepTime) -> tuple[Any, Array]:
        registers, output, _ = neuron.advance(registers, a, now)
        return registers, np.asarray(output)

    codes = _run(neuron, neuron.start(len(sums)), advance, sums, lengths)
    return neuron.dequantize_output(codes)


def _run(neuron: Any, start: Any, advance: Any, sums: Array, lengths: IntArray) -> Array:
    latency, steps = neuron.output_latency, sums.shape[1]
    nothing = np.zeros_like(sums[:, 0])
    ends: Any = lengths[:, None] if latency else steps
    state, outputs = start, []
    for step in range(steps + latency):
        state, output = advance(state, sums[:, step] if step < steps else nothing, StepTime(step, ends))
        if step >= latency:
            outputs.append(output)
    return np.stack(outputs, 1)
