"""A recording in a file: its sums and its first samples, without the rest of its arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.errors import BadFile, BadOption
from nmdeploy.network.timing import Timing
from nmdeploy.neurons.base import IntArray
from nmdeploy.recording.pieces import Pieces, cut
from nmdeploy.recording.reader import describe_recording, open_recording, read_pieces, read_recording
from nmdeploy.recording.types import Recording, Totals, totals


@dataclass(frozen=True)
class Recorded:
    """A recording that is used in place of a run: in a file, of which it reads what is needed, or in memory.

    Parameters
    ----------
    name : str
        The file, for error messages.
    samples : int
    has_states : bool
        True if every state of every step was traced.
    backend, model_sha256, inputs_sha256 : as in `Recording`
    held : Recording or None
        The recording, if it is in memory.
    """

    name: str
    samples: int
    has_states: bool
    backend: str
    model_sha256: str
    inputs_sha256: str
    held: Recording | None = None

    @classmethod
    def of(cls, recording: str | Path | Recording) -> Recorded:
        """Return the recording of a path, or one that is in memory; `BadFile` if the path holds none."""
        if isinstance(recording, Recording):
            facts = {name: getattr(recording, name) for name in ("backend", "model_sha256", "inputs_sha256")}
            traced = any(layer.states for layer in recording.layers.values())
            return cls("the recording", recording.samples, traced, **facts, held=recording)
        found = describe_recording(recording)
        facts = {name: found[name] for name in ("samples", "has_states", "backend", "model_sha256", "inputs_sha256")}
        return cls(str(recording), **facts)

    def require(self, model_sha256: str, inputs_sha256: str, data: str) -> None:
        """`BadOption` unless it is a run of a model on samples, given their digests; `data` names the samples."""
        if self.model_sha256 != model_sha256:
            raise BadOption(f"{self.name}: is a recording of another model: give one that simulate made of this model")
        if not self.inputs_sha256:
            raise BadOption(f"{self.name}: does not say which samples it was made from: run nmdeploy simulate again")
        if self.inputs_sha256 != inputs_sha256:
            raise BadOption(
                f"{data}: its inputs and lengths are not those that {self.name} was made from: "
                "give the samples that were simulated"
            )

    def first(self, samples: int) -> Recording:
        """Return the recording of the first samples, all arrays in memory."""
        return read_recording(self.name, samples) if self.held is None else self.held.first(samples)

    def in_pieces(self, samples: int, timing: Timing, steps: int) -> Iterator[Pieces]:
        """Yield the first samples, one by one, in pieces of steps."""
        for index in range(samples):
            if self.held is None:
                yield Pieces(read_pieces(self.name, index, timing, steps))
            else:
                yield Pieces(cut(self.held.sample(index), timing, steps))

    def totals(self, labels: IntArray | None) -> Totals:
        """Return the sums over all samples, and how many classes are the `labels`."""
        if self.held is not None:
            return totals(self.held, _correct(self.held.predictions, labels, self.name))
        with open_recording(self.name) as file:
            return _totals(file, self.name, labels)


def _totals(file: Any, name: str, labels: IntArray | None) -> Totals:
    kind = "spikes" if "output/spikes" in file else "readout"
    samples, steps, _ = file[f"output/{kind}"].shape
    predictions = file["predictions"][()] if "predictions" in file else None
    counts = {
        layer: {metric: int(values[()].sum()) for metric, values in group["counts"].items()}
        for layer, group in file["layers"].items()
    }
    return Totals(
        samples=int(samples),
        steps=int(steps),
        valid_steps=int(file["lengths"][()].sum()),
        counts=counts,
        correct=_correct(predictions, labels, name),
        latency=int(file.attrs["latency"]),
        backend=str(file.attrs["backend"]),
        model_sha256=str(file.attrs["model_sha256"]),
        inputs_sha256=str(file.attrs.get("inputs_sha256", "")),
    )


def _correct(predictions: IntArray | None, labels: IntArray | None, name: str) -> int | None:
    if labels is None:
        return None
    if predictions is None:
        raise BadFile(f"{name}: holds no classes: run nmdeploy simulate again")
    return int(np.count_nonzero(predictions == labels))
