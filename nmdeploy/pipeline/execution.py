"""Runs of a model on samples, in memory or into a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nmdeploy._util.atomic_files import require_suffix, require_writable
from nmdeploy._util.stages import stage
from nmdeploy.backends import backend as find_backend
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.pipeline.arguments import Model, Progress, Samples, counting, model_of, samples_of
from nmdeploy.recording.types import Recording, Totals
from nmdeploy.running import digest_of, require_channels, require_threads, run_data, simulate_into
from nmdeploy.samples.source import check_samples


@dataclass(frozen=True)
class Simulated:
    """A run that `simulate` recorded: the network, the sums of the run, and names of arrays that were not read."""

    network: QuantizedNetwork
    totals: Totals
    others: tuple[str, ...]


def run(
    model: Model,
    data: Samples,
    backend: str = "auto",
    trace: str = "none",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Recording:
    """Run a quantized network on samples, in memory.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data, array, tensor or mapping
        Inputs (samples, steps, channels) as an array of NumPy or a tensor of torch, or a mapping with ``inputs`` and,
        if there are any, ``labels`` and ``lengths``.
    backend : name of a backend
    trace : {"none", "spikes", "states"}
    threads : int, optional
        Most threads that run samples; by default one per processor.
    on_progress : callable
        Called with the number of samples done, and that of all.
    """
    network = model_of(model)
    samples = samples_of(data, network).first(None)
    advance = counting(on_progress, samples.samples)
    require_channels(network, samples)
    return run_data(network, samples, backend, trace, threads, advance, digest_of(network, samples))


def simulate(
    model: Model,
    data: Samples,
    output: str | Path,
    backend: str = "auto",
    trace: str = "none",
    samples: int | None = None,
    threads: int | None = None,
    on_progress: Progress | None = None,
    axes: str | None = None,
) -> Simulated:
    """Run a model on samples and write the recording as it is made, as a whole or not at all.

    Neither the samples nor the recording have to fit in memory.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data, array, tensor or mapping
    output : path of the recording, which ends with ``.h5``
    samples : int, optional
        How many samples are run, from the first one on.
    backend, trace, threads, on_progress : as for `run`
    axes : {"NTC", "TNC", "NCT"}, optional
        Order of the axes of the data; that of the export if left out.
    """
    require_writable(output, *[path for path in (model, data) if isinstance(path, (str, Path))])
    require_suffix(output, ".h5")
    check_samples(samples)
    find_backend(backend)
    require_threads(backend, threads)
    with stage("read"):
        network = model_of(model)
        source = samples_of(data, network, axes).limited(samples)
    advance = counting(on_progress, source.samples)
    with stage("run"):
        totals = simulate_into(output, network, source, backend, trace, threads, advance)
    return Simulated(network, totals, source.others)
