"""The chain: load, quantize, write and read, run, verify, report. The command line calls these functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nmdeploy.analysis.comparison import Agreement, Verification, agree, compare
from nmdeploy.analysis.metrics import overflows
from nmdeploy.analysis.provenance import load_origin, require_origin
from nmdeploy.analysis.report import Report, build_report
from nmdeploy.backends import backend as find_backend
from nmdeploy.errors import BadOption, DoesNotFit, LavaUnavailable
from nmdeploy.hardware.mapping import MappedNetwork, map_network
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names
from nmdeploy.importers import load
from nmdeploy.network.float_run import FloatRun, run_float
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.nir_io import model_sha256, read, write
from nmdeploy.quantization.calibration_checks import difference, require_bounded
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.quantization.window_input import FORMS, send_once
from nmdeploy.recording.types import Recording, Totals
from nmdeploy.running import (
    Progress,
    float_accuracy,
    offset_progress,
    require_channels,
    run_data,
    run_totals,
    simulate,
    totals_of,
)
from nmdeploy.samples.source import Data, SampleFile, check_samples, load_data, open_data

__all__ = [
    "Data",
    "FloatRun",
    "Verification",
    "check_samples",
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


@dataclass(frozen=True)
class FormatOverrides:
    """What a user may override of a profile's formats; None leaves the profile's."""

    weight_bits: int | None = None
    state_bits: int | None = None
    coefficient_bits: int | None = None
    coefficient_frac: int | None = None
    state_rounding: str | None = None


def quantize(
    network: Network,
    profile: str | HardwareProfile = "loihi2",
    data: Data | None = None,
    options: FormatOverrides = FormatOverrides(),
    window_input: str = "exact",
) -> QuantizedNetwork:
    """Integers for a float network, in the profile's formats.

    Parameters
    ----------
    network : Network
    profile : name, path or HardwareProfile
    data : Data, optional
        Calibration samples; without them scales are static worst-case bounds.
    options : FormatOverrides
        Overrides of the profile's formats.
    window_input : {"exact", "scaled"}
        How what receives a window's output keeps it: in a register, or approximately, by a scaled input.
    """
    if window_input not in FORMS:
        raise BadOption(f"window input {window_input!r} does not exist: choose one of {', '.join(FORMS)}")
    target = load_profile(profile) if isinstance(profile, str) else profile
    if window_input == "scaled":
        approximate, notes = send_once(network)
        scaled = quantize(approximate, target, data, options)
        if data is not None:
            notes += difference(quantize(network, target, data, options), scaled, data)
        return replace(scaled, notes=(*scaled.notes, *notes))
    config = target.quantization_config(**vars(options))
    ranges = None
    if data is not None:
        require_channels(network, data)
        ranges = calibrate(network, network.input.format.dequantize(data.codes), data.lengths)
    quantized = quantize_network(network, config, ranges=ranges, profile=target.name)
    return quantized if data is None else require_bounded(quantized, data)


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
    data: Data,
    backend: str = "auto",
    trace: str = "none",
    on_progress: Progress | None = None,
) -> Recording:
    """Run a quantized network on samples.

    Parameters
    ----------
    backend : name of a backend
    trace : {"none", "spikes", "states"}
    on_progress : callable
        Called with the number of samples done.
    """
    recording = run_data(network, data, backend, trace, on_progress)
    return replace(recording, model_sha256=model_sha256(network))


def verify(
    network: QuantizedNetwork,
    data: Data | SampleFile,
    against: str | Sequence[str] = ("lava",),
    floats: Network | None = None,
    samples: int | None = None,
    require: bool = True,
    recording: Recording | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Compare the reference with other backends, and the integer network with the float one.

    Parameters
    ----------
    data : Data or SampleFile
        Of a SampleFile, what is not compared value by value is read chunk by chunk.
    against : names of backends, or one name
    floats : Network, optional
        The float network, for float accuracy, spike agreement and signal-to-noise ratios.
    samples : int, optional
        How many samples are compared value by value; accuracies are over all.
    require : bool
        If Lava cannot run: raise `LavaUnavailable` (True), or say so in the result (False).
    recording : Recording, optional
        A run of the network on all of `data`, if there is one already.
    """
    check_samples(samples)
    against = [against] if isinstance(against, str) else list(dict.fromkeys(against))
    _refuse_itself(against)
    if floats is not None:
        require_origin(network, floats)
    part = data.first(samples)
    expected = run_data(network, part, "reference", "states", on_progress)
    comparisons, missing, done = [], None, part.samples
    for name in against:
        try:
            candidate = run_data(network, part, name, "states", offset_progress(on_progress, done))
            comparisons.append(compare(expected, candidate))
            done += part.samples
        except LavaUnavailable as error:
            if require:
                raise
            missing = str(error)
    whole = _totals(network, data, recording, offset_progress(on_progress, done))
    return Verification(
        comparisons=tuple(comparisons),
        accuracy=_accuracies(data, whole, floats),
        overflows=overflows(network, whole),
        agreement=None if floats is None else _agreement(floats, part, network, expected),
        not_verified=missing,
    )


def _agreement(floats: Network, data: Data, network: QuantizedNetwork, recording: Recording) -> dict[str, Agreement]:
    """Against the float network in the same form of windows."""
    if any(getattr(neuron, "send_once", False) for neuron in network.populations.values()):
        floats, _ = send_once(floats)
    values = floats.input.format.dequantize(data.codes)
    return agree(floats, run_float(floats, values, trace=True, lengths=data.lengths), network, recording)


def verify_work(data: Data | SampleFile, against: Sequence[str], samples: int | None) -> int:
    """Samples that `verify` runs in all, for a progress bar: compared ones in each backend, then all once more."""
    compared = data.samples if samples is None else min(samples, data.samples)
    return compared * (1 + len(against)) + data.samples


def _refuse_itself(against: Sequence[str]) -> None:
    """Refuse a comparison of the reference with itself: it could not fail."""
    for name in against:
        if find_backend(name) in (find_backend("reference"), find_backend("auto")):
            raise BadOption(
                f"backend {name!r} is the reference itself, or may choose it: nothing would be verified: "
                "give --against lava, or compiled"
            )


def _totals(
    network: QuantizedNetwork, data: Data | SampleFile, recording: Recording | None, on_progress: Progress | None
) -> Totals:
    if recording is None:
        return run_totals(network, data, on_progress=on_progress)
    return totals_of(network, data, recording)


def _accuracies(data: Data | SampleFile, totals: Totals, floats: Network | None) -> dict[str, float | None]:
    return {"float": None if floats is None else float_accuracy(floats, data), "quantized": totals.accuracy}


def report(
    network: QuantizedNetwork,
    data: Data | SampleFile,
    profile: str | HardwareProfile | None = None,
    floats: Network | None = None,
    verification: Verification | None = None,
    recording: Recording | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Per-layer metrics, energy and utilization of a run on samples.

    Parameters
    ----------
    data : Data or SampleFile
        A SampleFile is read and run chunk by chunk.
    profile : name, path or HardwareProfile, optional
        The target; the one that the model was quantized for if left out.
    floats : Network, optional
        The float network, for its accuracy.
    verification : Verification, optional
        A result to include; its accuracies are taken over.
    recording : Recording, optional
        A run of the network on `data`, if there is one already.
    """
    chosen = network.profile if profile is None else profile
    if profile is None and chosen not in profile_names():
        raise BadOption(f"the model was quantized for profile {chosen!r}, which is not installed: give --profile FILE")
    if floats is not None:
        require_origin(network, floats)
    target = load_profile(chosen) if isinstance(chosen, str) else chosen
    held = _totals(network, data, recording, on_progress)
    figures = verification.accuracy if verification else _accuracies(data, held, floats)
    return build_report(network, held, target, map_network(network, target), figures, verification)
