"""The result of a run: outputs, traces if asked for, and event counts per layer and sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nmdeploy._util.frozen import Frozen
from nmdeploy._util.shown import Shown, Summary, counted, named
from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import IntArray

TRACES = ("none", "spikes", "states")
SHOWN_COUNTS = {
    "spikes": "spikes",
    "synaptic operations": "synaptic_operations",
    "neuron updates": "neuron_updates",
}
"""Counts that a summary shows, by the name of their column."""
ATTRIBUTES = ("model_sha256", "backend", "version", "latency", "seed", "inputs_sha256")


@dataclass(frozen=True, eq=False)
class Layer(Frozen):
    """One population's part of a recording.

    Parameters
    ----------
    spikes : (samples, steps, output_size) bool, int (signed and graded codes) or None
        None if not traced, or if the population does not spike; entry t is the output of step t.
    states : mapping of str to array
        (samples, steps, H) or (samples, steps, H, N) codes, if traced.
    counts : mapping of str to (samples,) int
        Events, by metric: docs/metrics.md.
    """

    spikes: npt.NDArray[Any] | None = None
    states: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    counts: Mapping[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Recording(Frozen, Shown):
    """A run of a quantized network.

    Parameters
    ----------
    output : (samples, steps, channels)
        The output population's spikes (bool, or signed and graded codes) or values (codes). For a readout of membranes
        these are the values, from before their reset, in units of the float network.
    spiking : bool
        True if the output is spikes.
    layers : mapping of str to Layer
        By population, sources first.
    lengths : (samples,) int
        Valid steps of each sample; what comes after is zero.
    latency : int
        Steps by which the chip is later than the stored, aligned times.
    backend, version, model_sha256 : str
    seed : int
        Seed of the first population that draws random spikes; 0 if none does.
    predictions : (samples,) int or None
        The class of each sample by the model's readout; None as a backend returns it.
    inputs_sha256 : str
        Digest of the samples' codes and lengths; empty as a backend returns it.
    """

    output: npt.NDArray[Any]
    spiking: bool
    layers: Mapping[str, Layer]
    lengths: IntArray
    latency: int
    backend: str
    version: str
    model_sha256: str = ""
    seed: int = 0
    predictions: IntArray | None = None
    inputs_sha256: str = ""

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show: a row per layer, counts as means per sample."""
        output = "spikes" if self.spiking else "values"
        facts = (
            f"{counted(self.samples, 'sample')} of {'' if self._is_full else 'up to '}{counted(self.steps, 'step')}",
            f"backend {self.backend!r}, latency {counted(self.latency, 'step')}",
            f"output {output} {self.output.shape}",
            "classes " + (named([str(c) for c in self.predictions]) if self.predictions is not None else "not decided"),
            f"layers {named(list(self.layers))}",
        )
        rows = [(name, *_layer_cells(layer)) for name, layer in self.layers.items()]
        return Summary("Recording", facts, ("layer", *SHOWN_COUNTS, "traced"), rows)

    def sample(self, index: int) -> Recording:
        """Return the recording of one sample; the digest of the inputs is not known."""
        return self._part(slice(index, index + 1))

    @property
    def _is_full(self) -> bool:
        return self.valid_steps == self.samples * self.steps

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.output.shape[0])

    def first(self, samples: int) -> Recording:
        """Return the recording of the first samples; of a part, the digest of the inputs is not known."""
        if samples >= self.samples:
            return self
        return self._part(slice(samples))

    def _part(self, part: slice) -> Recording:
        layers = {
            name: Layer(
                spikes=None if layer.spikes is None else layer.spikes[part],
                states={key: values[part] for key, values in layer.states.items()},
                counts={key: values[part] for key, values in layer.counts.items()},
            )
            for name, layer in self.layers.items()
        }
        return replace(
            self,
            output=self.output[part],
            layers=layers,
            lengths=self.lengths[part],
            predictions=None if self.predictions is None else self.predictions[part],
            inputs_sha256="",
        )

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return int(self.output.shape[1])

    @property
    def valid_steps(self) -> int:
        """Valid steps of all samples together."""
        return int(np.sum(self.lengths))

    def metrics(self, layer: str) -> Collection[str]:
        """Return the metrics that were counted in a layer."""
        return self.layers[layer].counts.keys() if layer in self.layers else ()

    def total(self, layer: str, metric: str) -> int:
        """Return a count summed over the samples."""
        return int(np.sum(self.layers[layer].counts[metric]))


class Counted(Protocol):
    """The part of a run that metrics and energies need: a `Recording`, or its `Totals` if that would be too large."""

    @property
    def samples(self) -> int:
        """Number of samples."""

    @property
    def valid_steps(self) -> int:
        """Valid steps of all samples together."""

    @property
    def backend(self) -> str:
        """Name of the backend that ran."""

    @property
    def model_sha256(self) -> str:
        """Digest of the model that was run."""

    def metrics(self, layer: str) -> Collection[str]:
        """Return the metrics that were counted in a layer."""

    def total(self, layer: str, metric: str) -> int:
        """Return a count summed over the samples."""


@dataclass(frozen=True)
class Totals:
    """The sums of a run over its samples.

    Parameters
    ----------
    samples, steps, valid_steps : int
        Number of samples, steps of the longest one, valid steps of all together.
    counts : mapping of population to metric to int
    correct : int or None
        Samples whose class is their label; None without labels.
    latency, backend, model_sha256, inputs_sha256 : as in `Recording`
        The digest of the inputs is empty for sums of several runs.
    """

    samples: int
    steps: int
    valid_steps: int
    counts: Mapping[str, Mapping[str, int]]
    correct: int | None
    latency: int
    backend: str
    model_sha256: str
    inputs_sha256: str = ""

    @property
    def accuracy(self) -> float | None:
        """Share of the samples whose class is their label; None without labels."""
        return None if self.correct is None else self.correct / self.samples

    def metrics(self, layer: str) -> Collection[str]:
        """Return the metrics that were counted in a layer."""
        return self.counts[layer].keys() if layer in self.counts else ()

    def total(self, layer: str, metric: str) -> int:
        """Return a count summed over the samples."""
        return self.counts[layer][metric]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Totals:
        """Return the sums that `to_json` described."""
        counts = {name: {metric: int(n) for metric, n in held.items()} for name, held in values["counts"].items()}
        return cls(**{**values, "counts": counts})

    def __add__(self, other: Totals) -> Totals:
        if self.model_sha256 != other.model_sha256:
            raise BadOption("totals of two models cannot be added: add those of one model")
        counts = {
            name: {metric: number + other.counts[name][metric] for metric, number in held.items()}
            for name, held in self.counts.items()
        }
        return replace(
            self,
            samples=self.samples + other.samples,
            steps=max(self.steps, other.steps),
            valid_steps=self.valid_steps + other.valid_steps,
            counts=counts,
            correct=None if self.correct is None or other.correct is None else self.correct + other.correct,
            inputs_sha256="",
        )


def _layer_cells(layer: Layer) -> Iterator[str]:
    """Yield the means per sample of a layer's counts, then the names of what was traced."""
    for key in SHOWN_COUNTS.values():
        yield f"{np.mean(layer.counts[key]):,.1f}" if key in layer.counts else "-"
    yield ", ".join([*(["spikes"] if layer.spikes is not None else []), *layer.states]) or "nothing"


def totals(recording: Recording, correct: int | None = None) -> Totals:
    """Return a recording's sums over its samples."""
    return Totals(
        samples=recording.samples,
        steps=recording.steps,
        valid_steps=recording.valid_steps,
        counts={name: {m: recording.total(name, m) for m in layer.counts} for name, layer in recording.layers.items()},
        correct=correct,
        latency=recording.latency,
        backend=recording.backend,
        model_sha256=recording.model_sha256,
        inputs_sha256=recording.inputs_sha256,
    )


def without_states(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """Return layers without states, which only the readout needed."""
    return {name: replace(layer, states={}) for name, layer in layers.items()}


def without_all_states(recording: Recording) -> Recording:
    """Return a recording without states."""
    return replace(recording, layers=without_states(recording.layers))


def join(parts: Sequence[tuple[IntArray, Recording]], steps: int) -> Recording:
    """Join recordings of parts, (which samples, their recording), to one; what is missing is zero."""
    first = parts[0][1]
    samples = sum(len(which) for which, _ in parts)

    def joined(arrays: Sequence[npt.NDArray[Any]], timed: bool) -> npt.NDArray[Any]:
        shape = (samples, steps, *arrays[0].shape[2:]) if timed else (samples,)
        whole = np.zeros(shape, arrays[0].dtype)
        for (which, _), array in zip(parts, arrays, strict=True):
            whole[(which, slice(array.shape[1])) if timed else which] = array
        return whole

    def layer(name: str) -> Layer:
        layers = [recording.layers[name] for _, recording in parts]
        spikes = [layer.spikes for layer in layers if layer.spikes is not None]
        return Layer(
            spikes=joined(spikes, True) if spikes else None,
            states={key: joined([layer.states[key] for layer in layers], True) for key in layers[0].states},
            counts={key: joined([layer.counts[key] for layer in layers], False) for key in layers[0].counts},
        )

    return replace(
        first,
        output=joined([recording.output for _, recording in parts], True),
        layers={name: layer(name) for name in first.layers},
        lengths=joined([recording.lengths for _, recording in parts], False),
    )
