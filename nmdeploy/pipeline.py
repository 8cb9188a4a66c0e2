"""The chain that the command line calls: load, quantize, export, run, simulate, verify, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nmdeploy._util.atomic_files import require_suffix, require_writable
from nmdeploy._util.digests import content_sha256
from nmdeploy.analysis import diagnosis
from nmdeploy.analysis.accuracy import accuracies, chance_warnings
from nmdeploy.analysis.comparison import Agreement, Comparison, Verification, agree, compare
from nmdeploy.analysis.diagnosis import Diagnosis
from nmdeploy.analysis.expectation import Expected, with_expected
from nmdeploy.analysis.metrics import overflows
from nmdeploy.analysis.provenance import as_exported, load_origin, require_origin, with_input_of
from nmdeploy.analysis.report import Report, build_report
from nmdeploy.backends import backend as find_backend
from nmdeploy.checking import Check, check_source
from nmdeploy.errors import BadOption, LavaUnavailable, prefix_errors
from nmdeploy.hardware.mapping import MappedNetwork, map_network, require_families, require_fit
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names
from nmdeploy.importers import load, resolve, takes_sample
from nmdeploy.importers.network_file import save
from nmdeploy.importers.options import ReadOptions
from nmdeploy.importers.readings import doubt_of, with_reading
from nmdeploy.job import Job
from nmdeploy.network.expected import require_float, require_quantized
from nmdeploy.network.float_run import FloatRun, run_float
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.reading import kept_axes, range_remedy
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.scales import Scales
from nmdeploy.nir_io import model_sha256, read, write
from nmdeploy.quantization import post_training
from nmdeploy.quantization.assessment import Assessment, assess
from nmdeploy.quantization.calibration_checks import difference, require_bounded
from nmdeploy.quantization.cautions import activity_of, activity_warnings, distance_warnings, readout_snr
from nmdeploy.quantization.drives import NO_DRIVES, Drives, choose_drives
from nmdeploy.quantization.effects import samples_within
from nmdeploy.quantization.input_format import choose_input
from nmdeploy.quantization.population_runs import record_arrivals
from nmdeploy.quantization.post_training import quantize_network, with_synapse_scales
from nmdeploy.quantization.row_scales import refined_scales
from nmdeploy.quantization.window_input import FORMS, send_once
from nmdeploy.quantization.without_data import quantize_without_data
from nmdeploy.recording.recorded import Recorded
from nmdeploy.recording.types import Recording, Totals
from nmdeploy.reports import emit, writer_for
from nmdeploy.running import (
    chance_notes,
    classes_of,
    digest_of,
    float_correct,
    require_channels,
    require_threads,
    run_data,
    run_totals,
    simulate_into,
    totals_of,
)
from nmdeploy.samples.axes import axes_note
from nmdeploy.samples.source import Arrays, Data, SampleFile, check_samples, load_data, open_data, raw_inputs

__all__ = [
    "Data",
    "Expected",
    "FloatRun",
    "Job",
    "Verification",
    "check",
    "check_samples",
    "choose_scales",
    "diagnose",
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
    "save",
    "simulate",
    "verify",
    "write",
]

Model = str | Path | QuantizedNetwork
Floats = Any
"""A path, a Network, or an object that `load` takes."""
Samples = str | Path | SampleFile | Data | Arrays
"""A path, samples that were read, inputs as an array or a tensor, or what a file holds as a mapping."""
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
    """The result of `export`: the integers, their place on the chip, notes for the user, the job, and the losses."""

    network: QuantizedNetwork
    mapped: MappedNetwork
    notes: tuple[str, ...]
    job: Job
    assessment: Assessment


@dataclass(frozen=True)
class Simulated:
    """A run that `simulate` recorded: the network, the sums of the run, and names of arrays that were not read."""

    network: QuantizedNetwork
    totals: Totals
    others: tuple[str, ...]


def quantize(
    network: Network,
    profile: str | Path | HardwareProfile = "loihi2",
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
    data : path, SampleFile, Data, array, tensor or mapping, optional
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
    require_float(network, "quantize")
    target = _profile(profile)
    network = network if network.read_as else with_reading(network, "a network built in Python")
    network, data = _calibration(network, data, target)
    if window_input == "scaled":
        approximate, notes = send_once(network)
        scaled = quantize(approximate, target, data, options, scales=scales)
        if data is not None:
            notes += difference(quantize(network, target, data, options), scaled, data)
        return replace(scaled, notes=(*scaled.notes, *notes))
    config = target.quantization_config(**vars(options))
    if scales is None and data is None:
        return quantize_without_data(network, config, target.name)
    said: tuple[str, ...] = ()
    if scales is None:
        scales, said = _chosen_scales(network, config, data)
    quantized = quantize_network(network, config, scales=scales, profile=target.name)
    quantized = replace(quantized, notes=(*quantized.notes, *said))
    return quantized if data is None else require_bounded(quantized, data)


def choose_scales(
    network: Network,
    profile: str | Path | HardwareProfile = "loihi2",
    data: Samples | None = None,
    options: FormatOverrides = FormatOverrides(),
) -> dict[str, Scales]:
    """Return the scales of every population and synapse, by name, and round nothing; parameters as for `quantize`."""
    require_float(network, "choose_scales")
    target = _profile(profile)
    config = target.quantization_config(**vars(options))
    network, calibration = _calibration(network, data, target)
    return _chosen_scales(network, config, calibration)[0]


def _chosen_scales(
    network: Network, config: QuantizationConfig, data: Data | None
) -> tuple[dict[str, Scales], tuple[str, ...]]:
    """Return the scales of every population and synapse, and lines on what the data decided."""
    if data is None:
        return post_training.choose_scales(network, config), ()
    drives = _calibrated(network, data)
    scales = post_training.choose_scales(network, config, drives.ranges, drives.factors)
    part = data.first(samples_within(network, data.samples, data.steps))
    arrivals = record_arrivals(network, network.input.format.dequantize(part.codes), part.lengths)
    assert drives.ranges is not None
    refined, notes = refined_scales(network, scales, drives.ranges, config, arrivals)
    return with_synapse_scales(network, refined, config), (*drives.notes, *notes)


def _calibration(
    network: Network, data: Samples | None, target: HardwareProfile, reading: ReadOptions = ReadOptions()
) -> tuple[Network, Data | None]:
    """Return the network with the format of its input, which the data may choose, and the data in memory."""
    source = None if data is None else _data(data, network, reading.axes)
    network, source = choose_input(network, source, target, reading)
    return network, None if source is None else source.first(None)


def _calibrated(network: Network, data: Data | None) -> Drives:
    """Return what the data say: the ranges, and the drives of populations whose decays are rounded."""
    if data is None:
        return NO_DRIVES
    require_channels(network, data)
    inputs = network.input.format.dequantize(data.codes)
    return choose_drives(network, inputs, data.lengths)


def export(
    source: Floats,
    output: str | Path,
    profile: str | Path | HardwareProfile = "loihi2",
    data: Samples | None = None,
    options: FormatOverrides = FormatOverrides(),
    window_input: str = "exact",
    dt: float | None = None,
    scales: Mapping[str, Scales] | None = None,
    reading: ReadOptions = ReadOptions(),
    expected: Expected = Expected(),
) -> Exported:
    """Quantize a network for a target, check that it fits, and write the model file.

    Parameters
    ----------
    source : path of a checkpoint or NIR graph, a Network, or another object that `load` takes
    output : path of the model file, which ends with ``.nir``
    profile : name, path or HardwareProfile
    data : path, SampleFile, Data, array, tensor or mapping, optional
        Calibration samples; without them scales are static worst-case bounds.
    options, window_input, scales : as for `quantize`
    dt : seconds per step, if the source holds none
    reading : ReadOptions;  expected : Expected
        What the source cannot say itself; its outputs or accuracy, which the float network must have on the data.

    Raises
    ------
    ImportDiffers
        The float network computes something else than its source, or than was expected.
    DoesNotFit
        The target does not run a neuron, or the network exceeds one of its limits.
    BadFile, BadData, BadOption, UnsupportedParameter, OverflowPossible
        One line that names the file, the object, the limit and the remedy. Nothing was written.
    """
    paths = [path for path in (source, data) if isinstance(path, (str, Path))]
    require_writable(output, *paths)
    require_suffix(output, ".nir")
    reading = reading if dt is None else replace(reading, dt=dt)
    conversion = _Conversion.of(profile, data, options, window_input, reading, expected, scales)
    network, calibration = conversion.prepared(conversion.load(resolve(source, reading)))
    name, doubt = str(source) if isinstance(source, (str, Path)) else "the network", doubt_of(network)
    with prefix_errors(f"{name}: {doubt}" if doubt else name):
        require_families(network, conversion.profile)
        quantized = conversion.quantize(network, calibration)
        mapped = require_fit(map_network(quantized, conversion.profile))
    assessment = conversion.assess(network, quantized, calibration)
    notes = (*_notes(network, quantized, assessment, calibration), *write(quantized, output))
    job = _export_job(network, conversion.profile, calibration, options, window_input, scales)
    return Exported(quantized, mapped, notes, job, assessment)


def _notes(network: Network, quantized: QuantizedNetwork, assessment: Assessment, data: Data | None) -> tuple[str, ...]:
    """Return a line for all that the user should know of a model and of how its source was read."""
    read_as = quantized.read_as
    notes = (*(read_as.warnings if read_as else ()), *quantized.notes, *assessment.warnings, *quantized.readout_notes)
    return (*notes, *(() if data is None else axes_note(read_as)), *chance_notes(network, quantized, data))


def check(
    source: Floats,
    profile: str | HardwareProfile = "loihi2",
    dt: float | None = None,
    data: Samples | None = None,
    options: FormatOverrides = FormatOverrides(),
    window_input: str = "exact",
    reading: ReadOptions = ReadOptions(),
    expected: Expected = Expected(),
) -> Check:
    """Check every node of a network as `export` would convert it: deployable, with which loss, or why not.

    Nothing is written. Parameters are those of `export`; `source` may also be a model file, which takes no options.
    Where an export needs calibration data and `data` is left out, the check says so and judges the rest.
    """
    reading = reading if dt is None else replace(reading, dt=dt)
    return check_source(source, reading, _Conversion.of(profile, data, options, window_input, reading, expected))


@dataclass(frozen=True)
class _Conversion:
    """The path of `export` from a float network to integers, which `check` takes too."""

    profile: HardwareProfile
    data: Samples | None
    options: FormatOverrides
    window_input: str
    reading: ReadOptions
    expected: Expected
    scales: Mapping[str, Scales] | None = None

    @classmethod
    def of(cls, profile: str | Path | HardwareProfile, *how: Any) -> _Conversion:
        made = cls(_profile(profile), *how)
        _ = made.config
        return made

    @property
    def config(self) -> QuantizationConfig:
        """Formats of the integers; `BadOption` for one that the profile does not have."""
        return self.profile.quantization_config(**vars(self.options))

    @property
    def is_default(self) -> bool:
        """True if nothing was chosen but the profile."""
        return self.data is None and self.options == FormatOverrides() and self.window_input == "exact"

    def load(self, source: Floats) -> Network:
        """Return the float network of a source; a module runs on the samples as given."""
        network = load(source, raw_inputs(self.data) if takes_sample(source) else None, options=self.reading)
        return network if network.read_as else with_reading(network, "a network built in Python")

    def prepared(self, network: Network) -> tuple[Network, Data | None]:
        """Return the network with the format of its input and what was expected, and the samples, if there are some."""
        network, data = _calibration(network, self.data, self.profile, self.reading)
        return with_expected(network, data, self.expected), data

    def quantize(self, network: Network, data: Data | None) -> QuantizedNetwork:
        return quantize(network, self.profile, data, self.options, self.window_input, self.scales)

    def assess(self, network: Network, quantized: QuantizedNetwork, data: Data | None) -> Assessment:
        return assess(_in_form_of(quantized, network), quantized, data)


def _loaded(
    source: Floats, data: Samples | None, dt: float | None, reading: ReadOptions, expected: Expected
) -> tuple[Network, Data | None]:
    """Return the network of a source, compared with what is known of it, and the data."""
    source = resolve(source, reading)
    network = load(source, raw_inputs(data) if takes_sample(source) else None, dt=dt, options=reading)
    calibration = _data(data, network).first(None) if data is not None else None
    return with_expected(network, calibration, expected), calibration


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
    network = _model(model)
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
    network = _model(model)
    source = _data(data, network, axes).limited(samples)
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
    axes: str | None = None,
) -> Verification:
    """Compare the reference with other backends, and the integer network with the float one.

    Parameters
    ----------
    model, data, dt, axes : as for `report`
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
    """
    check_samples(samples)
    against, network = _names(against), _model(model)
    source = _data(data, network, axes)
    origin = _floats(floats, model, network, dt)
    recorded = None if recording is None else _recorded(recording, network, source, data)
    source = source if recorded is None else source.limited(recorded.samples)
    part = source.first(samples)
    work = _Work(on_progress, _verify_work(source, part, against, recorded))
    expected = _traced(network, part, "reference", recorded, work)
    comparisons, missing = _compared(expected, network, part, against, require, recorded, work)
    totals = _completed(expected, network, part, source, work) if recorded is None else recorded.totals(source.labels)
    agreement, snr_db = _agreement(origin, part, network, expected)
    figures = _accuracies(source, totals, origin)
    return Verification(
        comparisons=tuple(comparisons),
        accuracy=figures,
        warnings=_warnings(figures, network, totals, snr_db),
        overflows=overflows(network, totals),
        agreement=agreement,
        not_verified=missing,
        read_as=network.read_as,
    )


def _warnings(
    figures: Mapping[str, Any], network: QuantizedNetwork, totals: Totals, snr_db: float | None
) -> tuple[str, ...]:
    """Return a line for each result that makes no sense."""
    active = activity_warnings(network, activity_of(totals), totals.valid_steps)
    return (*chance_warnings(figures, classes_of(network)), *active, *distance_warnings(snr_db))


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
    network = _model(model)
    part = _data(data, network).first(samples)
    origin = _floats(floats, model, network, dt)
    if origin is not None and any(neuron.send_once for neuron in network.populations.values()):
        origin, _ = send_once(origin)
    recording = run_data(network, part, "auto", "states", on_progress=_counting(on_progress, part.samples))
    return diagnosis.diagnose(network, recording, part, origin)


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
    axes : {"NTC", "TNC", "NCT"}, optional
        Order of the axes of the data; that of the export if left out.
    """
    if output is not None:
        writer_for(output)
        paths = [path for path in (model, data, floats, profile, recording) if isinstance(path, (str, Path))]
        require_writable(output, *paths)
    network = _model(model)
    target = _target(network, profile)
    source = _data(data, network, axes)
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
    if isinstance(model, (str, Path)):
        return read(model)
    require_quantized(model, "model")
    return model


def _profile(profile: str | Path | HardwareProfile) -> HardwareProfile:
    return profile if isinstance(profile, HardwareProfile) else load_profile(str(profile))


def _data(data: Samples, network: Network | QuantizedNetwork, axes: str | None = None) -> SampleFile | Data:
    """Return samples for a network; their axes are those of its source's options, unless `axes` says others."""
    if isinstance(data, (SampleFile, Data)):
        return data
    classes = network.populations[network.output].output_size
    return open_data(data, network.input, classes, axes or kept_axes(network.read_as), range_remedy(network.read_as))


def _floats(floats: Floats | None, model: Model, network: QuantizedNetwork, dt: float | None) -> Network | None:
    if floats is None:
        if dt is not None:
            raise BadOption(f"--dt {dt}: is the time step of --checkpoint: leave it out, or give both")
        return None
    if not isinstance(floats, (str, Path)):
        found = with_input_of(load(floats, dt=dt, options=as_exported(network, ReadOptions())), network)
        require_origin(network, found)
        return found
    return load_origin(floats, model if isinstance(model, (str, Path)) else None, network, dt)


def _target(network: QuantizedNetwork, profile: str | Path | HardwareProfile | None) -> HardwareProfile:
    if profile is None and network.profile not in profile_names():
        raise BadOption(
            f"the model was quantized for profile {network.profile!r}, which is not installed: give --profile FILE"
        )
    return _profile(network.profile if profile is None else profile)


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


def _agreement(
    floats: Network | None, data: Data, network: QuantizedNetwork, recording: Recording
) -> tuple[dict[str, Agreement] | None, float | None]:
    """Compare with the float network, on the inputs as given, in the same form of windows.

    Also return the readout's signal-to-noise ratio.
    """
    if floats is None:
        return None, None
    floats = _in_form_of(network, floats)
    values = data.as_values(floats.input.format)
    found = run_float(floats, values, trace=True, lengths=data.lengths)
    snr_db = readout_snr(floats, found.output, network, recording.output, data.lengths)
    return agree(floats, found, network, recording), snr_db


def _in_form_of(quantized: QuantizedNetwork, network: Network) -> Network:
    """Return the float network with the form of windows that its integers have."""
    return send_once(network)[0] if any(n.send_once for n in quantized.populations.values()) else network


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


def _accuracies(source: Data | SampleFile, totals: Totals, floats: Network | None) -> dict[str, Any]:
    known = None if floats is None else float_correct(floats, source.limited(totals.samples))
    return accuracies(totals.samples, totals.correct, known)
