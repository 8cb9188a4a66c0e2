"""From a float network to integers, a model file, or a verdict: `quantize`, `export` and `check` take one path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nmdeploy._util.atomic_files import require_suffix, require_writable
from nmdeploy._util.digests import content_sha256
from nmdeploy._util.memory import require_memory
from nmdeploy._util.stages import stage
from nmdeploy.analysis.expectation import Expected, with_expected
from nmdeploy.checking import Check, check_source
from nmdeploy.errors import BadOption, prefix_errors
from nmdeploy.hardware.mapping import MappedNetwork, map_network, require_families, require_fit
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.importers import load, resolve, takes_sample
from nmdeploy.importers.readings import BUILT, doubt_of, with_reading
from nmdeploy.job import Job
from nmdeploy.network.expected import require_float
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.scales import Scales
from nmdeploy.nir_io import write
from nmdeploy.pipeline.arguments import Floats, Progress, Samples, samples_of
from nmdeploy.pipeline.origin import in_form_of
from nmdeploy.pipeline.target import profile_of
from nmdeploy.quantization import post_training
from nmdeploy.quantization.assessment import Assessment, assess
from nmdeploy.quantization.calibration_checks import difference, require_bounded
from nmdeploy.quantization.drives import Drives, choose_drives
from nmdeploy.quantization.effects import samples_within
from nmdeploy.quantization.input_format import choose_input
from nmdeploy.quantization.population_runs import record_arrivals
from nmdeploy.quantization.post_training import quantize_network, with_synapse_scales
from nmdeploy.quantization.row_scales import refined_scales
from nmdeploy.quantization.window_input import FORMS, send_once
from nmdeploy.quantization.without_data import quantize_without_data
from nmdeploy.running import chance_notes, digest_of, require_channels
from nmdeploy.samples.axes import axes_note
from nmdeploy.samples.source import Data, raw_inputs

FLOAT_BYTES = 8


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


def quantize(
    network: Network,
    profile: str | Path | HardwareProfile = "loihi2",
    data: Samples | None = None,
    options: FormatOverrides = FormatOverrides(),
    window_input: str = "exact",
    scales: Mapping[str, Scales] | None = None,
    on_progress: Progress | None = None,
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
    on_progress : callable, optional
        Called with the number of populations whose scales were chosen, and that of all.
    """
    if window_input not in FORMS:
        raise BadOption(f"window input {window_input!r} does not exist: choose one of {', '.join(FORMS)}")
    require_float(network, "quantize")
    target = profile_of(profile)
    network = network if network.read_as else with_reading(network, BUILT)
    network, data = _calibration(network, data, target)
    if window_input == "scaled":
        approximate, notes = send_once(network)
        scaled = quantize(approximate, target, data, options, scales=scales, on_progress=on_progress)
        if data is not None:
            notes += difference(quantize(network, target, data, options), scaled, data)
        return replace(scaled, notes=(*scaled.notes, *notes))
    config = target.quantization_config(**vars(options))
    if scales is None and data is None:
        return quantize_without_data(network, config, target.name)
    said: tuple[str, ...] = ()
    if scales is None:
        scales, said = _chosen_scales(network, config, data, on_progress)
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
    target = profile_of(profile)
    config = target.quantization_config(**vars(options))
    network, calibration = _calibration(network, data, target)
    return _chosen_scales(network, config, calibration)[0]


def _chosen_scales(
    network: Network, config: QuantizationConfig, data: Data | None, on_progress: Progress | None = None
) -> tuple[dict[str, Scales], tuple[str, ...]]:
    """Return the scales of every population and synapse, and lines on what the data decided."""
    if data is None:
        return post_training.choose_scales(network, config), ()
    drives = _calibrated(network, data)
    scales = post_training.choose_scales(network, config, drives.ranges, drives.factors)
    part = data.first(samples_within(network, data.samples, data.steps))
    arrivals = record_arrivals(network, network.input.format.dequantize(part.codes), part.lengths)
    assert drives.ranges is not None
    refined, notes = refined_scales(network, scales, drives.ranges, config, arrivals, on_progress)
    return with_synapse_scales(network, refined, config), (*drives.notes, *notes)


def _calibration(
    network: Network, data: Samples | None, target: HardwareProfile, reading: ReadOptions = ReadOptions()
) -> tuple[Network, Data | None]:
    """Return the network with the format of its input, which the data may choose, and the data in memory."""
    source = None if data is None else samples_of(data, network, reading.axes)
    network, source = choose_input(network, source, target, reading)
    return network, None if source is None else source.first(None)


def _calibrated(network: Network, data: Data) -> Drives:
    """Return what the data say: the ranges, and the drives of populations whose decays are rounded."""
    require_channels(network, data)
    require_memory(f"the calibration data as float64 ({data.samples:,} samples)", FLOAT_BYTES * data.codes.size)
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
    on_progress: Progress | None = None,
) -> Exported:
    """Quantize a network for a target, check that it fits, and write the model file.

    Parameters
    ----------
    source : path of a checkpoint or NIR graph, a Network, or another object that `load` takes
    output : path of the model file, which ends with ``.nir``
    profile, data, options, window_input, scales : as for `quantize`
    dt : seconds per step, if the source holds none
    reading : ReadOptions;  expected : Expected
        What the source cannot say itself; its outputs or accuracy, which the float network must have on the data.
    on_progress : called with the numbers of populations done, which count when quantized and when assessed, and in all

    Raises
    ------
    ImportDiffers
        The float network computes something else than its source, or than was expected.
    DoesNotFit
        The target does not run a neuron, or the network exceeds one of its limits.
    BadFile, BadData, BadOption, UnsupportedParameter, OverflowPossible
        One line that names the file, the object, the limit and the remedy. Nothing was written.
    """
    require_writable(output, *[path for path in (source, data) if isinstance(path, (str, Path))])
    require_suffix(output, ".nir")
    reading = reading if dt is None else replace(reading, dt=dt)
    conversion = Conversion.of(profile, data, options, window_input, reading, expected, scales, on_progress)
    with stage("read"):
        network, calibration = conversion.prepared(conversion.load(resolve(source, reading)))
    name, doubt = str(source) if isinstance(source, (str, Path)) else "the network", doubt_of(network)
    with prefix_errors(f"{name}: {doubt}" if doubt else name):
        quantized, mapped = _fitted(conversion, network, calibration)
    with stage("assess"):
        assessment = conversion.assess(network, quantized, calibration)
        notes = _notes(network, quantized, assessment, calibration)
    with stage("write"):
        notes = (*notes, *write(quantized, output))
    job = _export_job(network, conversion.profile, calibration, options, window_input, scales)
    return Exported(quantized, mapped, notes, job, assessment)


def _fitted(conversion: Conversion, network: Network, data: Data | None) -> tuple[QuantizedNetwork, MappedNetwork]:
    """Return the integers of a network and their place on the chip, which runs its families and has room."""
    require_families(network, conversion.profile)
    with stage("quantize"):
        quantized = conversion.quantize(network, data)
    with stage("map"):
        return quantized, require_fit(map_network(quantized, conversion.profile))


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
    on_progress: Progress | None = None,
) -> Check:
    """Check every node of a network as `export` would convert it: deployable, with which loss, or why not.

    Nothing is written. Parameters are those of `export`; `source` may also be a model file, which takes no options.
    Where an export needs calibration data and `data` is left out, the check says so and judges the rest.
    """
    reading = reading if dt is None else replace(reading, dt=dt)
    how = (data, options, window_input, reading, expected, None, on_progress)
    return check_source(source, reading, Conversion.of(profile, *how))


@dataclass(frozen=True)
class Conversion:
    """The path of `export` from a float network to integers, which `check` takes too."""

    profile: HardwareProfile
    data: Samples | None
    options: FormatOverrides
    window_input: str
    reading: ReadOptions
    expected: Expected
    scales: Mapping[str, Scales] | None = None
    on_progress: Progress | None = None

    @classmethod
    def of(cls, profile: str | Path | HardwareProfile, *how: Any) -> Conversion:
        made = cls(profile_of(profile), *how)
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
        return network if network.read_as else with_reading(network, BUILT)

    def prepared(self, network: Network) -> tuple[Network, Data | None]:
        """Return the network with the format of its input and what was expected, and the samples, if there are some."""
        network, data = _calibration(network, self.data, self.profile, self.reading)
        return with_expected(network, data, self.expected), data

    def quantize(self, network: Network, data: Data | None) -> QuantizedNetwork:
        return quantize(network, self.profile, data, self.options, self.window_input, self.scales, self._stage(0))

    def assess(self, network: Network, quantized: QuantizedNetwork, data: Data | None) -> Assessment:
        return assess(in_form_of(quantized, network), quantized, data, self._stage(1))

    def _stage(self, stage: int) -> Progress | None:
        """Return the progress of the first or the second of two stages over all populations."""
        on_progress = self.on_progress
        return None if on_progress is None else lambda done, total: on_progress(done + stage * total, 2 * total)


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
