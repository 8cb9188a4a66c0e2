"""Runs that are larger than memory: chunk by chunk through a backend, into a file or into sums."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from nmdeploy._util.memory import chunk_bytes, require_memory
from nmdeploy.analysis.accuracy import accuracies, chance_warnings, right_of_floats
from nmdeploy.analysis.comparison import predictions
from nmdeploy.backends import auto, takes_all_samples, takes_threads
from nmdeploy.backends import backend as find_backend
from nmdeploy.errors import BadOption
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.nir_io import model_sha256
from nmdeploy.recording.pieces import Pieces, States, cut
from nmdeploy.recording.types import TRACES, Recording, Totals, totals
from nmdeploy.recording.writer import RecordingWriter
from nmdeploy.samples.digest import InputDigest
from nmdeploy.samples.source import Data, SampleFile

Progress = Callable[[int], object]
CHUNK_BYTES, CHUNK_SAMPLES = 1 << 24, 512
OUTPUT_BYTES, CODE_BYTES = 2, 16  # a spike, or a code, as kernels write it and as a recording holds it
PIECE_BYTES, PIECE_CODE_BYTES = 1 << 25, 8  # the states of the steps that run at once, if a sample is cut


def run_data(
    network: QuantizedNetwork,
    data: Data,
    backend: str,
    trace: str,
    threads: int | None = None,
    on_progress: Progress | None = None,
    digest: str = "",
) -> Recording:
    """Run samples that are in memory, whose digest the recording names; parameters as for `nmdeploy.run`."""
    require_codes(network, data)
    require_threads(backend, threads)
    return _run(network, data, resolve_backend(network, data, backend, trace), trace, threads, on_progress, digest)


def resolve_backend(network: QuantizedNetwork, data: Data | SampleFile, backend: str, trace: str) -> str:
    """Return the name of the backend that runs a job: `auto` chooses, any other name is itself."""
    module = find_backend(backend)
    _require_trace(trace)
    if module is auto:
        module, note = auto.choose(network, data.samples, data.steps, trace)
        if note:
            warnings.warn(note, RuntimeWarning, stacklevel=3)
    return str(module.NAMES[0])


def _run(
    network: QuantizedNetwork,
    data: Data,
    backend: str,
    trace: str,
    threads: int | None,
    on_progress: Progress | None,
    digest: str = "",
) -> Recording:
    run = find_backend(backend).run
    options = {} if threads is None or not takes_threads(backend) else {"threads": threads}
    recording: Recording = run(
        network, data.codes, lengths=data.lengths, trace=trace, on_progress=on_progress, **options
    )
    return _finished(network, recording, backend, digest)


def _finished(network: QuantizedNetwork, recording: Recording, backend: str, digest: str = "") -> Recording:
    """Add to a backend's recording what backends leave out."""
    if network.reads_membrane and recording.spiking:
        raise BadOption(
            f"backend {backend!r} returns spikes, not the membranes of readout {network.readout!r}: choose another"
        )
    digests = {"model_sha256": model_sha256(network), "inputs_sha256": digest}
    return with_predictions(network, recording, backend=backend, **digests)


def require_threads(backend: str, threads: int | None) -> None:
    """`BadOption` for a number of threads below 1, or for one that the backend does not take."""
    if threads is not None and threads < 1:
        raise BadOption(f"--threads {threads}: give 1 or more")
    if threads is not None and not takes_threads(backend):
        raise BadOption(f"--threads {threads}: backend {backend!r} takes no number of threads: leave --threads out")


def _require_trace(trace: str) -> None:
    if trace not in TRACES:
        raise BadOption(f"trace {trace!r} does not exist: choose one of {', '.join(TRACES)}")


def with_predictions(network: QuantizedNetwork, recording: Recording, **fields: str) -> Recording:
    """Add the classes to a backend's recording, the seed of the network's random spikes, and other `fields`."""
    classes = predictions(recording.output, network.readout, recording.lengths)
    return replace(recording, predictions=classes, seed=_seed(network), **fields)  # type: ignore[arg-type]


def _seed(network: QuantizedNetwork) -> int:
    """Return the seed of the first population that draws its spikes; 0 if none does."""
    seeds = (neuron.random_seed for neuron in network.populations.values())
    return next((seed for seed in seeds if seed is not None), 0)


def require_channels(network: Network | QuantizedNetwork, data: Data) -> None:
    """`BadOption` unless the samples have the network's channels, and there are some."""
    if data.codes.ndim != 3 or data.codes.shape[2] != network.input.size or not all(data.codes.shape):
        raise BadOption(
            f"data of shape {data.codes.shape}: give (samples, steps, {network.input.size}), at least one of each"
        )


def require_codes(network: QuantizedNetwork, data: Data) -> None:
    """`BadOption` unless the network can run the samples: backends take them as they are."""
    require_channels(network, data)
    codes, lengths, form = data.codes, np.asarray(data.lengths), network.input.format
    if codes.dtype.kind not in "biu":
        raise BadOption(f"codes of type {codes.dtype}: give integers of the input's format")
    if codes.min() < form.min or codes.max() > form.max:
        raise BadOption(
            f"codes from {codes.min()} to {codes.max()}: the network takes {form.min} to {form.max}: rescale the inputs"
        )
    if lengths.shape != codes.shape[:1] or lengths.dtype.kind not in "iu":
        raise BadOption(f"lengths of shape {lengths.shape} and type {lengths.dtype}: give one integer per sample")
    if lengths.min() < 1 or lengths.max() > data.steps:
        raise BadOption(
            f"lengths from {lengths.min()} to {lengths.max()}: give 1 to {data.steps}, the steps of the samples"
        )


def run_parts(
    network: QuantizedNetwork,
    data: Data | SampleFile,
    backend: str = "auto",
    trace: str = "none",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Iterator[tuple[Data, Recording]]:
    """Run samples chunk by chunk; a backend that says ``WHOLE = True`` gets all in one call."""
    if isinstance(data, Data):
        require_codes(network, data)
    done = 0
    backend = resolve_backend(network, data, backend, trace)  # for all parts: the choice may change while they run
    whole = takes_all_samples(backend)
    for chunk in data.chunks(data.samples if whole else chunk_samples(network, data.steps, trace)):
        require_memory(f"samples {done} to {done + chunk.samples - 1}")
        yield chunk, _run(network, chunk, backend, trace, threads, offset_progress(on_progress, done))
        done += chunk.samples


def run_in_pieces(
    network: QuantizedNetwork,
    data: Data | SampleFile,
    backend: str = "auto",
    trace: str = "none",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Iterator[tuple[Data, Pieces]]:
    """Run samples as `run_parts` does, but one sample whose states are too many for memory in pieces of steps."""
    backend = resolve_backend(network, data, backend, trace)
    steps = piece_steps(network, data.steps, trace)
    if steps is None or takes_all_samples(backend):
        for chunk, part in run_parts(network, data, backend, trace, threads, on_progress):
            yield chunk, Pieces(_uncut(part))
        return
    if isinstance(data, Data):
        require_codes(network, data)
    for done, chunk in enumerate(data.chunks(1)):
        require_memory(f"sample {done}")
        yield chunk, Pieces(_sample_pieces(network, chunk, backend, steps))
        if on_progress is not None:
            on_progress(done + 1)


def _uncut(recording: Recording) -> Generator[States, None, Recording]:
    yield from ()
    return recording


def _sample_pieces(
    network: QuantizedNetwork, data: Data, backend: str, steps: int
) -> Generator[States, None, Recording]:
    run = find_backend(backend).run_pieces
    if run is None:
        recording = find_backend(backend).run(network, data.codes, lengths=data.lengths, trace="states")
        rest = yield from cut(recording, network.timing, steps)
    else:
        pieces = run(network, data.codes, lengths=data.lengths, steps=steps)
        yield from pieces
        rest = pieces.recording
    return _finished(network, rest, backend)


def piece_steps(network: QuantizedNetwork, steps: int, trace: str) -> int | None:
    """Return the steps of a piece, so that its states take a bounded part of memory; None if a whole sample's do."""
    populations = network.populations.values()
    codes = sum(neuron.size * neuron.real_states + neuron.output_size * len(neuron.recorded) for neuron in populations)
    piece = chunk_bytes(PIECE_BYTES)
    if trace != "states" or PIECE_CODE_BYTES * codes * steps <= piece:
        return None
    return max(1, piece // (PIECE_CODE_BYTES * codes))


def offset_progress(on_progress: Progress | None, done: int) -> Progress | None:
    """Return the progress of the samples after the first `done`."""
    return None if on_progress is None else lambda more: on_progress(done + more)


def chunk_samples(network: QuantizedNetwork, steps: int, trace: str) -> int:
    """Return how many samples run at once, so that inputs, outputs and traces take a bounded part of memory.

    Raises
    ------
    BadOption
        Not even one sample fits into the limit of the memory.
    """
    populations = network.populations

    def wide(neuron: QuantizedNeuron) -> int:
        return neuron.output_size * (OUTPUT_BYTES if neuron.emits == "binary" else CODE_BYTES)

    size = OUTPUT_BYTES * network.input.size + wide(populations[network.output])
    for name, neuron in populations.items():
        size += wide(neuron) if trace != "none" else 0
        if network.traces_states(name, trace):
            size += CODE_BYTES * (neuron.size * neuron.real_states + neuron.output_size * len(neuron.recorded))
    found = max(1, min(CHUNK_SAMPLES, chunk_bytes(CHUNK_BYTES) // (steps * size)))
    require_memory(f"a sample of {steps:,} steps", steps * size)
    return found


def simulate_into(
    path: str | Path,
    network: QuantizedNetwork,
    data: Data | SampleFile,
    backend: str = "auto",
    trace: str = "none",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Totals:
    """Run samples and write the recording to `path` as it is made, as a whole or not at all.

    Parameters are those of `nmdeploy.run`; `on_progress` takes the number of samples done.
    """
    digest = InputDigest(network.input.format)
    with RecordingWriter(path, data.samples, network.recorded_bits) as writer:

        def written() -> Iterator[tuple[Data, Recording]]:
            for chunk, pieces in run_in_pieces(network, data, backend, trace, threads, on_progress):
                for states in pieces:
                    writer.append_states(states, chunk.steps)
                writer.append(pieces.recording)
                digest.update(chunk.codes, chunk.lengths)
                yield chunk, pieces.recording

        found = _total(network, written())
        writer.inputs_sha256 = digest.hexdigest()
    return replace(found, inputs_sha256=writer.inputs_sha256)


def run_totals(
    network: QuantizedNetwork, data: Data | SampleFile, backend: str = "auto", on_progress: Progress | None = None
) -> Totals:
    """Run samples and keep sums only."""
    digest = InputDigest(network.input.format)

    def digested() -> Iterator[tuple[Data, Recording]]:
        for chunk, part in run_parts(network, data, backend, on_progress=on_progress):
            digest.update(chunk.codes, chunk.lengths)
            yield chunk, part

    found = _total(network, digested())
    return replace(found, inputs_sha256=digest.hexdigest())


def digest_of(network: Network | QuantizedNetwork, data: Data | SampleFile) -> str:
    """Return the SHA-256 of samples: of their codes and lengths (`nmdeploy.samples.digest`)."""
    digest = InputDigest(network.input.format)
    for chunk in data.chunks(CHUNK_SAMPLES):
        digest.update(chunk.codes, chunk.lengths)
    return digest.hexdigest()


def _total(network: QuantizedNetwork, parts: Iterator[tuple[Data, Recording]]) -> Totals:
    chunk, part = next(parts)
    found = totals_of(network, chunk, part)
    for chunk, part in parts:
        found += totals_of(network, chunk, part)
    return found


def totals_of(network: QuantizedNetwork, data: Data | SampleFile, recording: Recording) -> Totals:
    """Return the sums of a run of all samples, and how many of their classes are their labels."""
    classes = recording.predictions
    if classes is None:
        classes = predictions(recording.output, network.readout, recording.lengths)
    return totals(recording, None if data.labels is None else int(np.count_nonzero(classes == data.labels)))


def float_correct(network: Network, data: Data | SampleFile) -> tuple[int, int] | None:
    """Run the float network; return how many classes are the labels, None without labels.

    The first number is that on the inputs as given, the second that on the inputs as the format rounds them.
    """
    if data.labels is None:
        return None
    found = [right_of_floats(network, chunk) for chunk in data.chunks(CHUNK_SAMPLES)]
    return sum(given for given, _ in found), sum(rounded for _, rounded in found)


def chance_notes(floats: Network, network: QuantizedNetwork, data: Data | None) -> tuple[str, ...]:
    """Return a line for each accuracy on calibration data that is not different from chance; none without labels."""
    if data is None or data.labels is None:
        return ()
    found = accuracies(data.samples, run_totals(network, data).correct, float_correct(floats, data))
    return tuple(f"on the calibration data, {line}" for line in chance_warnings(found, classes_of(network)))


def classes_of(network: QuantizedNetwork) -> int:
    """Return the number of classes: that of the outputs."""
    return network.populations[network.output].output_size
