"""The float network that was trained, and the integer network that a chip would hold.

Both are graphs of an input, synapses and neuron populations. An edge into a synapse may have a delay. A recurrence has
delay 1 in training and on the chip. Several edges into one synapse add their values (a residual connection). Several
synapses into one population add their sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.shown import Summary, counted
from nmdeploy.errors import OverflowPossible
from nmdeploy.network.graph import BINARY, MEMBRANE, READOUTS, Edge, Graph, Input
from nmdeploy.network.reading import Reading
from nmdeploy.network.summary import graph_summary
from nmdeploy.neurons.base import IntArray, Neuron, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse, Synapse

__all__ = ["BINARY", "READOUTS", "Edge", "Graph", "Input", "Network", "QuantizedNetwork", "readout_values"]


@dataclass(frozen=True, eq=False, repr=False)
class Network(Graph):
    """Float network.

    Parameters
    ----------
    nodes : mapping of str to Input, Synapse or Neuron
        Nodes by name.
    edges : sequence of Edge
        Edges between them, with delays in steps.
    dt : float
        Seconds per step.
    output : str
        Name of the population that is read out.
    readout : {"sum", "last", "max", "mean", "membrane-last", "membrane-max", "membrane-sum"}
        Rule that reduces the outputs of all steps, or the membranes before their reset, to one value per class.
    read_as : Reading, optional
        How the network was read from its source; it does not count when networks are compared.
    """

    nodes: Mapping[str, Input | Synapse | Neuron]
    edges: tuple[Edge, ...]
    dt: float
    output: str
    readout: str = "sum"
    read_as: Reading | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self._check(Neuron, Synapse)

    @cached_property
    def populations(self) -> Mapping[str, Neuron]:
        """Neuron populations, sources first, read-only."""
        return MappingProxyType(dict(self.of_type(Neuron)))

    @cached_property
    def synapses(self) -> Mapping[str, Synapse]:
        """Synapses, sources first, read-only."""
        return MappingProxyType(dict(self.of_type(Synapse)))


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedNetwork(Graph):
    """Integer network, with the profile for which it was quantized and a note for each change on the way.

    `read_as` says how the float network was read from its source; it does not count when networks are compared.

    Its construction raises `OverflowPossible` unless every register is proved to stay within its width.
    """

    nodes: Mapping[str, Input | QuantizedSynapse | QuantizedNeuron]
    edges: tuple[Edge, ...]
    dt: float
    output: str
    readout: str = "sum"
    profile: str = "loihi2"
    notes: tuple[str, ...] = ()
    read_as: Reading | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self._check(QuantizedNeuron, QuantizedSynapse)
        object.__setattr__(self, "notes", tuple(self.notes))
        self.require_aligned()
        for name, neuron in self.populations.items():
            neuron.check_declared(name)
            neuron.check_overflow(name, self.a_max(name))

    @cached_property
    def populations(self) -> Mapping[str, QuantizedNeuron]:
        """Neuron populations, sources first, read-only."""
        return MappingProxyType(dict(self.of_type(QuantizedNeuron)))

    @cached_property
    def synapses(self) -> Mapping[str, QuantizedSynapse]:
        """Synapses, sources first, read-only."""
        return MappingProxyType(dict(self.of_type(QuantizedSynapse)))

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show, widths and profile included."""
        weights, states = {n.bits for n in self.synapses.values()}, {n.state_bits for n in self.populations.values()}
        widths = f"weights of {_widths(weights)} bits, states of {_widths(states)} bits"
        notes = [counted(len(self.notes), "note")] if self.notes else []
        return graph_summary("QuantizedNetwork", self, (f"for {self.profile}: {widths}", *notes))

    def output_values(
        self, outputs: npt.NDArray[Any], states: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[npt.NDArray[Any], bool]:
        """Return what is read out of a run, (samples, steps, channels), and True if it is spikes.

        Parameters
        ----------
        outputs : (samples, steps, channels)
            Outputs of the population that is read out.
        states : mapping of str to (samples, steps, ...)
            Its recorded states, which a readout of membranes needs: it takes them from before the reset, and returns
            them in units of the float network, because the codes of neurons may have different ones.
        """
        neuron = self.nodes[self.output]
        assert isinstance(neuron, QuantizedNeuron)
        if not self.reads_membrane:
            return outputs, neuron.spiking
        assert neuron.membrane_register is not None
        codes = neuron.membrane_codes(states, outputs)
        return neuron.dequantize_state(neuron.membrane_register, codes).reshape(outputs.shape), False

    @property
    def readout_notes(self) -> tuple[str, ...]:
        """A line for a readout that takes more than what the population sends; none for any other."""
        if not self.reads_membrane or not self.populations[self.output].spiking:
            return ()
        return (f"readout {self.readout}: the host reads the states of {self.output!r} in every step, too",)

    @property
    def recorded_bits(self) -> dict[str, Mapping[str, int]]:
        """Bits that a code of each recorded state needs at most, by population and state; 64 where none are given."""
        return {name: neuron.recorded_bits for name, neuron in self.populations.items()}

    def traces_states(self, population: str, trace: str) -> bool:
        """Return True if a run with that trace has to keep the states of a population."""
        return trace == "states" or (self.reads_membrane and population == self.output)

    def s_max(self, synapse: str) -> int:
        """Return the largest magnitude that can arrive at a synapse: the sum over its sources."""
        return sum(self._largest_output(e.source) for e in self.incoming[synapse])

    def _largest_output(self, name: str) -> int:
        node = self.nodes[name]
        assert isinstance(node, (Input, QuantizedNeuron))
        return node.output_max

    def a_max(self, population: str) -> IntArray:
        """Return the largest possible magnitude of each synaptic sum, (input_size,), proved from the weights."""
        node = self.nodes[population]
        assert isinstance(node, QuantizedNeuron)
        total = np.zeros(node.input_size, object)  # integers without limit
        for edge in self.incoming[population]:
            synapse = self.nodes[edge.source]
            assert isinstance(synapse, QuantizedSynapse)
            total = total + synapse.a_max(self.s_max(edge.source)).astype(object)
        if total.max(initial=0) >= 1 << 31:
            raise OverflowPossible(
                f"node {population!r}: the synaptic sum can reach {int(total.max())}, limit 2**31: "
                "lower the weight exponent"
            )
        return total.astype(np.int64)


def _widths(bits: set[int]) -> str:
    return " and ".join(map(str, sorted(bits)))


def readout_values(
    outputs: npt.NDArray[Any], rule: str, lengths: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[Any]:
    """Reduce outputs (samples, steps, channels) by the rule to one value per class, over each sample's valid steps.

    For a rule of membranes, they are the outputs: `QuantizedNetwork.output_values`.

    >>> readout_values(np.array([[[1, 0], [0, 2]]]), "sum").tolist()
    [[1, 2]]
    """
    rule = rule.removeprefix(MEMBRANE)
    samples, steps = outputs.shape[:2]
    lengths = np.full(samples, steps) if lengths is None else lengths
    valid = (np.arange(steps) < lengths[:, None])[..., None]
    if rule == "last":
        return np.asarray(outputs[np.arange(samples), lengths - 1])
    if rule == "max":
        lowest = np.iinfo(np.int64).min if outputs.dtype.kind in "iub" else -np.inf
        values = outputs.view(np.uint8) if outputs.dtype == bool else outputs
        found = np.asarray(values.max(1, where=valid, initial=0 if outputs.dtype == bool else lowest))
        return found.astype(np.int64) if outputs.dtype.kind in "iub" else found
    total = outputs.sum(1, where=valid, dtype=np.int64 if outputs.dtype.kind in "iub" else None)
    return np.asarray(total if rule == "sum" else total / lengths[:, None])
