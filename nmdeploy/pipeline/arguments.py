"""Arguments of the chain: paths, objects and arrays become networks, models and samples; progress of several runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nmdeploy.network.expected import require_quantized
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.reading import kept_axes, range_remedy
from nmdeploy.nir_io import model_sha256, read
from nmdeploy.recording.recorded import Recorded
from nmdeploy.recording.types import Recording
from nmdeploy.running import digest_of
from nmdeploy.samples.source import Arrays, Data, SampleFile, open_data

Model = str | Path | QuantizedNetwork
Floats = Any
"""A path, a Network, or an object that `load` takes."""
Samples = str | Path | SampleFile | Data | Arrays
"""A path, samples that were read, inputs as an array or a tensor, or what a file holds as a mapping."""
Progress = Callable[[int, int], object]
"""A callable that takes the number of samples done, and their number in all."""


def model_of(model: Model) -> QuantizedNetwork:
    """Return the model of a file, or the model itself."""
    if isinstance(model, (str, Path)):
        return read(model)
    require_quantized(model, "model")
    return model


def samples_of(data: Samples, network: Network | QuantizedNetwork, axes: str | None = None) -> SampleFile | Data:
    """Return samples for a network; their axes are those of its source's options, unless `axes` says others."""
    if isinstance(data, (SampleFile, Data)):
        return data
    classes = network.populations[network.output].output_size
    return open_data(data, network.input, classes, axes or kept_axes(network.read_as), range_remedy(network.read_as))


def recorded_of(
    recording: str | Path | Recording, network: QuantizedNetwork, source: SampleFile | Data, given: Samples
) -> Recorded:
    """Return a recording that may take the place of a run; refuse that of another model or of other samples."""
    recorded = Recorded.of(recording)
    name = str(given) if isinstance(given, (str, Path)) else "the data"
    recorded.require(model_sha256(network), digest_of(network, source.limited(recorded.samples)), name)
    return recorded


class Work:
    """Progress of several runs, one after the other, as that of one."""

    def __init__(self, on_progress: Progress | None, total: int) -> None:
        self.on_progress, self.total, self.done = on_progress, total, 0
        if on_progress is not None:
            on_progress(0, total)

    def next(self, samples: int) -> Callable[[int], object] | None:
        """Return the progress of a run of that many samples, which follows those before it."""
        before, self.done = self.done, self.done + samples
        on_progress, total = self.on_progress, self.total
        return None if on_progress is None else lambda done: on_progress(before + done, total)


def counting(on_progress: Progress | None, total: int) -> Callable[[int], object] | None:
    """Return the progress of one run of `total` samples."""
    return Work(on_progress, total).next(total)
