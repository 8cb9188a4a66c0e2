"""The integers against other backends, and against the float network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nmdeploy._util.stages import stage
from nmdeploy.analysis.accuracy import chance_warnings
from nmdeploy.analysis.comparison import Agreement, Comparison, Verification, agree, compare
from nmdeploy.analysis.metrics import overflows
from nmdeploy.backends import backend as find_backend
from nmdeploy.engine.run.float_run import run_float_layers
from nmdeploy.errors import BadOption, LavaUnavailable
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.pipeline.arguments import (
    Floats,
    Model,
    Progress,
    Samples,
    Work,
    model_of,
    recorded_of,
    samples_of,
)
from nmdeploy.pipeline.origin import accuracies_of, floats_of, in_form_of
from nmdeploy.pipeline.piecewise import Kept, compare_samples, sample_runs
from nmdeploy.quantization.cautions import activity_of, activity_warnings, distance_warnings, readout_snr
from nmdeploy.recording.recorded import Recorded
from nmdeploy.recording.types import Recording, Totals
from nmdeploy.running import classes_of, piece_steps, run_data, run_totals, totals_of
from nmdeploy.samples.source import Data, SampleFile, check_samples


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
    model, data, dt, axes : as for `report`;  against : names of backends, or one name
    floats : path, Network or another object that `load` takes, optional
        The float network, for float accuracy, spike agreement and signal-to-noise ratios.
    samples : int, optional
        How many samples are compared value by value. Accuracies are over all; no sample runs twice in one backend.
    require : if Lava cannot run, raise `LavaUnavailable` (True), or say so in the result (False)
    recording : path or Recording, optional
        A run of the model on the samples. It takes the place of a run for the accuracies and, if all states were
        traced, of that in its backend.
    """
    check_samples(samples)
    with stage("read"):
        against, network = _names(against), model_of(model)
        source = samples_of(data, network, axes)
        origin = floats_of(floats, model, network, dt)
        recorded = None if recording is None else recorded_of(recording, network, source, data)
        source = source if recorded is None else source.limited(recorded.samples)
        part = source.first(samples)
    work = Work(on_progress, _verify_work(source, part, against, recorded))
    compared = _compared if piece_steps(network, part.steps, "states") is None else _compared_in_pieces
    expected, comparisons, missing = compared(network, part, against, require, recorded, work, _membranes(origin))
    totals = _completed(expected, network, part, source, work) if recorded is None else recorded.totals(source.labels)
    with stage("float network"):
        agreement, snr_db = _agreement(origin, part, network, expected)
        figures = accuracies_of(source, totals, origin)
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


def _verify_work(source: SampleFile | Data, part: Data, against: Sequence[str], recorded: Recorded | None) -> int:
    """Return how many samples `verify` runs in all."""
    backends = [name for name in ("reference", *against) if not _is_held(recorded, name)]
    rest = source.samples - part.samples if recorded is None else 0
    return part.samples * len(backends) + rest


def _is_held(recorded: Recorded | None, backend: str) -> bool:
    return recorded is not None and recorded.has_states and recorded.backend == backend


def _membranes(floats: Network | None) -> Kept:
    """Return the states that a comparison with the float network needs, by population."""
    return {} if floats is None else {name: (each.membrane_name,) for name, each in floats.populations.items()}


def _compared(
    network: QuantizedNetwork,
    part: Data,
    against: Sequence[str],
    require: bool,
    recorded: Recorded | None,
    work: Work,
    _kept: Kept,
) -> tuple[Recording, list[Comparison], str | None]:
    """Return the expected run, its comparison with each backend, and why Lava could not run, unless it is required."""
    expected = _traced(network, part, "reference", recorded, work)
    found, missing = [], None
    for name in against:
        try:
            found.append(compare(expected, _traced(network, part, name, recorded, work)))
        except LavaUnavailable as error:
            if require:
                raise
            missing = str(error)
    return expected, found, missing


def _compared_in_pieces(
    network: QuantizedNetwork,
    part: Data,
    against: Sequence[str],
    require: bool,
    recorded: Recorded | None,
    work: Work,
    kept: Kept,
) -> tuple[Recording, list[Comparison], str | None]:
    """Do as `_compared` does, for samples whose states are too many: the expected run has the states `kept` only."""
    steps = piece_steps(network, part.steps, "states")
    assert steps is not None
    runs, missing = {}, None
    for name in ("reference", *against):
        try:
            held = recorded if _is_held(recorded, name) else None
            runs[name] = sample_runs(network, part, name, steps, held)
        except LavaUnavailable as error:
            if require:
                raise
            missing = str(error)
    running = len([name for name in runs if not _is_held(recorded, name)])
    done = work.next(part.samples * running)
    advance = None if done is None else lambda samples: done(samples * running)
    expected, found = compare_samples(network, part, runs.pop("reference"), runs, kept, advance)
    return expected, found, missing


def _completed(
    expected: Recording, network: QuantizedNetwork, part: Data, source: SampleFile | Data, work: Work
) -> Totals:
    """Return the sums over all samples: of those that ran with all states, and of a run of the others."""
    totals = totals_of(network, part, expected)
    if part.samples < source.samples:
        with stage("run the other samples"):
            totals += run_totals(network, source.after(part.samples), on_progress=work.next(source.samples))
    return totals


def _traced(network: QuantizedNetwork, part: Data, backend: str, recorded: Recorded | None, work: Work) -> Recording:
    """Return the run of a backend with all states, from the recording if it is that run."""
    if recorded is not None and _is_held(recorded, backend):
        return recorded.first(part.samples)
    with stage(f"run {backend}"):
        return run_data(network, part, backend, "states", on_progress=work.next(part.samples))


def _agreement(
    floats: Network | None, data: Data, network: QuantizedNetwork, recording: Recording
) -> tuple[dict[str, Agreement] | None, float | None]:
    """Compare with the float network, on the inputs as given, in the same form of windows.

    Also return the readout's signal-to-noise ratio.
    """
    if floats is None:
        return None, None
    floats = in_form_of(network, floats)
    values = data.as_values(floats.input.format)
    found = run_float_layers(floats, values, trace=True, lengths=data.lengths)
    snr_db = readout_snr(floats, found.output, network, recording.output, data.lengths)
    return agree(floats, found, network, recording), snr_db


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
