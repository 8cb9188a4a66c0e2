"""Warnings about what a run shows: populations without events, that never or always spike, and outputs far apart."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nmdeploy.network.network import Network, QuantizedNetwork, readout_values
from nmdeploy.network.step_loop import run_steps
from nmdeploy.neurons.base import IntArray, StepTime
from nmdeploy.recording.types import Totals
from nmdeploy.synapses.base import QuantizedSynapse
from nmdeploy.synapses.rows import Rows

SNR_MIN_DB = 10.0
"""Signal-to-noise ratio of the readout under which the two networks are apart: an error of a third of the signal."""
Array = npt.NDArray[Any]


class Activity(NamedTuple):
    """Events that arrived at a population, and spikes that it sent, in the valid steps of a run."""

    events: int
    spikes: int


def activity_of(totals: Totals) -> dict[str, Activity]:
    """Return the activity of the populations whose events and spikes a run counted."""
    return {
        name: Activity(counts["input_events"], counts["spikes"])
        for name, counts in totals.counts.items()
        if "input_events" in counts and "spikes" in counts
    }


def activity_warnings(network: QuantizedNetwork, activity: Mapping[str, Activity], valid_steps: int) -> list[str]:
    """Return a line for each population that nothing reaches, or that never or always spikes.

    `valid_steps` are those of all samples of the run together.
    """
    found = []
    for name, seen in activity.items():
        neuron, places = network.populations[name], valid_steps * network.populations[name].output_size
        if not seen.events:
            found.append(f"population {name!r}: no event reaches it in {valid_steps} steps: check the layers before it")
        elif neuron.spiking and not seen.spikes:
            found.append(
                f"population {name!r}: never spikes in {valid_steps} steps, {seen.events} events reach it: check its "
                "threshold, its weights and --dt"
            )
        elif neuron.spiking and seen.spikes == places:
            found.append(
                f"population {name!r}: all of its neurons spike in all of {valid_steps} steps: check its threshold, "
                "its weights and --dt"
            )
    return found


def unreached(network: QuantizedNetwork) -> list[str]:
    """Return a line for each population to which no weight leads from the input."""
    reached, front = {network.input_name}, [network.input_name]
    while front:
        synapses = (edge.target for edge in network.outgoing[front.pop()])
        fed = {network.target[name] for name in synapses if network.synapses[name].rows.nonzero}
        front += fed - reached
        reached |= fed
    return [
        f"population {name!r}: the input does not reach it: check the weights of the layers before it"
        for name in network.populations
        if name not in reached
    ]


def distance_warnings(snr_db: float | None) -> list[str]:
    """Return a line if the signal-to-noise ratio of the integer network's readout is under `SNR_MIN_DB`."""
    if snr_db is None or snr_db >= SNR_MIN_DB:
        return []
    return [
        f"the readout of the integers is far from that of the float network: signal-to-noise {snr_db:.1f} dB, limit "
        f"{SNR_MIN_DB:.0f} dB: look for the first population that loses spikes"
    ]


def readout_snr(
    network: Network, floats: Array, quantized: QuantizedNetwork, integers: Array, lengths: IntArray
) -> float | None:
    """Return ``10 log10(sum(y**2) / sum((y - y_q)**2))`` in dB, of the values y that the readout rule gives.

    `floats` and `integers` are the outputs (samples, steps, channels) of the two networks. None if both are equal, or
    if the float network's values are all 0.
    """
    neuron = quantized.populations[network.output]
    real = integers if quantized.reads_membrane else neuron.dequantize_output(integers)
    y, y_q = (readout_values(np.asarray(v, np.float64), network.readout, lengths) for v in (floats, real))
    power, error = float(np.sum(y**2)), float(np.sum((y - y_q) ** 2))
    return 10 * float(np.log10(power / error)) if power > 0 and error > 0 else None


class _ExactProducts(NamedTuple):
    """An integer synapse whose products are made in float64, which is exact for sums that are proved to be small."""

    synapse: QuantizedSynapse
    rows: Rows
    role: str = "synapse"

    @property
    def output_size(self) -> int:
        return self.synapse.shape[0]

    def apply(self, s: Array) -> Array:
        sums = self.rows.sums(s.astype(np.float64))
        return np.asarray(self.synapse.finish(sums.astype(np.int64)))


def run_integers(network: QuantizedNetwork, codes: IntArray, lengths: IntArray) -> tuple[Array, dict[str, Activity]]:
    """Run a quantized network on a few samples without a backend; return its outputs and the activity."""
    counts = {name: [0, 0] for name in network.populations}
    outputs: list[Array] = []
    steps = codes.shape[1]

    def arrive(name: str, values: Array, step: int) -> None:
        counts[network.target[name]][0] += int(np.count_nonzero(values[step < lengths]))

    def advance(name: str, registers: Any, a: Array, now: StepTime) -> tuple[Any, Array]:
        neuron = network.populations[name]
        registers, output, _ = neuron.advance(registers, a, now)
        step = now.step - neuron.output_latency
        if 0 <= step < steps:
            counts[name][1] += int(np.count_nonzero(output[step < lengths]))
            if name == network.output:
                outputs.append(output)
        return registers, output

    exact = {name: _ExactProducts(held, held.rows.as_type(np.float64)) for name, held in network.synapses.items()}
    nodes = dict(network.nodes) | exact
    graph: Any = SimpleNamespace(nodes=nodes, order=network.order, incoming=network.incoming, timing=network.timing)
    start = {name: neuron.start(len(codes)) for name, neuron in network.populations.items()}
    run_steps(graph, codes.astype(np.int64), start, advance, arrive, lengths)
    return np.stack(outputs, 1), {name: Activity(*pair) for name, pair in counts.items()}
