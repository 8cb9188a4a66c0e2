"""The chain that the command line calls: load, quantize, export, run, simulate, verify, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nmdeploy._util.atomic_files import require_suffix, require_writable
from nmdeploy._util.digests import content_sha256
from nmdeploy.analysis.comparison import Agreement, Comparison, Verification, agree, compare
from nmdeploy.analysis.metrics import overflows
from nmdeploy.analysis.provenance import load_origin, require_origin
from nmdeploy.analysis.report import Report, build_report
from nmdeploy.backends import backend as find_backend
from nmdeploy.checking import check_file as check
from nmdeploy.errors import BadOption, DoesNotFit, LavaUnavailable, prefix_errors
from nmdeploy.hardware.mapping import MappedNetwork, map_network
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names
from nmdeploy.importers import load
from nmdeploy.job import Job
from nmdeploy.network.float_run import FloatRun, run_float
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.scales import Scales
from nmdeploy.nir_io import model_sha256, read, write
from nmdeploy.quantization import post_training
from nmdeploy.quantization.calibration_checks import difference, require_bounded
from nmdeploy.quantization.post_training import Ranges, calibrate, quantize_network
from nmdeploy.quantization.window_input import FORMS, send_once
from nmdeploy.recording.recorded import Recorded
from nmdeploy.recording.types import Recording, Totals
from nmdeploy.reports import emit, writer_for
from nmdeploy.running import (
    digest_of,
    float_correct,
    require_channels,
    require_threads,
    run_data,
    run_totals,
    simulate_into,
    totals_of,
)
from nmdeploy.samples.source import Arrays, Data, SampleFile, check_samples, load_data, open_data

__all__ = [
    "Data",
    "FloatRun",
    "Job",
    "Verification",
    "check",
    "check_samples",
    "choose_scales",
    "export",
    "load",
    "load_data",
    "load_origin",
    "load_profile",
    "map_network",
    "open_data",
    "quantize",
    "read",
    "report",
    "run",
    "simulate",
    "verify",
    "write",
]

Model = str | Path | QuantizedNetwork
Floats = Any
"""A path, a Network, or an object that `load` takes."""
Samples = str | Path | SampleFile | Data | Arrays
Progress = Callable[[int, int], object]
"""A callable that takes the number of samples done, and their number in all."""


@dataclass(frozen=True)
class FormatOverrides:
    """Overrides of a profile's number formats; None leaves the profile's."""

    weight_bits: int | None = None
    state_bits: int | None = None
    coefficient_bits: int | None = None
    coefficient_frac: int | None = None
    state_rounding: str | None = None


@dataclass(frozen=True)
class Exported:
    """The result of `export`: the integers, their place on the chip, notes for the user, and the job."""

    network: QuantizedNetwork
    mapped: MappedNetwork
    notes: tuple[str, ...]
    job: Job


@dataclass(frozen=True)
class Simulated:
    """A run that `simulate` recorded: the network, the sums of the run, and names of arrays that were not read."""

    network: QuantizedNetwork
    totals: Totals
    others: tuple[str, ...]


def quantize(
    network: Network,
    profile: str | HardwareProfile = "loihi2",
    data: Samples | None = None,
    options: FormatOverrides = FormatOverrides(),
    window_input: str = "exact",
    scales: Mapping[str, Scales] | None = None,
) -> QuantizedNetwork:
    """Quantize a float network to integers in the profile's formats.

    Parameters
    ----------
    network : Network
    profile : name, path or HardwareProfile
    data : path, SampleFile, Data or arrays, optional
        Calibration samples; without them scales are static worst-case bounds.
    options : FormatOverrides
        Overrides of the profile's formats.
    window_input : {"exact", "scaled"}
        How a layer keeps an input that is constant over a window: in a register, or approximately, as a scaled input.
    scales : mapping of str to Scales, optional
        Scales by population, as `choose_scales` returns them or training learned them; by default chosen from `data`.
    """
    if window_input not in FORMS:
        raise BadOption(f"window input {window_input!r} does not exist: choose one of {', '.join(FORMS)}")
    target = load_profile(profile) if isinstance(profile, str) else profile
    data = None if data is None else _data(data, network).first(None)
    if window_input == "scaled":
        approximate, notes = send_once(network)
        scaled = quantize(approximate, target, data, options, scales=scales)
        if data is not None:
            notes += difference(quantize(network, target, data, options), scaled, data)
        return replace(scaled, notes=(*scaled.notes, *notes))
    config = target.quantization_config(**vars(options))
    ranges = _ranges(network, data) if scales is None else None
    quantized = quantize_network(network, config, ranges=ranges, scales=scales, profile=target.name)
    return quantized if data is None else require_bounded(quantized, data)


def choose_scales(
    network: Network,
    profile: str | HardwareProfile = "loihi2",
    data: Data | None = None,
    options: FormatOverrides = FormatOverrides(),
) -> dict[str, Scales]:
    """Return the scales of every population and synapse, by name, and round nothing; parameters as for `quantize`."""
    target = load_profile(profile) if isinstance(profile, str) else profile
    config = target.quantization_config(**vars(options))
    return post_training.choose_scales(network, config, _ranges(network, data))


def _ranges(network: Network, data: Data | None) -> Ranges | None:
    if data is None:
        return None
    require_channels(network, data)
    return calibrate(network, network.input.format.dequantize(data.codes), data.lengths)


def export(
    source: Floats,
    output: str | Path,
    profile: str | HardwareProfile = "loihi2",
    data: Samples | None = None,
    options: FormatOverrides = FormatOverrides(),
    window_input: str = "exact",
    dt: float | None = None,
    scales: Mapping[str, Scales] | None = None,
) -> Exported:
    """Quantize a network for a target, check that it fits, and write the model file.

    Parameters
    ----------
    source : path of a checkpoint or NIR graph, a Network, or another object that `load` takes
    output : path of the model file, which ends with ``.nir``
    profile : name, path or HardwareProfile
    data : path, SampleFile, Data or arrays, optional
        Calibration samples; without them scales are static worst-case bounds.
    options, window_input, scales : as for `quantize`
    dt : float, optional
        Seconds per step, if the source holds none.

    Raises
    ------
    DoesNotFit
        The target does not run a neuron, or the network exceeds one of its limits.
    BadFile, BadData, BadOption, UnsupportedParameter, OverflowPossible
        One line that names the file, the object, the limit and the remedy. Nothing was written.
    """
    paths = [path for path in (source, data) if isinstance(path, (str, Path))]
    require_writable(output, *paths)
    require_suffix(output, ".nir")
    target = load_profile(profile) if isinstance(profile, str) else profile
    target.quantization_config(**vars(options))
    network = load(source, dt=dt)
    calibration = _data(data, network).first(None) if data is not None else None
    with prefix_errors(str(source) if isinstance(source, (str, Path)) else "the network"):
        require_families(network, target)
        quantized = quantize(network, target, calibration, options, window_input, scales)
        mapped = require_fit(quantized, target)
    notes = (*quantized.notes, *write(quantized, output))
    return Exported(quantized, mapped, notes, _export_job(network, target, calibration, options, window_input, scales))


def _export_job(
    network: Network,
    profile: HardwareProfile,
    data: Data | None,
    options: FormatOverrides,
    window_input: str,
    scales: Mapping[str, Scales] | None,
) -> Job:
    given = {name: value for name, value in vars(options).items() if value is not None}
    given |= {} if window_input == "exact" else {"window_input": window_input}
    given |= (
        {}
        if scales is None
        else {"scales": content_sha256({name: (s.scale, dict(s.fracs)) for name, s in scales.items()})}
    )
    return Job(
        network=content_sha256(network),
        profile=content_sha256(profile),
        data="" if data is None else digest_of(network, data),
        options=tuple(given.items()),
    )


def require_families(network: Network, profile: HardwareProfile) -> None:
    """`DoesNotFit` for the first population whose family the profile does not run."""
    for name, neuron in network.populations.items():
        if neuron.kind not in profile.neurons:
            raise DoesNotFit(
                f"profile {profile.name!r}: population {name!r}: the chip does not run neurons of kind "
                f"{neuron.kind!r}, only {', '.join(profile.neurons)}: choose another profile or neuron"
            )


def require_fit(network: QuantizedNetwork, profile: HardwareProfile) -> MappedNetwork:
    """Map onto the profile's cores; `DoesNotFit` names the first limit that is exceeded, and by how much."""
    mapped = map_network(network, profile)
    if not mapped.fits:
        more = f" ({len(mapped.problems) - 1} more)" if len(mapped.problems) > 1 else ""
        raise DoesNotFit(f"profile {profile.name!r}: {mapped.problems[0]}{more}")
    return mapped


def run(
    network: QuantizedNetwork,
    data: Samples,
    backend: str = "auto",
    trace: str = "none",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Recording:
    """Run a quantized network on samples, in memory.

    Parameters
    ----------
    data : path, SampleFile, Data or arrays
    backend : name of a backend
    trace : {"none", "spikes", "states"}
    threads : int, optional
        Most threads that run samples; by default one per processor.
    on_progress : callable
        Called with the number of samples done, and that of all.
    """
    samples = _data(data, network).first(None)
    recording = run_data(network, samples, backend, trace, threads, _counting(on_progress, samples.samples))
    return replace(recording, inputs_sha256=digest_of(network, samples))


def simulate(
    model: Model,
    data: Samples,
    output: str | Path,
    backend: str = "auto",
    trace: str = "none",
    samples: int | None = None,
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Simulated:
    """Run a model on samples and write the recording as it is made, as a whole or not at all.

    Neither the samples nor the recording have to fit in memory.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data or arrays
    output : path of the recording, which ends with ``.h5``
    samples : int, optional
        How many samples are run, from the first one on.
    backend, trace, threads, on_progress : as for `run`
    """
    require_writable(output, *[path for path in (model, data) if isinstance(path, (str, Path))])
    require_suffix(output, ".h5")
    check_samples(samples)
    find_backend(backend)
    require_threads(backend, threads)
    network = _model(model)
    source = _data(data, network).limited(samples)
    advance = _counting(on_progress, source.samples)
    totals = simulate_into(output, network, source, backend, trace, threads, advance)
    return Simulated(network, totals, source.others)


def verify(
    model: Model,
    data: Samples,
    against: str | Sequence[str] = ("lava",),
    floats: Floats | None = None,
    samples: int | None = None,
    require: bool = True,
    recording: str | Path | Recording | None = None,
    dt: float | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Compare the reference with other backends, and the integer network with the float one.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data or arrays
        Of a file, what is not compared value by value is read chunk by chunk.
    against : names of backends, or one name
    floats : path, Network or another object that `load` takes, optional
        The float network, for float accuracy, spike agreement and signal-to-noise ratios.
    samples : int, optional
        How many samples are compared value by value. Accuracies are over all; no sample runs twice in one backend.
    require : bool
        If Lava cannot run: raise `LavaUnavailable` (True), or say so in the result (False).
    recording : path or Recording, optional
        A run of the model on the samples. It takes the place of a run for the accuracies and, if all states were
        traced, of that in its backend.
    dt : float, optional
        Seconds per step of `floats`, if the file holds none.
    """
    check_samples(samples)
    against = _names(against)
    network = _model(model)
    source = _data(data, network)
    origin = _floats(floats, model, network, dt)
    recorded = None if recording is None else _recorded(recording, network, source, data)
    source = source if recorded is None else source.limited(recorded.samples)
    part = source.first(samples)
    work = _Work(on_progress, _verify_work(source, part, against, recorded))
    expected = _traced(network, part, "reference", recorded, work)
    comparisons, missing = _compared(expected, network, part, against, require, recorded, work)
    totals = _completed(expected, network, part, source, work) if recorded is None else recorded.totals(source.labels)
    return Verification(
        comparisons=tuple(comparisons),
        accuracy=_accuracies(source, totals, origin),
        overflows=overflows(network, totals),
        agreement=None if origin is None else _agreement(origin, part, network, expected),
        not_verified=missing,
    )


def report(
    model: Model,
    data: Samples,
    profile: str | HardwareProfile | None = None,
    floats: Floats | None = None,
    verification: Verification | None = None,
    recording: str | Path | Recording | Totals | None = None,
    dt: float | None = None,
    output: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Report metrics, energy and use of the chip per layer, of a run on samples.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    data : path, SampleFile, Data or arrays
        A file is read and run chunk by chunk.
    profile : name, path or HardwareProfile, optional
        The target; the one that the model was quantized for if left out.
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
    """
    if output is not None:
        writer_for(output)
        paths = [path for path in (model, data, floats, profile, recording) if isinstance(path, (str, Path))]
        require_writable(output, *paths)
    network = _model(model)
    target = _target(network, profile)
    source = _data(data, network)
    origin = _floats(floats, model, network, dt)
    totals = _report_totals(network, source, data, recording, _counting(on_progress, source.samples))
    figures = verification.accuracy if verification else _accuracies(source, totals, origin)
    job = Job(model_sha256(network), content_sha256(target), totals.inputs_sha256)
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
    recorded = _recorded(recording, network, source, given)
    return recorded.totals(source.limited(recorded.samples).labels)


def _model(model: Model) -> QuantizedNetwork:
    return model if isinstance(model, QuantizedNetwork) else read(model)


def _data(data: Samples, network: Network | QuantizedNetwork) -> SampleFile | Data:
    if isinstance(data, (SampleFile, Data)):
        return data
    return open_data(data, network.input, classes=network.populations[network.output].output_size)


def _floats(floats: Floats | None, model: Model, network: QuantizedNetwork, dt: float | None) -> Network | None:
    if floats is None:
        if dt is not None:
            raise BadOption(f"--dt {dt}: is the time step of --checkpoint: leave it out, or give both")
        return None
    if not isinstance(floats, (str, Path)):
        found = load(floats, dt=dt)
        require_origin(network, found)
        return found
    return load_origin(floats, model if isinstance(model, (str, Path)) else None, network, dt)


def _target(network: QuantizedNetwork, profile: str | HardwareProfile | None) -> HardwareProfile:
    if profile is None and network.profile not in profile_names():
        raise BadOption(
            f"the model was quantized for profile {network.profile!r}, which is not installed: give --profile FILE"
        )
    chosen = network.profile if profile is None else profile
    return load_profile(chosen) if isinstance(chosen, str) else chosen


def _recorded(
    recording: str | Path | Recording, network: QuantizedNetwork, source: SampleFile | Data, given: Samples
) -> Recorded:
    """Return a recording that may take the place of a run; refuse that of another model or of other samples."""
    recorded = Recorded.of(recording)
    name = str(given) if isinstance(given, (str, Path)) else "the data"
    recorded.require(model_sha256(network), digest_of(network, source.limited(recorded.samples)), name)
    return recorded


class _Work:
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


def _counting(on_progress: Progress | None, total: int) -> Callable[[int], object] | None:
    return _Work(on_progress, total).next(total)


def _verify_work(source: SampleFile | Data, part: Data, against: Sequence[str], recorded: Recorded | None) -> int:
    """Return how many samples `verify` runs in all."""
    backends = [name for name in ("reference", *against) if not _is_held(recorded, name)]
    rest = source.samples - part.samples if recorded is None else 0
    return part.samples * len(backends) + rest


def _is_held(recorded: Recorded | None, backend: str) -> bool:
    return recorded is not None and recorded.has_states and recorded.backend == backend


def _compared(
    expected: Recording,
    network: QuantizedNetwork,
    part: Data,
    against: Sequence[str],
    require: bool,
    recorded: Recorded | None,
    work: _Work,
) -> tuple[list[Comparison], str | None]:
    """Compare with each backend; also return why Lava could not run, unless it is required."""
    found, missing = [], None
    for name in against:
        try:
            found.append(compare(expected, _traced(network, part, name, recorded, work)))
        except LavaUnavailable as error:
            if require:
                raise
            missing = str(error)
    return found, missing


def _completed(
    expected: Recording, network: QuantizedNetwork, part: Data, source: SampleFile | Data, work: _Work
) -> Totals:
    """Return the sums over all samples: of those that ran with all states, and of a run of the others."""
    totals = totals_of(network, part, expected)
    if part.samples < source.samples:
        totals += run_totals(network, source.after(part.samples), on_progress=work.next(source.samples))
    return totals


def _traced(network: QuantizedNetwork, part: Data, backend: str, recorded: Recorded | None, work: _Work) -> Recording:
    """Return the run of a backend with all states, from the recording if it is that run."""
    if recorded is not None and _is_held(recorded, backend):
        return recorded.first(part.samples)
    return run_data(network, part, backend, "states", on_progress=work.next(part.samples))


def _agreement(floats: Network, data: Data, network: QuantizedNetwork, recording: Recording) -> dict[str, Agreement]:
    """Compare with the float network in the same form of windows."""
    if any(neuron.send_once for neuron in network.populations.values()):
        floats, _ = send_once(floats)
    values = floats.input.format.dequantize(data.codes)
    return agree(floats, run_float(floats, values, trace=True, lengths=data.lengths), network, recording)


def _names(against: str | Sequence[str]) -> list[str]:
    """Return the backends to compare with, each once."""
    names = [against] if isinstance(against, str) else list(dict.fromkeys(against))
    _refuse_itself(names)
    return names


def _refuse_itself(against: Sequence[str]) -> None:
    """Refuse a comparison of the reference with itself: it could not fail."""
    found = {name: find_backend(name) for name in against}
    for name, module in found.items():
        if module in (find_backend("reference"), find_backend("auto")):
            raise BadOption(
                f"backend {name!r} is the reference, or may choose it, and verifies nothing: "
                "give --against lava, or compiled"
            )


def _accuracies(source: Data | SampleFile, totals: Totals, floats: Network | None) -> dict[str, float | None]:
    known = None if floats is None else float_correct(floats, source.limited(totals.samples))
    return {"float": None if known is None else known / totals.samples, "quantized": totals.accuracy}
