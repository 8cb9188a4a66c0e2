"""The compiled backend: the reference's values, bit for bit, from vector code (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nmdeploy import __version__
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray
from nmdeploy.recording.types import Layer, Recording, without_states

if TYPE_CHECKING:
    from nmdeploy.engine.lower.program import Program
    from nmdeploy.engine.run.runner import Engine, Results

NAMES = ("compiled",)
THREADS = True
ALIASES = ("embedded",)  # its name before


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
    samples, steps = inputs.shape[:2]
    lengths = np.full(samples, steps, np.int64) if lengths is None else np.asarray(lengths, np.int64)
    if lengths.shape != (samples,) or lengths.min(initial=0) < 0 or lengths.max(initial=0) > steps:
        raise ValueError(f"lengths {lengths}: give one per sample, up to {steps}")  # code would leave its memory
    compiled = engine(network, trace)
    results = compiled.run(inputs, lengths, threads, on_progress)
    made = results.program
    layers = {name: _layer(made, results, name, lengths) for name in network.populations}
    output, spiking = network.output_values(_output(made, results, network.output), layers[network.output].states)
    return Recording(
        output=output,
        spiking=spiking,
        layers=layers if trace == "states" else without_states(layers),
        lengths=lengths,
        latency=network.latency,
        backend=NAMES[0],
        version=__version__,
    )


def _output(made: Program, results: Results, name: str) -> npt.NDArray[Any]:
    """Return (samples, steps, outputs), without idle lanes, in the network's order."""
    wires = made.wires[name]
    values = results.outputs[name]
    samples, steps, planes, _ = values.shape
    neurons = wires.size // planes
    if planes > 1 or neurons != wires.width:
        values = np.ascontiguousarray(values[..., :neurons].transpose(0, 1, 3, 2))
    values = values.reshape(samples, steps, wires.size)
    return values.astype(np.int64) if wires.coded else values.view(bool)


def _layer(made: Program, results: Results, name: str, lengths: IntArray) -> Layer:
    neuron = made.network.populations[name]
    traced = made.trace != "none" and neuron.spiking
    states = {}
    for state, sizes, bits in made.populations[name].layout.traces:
        values = results.states[name][state][..., : neuron.size].transpose(0, 1, 3, 2)
        states[state] = values.astype(bool if bits == 1 else np.int64).reshape(*values.shape[:3], *sizes)
    return Layer(
        spikes=_output(made, results, name) if traced else None,
        states=states,
        counts=_counts(made, results, name, lengths),
    )


def _counts(made: Program, results: Results, name: str, lengths: IntArray) -> dict[str, IntArray]:
    """Return the counts of docs/metrics.md; what does not depend on events is computed here."""
    network = made.network
    neuron, layout = network.populations[name], made.populations[name].layout
    own = dict(zip(layout.counters, results.counts[name].T, strict=True))
    sends = -(-lengths // made.populations[name].form.send_steps)
    counts = {
        "spikes": own["events"] if neuron.spiking else np.zeros_like(lengths),
        "events_sent": own["events_sent"] if neuron.feeds_synapses else neuron.output_size * sends,
        "neuron_updates": neuron.size * lengths,
        "neuron_updates_active": own["active"],
    }
    for metric in ("input_events", "synaptic_operations", "synaptic_operations_computed"):
        counts[metric] = np.zeros_like(lengths)
    counts["bias_operations"], counts["dense_synaptic_operations"] = np.zeros_like(lengths), np.zeros_like(lengths)
    for edge in network.incoming[name]:
        synapse, rows = network.synapses[edge.source], made.synapses[edge.source]
        input_events, operations, _, computed = results.counts[edge.source].T
        each = 1 if rows.form.counted else int(synapse.fan_out[0])
        counts["input_events"] = counts["input_events"] + input_events
        counts["synaptic_operations"] = counts["synaptic_operations"] + operations * each
        counts["synaptic_operations_computed"] = counts["synaptic_operations_computed"] + computed * each
        counts["bias_operations"] = counts["bias_operations"] + synapse.bias_synapses * -(
            -lengths // rows.form.hold_steps
        )
        dense = synapse.shape[0] * synapse.shape[1] * lengths
        counts["dense_synaptic_operations"] = counts["dense_synaptic_operations"] + dense
    ordered = {metric: counts[metric] for metric in METRICS}
    return ordered | {flag: own[flag] for flag in neuron.flags}


METRICS = (
    *("spikes", "events_sent", "input_events", "synaptic_operations", "synaptic_operations_computed"),
    *("bias_operations", "dense_synaptic_operations", "neuron_updates", "neuron_updates_active"),
)
