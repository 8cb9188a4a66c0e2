"""The whole chain on handwritten digits, read as sequences of 64 pixels, with a trained checkpoint that ships."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nmdeploy import pipeline
from nmdeploy._util.atomic_files import write_text
from nmdeploy.analysis.accuracy import accuracies, share_text
from nmdeploy.analysis.comparison import correct
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
NEXT = (
    "",
    "Your own network:",
    f"  nmdeploy check net.safetensors --profile {PROFILE}    which of its nodes can be deployed",
    f"  nmdeploy export net.safetensors --profile {PROFILE} --data calibration.npz -o model.nir",
    "  nmdeploy models                                    if there is none yet: those that train in PyTorch",
    "A module of snnTorch, Norse, spikingjelly or Rockpool: mypackage.nets:make_net --weights net.pt takes the place",
    "of net.safetensors. The guides are in docs/index.md.",
)
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
        False if verification found a difference. A Lava that cannot run is reported, and is no difference.
    """
    pipeline.check_samples(samples)
    out = _folder(folder)
    started = time.perf_counter()
    files = digits()
    floats = pipeline.load(files.checkpoint)
    calibration, test = (pipeline.load_data(path, floats.input) for path in (files.calibration, files.test))
    samples = min(samples, test.samples)
    model = pipeline.quantize(floats, PROFILE, calibration)
    notes = pipeline.write(model, out / "model.nir")
    say(f"1. Quantized a network that was trained on handwritten digits for {PROFILE}: {_widths(model)}.")
    say(f"2. Running {test.samples} test digits ...")
    with progress("simulate") as advance:
        recording = pipeline.run(model, test, trace="spikes", on_progress=advance)
    write_recording(recording, out / "recording.h5")
    say(f"3. Comparing {samples} of them with Intel's simulator Lava, value by value ...")
    with progress("verify in Lava") as advance:
        result = pipeline.verify(
            model, test, ("lava",), floats, samples, require=False, recording=recording, on_progress=advance
        )
    write_text(out / "verify.json", json.dumps(result.to_json(), indent=2) + "\n")
    report = pipeline.report(model, test, verification=result, recording=recording)
    for name in ("report.json", "report.md"):
        emit(report, out / name)
    narrow = _narrow(floats, calibration, test)
    say("")
    emit(report)
    for line in (*narrow, *_files(out, notes), "", f"Done in {time.perf_counter() - started:.1f} s.", *NEXT):
        say(line)
    return result.equal or result.not_verified is not None


def demo_model() -> QuantizedNetwork:
    """Return the model that the demo exports."""
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


def _narrow(floats: Network, calibration: Data, test: Data) -> Iterator[str]:
    """Yield the accuracy at narrower formats."""
    low = pipeline.quantize(floats, PROFILE, calibration, LOW)
    values = pipeline.run(low, test)
    right = correct(values.output, low.readout, values.lengths, test.labels)
    yield ""
    yield f"With {_widths(low)} instead: accuracy {share_text(accuracies(test.samples, right, None), 'quantized')}"


def _files(out: Path, notes: Sequence[str]) -> Iterator[str]:
    yield ""
    yield "Files:"
    yield f"  {out / 'model.nir'}     the integers as a NIR graph: `nmdeploy inspect` describes it, nir.read reads it"
    yield f"  {out / 'recording.h5'}  outputs, spikes and event counts of every test digit"
    yield f"  {out / 'verify.json'}   the comparison with Lava, accuracies, overflows"
    yield f"  {out / 'report.json'}   the report for programs"
    yield f"  {out / 'report.md'}     the report above, to read"
    yield ""
    yield "If another tool reads model.nir:"
    yield from (f"  {note}" for note in notes)
