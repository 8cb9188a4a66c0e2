"""The network of a traced module: its neurons as populations, and what lies between them as synapses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.modules.affine import Affine
from nmdeploy.importers.modules.neurons import Layer, readout
from nmdeploy.importers.modules.signals import (
    ALL,
    INPUT,
    NO_LAYER,
    Lost,
    Path,
    Reduced,
    Sent,
    Signal,
    Through,
    Total,
    paths,
    sent,
    with_steps,
)
from nmdeploy.importers.modules.tracing import BUILDER, Trace
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.graph import READOUTS
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.filtered_integrator import FilteredIntegrator, sending
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space.dense import DenseStateSpace

MEMBRANE = "membrane-"
SILENT = (Integrator, FilteredIntegrator)


@dataclass(frozen=True)
class Output:
    """The population that is read out, its rule, and True if the module itself reduces the steps.

    `returned` is the index of the tensor that it is of, among those that the module returned.
    """

    name: str
    rule: str
    said: bool
    returned: int


@dataclass(frozen=True)
class Built:
    """A network, its layers by population, and what the module itself returned of its output."""

    network: Network
    layers: dict[str, Layer]
    output: Output

    @property
    def said(self) -> bool:
        """True if the module itself reduces the steps."""
        return self.output.said


def build(
    trace: Trace, shape: tuple[int, ...], number: FixedPoint, dt: float, rule: str | None, exact: bool = False
) -> Built:
    """Return the network of a trace; `exact` chooses the form of delayed resets (`neurons.membrane`)."""
    layers = {name: _layer(trace, name, exact) for name in trace.calls}
    wiring = {name: _wiring(trace, name) for name in trace.calls}
    output, extra = _output(trace, layers, rule is not None)
    if extra is not None:
        size = _size_after(trace, layers, extra, shape)
        layers[output.name] = Layer(readout(size, 0.0), facts={"neuron": "the layer's sums, without a state"})
        wiring[output.name] = with_steps(extra, ALL, 0), list(paths(with_steps(extra, ALL, 0), 0))
        _require_spikes("the module's result", wiring[output.name][1], layers)
    rule = output.rule if rule is None else rule
    sources = {path.source for _, ways in wiring.values() for path in ways}
    silent = _without_spikes(layers[output.name]) if output.name not in sources else None
    if output.rule.startswith(MEMBRANE) and silent is not None:
        layers[output.name], rule = silent, rule.removeprefix(MEMBRANE)
    if rule not in READOUTS:
        raise UnsupportedParameter(
            f"layer {output.name!r}: the module returns its membrane; readout {rule!r} is not supported: return its "
            f"spikes, or give --readout {', '.join(READOUTS)}"
        )
    layers = _with_senders(layers, sources)
    builder = NetworkBuilder(dt)
    wires = _Wires(trace, layers, builder, builder.input(shape, number))
    for name, layer in layers.items():
        builder.population(layer.neuron, name=name)
    for name in layers:
        wires.connect(name, *wiring[name])
    return Built(builder.build(output.name, rule), layers, output)


def _with_senders(layers: dict[str, Layer], sources: set[str]) -> dict[str, Layer]:
    """Return the layers, of which those without spikes that feed others send their membranes."""
    hidden = {name for name in layers if name in sources and isinstance(layers[name].neuron, SILENT)}
    return {
        name: replace(layer, neuron=sending(layer.neuron)) if name in hidden else layer
        for name, layer in layers.items()
    }


def _layer(trace: Trace, name: str, exact: bool) -> Layer:
    spikes = trace.calls[name].outputs[0]
    each = spikes[0] if trace.framework.takes_sequence(trace.leaves[name]) else spikes
    found: Layer = trace.framework.read(name, trace.leaves[name], int(np.prod(each.shape[1:])), exact)
    return found


def _wiring(trace: Trace, name: str) -> tuple[Signal, list[Path]]:
    """Return a layer's input in its last step, and the ways into it, which must be those of every step."""
    calls = trace.calls[name].signals
    last = list(paths(calls[-1], len(calls) - 1))
    for step, signal in enumerate(calls):
        if Counter(paths(signal, step)) != Counter(path for path in last if path.delay <= step):
            raise UnsupportedParameter(
                f"layer {name!r}: its input in step {step} comes from other layers than in the last step: {BUILDER}"
            )
    _require_spikes(f"layer {name!r}", last)
    if not last:
        raise UnsupportedParameter(f"layer {name!r}: receives nothing from the input or a layer: {BUILDER}")
    return calls[-1], last


def _require_spikes(what: str, ways: list[Path], layers: Mapping[str, Layer] = MappingProxyType({})) -> None:
    """Refuse ways on which a membrane is sent, except that of a layer without spikes."""
    for path in ways:
        if path.membrane and not (path.source in layers and isinstance(layers[path.source].neuron, SILENT)):
            raise UnsupportedParameter(
                f"{what}: receives the membrane of {path.source!r}; only spikes are sent: send its spikes, or {BUILDER}"
            )


def _without_spikes(layer: Layer) -> Layer | None:
    """Return a layer without reset and recurrence as a readout; None if its spikes or further states matter."""
    n = layer.neuron
    if layer.facts.get("reset") != "none" or layer.recurrent is not None or not isinstance(n, DenseStateSpace):
        return None
    if n.a.shape[1] != 1 or n.rectify_states or n.bias.any() or n.input_bias.any():
        return None
    made = FilteredIntegrator(n.a[:, 0, 0], n.leak[:, 0]) if n.soma else readout(n.size, n.a[:, 0, 0])
    return Layer(made, layer.gain, layer.input, facts={**layer.facts, "threshold": "no spikes"})


def _output(trace: Trace, layers: dict[str, Layer], chosen: bool) -> tuple[Output, Signal | None]:
    """Return the output; also a signal, if it is not a layer's output itself but what follows from it.

    A result that cannot be followed is passed over only if the user has `chosen` a readout.
    """
    index, found = next(
        (
            (index, each.signal)
            for index, each in enumerate(trace.returned)
            if not isinstance(each.signal, Lost) and any(part.source for part in sent(each.signal))
        ),
        (None, None),
    )
    lost = [each.signal.by for each in trace.returned[:index] if isinstance(each.signal, Lost)]
    lost = [by for by in lost if by != NO_LAYER or found is None]
    if index is None or found is None or (lost and not chosen):
        by = next(iter(lost), "no tensor")
        raise UnsupportedParameter(
            f"the module's first result comes from {by}, which cannot be followed: return the spikes or the membrane "
            f"of its last layer{'' if found is None else ', give --readout to read its next result'}, or {BUILDER}"
        )
    rule, of, said = (found.rule, found.of, True) if isinstance(found, Reduced) else ("sum", found, False)
    steps = {part.step for part in sent(of) if part.source}
    if steps == {trace.steps - 1}:
        rule, said = "last", True
        of = with_steps(of, trace.steps - 1, ALL)
    elif steps != {ALL}:
        raise UnsupportedParameter(
            f"the module returns step{'s' if len(steps) > 1 else ''} {', '.join(map(str, sorted(steps)[:4]))} of its "
            "layers: only all steps, their sum, mean or largest, or the last one can be read: return one of these"
        )
    plain = of
    while isinstance(plain, Through) and _is_common_factor(trace.affines[plain.layer]):
        plain = plain.of
    if isinstance(plain, Sent):
        values = not layers[plain.source].neuron.spiking
        rule = "last" if values and not said else rule
        rule = "sum" if plain.membrane and rule == "mean" else rule  # a common factor changes no class
        return Output(plain.source, MEMBRANE + rule if plain.membrane else rule, said, index), None
    last = of.layer if isinstance(of, Through) else "readout"
    return Output(f"{last}_readout" if last in trace.leaves else "readout", rule, said, index), of


def _is_common_factor(affine: Affine | None) -> bool:
    return affine is None or (affine.weight.ndim == 0 and affine.bias is None and float(affine.weight) > 0)


def _size_after(trace: Trace, layers: dict[str, Layer], signal: Signal, shape: tuple[int, ...]) -> int:
    path = next(paths(signal, 0))
    size = layers[path.source].neuron.output_size if path.source else int(np.prod(shape))
    return len(_weight(trace, path.layers, size))


def _weight(trace: Trace, names: tuple[str, ...], size: int) -> FloatArray:
    """Return the matrix of stateless layers, the first one first."""
    matrix: FloatArray | None = None
    factor: FloatArray = np.ones(())
    for name in names:
        affine = trace.affines[name]
        if affine is not None:
            matrix, factor = affine.after(matrix, factor)
    return np.diag(factor * np.ones(size)) if matrix is None else matrix


def _constant(trace: Trace, signal: Signal) -> Any:
    """Return the sum that arrives if no layer sends anything."""
    if isinstance(signal, Through):
        affine = trace.affines[signal.layer]
        inner = _constant(trace, signal.of)
        return inner if affine is None else affine.moved(inner)
    if isinstance(signal, Total):
        return sum((_constant(trace, part) for part in signal.of), start=np.zeros(()))
    return np.zeros(())


class _Wires:
    """The synapses of a network under construction."""

    def __init__(self, trace: Trace, layers: dict[str, Layer], builder: NetworkBuilder, source: str) -> None:
        self.trace, self.layers, self.builder, self.source = trace, layers, builder, source
        self.used = {source, *layers}

    def connect(self, name: str, signal: Signal, ways: list[Path]) -> None:
        """Connect a layer: one synapse for all sources with the same weights, and one for its own recurrence."""
        layer, constant = self.layers[name], _constant(self.trace, signal)
        bias = layer.gain * (constant if layer.input is None else layer.input.moved(constant))
        bias = np.broadcast_to(bias, (layer.neuron.input_size,))
        groups: dict[tuple[Any, ...], list[Path]] = {}
        for path, times in Counter(ways).items():
            groups.setdefault((path.layers, times, self._output_gain(path)), []).append(path)
        for (names, times, gain), members in groups.items():
            sources = [path.source or self.source for path in members]
            weight = _weight(self.trace, names, self.builder.node(sources[0]).output_size)
            weight = weight if layer.input is None else layer.input.weight @ weight
            weight = times * (layer.gain * np.ones(len(weight)))[:, None] * weight * np.asarray(gain)
            delays = [path.delay for path in members]
            self.builder.connect(
                sources, name, weight, bias if bias.any() else None, delays, name=self._synapse_name(names)
            )
            bias = np.zeros_like(bias)
        if layer.recurrent is not None:
            self._connect_to_itself(name, layer, layer.recurrent)

    def _output_gain(self, path: Path) -> tuple[float, ...]:
        return (1.0,) if path.source == INPUT else tuple(np.ravel(self.layers[path.source].output_gain).tolist())

    def _connect_to_itself(self, name: str, layer: Layer, recurrent: Affine) -> None:
        matrix, factor = recurrent.after(None, np.ones(()))
        weight = np.diag(factor * np.ones(layer.neuron.size)) if matrix is None else matrix
        gain = layer.gain * np.ones(layer.neuron.input_size)
        bias = None if recurrent.bias is None else gain * recurrent.bias
        self.builder.connect(name, name, gain[:, None] * weight * layer.output_gain, bias, delay=1)

    def _synapse_name(self, names: tuple[str, ...]) -> str | None:
        """Return the user's name of the first layer with weights, if nothing else has it."""
        own = next((n for n in names if n in self.trace.leaves and self.trace.affines[n] is not None), None)
        if own is None or own in self.used:
            return None
        self.used.add(own)
        return own
