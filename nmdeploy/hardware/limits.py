"""Demand of a population on a core, limits of a core, and reasons why a target cannot run a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.network.graph import Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse

RESOURCES = ("neurons", "input_axons", "output_axons", "synapse_bits", "neuron_bits", "memory_bits")
UNITS = {
    "neurons": "neurons",
    "input_axons": "input axons",
    "output_axons": "output axons",
    "synapse_bits": "synapse memory bits",
    "neuron_bits": "bits per neuron",
    "memory_bits": "memory bits",
}
SUM_BITS = 32
REMEDIES = {
    "neurons": "split the population",
    "input_axons": "lower the fan-in of the neuron or prune its weights",
    "output_axons": "lower the fan-out of the neuron or prune its weights",
    "synapse_bits": "use fewer weight bits or prune its weights",
    "neuron_bits": "use fewer states per neuron, state bits or coefficient bits",
    "memory_bits": "use fewer weight bits or states per neuron",
}


@dataclass(frozen=True)
class Usage:
    """Use of a resource, and its limit; `limit` is None if nobody has published one."""

    used: int
    limit: int | None

    @property
    def exceeds_limit(self) -> bool:
        """True if the use exceeds the limit."""
        return self.limit is not None and self.used > self.limit


@dataclass(frozen=True)
class Outgoing:
    """Output axons, delay buffers and buffer bits of each neuron of a population, each (H,)."""

    axons: IntArray
    buffers: IntArray
    buffer_bits: IntArray


def core_limits(profile: HardwareProfile) -> dict[str, int | None]:
    """Return the limit of each resource of a core; None if it is not published."""
    return {resource: getattr(profile.core, resource).value for resource in RESOURCES}


def payload_bits(network: QuantizedNetwork, source: str) -> int:
    """Return the bits of the value that an event of `source` carries: 0 for a binary spike."""
    node: Input | QuantizedNeuron | QuantizedSynapse = network.nodes[source]
    if isinstance(node, QuantizedSynapse) or node.emits == "binary":
        return 0
    return node.format.bits if isinstance(node, Input) else node.output_max.bit_length() + 1


class Demand:
    """Demand of a range of a population's neurons on a core, by resource.

    ============ ==========================================================================================
    neurons      neurons of the range
    input_axons  inputs that reach the range, over the incoming synapses, and one for each synapse with biases
    output_axons (output, target core) pairs: Loihi's core-to-core fan-out edges
    synapse_bits footprint of the rows of the incoming synapses
    neuron_bits  footprint of one neuron: states and parameters, and a register for each sum that is kept over a window
    memory_bits  total of synapses, neurons and delay buffers
    ============ ==========================================================================================
    """

    def __init__(self, network: QuantizedNetwork, population: str, outgoing: Outgoing) -> None:
        self.neuron = network.populations[population]
        self.incoming = [network.synapses[edge.source] for edge in network.incoming[population]]
        size = max(self.neuron.size, 1)
        self.rows = self.neuron.input_size // size
        held = sum(network.timing.hold_steps[edge.source] > 1 for edge in network.incoming[population])
        self.per_neuron = -(-self.neuron.footprint_bits // size) + held * self.rows * SUM_BITS
        self.axons = np.concatenate([[0], np.cumsum(outgoing.axons)])
        self.buffer_bits = np.concatenate([[0], np.cumsum(outgoing.buffer_bits)])

    def between(self, first: int, last: int) -> dict[str, int]:
        """Return the demand of the neurons `first` to `last` (exclusive), by resource."""
        top, end = first * self.rows, last * self.rows
        synapse_bits = sum(synapse.footprint_between(top, end) for synapse in self.incoming)
        buffers = int(self.buffer_bits[last] - self.buffer_bits[first])
        return {
            "neurons": last - first,
            "input_axons": sum(
                int(synapse.inputs_met(top, end).sum()) + (synapse.bias_synapses > 0) for synapse in self.incoming
            ),
            "output_axons": int(self.axons[last] - self.axons[first]),
            "synapse_bits": synapse_bits,
            "neuron_bits": self.per_neuron,
            "memory_bits": synapse_bits + self.per_neuron * (last - first) + buffers,
        }


def usage(need: Mapping[str, int], limits: Mapping[str, int | None]) -> dict[str, Usage]:
    """Return the use and the limit of each resource."""
    return {resource: Usage(used, limits[resource]) for resource, used in need.items()}


def network_problems(network: QuantizedNetwork, profile: HardwareProfile) -> Iterator[str]:
    """Yield the reasons, other than size, why the target cannot run the network.

    They concern neuron families, graded events, widths and sign modes.
    """
    rules = profile.arithmetic
    for name, neuron in network.populations.items():
        if neuron.kind not in profile.neurons:
            yield (
                f"population {name!r}: profile {profile.name!r} does not run the neuron family {neuron.kind!r}, only "
                f"{', '.join(profile.neurons)}: choose another profile or neuron"
            )
        yield from _too_wide(f"population {name!r}", "state bits", neuron.state_bits, rules.state_bits.high, profile)
    for name, synapse in network.synapses.items():
        yield from _too_wide(f"synapse {name!r}", "weight bits", synapse.bits, rules.weight_bits.high, profile)
        mode = synapse.sign_mode
        if mode is not None and mode not in rules.sign_modes.required_value:
            yield f"synapse {name!r}: profile {profile.name!r} has no sign mode {mode!r}: quantize for this profile"
        yield from _graded(network, name, profile)


def _too_wide(what: str, unit: str, bits: int, limit: int | None, profile: HardwareProfile) -> Iterator[str]:
    if limit is not None and bits > limit:
        option = "--" + unit.replace(" ", "-")
        yield (
            f"{what}: {unit} ({bits}) exceed max ({limit}) of profile {profile.name!r}: quantize with {option} {limit}"
        )


def _graded(network: QuantizedNetwork, synapse: str, profile: HardwareProfile) -> Iterator[str]:
    limit = profile.arithmetic.graded_payload_bits.required_value
    for edge in network.incoming[synapse]:
        bits = payload_bits(network, edge.source)
        if bits > limit:
            carries = f"carries at most {limit}" if limit else "carries binary spikes only"
            yield (
                f"synapse {synapse!r}: its source {edge.source!r} sends graded values of {bits} bits, profile "
                f"{profile.name!r} {carries}: encode them as spikes or choose another profile"
            )


def family_notes(network: QuantizedNetwork, profile: HardwareProfile) -> Iterator[str]:
    """Yield the profile's notes on the families that the network uses."""
    for name, neuron in network.populations.items():
        figure: Any = profile.neurons.get(neuron.kind)
        if figure is not None and figure.note:
            yield f"population {name!r} ({neuron.kind}) on {profile.name}: {figure.note}"
