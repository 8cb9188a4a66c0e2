"""A run that is written as it is made: every part with what the model says of it, its classes among that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from nmdeploy.network import QuantizedNetwork
from nmdeploy.recording import Recording, Totals, totals
from nmdeploy.recording_writer import RecordingWriter
from nmdeploy.samples import Data, Source
from nmdeploy.streaming import Progress, run_parts
from nmdeploy.verification import predictions


def simulate(
    network: QuantizedNetwork,
    data: Data | Source,
    path: str | Path,
    backend: str = "embedded",
    trace: str = "none",
    on_progress: Progress | None = None,
) -> Totals:
    """Run samples and write the recording as it is made, as a whole or not at all.

    Parameters
    ----------
    data : Data, or Source as `nmdeploy.samples.open_data` returns it
        What is held in memory does not grow with the samples of a Source.
    path : path of the recording
    backend : name of a backend
    trace : {"none", "spikes", "states"}
    on_progress : callable
        Called with the number of samples done.
    """
    found: Totals | None = None
    with RecordingWriter(path, data.samples) as writer:
        for chunk, run in run_parts(network, data, backend, trace, on_progress):
            part = told_by_model(network, run)
            writer.append(part)
            right = None if chunk.labels is None else int(np.count_nonzero(part.predictions == chunk.labels))
            found = totals(part, right) if found is None else found + totals(part, right)
    assert found is not None  # the writer refuses a run without samples
    return found


def told_by_model(network: QuantizedNetwork, recording: Recording) -> Recording:
    """A backend's recording with its classes, and the seed of the network's random spikes."""
    classes = predictions(recording.output, network.readout, recording.lengths)
    return replace(recording, predictions=classes, seed=_seed(network))


def _seed(network: QuantizedNetwork) -> int:
    """That of the first population that draws its spikes; 0 where none does."""
    drawing = (n for n in network.populations.values() if getattr(n, "spike", "") == "stochastic")
    return int(next((getattr(n, "seed", 0) for n in drawing), 0))
