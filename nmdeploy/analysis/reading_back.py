"""Integer network as a float one, to be compared with the float network that it came from, tensor by tensor.

The drive of a population may be scaled to make up for a rounded decay. The integers hold that choice only in their
weights and biases: whether these are nearer to the scaled ones decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy.analysis.weights import Weights, dequantized_weights, synapse_with, weights_of
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron
from nmdeploy.neurons.rounded import Measure, RoundedTensor
from nmdeploy.synapses.base import Synapse


@dataclass(frozen=True, eq=False)
class Read:
    """The integer network as a float one.

    Parameters
    ----------
    source : Network
        The float network with the drives of the integers, and the decays that these make up for.
    network : Network
        The source with all tensors of the integers in place of its own.
    tensors : mapping of population to tensor to RoundedTensor
    weights : mapping of synapse to Weights
    """

    source: Network
    network: Network
    tensors: Mapping[str, Mapping[str, RoundedTensor]]
    weights: Mapping[str, Weights]

    def restored(self, name: str, tensor: str) -> dict[str, Any]:
        """Return the node of the integers' network in which one tensor is the source's."""
        node, source = self.network.nodes[name], self.source.nodes[name]
        if isinstance(node, Neuron):
            return {name: node.with_tensor(tensor, self.tensors[name][tensor].exact)}
        assert isinstance(source, Synapse)
        return {name: _mixed(source, self.weights[name], weights_of(source), tensor)}

    def rounded(self, name: str, tensor: str) -> dict[str, Any]:
        """Return the node of the source in which one tensor is the integers'."""
        source = self.source.nodes[name]
        if isinstance(source, Neuron):
            return {name: source.with_tensor(tensor, self.tensors[name][tensor].values)}
        assert isinstance(source, Synapse)
        return {name: _mixed(source, weights_of(source), self.weights[name], tensor)}

    def tensors_of(self, population: str) -> Iterator[tuple[str, str, Measure]]:
        """Yield (node, tensor, measure) of every tensor of a population that rounding changes."""
        for tensor, held in self.tensors[population].items():
            if held.changed:
                yield population, tensor, held.measure
        for edge in self.source.incoming[population]:
            yield edge.source, "weight", "coefficient"
            yield edge.source, "bias", "bias"


def _mixed(source: Synapse, most: Weights, one: Weights, tensor: str) -> Synapse:
    """Return the synapses of `most` with one tensor of `one`."""
    return synapse_with(source, replace(most, bias=one.bias) if tensor == "bias" else replace(most, rows=one.rows))


def read(network: QuantizedNetwork, floats: Network) -> Read:
    """Read the integers as real numbers, in the units of the float network."""
    weights = {name: dequantized_weights(network, name) for name in floats.synapses}
    source = _as_driven(floats, weights)
    nodes: dict[str, Any] = dict(source.nodes)
    tensors = {}
    for name, neuron in source.populations.items():
        rounded = neuron.rounded(network.populations[name])
        tensors[name] = {} if rounded is None else dict(rounded.tensors)
        for tensor, held in tensors[name].items():
            nodes[name] = nodes[name].with_tensor(tensor, held.values)
    nodes |= {name: synapse_with(synapse, weights[name]) for name, synapse in source.synapses.items()}
    return Read(source, replace(source, nodes=nodes), tensors, weights)


def _as_driven(floats: Network, weights: Mapping[str, Weights]) -> Network:
    """Return the float network with rounded decays and scaled drives in the populations whose integers have these."""
    nodes: dict[str, Any] = {}
    for name, neuron in floats.populations.items():
        rounded, factor = neuron.rounded_decays()
        incoming = {edge.source: floats.synapses[edge.source] for edge in floats.incoming[name]}
        if (factor != 1).any() and _is_driven(incoming, weights, factor):
            nodes[name] = rounded.driven(factor)
            nodes |= {key: synapse.driven(factor) for key, synapse in incoming.items()}
    return replace(floats, nodes={**floats.nodes, **nodes}) if nodes else floats


def _is_driven(incoming: Mapping[str, Synapse], weights: Mapping[str, Weights], factor: Any) -> bool:
    """Return True if the rows of more integers have the norm of the scaled weights than that of the exact ones."""
    votes = 0
    for key, synapse in incoming.items():
        exact, held = weights_of(synapse).norms, weights[key].norms
        rows = (exact > 0) & (held > 0)
        ratio, wanted = np.log(held[rows] / exact[rows]), np.log(factor[rows])
        votes += int(np.sign(np.abs(ratio) - np.abs(ratio - wanted)).sum())
    return votes > 0
