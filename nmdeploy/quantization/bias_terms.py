"""Further bias synapses: what the codes of a bias leave of it, down to half a unit of the synaptic sum.

The bias of a sum may enter a synaptic filter: then a synapse from a unit that sends 1 in every step holds it. Its code
has the bits of a weight. What is left becomes the bias of one or two further synapses, with smaller exponents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from nmdeploy.network.graph import Edge
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, IntArray, power_below
from nmdeploy.neurons.scales import Scales
from nmdeploy.synapses.base import QuantizedSynapse, Synapse
from nmdeploy.synapses.sparse import QuantizedSparse
from nmdeploy.synapses.weights import QuantizedWeights, code_range


def bias_terms(synapse: Synapse, quantized: QuantizedSynapse, scales: Scales, most: int) -> Iterator[QuantizedSparse]:
    """Yield synapses without weights that hold what the codes of a bias leave of it.

    Parameters
    ----------
    synapse : Synapse
        The float synapse, with its population's drive.
    quantized : QuantizedSynapse
        Its integers.
    scales : Scales
        Those of the population.
    most : int
        Most bias synapses per neuron, that of `quantized` included.
    """
    if synapse.bias is None or quantized.bias is None or not isinstance(quantized, QuantizedWeights):
        return
    left = np.ldexp(synapse.bias * scales.scale, scales.frac_in) - (quantized.bias << max(quantized.bias_exp, 0))
    for exponent, codes in _terms(left, quantized.bits, most - 1):
        outputs, inputs = quantized.shape
        none = np.zeros(0, np.int64)
        yield QuantizedSparse(
            np.zeros(inputs + 1, np.int64),
            none,
            none,
            outputs,
            bits=quantized.bits,
            bias=codes,
            bias_frac=scales.frac_in - exponent,
            bias_exp=exponent,
        )


def _terms(left: FloatArray, bits: int, most: int) -> list[tuple[int, IntArray]]:
    """Return the exponents and codes of at most `most` terms whose sum is nearest to `left`, in the worst case."""
    low, high = code_range("mixed", bits)
    best: list[tuple[int, IntArray]] = []
    worst = float(np.abs(left).max(initial=0.0))
    for lower in product((0, 1), repeat=most):  # an exponent at which no code is clipped, or one less
        rest, terms = left, []
        for less in lower:
            largest = float(np.abs(rest).max(initial=0.0))
            if largest <= 0.5:
                break
            exponent = max(-power_below(high + 0.49, largest) - less, 0)
            codes = np.clip(np.rint(np.ldexp(rest, -exponent)), low, high).astype(np.int64)
            terms.append((exponent, codes))
            rest = rest - np.ldexp(codes.astype(np.float64), exponent)
        if (found := float(np.abs(rest).max(initial=0.0))) < worst:
            best, worst = terms, found
    return best


def beside(
    network: Network, further: Mapping[str, list[QuantizedSparse]]
) -> tuple[dict[str, QuantizedSparse], list[Edge]]:
    """Return nodes and edges of further synapses, by the name of the synapse beside which they lie."""
    nodes: dict[str, QuantizedSparse] = {}
    edges: list[Edge] = []
    for beside_name, synapses in further.items():
        for index, synapse in enumerate(synapses, 2):
            name = f"{beside_name}.bias{index}"
            while name in network.nodes:
                name += "_"
            nodes[name] = synapse
            edges += [Edge(e.source, name, e.delay) for e in network.incoming[beside_name]]
            edges += [Edge(name, e.target, e.delay) for e in network.outgoing[beside_name]]
    return nodes, edges


def rest_synapses(network: QuantizedNetwork, name: str) -> list[str]:
    """Return the synapses that hold the rest of the bias of the synapse `name`."""
    sources = (edge.source for edge in network.incoming[network.target[name]])
    return [source for source in sources if _beside(network, source) == name]


def rest_of_bias(network: QuantizedNetwork, name: str) -> FloatArray:
    """(outputs,) what the synapses beside `name` add to its rounded bias, in units of the sum."""
    rest = np.zeros(network.synapses[name].shape[0])
    for further in rest_synapses(network, name):
        held = network.synapses[further].rounded_bias
        rest = rest if held is None else rest + held
    return rest


def further_biases(network: QuantizedNetwork) -> dict[str, str]:
    """Return the synapses that `beside` added to a network, each with the synapse beside which it lies."""
    found = {name: _beside(network, name) for name in network.synapses}
    return {name: beside_name for name, beside_name in found.items() if beside_name is not None}


def _beside(network: QuantizedNetwork, name: str) -> str | None:
    """Return the synapse beside which `beside` added a synapse; None if it did not add it."""
    match = re.fullmatch(r"(.+)\.bias[23]_*", name)
    beside_name, synapse = match[1] if match else "", network.synapses[name]
    same_target = beside_name in network.synapses and network.target[name] == network.target[beside_name]
    return beside_name if same_target and isinstance(synapse, QuantizedSparse) and not synapse.rows.nonzero else None
