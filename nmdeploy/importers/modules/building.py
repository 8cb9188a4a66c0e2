"""The network of a traced module: its neurons as populations, and what lies between them as synapses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.modules.affine import Affine
from nmdeploy.importers.modules.neurons import Layer, readout
from nmdeploy.importers.modules.signals import (
    ALL,
    INPUT,
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

MEMBRANE = "membrane-"
SILENT = (Integrator, FilteredIntegrator)


@dataclass(frozen=True)
class Output:
    """The population that is read out, its rule, and True if the module itself reduces the steps."""

    name: str
    rule: str
    said: bool


@dataclass(frozen=True)
class Built:
    """A network, its layers by population, and the factor of the outputs that the module returns."""

    network: Network
    layers: dict[str, Layer]
    said: bool


def build(
    trace: Trace, shape: tuple[int, ...], number: FixedPoint, dt: float, rule: str | None, exact: bool = False
) -> Built:
    """Return the network of a trace; `exact` chooses the form of delayed resets (`neurons.membrane`)."""
    layers = {name: _layer(trace, name, exact) for name in trace.calls}
    wiring = {name: _wiring(trace, name) for name in trace.calls}
    output, extra = _output(trace, layers)
    if extra is not None:
        size = _size_after(trace, layers, extra, shape)
        layers[output.name] = Layer(readout(size, 0.0), facts={"neuron": "the layer's sums, without a state"})
        wiring[output.name] = with_steps(extra, ALL, 0), list(paths(with_steps(extra, ALL, 0), 0))
    rule = output.rule if rule is None else rule
    if output.rule.startswith(MEMBRANE) and layers[output.name].facts.get("reset") == "none":
        layers[output.name], rule = _without_spikes(layers[output.name]), rule.removeprefix(MEMBRANE)
    if rule not in READOUTS:
        raise UnsupportedParameter(
            f"layer {output.name!r}: the module returns its membrane; readout {rule!r} is not supported: return its "
            f"spikes, or give --readout {', '.join(READOUTS)}"
        )
    layers = _with_senders(layers, {path.source for _, ways in wiring.values() for path in ways})
    builder = NetworkBuilder(dt)
    wires = _Wires(trace, layers, builder, builder.input(shape, number))
    for name, layer in layers.items():
        builder.population(layer.neuron, name=name)
    for name in layers:
        wires.connect(name, *wiring[name])
    return Built(builder.build(output.name, rule), layers, output.said)


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
    for path in last:
        if path.membrane:
            raise UnsupportedParameter(
                f"layer {name!r}: receives the membrane of {path.source!r}; only spikes are sent: send its spikes, or "
                f"{BUILDER}"
            )
    if not last:
        raise UnsupportedParameter(f"layer {name!r}: receives nothing from the input or a layer: {BUILDER}")
    return calls[-1], last


def _without_spikes(layer: Layer) -> Layer:
    beta = np.asarray(layer.neuron.a)[:, 0, 0]  # type: ignore[attr-defined]
    return Layer(readout(len(beta), beta), layer.gain, layer.input, facts={**layer.facts, "threshold": "no spikes"})


def _output(trace: Trace, layers: dict[str, Layer]) -> tuple[Output, Signal | None]:
    """Return the output; also a signal, if it is not a layer's output itself but what follows from it."""
    found = next((s for s in trace.result if not isinstance(s, Lost) and any(p.source for p in sent(s))), None)
    if found is None:
        by = next((s.by for s in trace.result if isinstance(s, Lost)), "no tensor")
        raise UnsupportedParameter(
            f"the module's first result comes from {by}, which cannot be followed: return the spikes of its last "
            f"layer, or {BUILDER}"
        )
    rule, of, said = (found.rule, found.of, True) if isinstance(found, Reduced) else ("sum", found, False)
    if not said and any(part.step == trace.steps - 1 for part in sent(of)):
        rule, said = "last", True
        of = with_steps(of, trace.steps - 1, ALL)
    plain = of
    while isinstance(plain, Through) and _is_common_factor(trace.affines[plain.layer]):
        plain = plain.of
    if isinstance(plain, Sent):
        values = not layers[plain.source].neuron.spiking
        rule = "last" if values and not said else rule
        return Output(plain.source, MEMBRANE + rule if plain.membrane else rule, said), None
    last = of.layer if isinstance(of, Through) else "readout"
    return Output(f"{last}_readout" if last in trace.leaves else "readout", rule, said), of


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
