"""Comparison of a module with the network that was read from it, layer by layer.

Each population runs by itself in float64, on the spikes that the framework sent into that layer, and its outputs are
compared step by step. Beside it, module and network each run freely in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nmdeploy.importers.modules.building import Built
from nmdeploy.importers.modules.functions import MERGED
from nmdeploy.importers.modules.neurons import Layer
from nmdeploy.importers.modules.tracing import Returned, Trace, all_steps
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import MEMBRANE
from nmdeploy.network.network import Network, readout_values
from nmdeploy.neurons.base import FloatArray, StepTime

VALUES_LIMIT = 1e-9
"""Largest relative error of outputs that are no spikes, and of the module's result."""
FLOAT32_MARGIN_MAX = 1e-6
"""Largest margin of a first difference in float32 that rounding explains."""


@dataclass(frozen=True)
class Difference:
    """The first spike that differs: its layer, and its place."""

    layer: str
    sample: int
    step: int
    neuron: int
    expected: float
    actual: float


@dataclass(frozen=True)
class ImportComparison:
    """Outcome of a comparison.

    Parameters
    ----------
    framework : str
        Its name and version.
    samples, steps : int
        Of the samples that ran.
    spikes, differ : int
        Spikes (0 or 1, of every neuron and step) that were compared in float64, and how many differ.
    values_error : float or None
        Largest relative error of outputs that are no spikes; None without any.
    result_error : float
        Largest relative error of what the module returns, as the readout computes it, up to one positive factor.
    readout : str
        The readout, in words.
    first : Difference or None
        The first difference.
    silent : tuple of str
        Layers that never spike on the samples, so that the comparison shows little of them.
    float32_differ : int
        Spikes that differ if both run freely in float32.
    float32_margin : float
        Largest distance of a membrane from its threshold at a neuron's first difference in float32, each layer on the
        framework's spikes, relative to the larger of threshold and largest membrane; 0 without a difference.
    """

    framework: str
    samples: int
    steps: int
    spikes: int
    differ: int
    values_error: float | None
    result_error: float
    readout: str
    first: Difference | None
    silent: tuple[str, ...]
    float32_differ: int
    float32_margin: float

    @property
    def equal(self) -> bool:
        """Return True if no spike differs, and no value by more than rounding, in float32 too."""
        values = (self.values_error or 0.0, self.result_error)
        return self.differ == 0 and max(values) <= VALUES_LIMIT and self.float32_margin <= FLOAT32_MARGIN_MAX

    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON values, and the verdict."""
        held = asdict(self) | {"silent": list(self.silent)}
        return {"equal": self.equal, **held, "line": self.line()}

    def line(self) -> str:
        """Return the outcome in one line."""
        if self.equal:
            return f"import: equal to {self.framework}, 0 of {self.spikes:,} spikes differ"
        return f"import: not equal to {self.framework}, {self.differ:,} of {self.spikes:,} spikes differ{self._where()}"

    def _where(self) -> str:
        if self.first is None and (self.values_error or 0.0) > VALUES_LIMIT:
            return f", outputs differ by {self.values_error:.2g} (relative)"
        if self.first is None and self.result_error <= VALUES_LIMIT:
            return (
                f", but in float32 a neuron differs {self.float32_margin:.2g} from its threshold (relative), over "
                f"{FLOAT32_MARGIN_MAX:g}: rounding alone does not explain it"
            )
        if self.first is None:
            return f", but what the module returns is not {self.readout} (off by {self.result_error:.2g}, relative)"
        f = self.first
        return (
            f", first layer {f.layer!r}, neuron {f.neuron}, step {f.step} of sample {f.sample} "
            f"({f.expected:g} there, {f.actual:g} here)"
        )


def compare(built: Built, exact: Trace, rounded: Trace, values: FloatArray, framework: str) -> ImportComparison:
    """Compare a network with two runs of its module, in float64 and in float32.

    Parameters
    ----------
    built : Built
    exact, rounded : Trace
        Of the module in float64 and float32.
    values : (samples, steps, channels)
        The inputs of both, for every step.
    """
    sent = _sent(built, exact, values)
    found = {name: _layer(built.network, name, sent, np.float64) for name in exact.calls}
    spiking = [name for name in found if built.network.populations[name].spiking]
    wrong = {name: found[name][0] != (sent[name] != 0) for name in spiking}
    errors = [_relative(found[name][0], sent[name]) for name in found if name not in spiking]
    differ, margin = _in_float32(built, rounded, values)
    return ImportComparison(
        framework=framework,
        samples=values.shape[0],
        steps=values.shape[1],
        spikes=sum(each.size for each in wrong.values()),
        differ=sum(int(each.sum()) for each in wrong.values()),
        values_error=max(errors, default=None),
        result_error=_result_error(built, exact, sent, found),
        readout=f"{built.output.rule} over the steps of {built.output.name!r}",
        first=_first(wrong, sent, found),
        silent=tuple(name for name in spiking if not sent[name].any()),
        float32_differ=differ,
        float32_margin=margin,
    )


def _sent(built: Built, trace: Trace, values: FloatArray) -> dict[str, FloatArray]:
    """Return what the framework's layers sent, spikes as 0 and 1, and the input."""
    found = {built.network.input_name: values}
    for name, calls in trace.calls.items():
        values_of = "membranes" if calls.membranes and not built.network.populations[name].spiking else "outputs"
        outputs = all_steps(trace, name, values_of)
        found[name] = outputs / _divisor(built.layers[name])
    return found


def _divisor(layer: Layer) -> Any:
    return np.where(np.asarray(layer.output_gain) == 0, 1.0, layer.output_gain)


def _layer(network: Network, name: str, sent: dict[str, FloatArray], dtype: Any) -> tuple[FloatArray, FloatArray]:
    """Return outputs and membranes of a population, (samples, steps, H), on what its sources sent."""
    neuron = network.populations[name]
    samples, steps = next(iter(sent.values())).shape[:2]
    sums = np.zeros((samples, steps, neuron.input_size), dtype)
    for edge in network.incoming[name]:
        arriving = sum(_delayed(sent[e.source].astype(dtype), e.delay) for e in network.incoming[edge.source])
        flat = np.asarray(arriving).reshape(samples * steps, -1)
        sums = sums + network.synapses[edge.source].apply(flat).reshape(sums.shape)
    state, outputs, membranes = neuron.start(samples, dtype), [], []
    for step in range(steps):
        state, output = neuron.step(state, sums[:, step], StepTime(step, steps))
        outputs.append(output)
        membranes.append(_membrane(state))
    return np.stack(outputs, 1), np.stack(membranes, 1)


def _membrane(state: Any) -> FloatArray:
    """Return the membrane at the comparison: before the reset, and after the soma if there is one."""
    if "v_peak" in state:
        soma = state["v_peak"].any()
        return np.asarray(state["v_peak"] if soma else state["y"])[..., 0]
    return np.asarray(state["y"] if "y" in state else state["v"])


def _delayed(values: FloatArray, delay: int) -> FloatArray:
    if delay == 0:
        return values
    return np.concatenate([np.zeros_like(values[:, :delay]), values[:, :-delay]], 1)[:, : values.shape[1]]


def _result_error(built: Built, trace: Trace, sent: dict[str, FloatArray], found: Mapping[str, Any]) -> float:
    """Return the error of the module's result, (samples, classes) or the outputs of every step, by its own rule."""
    output, returned = built.output, trace.returned[built.output.returned]
    spikes, membranes = found.get(output.name) or _layer(built.network, output.name, sent, np.float64)
    reads_membrane = output.rule.startswith(MEMBRANE) and built.network.populations[output.name].spiking
    actual = (membranes if reads_membrane else spikes).astype(np.float64)
    if output.said:
        actual = readout_values(actual, output.rule)
        whole = returned.values.size == actual.size
        expected: FloatArray | None = returned.values.reshape(actual.shape) if whole else None
    else:
        expected = _by_step(returned, *actual.shape[:2])
    return float("inf") if expected is None or expected.shape != actual.shape else _scaled_error(actual, expected)


def _by_step(returned: Returned, samples: int, steps: int) -> FloatArray | None:
    """Return what a module returned for every step as (samples, steps, values); None if its axes are others."""
    values, layout = returned.values, returned.layout
    if samples == 1:  # its axis may be gone
        axes = [axis for axis, size in enumerate(values.shape) if size == steps]
        axis = layout if layout in axes else next(iter(axes), None)
        return None if axis is None else np.moveaxis(values, int(axis), 0).reshape(1, steps, -1)
    if layout == MERGED and values.shape[0] == samples * steps:
        return values.reshape(steps, samples, -1).swapaxes(0, 1)
    if not isinstance(layout, int) or layout >= values.ndim:
        return None
    moved = np.moveaxis(values, layout, 1)
    return moved.reshape(samples, steps, -1) if moved.shape[:2] == (samples, steps) else None


def _scaled_error(actual: FloatArray, expected: FloatArray) -> float:
    """Return the relative error up to one positive factor, which changes no class; infinity if there is none."""
    if not actual.any() or not expected.any():
        return 0.0 if actual.any() == expected.any() else float("inf")
    factor = float(np.vdot(actual, expected)) / float(np.vdot(actual, actual))
    return _relative(factor * actual, expected) if factor > 0 else float("inf")


def _relative(actual: FloatArray, expected: FloatArray) -> float:
    largest = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(actual - expected).max(initial=0.0)) / (largest or 1.0)


def _first(wrong: dict[str, Any], sent: dict[str, FloatArray], found: dict[str, Any]) -> Difference | None:
    """Return the difference of the earliest step; of layers that differ in it, of the first."""
    places = []
    for order, (name, each) in enumerate(wrong.items()):
        if each.any():
            step, sample, neuron = (int(i) for i in np.argwhere(each.swapaxes(0, 1))[0])
            places.append((step, order, name, sample, neuron))
    if not places:
        return None
    step, _, name, sample, neuron = min(places)
    at = sample, step, neuron
    return Difference(name, sample, step, neuron, float(sent[name][at] != 0), float(found[name][0][at]))


def _in_float32(built: Built, trace: Trace, values: FloatArray) -> tuple[int, float]:
    """Return how many spikes differ in free runs, and the largest margin at a neuron's first difference."""
    sent = _sent(built, trace, values.astype(np.float32))
    free = run_float(built.network, values, dtype=np.float32)
    differ, margin = 0, 0.0
    for name, outputs in free.spikes.items():
        if name not in sent:
            continue
        differ += int((outputs != (sent[name] != 0)).sum())
        spikes, membranes = _layer(built.network, name, sent, np.float32)
        margin = max(margin, _margin(built.network, name, spikes != (sent[name] != 0), membranes))
    return differ, margin


def _margin(network: Network, name: str, wrong: Any, membranes: FloatArray) -> float:
    if not wrong.any():
        return 0.0
    threshold = np.ravel(np.asarray(vars(network.populations[name])["v_threshold"]))
    first = wrong & (np.cumsum(wrong, axis=1) == 1)
    scale = np.maximum(np.abs(threshold), np.abs(membranes).max())
    return float((np.abs(membranes - threshold) / scale)[first].max())
