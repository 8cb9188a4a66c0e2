"""Metrics of each layer, with NeuroBench's names and definitions: docs/metrics.md.

A layer is a population with its incoming synapses. Counts are means per sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nmdeploy.analysis.energy import EnergyBreakdown, LayerEnergy, count, total_energy
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Counted
from nmdeploy.synapses.base import QuantizedSynapse


@dataclass(frozen=True)
class LayerMetrics:
    """Metrics of one layer, or of the total, as the report's JSON holds them.

    Parameters
    ----------
    name : str
        Name of the population, or "total".
    neurons : int
        Number of neurons.
    states : int
        State blocks: (u, v) of a LIF, (re, im) of each complex state.
    synapses : int
        Synapses whose weight is not zero, biases included.
    footprint_bits : int
        Parameters and states at their deployed widths.
    connection_sparsity : float or None
        Fraction of weights that are zero; None without weights.
    activation_sparsity : float or None
        Fraction of outputs and steps without a spike; None without spikes.
    spikes, synaptic_operations, synaptic_operations_computed, dense_synaptic_operations, neuron_updates : float
        Means per sample.
    energy_joules : EnergyBreakdown or None
        Joules per sample.
    energy_source : str
        Sources of the energy figures.
    """

    name: str
    neurons: int
    states: int
    synapses: int
    footprint_bits: int
    connection_sparsity: float | None
    activation_sparsity: float | None
    spikes: float
    synaptic_operations: float
    synaptic_operations_computed: float
    dense_synaptic_operations: float
    neuron_updates: float
    energy_joules: EnergyBreakdown | None = None
    energy_source: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON values, in this order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"energy_joules": None if self.energy_joules is None else self.energy_joules.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LayerMetrics:
        """Return the metrics that `to_json` described; other entries are ignored."""
        given = {f.name: values[f.name] for f in fields(cls)}
        energy = given["energy_joules"]
        parts = None if energy is None else EnergyBreakdown(**{f.name: energy[f.name] for f in fields(EnergyBreakdown)})
        return cls(**given | {"energy_joules": parts})


def layer_metrics(
    network: QuantizedNetwork, recording: Counted, energies: Mapping[str, LayerEnergy] | None = None
) -> tuple[LayerMetrics, ...]:
    """Return the metrics of each layer, sources first.

    Parameters
    ----------
    network : QuantizedNetwork
        Network of the run.
    recording : Recording or Totals
        Run of the network that counted events.
    energies : mapping of str to LayerEnergy, optional
        As `nmdeploy.analysis.energy.network_energy` returns them.

    Raises
    ------
    BadData
        The recording holds no event counts.
    """
    return tuple(_layer(network, recording, name, (energies or {}).get(name)) for name in network.populations)


def _layer(network: QuantizedNetwork, recording: Counted, name: str, energy: LayerEnergy | None) -> LayerMetrics:
    neuron, incoming = network.populations[name], incoming_synapses(network, name)
    return LayerMetrics(
        name=name,
        neurons=neuron.size,
        states=neuron.size * neuron.states_per_neuron,
        synapses=sum(synapse.synapse_count for synapse in incoming),
        footprint_bits=neuron.footprint_bits + sum(synapse.footprint_bits for synapse in incoming),
        connection_sparsity=connection_sparsity(incoming),
        activation_sparsity=activation_sparsity(network, recording, [name]),
        spikes=count(recording, name, "spikes"),
        synaptic_operations=count(recording, name, "synaptic_operations"),
        synaptic_operations_computed=count(recording, name, "synaptic_operations_computed"),
        dense_synaptic_operations=count(recording, name, "dense_synaptic_operations"),
        neuron_updates=count(recording, name, "neuron_updates"),
        energy_joules=None if energy is None else energy.joules,
        energy_source="" if energy is None else energy.citation,
    )


def total_metrics(
    network: QuantizedNetwork,
    recording: Counted,
    layers: Sequence[LayerMetrics],
    energies: Mapping[str, LayerEnergy] | None = None,
) -> LayerMetrics:
    """Return the metrics of the whole network.

    Counts and memory are summed; sparsities are taken over all weights and over all spiking neurons.
    """
    energy = total_energy(energies) if energies else None
    sums = {f.name: sum(getattr(layer, f.name) for layer in layers) for f in fields(LayerMetrics) if f.name in _SUMMED}
    return LayerMetrics(
        name="total",
        connection_sparsity=connection_sparsity(list(network.synapses.values())),
        activation_sparsity=activation_sparsity(network, recording, list(network.populations)),
        energy_joules=None if energy is None else energy.joules,
        energy_source="" if energy is None else energy.citation,
        **sums,
    )


_SUMMED = (
    *("neurons", "states", "synapses", "footprint_bits", "spikes", "synaptic_operations"),
    *("synaptic_operations_computed", "dense_synaptic_operations", "neuron_updates"),
)


def incoming_synapses(network: QuantizedNetwork, population: str) -> list[QuantizedSynapse]:
    """Return the synapses that feed a population."""
    return [network.synapses[edge.source] for edge in network.incoming[population]]


def connection_sparsity(synapses: Sequence[QuantizedSynapse]) -> float | None:
    """Return the fraction of stored weights that are zero, without biases; None without weights."""
    rows = [synapse.rows for synapse in synapses]
    weights = sum(each.shape[0] * each.shape[1] for each in rows)
    return (weights - sum(each.nonzero for each in rows)) / weights if weights else None


def activation_sparsity(network: QuantizedNetwork, recording: Counted, layers: Sequence[str]) -> float | None:
    """Return ``1 - spikes / (outputs * valid steps)`` over the spiking layers; None without such layers or steps."""
    spiking = [name for name in layers if network.populations[name].spiking]
    places = sum(network.populations[name].output_size for name in spiking) * recording.valid_steps
    spikes = sum(count(recording, name, "spikes") for name in spiking) * recording.samples
    return 1.0 - spikes / places if places else None


def spike_rate(network: QuantizedNetwork, recording: Counted, layer: str) -> float | None:
    """Return the spikes per output and step, 0 to 1: ``1 - activation_sparsity``; divide by dt for hertz."""
    sparsity = activation_sparsity(network, recording, [layer])
    return None if sparsity is None else 1.0 - sparsity


def operation_kind(network: QuantizedNetwork, layer: str) -> str:
    """Return ``AC`` if only 0 or 1 arrives, ``MAC`` if a synapse of the layer receives graded values or sums."""
    graded = any(network.s_max(edge.source) > 1 for edge in network.incoming[layer])
    return "MAC" if graded else "AC"


def operations(network: QuantizedNetwork, recording: Counted) -> dict[str, float]:
    """Return NeuroBench's ``synaptic_operations`` of the whole network, per sample."""
    found = {"Effective_MACs": 0.0, "Effective_ACs": 0.0, "Dense": 0.0}
    for name in network.populations:
        found[f"Effective_{operation_kind(network, name)}s"] += count(recording, name, "synaptic_operations")
        found["Dense"] += count(recording, name, "dense_synaptic_operations")
    return found


def overflows(network: QuantizedNetwork, recording: Counted) -> dict[str, dict[str, int]]:
    """Return wraps and saturations of each layer's registers, summed over the samples.

    Layers without counts are left out.
    """
    return {
        name: {flag: recording.total(name, flag) for flag in neuron.flags}
        for name, neuron in network.populations.items()
        if set(neuron.flags) <= set(recording.metrics(name))
    }


def saturated_share(network: QuantizedNetwork, recording: Counted, layer: str) -> float:
    """Return the largest share of saturating updates over a layer's registers: counts / (registers * steps)."""
    neuron = network.populations[layer]
    updates = recording.total(layer, "neuron_updates") / max(neuron.size, 1)
    blocks = {f"{name}{when}" for name in neuron.state_registers for when in ("_saturations", "_reset_saturations")}
    places = {
        flag: neuron.size * neuron.states_per_neuron if flag in blocks else neuron.output_size for flag in neuron.flags
    }
    shares = [recording.total(layer, flag) / (updates * places[flag]) for flag in neuron.flags if updates]
    return max(shares, default=0.0)
