"""Tensors of the integer network, as real numbers, beside those of the float network that it came from.

A difference counts from `ROW`, `THRESHOLD`, `GAIN` and `BIAS` on: smaller ones are what a quantizer may do. One that is
larger than a code is no rounding: the integers were changed, or come from another network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.activity import Activity
from nmdeploy.analysis.finding import CHANGED, ROUNDING, Finding, times, which
from nmdeploy.analysis.siblings import ONE_STEP
from nmdeploy.analysis.tensors import (
    Dynamics,
    Tensor,
    Weights,
    dequantized,
    dequantized_weights,
    dynamics,
    synapse_with,
    value_of,
    values_of,
    weights_of,
    with_values,
)
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.synapses.rows import SparseRows

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
ROW, THRESHOLD, GAIN, BIAS = 0.25, 0.1, 0.25, 0.2
"""Relative change of a row, of a threshold and of a steady gain; a bias's steady membrane in thresholds."""
ALIKE = 0.8
"""Cosine from which on two rows are multiples of each other, codes at the end of their range included."""
NEAR_ONE = 0.02
"""Least distance from the unit circle to which a change of coupled states is compared."""
RARE = 0.1
"""Share of the float network's spikes up to which a threshold is out of reach."""
CODE = 1.01
"""Codes that rounding may move a number by: a pole is moved to the nearest code inside the unit circle."""
DECAYS = ("alpha", "beta", "leak", "adaptation_leak")
BIASES = ("bias", "input_bias")


@dataclass(frozen=True, eq=False)
class Deviation:
    """A tensor of the integers that differs from the source's, and the node that has the source's in its place."""

    finding: Finding
    node: str
    tensor: str


@dataclass(frozen=True, eq=False)
class Read:
    """The integer network as a float one.

    Parameters
    ----------
    source : Network
    network : Network
        The source with all tensors of the integers in place of its own.
    tensors : mapping of population to tensor to Tensor
    weights : mapping of synapse to Weights
    """

    source: Network
    network: Network
    tensors: Mapping[str, Mapping[str, Tensor]]
    weights: Mapping[str, Weights]

    def restored(self, deviation: Deviation) -> dict[str, Any]:
        """Return the node of the integers' network in which one tensor is the source's."""
        node, source = self.network.nodes[deviation.node], self.source.nodes[deviation.node]
        if isinstance(node, Neuron):
            own = {deviation.tensor: value_of(source, deviation.tensor)}  # type: ignore[arg-type]
            return {deviation.node: with_values(node, own)}
        held, exact = self.weights[deviation.node], weights_of(source)  # type: ignore[arg-type]
        mixed = replace(held, bias=exact.bias) if deviation.tensor == "bias" else replace(held, rows=exact.rows)
        return {deviation.node: synapse_with(source, mixed)}  # type: ignore[arg-type]


def read(network: QuantizedNetwork, source: Network) -> Read:
    """Read the integers as real numbers, in the units of the source."""
    nodes: dict[str, Any] = dict(source.nodes)
    tensors, weights = {}, {}
    for name, neuron in source.populations.items():
        tensors[name] = dequantized(network.populations[name], neuron)
        nodes[name] = with_values(neuron, {key: tensor.values for key, tensor in tensors[name].items()})
    for name, synapse in source.synapses.items():
        weights[name] = dequantized_weights(network, name)
        nodes[name] = synapse_with(synapse, weights[name])
    return Read(source, replace(source, nodes=nodes), tensors, weights)


def deviations(
    held: Read, network: QuantizedNetwork, activity: Mapping[str, Activity], exact: Mapping[str, Activity]
) -> Iterator[Deviation]:
    """Yield every tensor that differs by more than a quantizer's choice; `exact` is the float network's activity."""
    for name, neuron in held.source.populations.items():
        values = values_of(neuron, held.tensors[name])
        own = dynamics(neuron, values, activity[name].outputs.shape[1])
        for tensor, read_ in held.tensors[name].items():
            compared = _Compared(name, tensor, values[tensor], read_, own, activity[name], exact[name])
            for found in compared.findings():
                yield Deviation(found, name, tensor)
        for edge in held.source.incoming[name]:
            synapse = held.source.synapses[edge.source]
            for tensor, found in _synapse(name, edge.source, weights_of(synapse), held.weights[edge.source], own):
                yield Deviation(_of_neurons(found, neuron), edge.source, tensor)


def _of_neurons(found: Finding, neuron: Neuron) -> Finding:
    """Return a finding of rows as one of neurons."""
    at = sorted({row // neuron.inputs for row in found.neurons})
    return replace(found, neurons=tuple(at), text=f"{which(at, neuron.size)}: {found.text}")


@dataclass(frozen=True, eq=False)
class _Compared:
    """One tensor of a population in both networks."""

    population: str
    tensor: str
    source: Array
    read: Tensor
    dynamics: Dynamics | None
    activity: Activity
    exact: Activity

    @property
    def size(self) -> int:
        return self.activity.size

    @property
    def field(self) -> str:
        """Name without that of the part that holds it."""
        return self.tensor.rpartition(".")[2]

    def _by_neuron(self, values: Array) -> Array:
        return np.broadcast_to(values, self.source.shape).reshape(self.size, -1)

    @property
    def rounded(self) -> Mask:
        """(H,) True if rounding alone makes the difference."""
        difference = np.abs(self.read.values - self.source)
        return np.asarray(self._by_neuron(difference <= CODE * np.asarray(self.read.unit)).all(1))

    def findings(self) -> Iterator[Finding]:
        compare = _KINDS.get(self.field, _Compared._coefficient)
        at, fault, text, factor = compare(self)
        for origin, part in ((CHANGED, at & ~self.rounded), (ROUNDING, at & self.rounded)):
            if part.any():
                where = tuple(int(each) for each in np.flatnonzero(part))
                cause = "" if origin == CHANGED else ", by rounding"
                words = f"{which(where, self.size)}: {text(part)}{cause}"
                yield Finding(self.population, fault(part), self.tensor, where, words, origin, factor(part))

    def _two(self) -> tuple[FloatArray, FloatArray]:
        """(H,) the integers' value of each neuron, and the source's, where they differ most."""
        one, other = self._by_neuron(self.read.values), self._by_neuron(self.source)
        worst = np.abs(one - other).argmax(1)[:, None]
        return np.take_along_axis(one, worst, 1)[:, 0], np.take_along_axis(other, worst, 1)[:, 0]

    def _threshold(self) -> Any:
        one, other = self._two()
        at = np.abs(one - other) > THRESHOLD * np.abs(other)
        ratio = one / np.where(other == 0, np.finfo(float).tiny, other)
        peak = self.activity.peak

        def unreached(part: Mask) -> bool:
            rare = self.activity.rates[part] <= RARE * self.exact.rates[part]
            return bool(rare.all() and (one > other)[part].all())

        def text(part: Mask) -> str:
            index = _first(part, np.abs(one - other))
            words = f"the threshold is {times(float(ratio[index]))} the source's {other[index]:.3g}"
            if peak is None or not unreached(part) or peak[index] <= 0:
                return words
            over = one[index] / peak[index]
            return f"{words}, and {over:.3g} times the largest membrane: it never spikes" if over > 1 else words

        return (
            at,
            lambda part: f.OUT_OF_REACH if unreached(part) else f.THRESHOLD_OFF,
            text,
            lambda part: float(ratio[_first(part, np.abs(one - other))]),
        )

    def _decay(self) -> Any:
        one, other = self._two()
        gain = (1 - other + 1e-9) / (1 - one + 1e-9)
        at = np.abs(np.log(np.maximum(gain, 1e-12))) > np.log1p(GAIN)

        def short(part: Mask) -> bool:
            return bool(((one < ONE_STEP) & (other >= ONE_STEP))[part].all())

        def text(part: Mask) -> str:
            index = _first(part, np.abs(one - other))
            words = f"the factor per step is {one[index]:.5g}, the source's {other[index]:.5g}"
            if short(part):
                return f"{words}: the time constant is under dt, and the neuron keeps next to nothing"
            return f"{words}: the steady gain is {times(float(gain[index]))} the source's"

        return (
            at,
            lambda part: f.TAU_UNDER_DT if short(part) else f.DECAY_OFF,
            text,
            lambda part: float(gain[_first(part, np.abs(one - other))]),
        )

    def _poles(self) -> Any:
        """Poles of a state space: their shift as a share of their distance from the unit circle."""
        difference = np.abs(self.read.values - self.source)
        if self.source.ndim == 2:
            size = [np.abs(values).max(1) for values in (self.read.values, self.source)]
            distance = np.maximum(np.abs(1 - np.abs(self.source)), 1e-6)
        else:
            size = [np.abs(np.linalg.eigvals(values)).max(1) for values in (self.read.values, self.source)]
            distance = np.maximum(np.abs(1 - size[1]), NEAR_ONE)[:, None, None]
        share = self._by_neuron(difference / distance).max(1)

        def short(part: Mask) -> bool:
            return bool(((size[0] < ONE_STEP) & (size[1] >= ONE_STEP))[part].all())

        def text(part: Mask) -> str:
            index = _first(part, share)
            words = f"the slowest state keeps {size[0][index]:.5g} per step, the source's {size[1][index]:.5g}"
            return f"{words}: the time constant is under dt" if short(part) else words

        return (
            share > GAIN,
            lambda part: f.TAU_UNDER_DT if short(part) else f.DECAY_OFF,
            text,
            lambda part: float(share[_first(part, share)]),
        )

    def _bias(self) -> Any:
        one, other = self._two()
        gains, scale = np.ones(self.size), np.ones(self.size)
        if self.dynamics is not None:
            gains = self.dynamics.bias_gain if self.field == "bias" else np.abs(self.dynamics.gain)
            scale = scale_of(self.dynamics, self.exact)
        share = np.abs(one - other) * gains / scale
        return (
            share > BIAS,
            lambda part: f.BIAS_OFF,
            lambda part: _bias_text(one, other, share, _first(part, share)),
            lambda part: float(share[_first(part, share)]),
        )

    def _coefficient(self) -> Any:
        one, other = self._by_neuron(self.read.values), self._by_neuron(self.source)
        norms = np.linalg.norm(other, axis=1)
        error = np.linalg.norm(one - other, axis=1) / np.where(norms > 0, norms, 1.0)
        return (
            (error > ROW) & (np.abs(one - other).max(1) > 0),
            lambda part: f.COEFFICIENT_OFF,
            lambda part: f"coefficient {self.tensor} is off by {float(error[part].max()):.0%}",
            lambda part: float(error[part].max()),
        )


_KINDS: dict[str, Any] = {
    "v_threshold": _Compared._threshold,
    "a": _Compared._poles,
    **dict.fromkeys(DECAYS, _Compared._decay),
    **dict.fromkeys(BIASES, _Compared._bias),
}


def scale_of(dynamics_: Dynamics, activity: Activity) -> FloatArray:
    """(H,) threshold of each neuron, or the usual membrane of a population that does not spike."""
    if dynamics_.threshold is not None:
        return np.asarray(np.maximum(np.abs(dynamics_.threshold), 1e-12))
    usual = 0.0 if activity.peak is None else float(np.median(np.abs(activity.peak)))
    return np.full(activity.size, usual or 1.0)


def _first(part: Mask, size: FloatArray) -> int:
    """Return the index of the largest value of a part."""
    return int(np.flatnonzero(part)[np.argmax(size[part])])


def _bias_text(one: FloatArray, other: FloatArray, share: FloatArray, index: int) -> str:
    return (
        f"the bias is {one[index]:.4g}, the source's {other[index]:.4g}: it moves the membrane by {share[index]:.3g} "
        "thresholds more or less"
    )


def _synapse(
    population: str, name: str, source: Weights, held: Weights, dynamics_: Dynamics | None
) -> Iterator[tuple[str, Finding]]:
    """Yield the tensor ("weight" or "bias") and a finding of rows, without the names of its neurons."""
    for fault, at, origin, text, factor in _row_faults(source, held):
        where = tuple(int(row) for row in np.flatnonzero(at))
        yield "weight", Finding(population, fault, f"{name} weight", where, text, origin, factor)
    difference = np.abs(held.bias - source.bias)
    gain = np.ones(source.outputs) if dynamics_ is None else _per_row(np.abs(dynamics_.gain), source.outputs)
    threshold = None if dynamics_ is None else dynamics_.threshold
    scale = np.maximum(source.norms, 1e-12) if threshold is None else _per_row(np.abs(threshold), source.outputs)
    share = difference * (1.0 if threshold is None else gain) / np.maximum(scale, 1e-12)
    rounded = difference <= CODE * held.bias_unit
    for origin, at in ((CHANGED, (share > BIAS) & ~rounded), (ROUNDING, (share > BIAS) & rounded)):
        if at.any():
            index = _first(at, share)
            text = _bias_text(held.bias, source.bias, share, index)
            where = tuple(int(row) for row in np.flatnonzero(at))
            yield (
                "bias",
                Finding(population, f.BIAS_OFF, f"{name} bias", where, text, origin, float(share[index])),
            )


def _per_row(values: FloatArray, rows: int) -> FloatArray:
    return np.repeat(values, rows // len(values))


def _row_faults(source: Weights, held: Weights) -> Iterator[tuple[str, Mask, str, str, float]]:
    """Yield (fault, rows, origin, text, factor) of all rows that differ by more than `ROW` of their norm."""
    targets, one, other = _aligned(held.rows, source.rows)

    def by_row(entries: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(targets, entries, source.outputs), np.float64)

    norm, kept = np.sqrt(by_row(other**2)), np.sqrt(by_row(one**2))
    off = np.sqrt(by_row((one - other) ** 2)) > ROW * norm
    off &= (norm > 0) | (kept > 0)
    if not off.any():
        return
    rounded = np.ones(source.outputs, bool)
    rounded[targets[np.abs(one - other) > CODE * held.unit[targets]]] = False
    safe = np.where(norm > 0, norm, 1.0)
    alike = by_row(one * other) / (safe * np.where(kept > 0, kept, 1.0))
    ratio = kept / safe
    zero, flipped = off & (kept == 0) & rounded, off & (alike < -0.5)
    scaled = off & ~zero & ~rounded & (((alike > ALIKE) & (np.abs(ratio - 1) > 0.8 * ROW)) | (kept == 0))
    rest = off & ~zero & ~flipped & ~scaled
    if zero.any():
        text = "all weights are under half a code, and were rounded to 0: nothing that arrives has an effect"
        yield f.ROW_ROUNDED_TO_0, zero, ROUNDING, text, 0.0
    for fault, at in ((f.ROW_SCALED, scaled), (f.SIGN_FLIPPED, flipped), (f.WEIGHTS_OFF, rest)):
        for origin, part in ((CHANGED, at & ~rounded), (ROUNDING, at & rounded)):
            if part.any():
                factor = _worst(ratio[part])
                cause = "" if origin == CHANGED else ", by rounding"
                yield fault, part, origin, f"{_ROW_TEXTS[fault].format(times(factor))}{cause}", factor


_ROW_TEXTS = {
    f.ROW_SCALED: "the weights are {} the source's",
    f.SIGN_FLIPPED: "the weights have the other sign than the source's, and are {} them",
    f.WEIGHTS_OFF: "the weights differ from the source's by more than a quarter of their norm",
}


def _worst(ratios: FloatArray) -> float:
    return float(ratios[np.argmax(np.abs(np.log(np.maximum(ratios, 1e-12))))])


def _aligned(one: SparseRows, other: SparseRows) -> tuple[Array, FloatArray, FloatArray]:
    """Return the targets of all entries of two sets of rows, and the values of both, 0 where one has none."""
    places = [rows.sources * rows.outputs + rows.targets for rows in (one, other)]
    if np.array_equal(places[0], places[1]):
        return one.targets, one.codes, other.codes
    union = np.union1d(*places)
    values = []
    for at, rows in zip(places, (one, other), strict=True):
        whole = np.zeros(len(union))
        whole[np.searchsorted(union, at)] = rows.codes
        values.append(whole)
    return union % one.outputs, values[0], values[1]
