"""The whole chain on real data: handwritten digits, read as sequences of 64 pixels, a trained checkpoint that ships."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nmdeploy import pipeline
from nmdeploy._util.atomic_files import write_text
from nmdeploy.analysis.comparison import Verification, accuracy
from nmdeploy.analysis.report import Report
from nmdeploy.cli.progress import progress
from nmdeploy.errors import BadFile
from nmdeploy.examples import digits
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.recording.reader import write_recording
from nmdeploy.reports import emit
from nmdeploy.samples.source import Data
from nmdeploy.synapses.weights import QuantizedWeights

PROFILE = "loihi2"
LOW = pipeline.FormatOverrides(weight_bits=4, state_bits=16)
Say = Callable[[str], object]


def run_demo(folder: str, samples: int, say: Say = print) -> bool:
    """Run the chain and leave model, recording, verification and report in `folder`.

    Parameters
    ----------
    folder : path, made if it does not exist
    samples : int
        Test samples whose every spike and state is compared with Lava.
    say : callable
        Takes each line that is to be shown.

    Returns
    -------
    bool
        False where verification found a difference; a Lava that cannot run is said, and is no difference.
    """
    pipeline.check_samples(samples)
    out = _folder(folder)
    started = time.perf_counter()
    files = digits()
    floats = pipeline.load(files.checkpoint)
    calibration, test = (pipeline.load_data(path, floats.input) for path in (files.calibration, files.test))
    samples = min(samples, test.samples)
    model = pipeline.quantize(floats, PROFILE, calibration)
    for note in (*model.notes, *pipeline.write(model, out / "model.nir")):
        say(f"note: {note}")
    say(f"quantized and exported for {PROFILE}; simulating {test.samples} digits, verifying {samples} in Lava ...")
    with progress("simulate") as advance:
        recording = pipeline.run(model, test, trace="spikes", on_progress=advance)
    write_recording(recording, out / "recording.h5")
    with progress("verify in Lava") as advance:
        result = pipeline.verify(
            model, test, ("lava",), floats, samples, require=False, recording=recording, on_progress=advance
        )
    write_text(out / "verify.json", json.dumps(result.to_json(), indent=2) + "\n")
    report = pipeline.report(model, test, verification=result, recording=recording)
    for name in ("report.json", "report.md"):
        emit(report, out / name)
    emit(report)
    for line in (*_accuracies(floats, model, calibration, test, result), *_summary(out, model, report, result)):
        say(line)
    say(f"done in {time.perf_counter() - started:.1f} s")
    return result.equal or result.not_verified is not None


def demo_model() -> QuantizedNetwork:
    """The model that the demo exports."""
    files = digits()
    floats = pipeline.load(files.checkpoint)
    return pipeline.quantize(floats, PROFILE, pipeline.load_data(files.calibration, floats.input))


def _folder(folder: str) -> Path:
    out = Path(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(f"{folder}: cannot be made ({error.strerror}): choose another folder with -o") from None
    return out


def _widths(model: QuantizedNetwork) -> str:
    weights = {synapse.bits for synapse in model.synapses.values() if isinstance(synapse, QuantizedWeights)}
    states = {neuron.state_bits for neuron in model.populations.values()}
    return f"{'/'.join(map(str, weights))}-bit weights, {'/'.join(map(str, states))}-bit states"


def _accuracies(
    floats: Network, model: QuantizedNetwork, calibration: Data, test: Data, result: Verification
) -> Iterator[str]:
    low = pipeline.quantize(floats, PROFILE, calibration, LOW)
    values = pipeline.run(low, test)
    known = {
        "float": result.accuracy["float"],
        _widths(model): result.accuracy["quantized"],
        _widths(low): accuracy(values.output, low.readout, values.lengths, test.labels),
    }
    yield ""
    for name, share in known.items():
        yield f"accuracy, {name}: " + ("not available" if share is None else f"{share:.4f} of {test.samples} digits")


def _summary(out: Path, model: QuantizedNetwork, report: Report, result: Verification) -> Iterator[str]:
    if report.total.activation_sparsity is not None:
        yield f"spike rate of the hidden layers: {1 - report.total.activation_sparsity:.4f}"
    yield result.status if result.not_verified else f"against Lava: {result.status}"
    yield ""
    yield "What to look at:"
    yield f"  {out / 'model.nir'}     the integers as a NIR graph; `nmdeploy inspect` it, or open it with nir.read"
    yield f"  {out / 'recording.h5'}  outputs, spikes and event counts of every test digit"
    yield f"  {out / 'verify.json'}   every comparison with Lava, accuracies, overflows"
    yield f"  {out / 'report.json'}   the report for programs"
    yield f"  {out / 'report.md'}     the report for people: cost of each layer, utilization, energy and its source"
