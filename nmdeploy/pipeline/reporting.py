"""Results of a run in words and figures: the report per layer, and the diagnosis of what is far off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nmdeploy._util.atomic_files import require_writable
from nmdeploy._util.digests import content_sha256
from nmdeploy._util.stages import stage
from nmdeploy.analysis import diagnosis
from nmdeploy.analysis.comparison import Verification
from nmdeploy.analysis.diagnosis import Diagnosis
from nmdeploy.analysis.report import Report, build_report
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.job import Job
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io import model_sha256
from nmdeploy.pipeline.arguments import (
    Floats,
    Model,
    Progress,
    Samples,
    counting,
    model_of,
    recorded_of,
    samples_of,
)
from nmdeploy.pipeline.origin import accuracies_of, floats_of, in_form_of
from nmdeploy.pipeline.target import target_of
from nmdeploy.recording.types import Recording, Totals
from nmdeploy.reports import emit, writer_for
from nmdeploy.running import run_data, run_totals
from nmdeploy.samples.source import Data, SampleFile, check_samples


def report(
    model: Model,
    data: Samples,
    profile: str | Path | HardwareProfile | None = None,
    floats: Floats | None = None,
    verification: Verification | None = None,
    recording: str | Path | Recording | Totals | None = None,
    dt: float | None = None,
    output: str | Path | None = None,
    on_progress: Progress | None = None,
    axes: str | None = None,
) -> Report:
    """Report metrics, energy and use of the chip per layer, of a run on samples.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data, array, tensor or mapping
        A file is read and run chunk by chunk.
    profile : name, path or HardwareProfile, optional; the one that the model was quantized for if left out
    floats : path, Network or another object that `load` takes, optional
        The float network, for its accuracy.
    verification : Verification, optional
        A result to include; its accuracies are taken over.
    recording : path, Recording or Totals, optional
        A run of the model on the samples, in place of another one.
    dt : float, optional
        Seconds per step of `floats`, if the file holds none.
    output : path, optional
        Report file to write; its ending chooses the format.
    axes : {"NTC", "TNC", "NCT"}, optional
        Order of the axes of the data; that of the export if left out.
    """
    if output is not None:
        writer_for(output)
        paths = [path for path in (model, data, floats, profile, recording) if isinstance(path, (str, Path))]
        require_writable(output, *paths)
    with stage("read"):
        network = model_of(model)
        target, source = target_of(network, profile), samples_of(data, network, axes)
        origin = floats_of(floats, model, network, dt)
    with stage("run"):
        totals = _report_totals(network, source, data, recording, counting(on_progress, source.samples))
        figures = verification.accuracy if verification else accuracies_of(source, totals, origin)
    job = Job(model_sha256(network), content_sha256(target), totals.inputs_sha256)
    with stage("map and count"):
        result = build_report(network, totals, target, map_network(network, target), figures, job, verification)
    if output is not None:
        emit(result, output)
    return result


def _report_totals(
    network: QuantizedNetwork,
    source: SampleFile | Data,
    given: Samples,
    recording: str | Path | Recording | Totals | None,
    on_progress: Callable[[int], object] | None,
) -> Totals:
    if recording is None:
        return run_totals(network, source, on_progress=on_progress)
    if isinstance(recording, Totals):
        return recording
    recorded = recorded_of(recording, network, source, given)
    return recorded.totals(source.limited(recorded.samples).labels)


def diagnose(
    model: Model,
    data: Samples,
    floats: Floats | None = None,
    samples: int | None = None,
    dt: float | None = None,
    on_progress: Progress | None = None,
) -> Diagnosis:
    """Say which layer is silent, saturated or far off, and why.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data or arrays
    floats : path, Network or another object that `load` takes, optional
        The float network that the model came from. Without it, only the integers are examined.
    samples : int, optional
        How many samples are run, from the first one on.
    dt : float, optional
        Seconds per step of `floats`, if the file holds none.
    """
    check_samples(samples)
    network = model_of(model)
    part = samples_of(data, network).first(samples)
    origin = floats_of(floats, model, network, dt)
    origin = None if origin is None else in_form_of(network, origin)
    recording = run_data(network, part, "auto", "states", on_progress=counting(on_progress, part.samples))
    return diagnosis.diagnose(network, recording, part, origin)
