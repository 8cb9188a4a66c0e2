"""Weights of float and integer synapses as real numbers, in the units of the float network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network.graph import Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, QuantizedNeuron
from nmdeploy.quantization.bias_terms import further_biases
from nmdeploy.synapses.base import Synapse
from nmdeploy.synapses.dense import Dense
from nmdeploy.synapses.rows import DenseRows, SparseRows
from nmdeploy.synapses.sparse import Sparse
from nmdeploy.synapses.weights import QuantizedWeights

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Weights:
    """Real weights of synapses: entries by output, and the bias.

    `unit` (outputs,) is the difference that one code makes, 0 for weights that are no codes.
    """

    rows: SparseRows
    bias: FloatArray
    unit: FloatArray
    bias_unit: FloatArray

    @property
    def outputs(self) -> int:
        """Number of rows."""
        return self.rows.outputs

    def by_row(self, entries: Array) -> FloatArray:
        """(outputs,) sums of values that lie as the entries do."""
        return np.asarray(np.bincount(self.rows.targets, entries, self.outputs), np.float64)

    @property
    def norms(self) -> FloatArray:
        """(outputs,) Euclidean norm of each row."""
        return np.asarray(np.sqrt(self.by_row(self.rows.codes**2)))


def weights_of(synapse: Synapse) -> Weights:
    """Return the weights of float synapses."""
    held = FLOAT_ROWS.get(synapse.kind)
    rows = held(synapse) if held else _rows_by_response(synapse.apply, synapse.shape[1])
    outputs = synapse.shape[0]
    bias = np.zeros(outputs) if synapse.bias is None else synapse.bias
    return Weights(rows, bias, np.zeros(outputs), np.zeros(outputs))


def dequantized_weights(network: QuantizedNetwork, name: str) -> Weights:
    """Return the weights of integer synapses, in the units of the float network: what an event really adds.

    The bias is that of all synapses that hold it.
    """
    synapse, neuron = network.synapses[name], network.populations[network.target[name]]
    if not isinstance(synapse, QuantizedWeights):
        rows = _rows_by_response(synapse.dequantize, synapse.shape[1])
        rows = replace(rows, codes=rows.codes / neuron.scale[rows.targets])
        bias = synapse.dequantize(np.zeros((1, synapse.shape[1])))[0] / neuron.scale
        return Weights(rows, bias, np.zeros(rows.outputs), np.zeros(rows.outputs))
    rows = synapse.rows.sparse()
    unit = 2.0 ** (synapse.weight_exp + source_frac(network, name) - neuron.frac_in) / neuron.scale
    bias, bias_unit = np.zeros(rows.outputs), 0 * unit
    for held in (name, *(further for further, beside in further_biases(network).items() if beside == name)):
        term: Any = network.synapses[held]
        if term.bias is not None:  # the last term is the finest
            bias_unit = 2.0 ** (term.bias_exp - neuron.frac_in) / neuron.scale
            bias = bias + term.bias * bias_unit
    return Weights(replace(rows, codes=rows.codes * unit[rows.targets]), bias, unit, bias_unit)


def synapses_of(network: Network | QuantizedNetwork, population: str) -> list[str]:
    """Return the synapses into a population, without those that only hold more of a bias: `Weights` has it whole."""
    further = further_biases(network) if isinstance(network, QuantizedNetwork) else {}
    return [edge.source for edge in network.incoming[population] if edge.source not in further]


def source_frac(network: QuantizedNetwork, synapse: str) -> int:
    """Return the fraction bits of the codes that arrive at integer synapses."""
    source = network.nodes[network.incoming[synapse][0].source]
    assert isinstance(source, (Input, QuantizedNeuron))
    return source.output_frac


def _dense_rows(synapse: Any) -> SparseRows:
    return DenseRows(synapse.weight.T).sparse()


def _sparse_rows(synapse: Any) -> SparseRows:
    return SparseRows(synapse.offsets, synapse.targets, synapse.weight, synapse.outputs).sparse()


FLOAT_ROWS: dict[str, Callable[[Any], SparseRows]] = {"dense": _dense_rows, "sparse": _sparse_rows}


def _rows_by_response(respond: Callable[[Array], Array], inputs: int) -> SparseRows:
    """Return the rows of synapses of any other family by their response to one event of each input."""
    return DenseRows(np.asarray(respond(np.eye(inputs)) - respond(np.zeros((1, inputs))))).sparse()


def synapse_with(source: Synapse, weights: Weights) -> Synapse:
    """Return float synapses of the weights: dense ones in place of dense ones, else sparse ones."""
    bias = weights.bias if weights.bias.any() else None
    if source.kind == "dense":
        return Dense(weights.rows.matrix(np.asarray), bias)
    rows = weights.rows
    return Sparse(rows.offsets, rows.targets, rows.codes, rows.outputs, bias)
