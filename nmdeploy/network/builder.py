"""The builder of networks: an input, populations and connections by name, checked as they are added.

>>> import numpy as np
>>> from nmdeploy.neurons.integrator import Integrator
>>> from nmdeploy.neurons.lif import LIF
>>> builder = NetworkBuilder(dt=1e-3)
>>> x = builder.input(4)
>>> hidden = builder.population(LIF(alpha=np.zeros(8), beta=0.9, v_threshold=1.0), name="hidden")
>>> synapse = builder.connect(x, hidden, weight=np.ones((8, 4)), bias=np.full(8, 0.1))
>>> readout = builder.population(Integrator(beta=np.ones(2)), name="readout")
>>> synapse = builder.connect(hidden, readout, weight=np.ones((2, 8)))
>>> network = builder.build()
>>> list(network.nodes)
['input', 'hidden.synapse', 'hidden', 'readout.synapse', 'readout']
"""

from __future__ import annotations

import math
import operator
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.biases import place_biases
from nmdeploy.network.graph import BINARY, Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, Neuron, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse, Synapse
from nmdeploy.synapses.sparse import is_compressed, weights_of

AnyNeuron: TypeAlias = Neuron | QuantizedNeuron
AnySynapse: TypeAlias = Synapse | QuantizedSynapse


@dataclass(frozen=True)
class _Connection:
    """Synapses into one population, without their bias, and the edges into them."""

    target: str
    synapse: AnySynapse
    bias: FloatArray | None
    edges: tuple[Edge, ...]


class NetworkBuilder:
    """A network under construction.

    Every method that adds a node returns its name, which the others take. The order of nodes and edges in the network
    follows the populations: each after the synapses into it.

    Parameters
    ----------
    dt : float
        Seconds per step.
    """

    def __init__(self, dt: float) -> None:
        if not (math.isfinite(dt) and dt > 0):
            raise BadOption(f"dt = {dt}: give a positive number of seconds per step")
        self.dt = float(dt)
        self._inputs: dict[str, Input] = {}
        self._populations: dict[str, AnyNeuron] = {}
        self._connections: dict[str, _Connection] = {}

    def input(self, shape: int | Sequence[int], format: FixedPoint = BINARY, name: str = "input") -> str:
        """Add the input, of which a network has one.

        Parameters
        ----------
        shape : number of channels, or shape of the values of a step
        format : FixedPoint
            Number format of its integers; binary spikes if left out.
        """
        for other in self._inputs:
            raise BadOption(f"input {name!r}: the network has the input {other!r}: give one input all channels")
        sizes = tuple(int(size) for size in np.atleast_1d(shape))
        if not sizes or min(sizes) < 1:
            raise BadOption(f"input {name!r}: shape {shape}: give 1 channel or more")
        self._inputs[self._new(name)] = Input(sizes, format)
        return name

    def population(self, neuron: AnyNeuron, name: str | None = None) -> str:
        """Add a population of neurons; its name is its kind and a number if left out."""
        if not isinstance(neuron, (Neuron, QuantizedNeuron)):
            raise BadOption(f"population {name!r}: {type(neuron).__name__} is no neuron family: give e.g. an LIF")
        chosen = self._free(f"{neuron.kind}{len(self._populations)}") if name is None else self._new(name)
        self._populations[chosen] = neuron
        return chosen

    def connect(
        self,
        sources: str | Sequence[str],
        target: str,
        weight: npt.ArrayLike | AnySynapse,
        bias: npt.ArrayLike | None = None,
        delay: int | Sequence[int] = 0,
        name: str | None = None,
    ) -> str:
        """Connect the input or populations to a population, by synapses of their own.

        Parameters
        ----------
        sources : name, or sequence of names
            The synapses receive the sum of what several sources send.
        target : name of a population
        weight : array of shape (sums of the target, values of a source), a sparse matrix of scipy, or a synapse
            An array with many zeros becomes sparse synapses.
        bias : array of shape (sums of the target,), optional
            Constant that the target's sums get in every step.
        delay : int, or one per source
            Steps until a value arrives; a loop needs 1 or more.
        name : str, optional
            Name of the synapses. By default ``TARGET.synapse``; for further ones ``TARGET.SOURCE_synapse``, and for a
            loop ``TARGET.recurrent``.
        """
        names = (sources,) if isinstance(sources, str) else tuple(sources)
        where = f"connect {', '.join(map(repr, names))} -> {target!r}"
        self._require_known(where, names, target)
        synapse, held = _split(where, weight, bias)
        self._require_sizes(where, names, target, synapse, held)
        chosen = self._synapse_name(names[0], target) if name is None else self._new(name)
        delays = _delays(where, delay, len(names))
        edges = tuple(Edge(source, chosen, steps) for source, steps in zip(names, delays, strict=True))
        self._connections[chosen] = _Connection(target, synapse, held, edges)
        return chosen

    def node(self, name: str) -> Input | AnyNeuron:
        """Return the input or the population of a name."""
        return self._senders[name]

    def build(self, output: str | None = None, readout: str = "sum") -> Network:
        """Return the float network, its biases in their place.

        Parameters
        ----------
        output : name of the population that is read out
            If left out, the one that feeds no other.
        readout : {"sum", "last", "max", "mean"}
            How its outputs over the steps become one value per class.

        Raises
        ------
        BadOption, UnsupportedParameter
            One line that names the node: no input, a population that nothing is connected to, a loop without delay.
        """
        chosen = self._output(output)
        nodes, edges = self._parts(Neuron, "is of integers: call build_quantized")
        return Network(nodes, tuple(edges), self.dt, chosen, readout)

    def build_quantized(
        self,
        output: str | None = None,
        readout: str = "sum",
        profile: str = "loihi2",
        notes: Iterable[str] = (),
    ) -> QuantizedNetwork:
        """Return the network of integer populations and synapses; parameters as for `build` and `QuantizedNetwork`."""
        chosen = self._output(output)
        nodes, edges = self._parts(QuantizedNeuron, "is of floats: call build, and quantize the network")
        return QuantizedNetwork(nodes, tuple(edges), self.dt, chosen, readout, profile, tuple(notes))

    @property
    def _senders(self) -> Mapping[str, Input | AnyNeuron]:
        return ChainMap[str, Any](self._populations, self._inputs)  # whose names are those of the last map first

    def _new(self, name: str) -> str:
        if not isinstance(name, str) or not name:
            raise BadOption(f"node {name!r}: give a name that is a text of 1 character or more")
        if name in self._senders or name in self._connections:
            raise BadOption(f"node {name!r}: this name is needed for two nodes: rename one")
        return name

    def _free(self, name: str) -> str:
        """Return the name, or if it is taken the first of ``name_2``, ``name_3`` ... that is not."""
        free, number = name, 2
        while free in self._senders or free in self._connections:
            free, number = f"{name}_{number}", number + 1
        return free

    def _synapse_name(self, source: str, target: str) -> str:
        if source == target:
            return self._free(f"{target}.recurrent")
        first = f"{target}.synapse"
        return self._free(f"{target}.{source}_synapse" if first in self._connections else first)

    def _require_known(self, where: str, sources: Sequence[str], target: str) -> None:
        if not sources:
            raise BadOption(f"{where}: give one source or more")
        for name in sources:
            if name not in self._senders:
                raise BadOption(f"{where}: there is no population {name!r}: add it first, or give one of {self._known}")
        if target not in self._populations:
            raise BadOption(f"{where}: there is no population {target!r} to connect to: add it first")

    @property
    def _known(self) -> str:
        return ", ".join(map(repr, self._senders)) or "none yet"

    def _require_sizes(
        self, where: str, sources: Sequence[str], target: str, synapse: AnySynapse, bias: FloatArray | None
    ) -> None:
        neuron, sent = self._populations[target], [self._senders[name].output_size for name in sources]
        if isinstance(synapse, Synapse) != isinstance(neuron, Neuron):
            raise BadOption(
                f"{where}: one of {target!r} and the synapses is of integers: give both as integers or floats"
            )
        if len(set(sent)) > 1:
            raise BadOption(f"{where}: the sources send {sent} values, which cannot be added: connect each by itself")
        wanted = neuron.input_size, sent[0]
        if synapse.shape != wanted:
            raise BadOption(
                f"{where}: weights of shape {synapse.shape}, but {target!r} takes {wanted[0]} sums and {sources[0]!r} "
                f"sends {wanted[1]} values: give {wanted}"
            )
        if bias is None:
            return
        if bias.shape != wanted[:1]:
            raise BadOption(
                f"{where}: bias of shape {bias.shape}, but {target!r} takes {wanted[0]} sums: give ({wanted[0]},)"
            )
        if not (neuron.adds_bias or synapse.takes_bias):
            raise BadOption(f"{where}: neither {synapse.kind} synapses nor {target!r} ({neuron.kind}) can hold a bias")

    def _output(self, output: str | None) -> str:
        if not self._populations:
            raise BadOption("the network has no population: call population(neuron)")
        if output is not None:
            if output not in self._populations:
                raise BadOption(f"output {output!r}: there is no population of this name: give one of {self._known}")
            return output
        fed = {(edge.source, c.target) for c in self._connections.values() for edge in c.edges}
        feeding = {source for source, target in fed if source != target}
        ends = [name for name in self._populations if name not in feeding]
        if len(ends) != 1:
            raise BadOption(f"output: {len(ends)} populations feed no other {ends[:4]}: name one, build(output=...)")
        return ends[0]

    def _parts(self, family: type, other_family: str) -> tuple[dict[str, Any], list[Edge]]:
        """Return all nodes and edges, each population after its synapses."""
        nodes: dict[str, Any] = dict(self._inputs)
        edges: list[Edge] = []
        incoming: dict[str, dict[str, _Connection]] = {name: {} for name in self._populations}
        for key, held in self._connections.items():
            incoming[held.target][key] = held
        for name, neuron in self._populations.items():
            if not isinstance(neuron, family):
                raise BadOption(f"population {name!r}: {type(neuron).__name__} {other_family}")
            into = incoming[name]
            if not into:
                raise BadOption(f"population {name!r}: nothing is connected to it: connect a source, or leave it out")
            placed, synapses = _placed(neuron, into)
            nodes |= {**synapses, name: placed}
            for key, held in into.items():
                edges += [*held.edges, Edge(key, name)]
        if not self._inputs:
            raise BadOption("the network has no input: call input(channels)")
        for name in self._inputs.keys() - {edge.source for edge in edges}:
            raise BadOption(f"input {name!r}: it is connected to nothing: connect it to a population")
        return nodes, edges


def _split(where: str, weight: Any, bias: npt.ArrayLike | None) -> tuple[AnySynapse, FloatArray | None]:
    """Return the synapses without a bias, and the bias."""
    if isinstance(weight, QuantizedSynapse):
        if bias is not None:
            raise BadOption(f"{where}: integer synapses hold their bias themselves: leave bias= out")
        return weight, None
    synapse = weight if isinstance(weight, Synapse) else _synapse(where, weight)
    if bias is None:
        return synapse.with_bias(None), synapse.bias
    if synapse.bias is not None:
        raise BadOption(f"{where}: the synapses have a bias already: leave bias= out")
    return synapse, _numbers(where, "bias", bias, 1)


def _synapse(where: str, weight: Any) -> Synapse:
    """Return the synapses of an array or of a sparse matrix, in the smaller form."""
    if is_compressed(weight):
        return weights_of(weight)
    return weights_of(_numbers(where, "weight", weight, 2))


def _numbers(where: str, name: str, values: Any, axes: int) -> FloatArray:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise BadOption(f"{where}: {name} is no array of numbers: give one of {axes} dimensions") from None
    if array.ndim != axes:
        raise BadOption(f"{where}: {name} of shape {array.shape}: give an array of {axes} dimensions")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise BadOption(f"{where}: {name} holds {count} NaN or infinite values, limit 0: replace them")
    return array


def _delays(where: str, delay: int | Sequence[int], sources: int) -> list[int]:
    try:
        given = [delay] * sources if not isinstance(delay, Sequence) else list(delay)
        steps = [operator.index(value) for value in given]
    except TypeError:
        raise BadOption(f"{where}: delay {delay!r}: give whole steps") from None
    if len(steps) != sources or min(steps) < 0:
        raise BadOption(f"{where}: delay {delay!r}: give 0 steps or more, one number or {sources}")
    return steps


def _placed(neuron: AnyNeuron, into: dict[str, _Connection]) -> tuple[AnyNeuron, dict[str, Any]]:
    """Return a population and the synapses into it, their biases in their place."""
    synapses: dict[str, Any] = {name: held.synapse for name, held in into.items()}
    biases = {name: held.bias for name, held in into.items() if held.bias is not None}
    return place_biases(neuron, synapses, biases) if isinstance(neuron, Neuron) else (neuron, synapses)
