"""The reference: plain NumPy integers, vectorized over samples, small enough to read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy import __version__
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.network.step_loop import StepLoop, each_step, run_steps
from nmdeploy.neurons.base import UNKNOWN_STEPS, IntArray, StepTime
from nmdeploy.recording.pieces import Pieces, States, copied, joined
from nmdeploy.recording.types import Layer, Recording, without_states

NAMES = ("reference",)
BATCH = 64
METRICS = (
    *("spikes", "events_sent", "input_events", "synaptic_operations", "synaptic_operations_computed"),
    *("bias_operations", "dense_synaptic_operations", "neuron_updates", "neuron_updates_active"),
)


class _Observer:
    """An observer that collects traces and counts of one batch while it runs."""

    def __init__(self, network: QuantizedNetwork, lengths: IntArray, steps: int, trace: str) -> None:
        self.populations, self.lengths = network.populations, lengths
        self.synapses = network.synapses
        self.target, self.timing, self.steps = network.target, network.timing, steps
        self.fan_out = {name: synapse.fan_out for name, synapse in self.synapses.items()}
        self.trace = trace
        self.output = network.output
        self.keeps_states = {name: network.traces_states(name, trace) for name in self.populations}
        self.outputs: dict[str, list[Any]] = {}
        self.states: dict[str, dict[str, list[Any]]] = {name: {} for name in self.populations}
        self.counts = {name: self._zeros(name, len(lengths)) for name in self.populations}

    def _zeros(self, name: str, samples: int) -> dict[str, IntArray]:
        return {metric: np.zeros(samples, np.int64) for metric in (*METRICS, *self.populations[name].flags)}

    def arrive(self, name: str, s: npt.NDArray[Any], step: int) -> None:
        valid, counts = step < self.lengths, self.counts[self.target[name]]
        events = s != 0
        synapse = self.synapses[name]
        counts["input_events"] += events.sum(1) * valid
        operations = (events @ self.fan_out[name]) * valid
        counts["synaptic_operations"] += operations
        if step % self.timing.hold_steps[name] == 0:
            counts["synaptic_operations_computed"] += operations
            counts["bias_operations"] += synapse.bias_synapses * valid
        counts["dense_synaptic_operations"] += synapse.shape[0] * synapse.shape[1] * valid

    def advance(self, name: str, state: Any, a: npt.NDArray[Any], now: StepTime) -> tuple[Any, npt.NDArray[Any]]:
        neuron = self.populations[name]
        state, output, flags = neuron.advance(state, a, now)
        if now.step < self.steps:
            self._updated(name, now.step, a, output, flags)
            if self.keeps_states[name]:
                self._keep_states(name, now.step, neuron.recorded_states(state))
        if now.step >= neuron.output_latency:
            self._sent(name, now.step - neuron.output_latency, output)
        return state, output

    def _updated(self, name: str, step: int, a: npt.NDArray[Any], output: npt.NDArray[Any], flags: list[Any]) -> None:
        neuron, valid, counts = self.populations[name], step < self.lengths, self.counts[name]
        active = _any(a, neuron.size)
        if neuron.feeds_synapses:
            active = active | _any(output, neuron.size)
        counts["neuron_updates"] += neuron.size * valid
        counts["neuron_updates_active"] += active.sum(1) * valid
        for metric, flag in zip(neuron.flags, flags, strict=True):
            counts[metric] += flag.reshape(len(valid), -1).sum(1) * valid

    def _keep_states(self, name: str, step: int, states: Mapping[str, Any]) -> None:
        valid = step < self.lengths
        for key, value in states.items():
            kept = value if valid.all() else value * valid.reshape(-1, *[1] * (value.ndim - 1))
            self.states[name].setdefault(key, []).append(kept)

    def take_states(self) -> States:
        """Return the states that were kept since the last call."""
        taken, self.states = self.states, {name: {} for name in self.populations}
        return {
            name: {key: np.stack(values, 1) for key, values in held.items()} for name, held in taken.items() if held
        }

    def _sent(self, name: str, step: int, output: npt.NDArray[Any]) -> None:
        """Count and keep the aligned output of a step."""
        neuron, valid, counts = self.populations[name], step < self.lengths, self.counts[name]
        events = (output != 0).sum(1) * valid
        if neuron.spiking:
            counts["spikes"] += events
        if step % self.timing.send_steps[name] == 0:
            counts["events_sent"] += events if neuron.feeds_synapses else neuron.output_size * valid
        if name == self.output or self.trace != "none":
            self.outputs.setdefault(name, []).append(output * valid[:, None])


class SampleRun:
    """A sample that runs while it arrives: `nmdeploy.backends.Stream`."""

    backend = NAMES[0]

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.reset()

    def reset(self) -> None:
        network, name = self.network, self.network.output
        start = {each: neuron.start(1) for each, neuron in network.populations.items()}
        self.observer = _Observer(network, np.array([UNKNOWN_STEPS]), UNKNOWN_STEPS, "none")
        self.loop = StepLoop(network, 1, np.dtype(np.int64), start, self.observer.advance, self.observer.arrive)
        # A membrane needs the states of the step before: before step 0 they are at rest.
        neuron = network.populations[name]
        silence = np.zeros((1, neuron.input_size), np.int64)
        self.observer.outputs[name] = [np.zeros_like(neuron.advance(start[name], silence, StepTime(0, 1))[1])]
        states = neuron.recorded_states(start[name]) if network.traces_states(name, "none") else {}
        self.observer.states[name] = {key: [value] for key, value in states.items()}

    def push(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        for step in codes.astype(np.int64):
            self.loop.step(step[None], UNKNOWN_STEPS, UNKNOWN_STEPS)
        return self._known()

    def flush(self) -> npt.NDArray[Any]:
        steps = self.loop.next
        self.observer.lengths, self.observer.steps = np.array([steps]), steps
        for _ in range(self.network.timing.drain_steps):
            self.loop.step(None, steps, steps)
        return self._known()

    def _known(self) -> npt.NDArray[Any]:
        """Return the outputs after the one that was returned last, which is kept."""
        outputs, states = self.observer.outputs[self.network.output], self.observer.states[self.network.output]
        known = len(outputs)
        of_known = {key: _stacked([values[:known]]) for key, values in states.items()}
        found, _ = self.network.output_values(_stacked([outputs]), of_known)
        for kept in (outputs, *states.values()):
            del kept[: known - 1]
        return found[0, 1:]

    def counts(self) -> dict[str, dict[str, int]]:
        held = self.observer.counts
        return {name: {metric: int(number[0]) for metric, number in counts.items()} for name, counts in held.items()}


def stream(network: QuantizedNetwork) -> SampleRun:
    """Return a run of one sample that arrives step by step."""
    return SampleRun(network)


def _any(values: npt.NDArray[Any], neurons: int) -> npt.NDArray[np.bool_]:
    """Return (samples, neurons): True if one of a neuron's values is not zero."""
    return np.asarray((values != 0).reshape(len(values), neurons, -1).any(-1))


def run(
    network: QuantizedNetwork,
    inputs: IntArray,
    *,
    lengths: IntArray | None = None,
    trace: str = "none",
    on_progress: Callable[[int], None] | None = None,
    dtype: Any = np.int64,
) -> Recording:
    """Run a quantized network on input codes.

    Parameters
    ----------
    inputs : (samples, steps, channels) int
    lengths : (samples,) int, optional
        Valid steps of each sample.
    trace : {"none", "spikes", "states"}
    on_progress : callable
        Called with the number of samples done.
    dtype : int64, or object for unbounded integers
    """
    samples, steps = inputs.shape[:2]
    lengths = np.full(samples, steps, np.int64) if lengths is None else lengths
    observers = []
    for first in range(0, samples, BATCH):
        part = slice(first, min(first + BATCH, samples))
        observer = _Observer(network, lengths[part], steps, trace)
        start = {name: neuron.start(part.stop - first, dtype) for name, neuron in network.populations.items()}
        run_steps(network, inputs[part].astype(dtype), start, observer.advance, observer.arrive, lengths[part])
        observers.append(observer)
        if on_progress:
            on_progress(part.stop)
    layers = {name: _layer(name, observers, network) for name in network.populations}
    made = _recording(network, layers, observers, layers[network.output].states, lengths)
    return made if trace == "states" else replace(made, layers=without_states(layers))


def run_pieces(
    network: QuantizedNetwork, inputs: IntArray, *, lengths: IntArray | None = None, steps: int, dtype: Any = np.int64
) -> Pieces:
    """Run one sample with all states, `steps` steps at a time."""
    lengths = np.full(1, inputs.shape[1], np.int64) if lengths is None else lengths
    return Pieces(_pieces(network, inputs.astype(dtype), lengths, steps))


def _pieces(
    network: QuantizedNetwork, inputs: npt.NDArray[Any], lengths: IntArray, steps: int
) -> Generator[States, None, Recording]:
    last = inputs.shape[1] + network.timing.drain_steps - 1
    observer, kept = _Observer(network, lengths, inputs.shape[1], "states"), []
    start = {name: neuron.start(1, inputs.dtype) for name, neuron in network.populations.items()}
    for step in each_step(network, inputs, start, observer.advance, observer.arrive, lengths):
        if (step + 1) % steps and step < last:
            continue
        states = observer.take_states()
        yield states
        if network.reads_membrane and network.output in states:
            kept.append(copied(states[network.output]))
    layers = {name: _layer(name, [observer], network) for name in network.populations}
    return _recording(network, layers, [observer], joined(kept), lengths)


def _recording(
    network: QuantizedNetwork,
    layers: Mapping[str, Layer],
    observers: list[_Observer],
    states: Mapping[str, npt.NDArray[Any]],
    lengths: IntArray,
) -> Recording:
    """Return a recording; the states of the output are given, because a readout may need them."""
    output, spiking = network.output_values(_stacked([o.outputs[network.output] for o in observers]), states)
    return Recording(
        output=output,
        spiking=spiking,
        layers=layers,
        lengths=lengths,
        latency=network.latency,
        backend=NAMES[0],
        version=__version__,
    )


def _layer(name: str, observers: list[_Observer], network: QuantizedNetwork) -> Layer:
    first = observers[0]
    spikes = first.trace != "none" and network.populations[name].spiking
    return Layer(
        spikes=_stacked([o.outputs[name] for o in observers]) if spikes else None,
        states={key: _stacked([o.states[name][key] for o in observers]) for key in first.states[name]},
        counts={m: np.concatenate([o.counts[name][m] for o in observers]) for m in first.counts[name]},
    )


def _stacked(batches: list[list[Any]]) -> npt.NDArray[Any]:
    return np.concatenate([np.stack(batch, 1) for batch in batches])
