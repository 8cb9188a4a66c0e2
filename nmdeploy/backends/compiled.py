"""The compiled backend: the reference's values, bit for bit, from vector code (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nmdeploy import __version__
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray
from nmdeploy.recording.pieces import Pieces, States, copied, joined
from nmdeploy.recording.types import Layer, Recording

if TYPE_CHECKING:
    from nmdeploy.engine.lower.program import Program, Wires
    from nmdeploy.engine.run.runner import Engine, Results

NAMES = ("compiled",)
THREADS = True
ALIASES = ("embedded",)  # its name before
NO_STATES: States = {}


def engine(network: QuantizedNetwork, trace: str) -> Engine:
    """Return the network's compiled engine, made once and kept with the network."""
    from nmdeploy.engine.run.plan_cache import program
    from nmdeploy.engine.run.runner import Engine

    engines: dict[str, Engine] = vars(network).setdefault("_engines", {})
    if trace not in engines:
        engines[trace] = Engine(program(network, trace))
    return engines[trace]


def is_loaded(network: QuantizedNetwork, trace: str) -> bool:
    """Return True if the network's engine has been made already."""
    return trace in vars(network).get("_engines", {})


def run(
    network: QuantizedNetwork,
    inputs: npt.NDArray[Any],
    *,
    lengths: IntArray | None = None,
    trace: str = "none",
    threads: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Recording:
    """Run a quantized network on input codes; parameters as for the reference, any integer type.

    `threads` is the most threads that run samples, by default one per processor.
    """
    lengths = _lengths(inputs, lengths)
    results = engine(network, trace).run(inputs, lengths, threads, on_progress)
    made = results.program
    states = {name: copied(_states(made, results.states[name], name)) for name in network.populations}
    return _recording(made, results, states[network.output], lengths, states if trace == "states" else {})


def run_pieces(
    network: QuantizedNetwork, inputs: npt.NDArray[Any], *, lengths: IntArray | None = None, steps: int
) -> Pieces:
    """Run one sample with all states, `steps` steps at a time."""
    return Pieces(_pieces(network, inputs, _lengths(inputs, lengths), steps))


def _pieces(
    network: QuantizedNetwork, inputs: npt.NDArray[Any], lengths: IntArray, steps: int
) -> Generator[States, None, Recording]:
    from nmdeploy.engine.run.pieces import run_pieces

    made, kept = engine(network, "states").program, []
    for results, rows in run_pieces(made, inputs, lengths, steps):
        states = {
            name: _states(
                made,
                {state: values[:, : part.stop - part.start] for state, values in results.states[name].items()},
                name,
            )
            for name, part in rows.items()
            if part.start < part.stop
        }
        yield states
        if network.reads_membrane and network.output in states:
            kept.append(copied(states[network.output]))
    return _recording(made, results, joined(kept), lengths)


def _lengths(inputs: npt.NDArray[Any], lengths: IntArray | None) -> IntArray:
    samples, steps = inputs.shape[:2]
    lengths = np.full(samples, steps, np.int64) if lengths is None else np.asarray(lengths, np.int64)
    if lengths.shape != (samples,) or lengths.min(initial=0) < 0 or lengths.max(initial=0) > steps:
        raise ValueError(f"lengths {lengths}: give one per sample, up to {steps}")  # code would leave its memory
    return lengths


def _recording(
    made: Program,
    results: Results,
    read: Mapping[str, npt.NDArray[Any]],
    lengths: IntArray,
    states: States = NO_STATES,
) -> Recording:
    """Return a recording with these states; a readout may need those of the output, which are `read`."""
    network, counts = made.network, made.counts.of(results.counted, lengths)
    output, spiking = network.output_values(_output(made, results, network.output), read)
    layers = {
        name: Layer(
            spikes=_output(made, results, name) if made.trace != "none" and neuron.spiking else None,
            states=states.get(name, {}),
            counts=counts[name],
        )
        for name, neuron in network.populations.items()
    }
    return Recording(
        output=output,
        spiking=spiking,
        layers=layers,
        lengths=lengths,
        latency=network.latency,
        backend=NAMES[0],
        version=__version__,
    )


class SampleRun:
    """A sample that runs while it arrives: `nmdeploy.backends.Stream`."""

    backend = NAMES[0]

    def __init__(self, network: QuantizedNetwork) -> None:
        from nmdeploy.engine.run.sample_run import SampleRun

        self.network, self.run = network, SampleRun(engine(network, "none").program)
        self.wires = self.run.program.wires[network.output]
        self.outputs = self.run.results.outputs[network.output][0]
        self.late = network.output_delay
        self.known = 0

    def reset(self) -> None:
        self.run.reset()
        self.known = 0

    def push(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        done = self.run.push(codes)
        found = [self._until(self.run.steps - self.late)]
        while done < len(codes):
            done += self.run.push(codes[done:])
            found.append(self._until(self.run.steps - self.late))
        return np.concatenate(found) if len(found) > 1 else found[0]

    def flush(self) -> npt.NDArray[Any]:
        self.run.flush()
        return self._until(int(self.run.lengths[0]))

    def _until(self, last: int) -> npt.NDArray[Any]:
        """Return the outputs of the steps after those that were returned, up to step `last` (exclusive)."""
        first, self.known = self.known, max(last, self.known)
        if self.network.reads_membrane:
            return self._membranes(first)
        origin = self.run.origin
        return np.array(_in_order(self.wires, self.outputs[first - origin : self.known - origin]))

    def _membranes(self, first: int) -> npt.NDArray[Any]:
        """Return the membranes from step `first` on; they need the states of the step before."""
        before, name = min(first, 1), self.network.output
        rows = slice(first - before - self.run.origin, self.known - self.run.origin)
        outputs = _in_order(self.wires, self.outputs[None, rows])
        states = {state: values[:, rows] for state, values in self.run.results.states[name].items()}
        found, _ = self.network.output_values(outputs, copied(_states(self.run.program, states, name)))
        return found[0, before:]

    def counts(self) -> dict[str, dict[str, int]]:
        lengths = np.minimum(self.run.lengths, self.run.steps)
        found = self.run.program.counts.of(self.run.results.counted, lengths)
        return {name: {metric: int(each[0]) for metric, each in held.items()} for name, held in found.items()}


def stream(network: QuantizedNetwork) -> SampleRun:
    """Return a run of one sample that arrives step by step; `NotTraceable` if the network cannot be compiled."""
    return SampleRun(network)


def _output(made: Program, results: Results, name: str) -> npt.NDArray[Any]:
    return _in_order(made.wires[name], results.outputs[name])


def _in_order(wires: Wires, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return outputs (..., planes, width) as (..., outputs), without idle lanes, in the network's order."""
    neurons = wires.size // wires.planes
    if wires.planes > 1 or neurons != wires.width:
        values = np.ascontiguousarray(values[..., :neurons].swapaxes(-1, -2))
    values = values.reshape(*values.shape[:-2], wires.size)
    return values.astype(np.int64) if wires.coded else values.view(bool)


def _states(made: Program, held: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, npt.NDArray[Any]]:
    """Return views (samples, steps, neurons, ...) of the states that kernels wrote for a population."""
    size, states = made.network.populations[name].size, {}
    for state, sizes, bits in made.populations[name].layout.traces:
        values = held[state][..., :size]
        values = np.moveaxis(values.reshape(*values.shape[:2], *sizes, size), -1, 2)
        states[state] = values.astype(bool) if bits == 1 else values
    return states
