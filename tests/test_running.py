"""Runs in chunks: the same recording, figures and report as at once, whatever the chunk; progress; memory."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import processes
import pytest
from figures import Figures
from networks import Case, dense_case, lif_case, state_space_case
from sample_files import saved
from shared import Cli, Model

from benchmarks import startup
from nmdeploy import backends, pipeline
from nmdeploy import running as streaming
from nmdeploy.analysis.metrics import layer_metrics, overflows
from nmdeploy.backends import auto, compiled, reference
from nmdeploy.cli.progress import recording_lines, speed_text
from nmdeploy.errors import BadData, LavaUnavailable
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io import read
from nmdeploy.pipeline import verification
from nmdeploy.recording.pieces import Pieces
from nmdeploy.recording.reader import read_recording, write_recording
from nmdeploy.recording.types import TRACES, Recording, totals
from nmdeploy.running import chunk_samples, piece_steps, run_parts, simulate_into
from nmdeploy.samples.source import Data, open_data

CASES = (lif_case(1), state_space_case(2), dense_case(3))
CHUNKS = (1, 3, 7, 99)


def data_for(case: Case) -> Data:
    rng = np.random.default_rng(0)
    inputs = np.repeat(case.inputs[:, :12], 7, 0)
    labels = rng.integers(0, case.network.populations[case.network.output].output_size, len(inputs))
    return Data(inputs, labels, rng.integers(1, 13, len(inputs)))


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("size", CHUNKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_chunks_change_nothing(
    case: Case, size: int, trace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", size)
    data, seen = data_for(case), list[int]()
    found = simulate_into(tmp_path / "r.h5", case.network, data, trace=trace, on_progress=seen.append)
    whole = pipeline.run(case.network, data, trace=trace)
    assert read_recording(tmp_path / "r.h5") == whole
    assert found == streaming.totals_of(case.network, data, whole)
    assert seen == sorted(seen) and seen[-1] == data.samples
    assert overflows(case.network, found) == overflows(case.network, whole)
    assert layer_metrics(case.network, found) == layer_metrics(case.network, whole)
    counts = {name: {m: int(c.sum()) for m, c in layer.counts.items()} for name, layer in whole.layers.items()}
    assert found.counts == counts and found.valid_steps == data.lengths.sum()


@pytest.mark.parametrize("size", CHUNKS)
def test_figures_at_the_command_line(
    size: int, cli: Cli, digits_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reference runs all, whatever other tests of this process have compiled.
    monkeypatch.setattr(auto, "_is_small", lambda *job: True)
    monkeypatch.setattr(compiled, "is_loaded", lambda *job: False)
    arguments = ("--data", digits_model.data, "-o", tmp_path / "r.h5")
    reports = ("report", digits_model.path, "--data", digits_model.data)
    expected = [cli("simulate", digits_model.path, *arguments).stdout, cli(*reports).stdout]
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", size)
    assert [cli("simulate", digits_model.path, *arguments).stdout, cli(*reports).stdout] == expected
    accuracy = "accuracy 1.0000 (95 %: 0.6097 to 1.0000)\nblock0: spike rate 0."
    assert f"6 samples of 64 steps on reference, latency 4 steps\n{accuracy}" in expected[0]


@pytest.mark.parametrize("backend", ["compiled", "reference"])
@pytest.mark.parametrize("size", [1, 2000, 5000])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pieces_of_steps_change_nothing(
    case: Case, size: int, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = data_for(case), list[int]()
    whole = pipeline.run(case.network, data, backend, trace="states")
    monkeypatch.setattr(streaming, "PIECE_BYTES", size)
    assert piece_steps(case.network, data.steps, "states") is not None
    found = simulate_into(tmp_path / "r.h5", case.network, data, backend, "states", on_progress=seen.append)
    read = read_recording(tmp_path / "r.h5")
    assert read == whole and found == streaming.totals_of(case.network, data, whole)
    assert list(read.layers) == list(whole.layers) and seen == list(range(1, data.samples + 1))
    for name, layer in whole.layers.items():
        assert {k: v.dtype for k, v in read.layers[name].states.items()} == {
            k: v.dtype for k, v in layer.states.items()
        }
        assert list(read.layers[name].states) == list(layer.states)


def test_a_backend_without_pieces_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(fake(reference.run), monkeypatch)
    case, data = CASES[1], data_for(CASES[1])
    whole = pipeline.run(case.network, data, "fake", trace="states")
    monkeypatch.setattr(streaming, "PIECE_BYTES", 1)
    simulate_into(tmp_path / "r.h5", case.network, data, "fake", "states")
    assert read_recording(tmp_path / "r.h5") == whole


def test_only_states_that_are_too_many_are_cut() -> None:
    case = CASES[1]
    assert piece_steps(case.network, 10**9, "spikes") is None
    assert piece_steps(case.network, 1, "states") is None
    steps = piece_steps(case.network, 10**9, "states")
    assert steps is not None
    one = pipeline.run(case.network, data_for(case).first(1), trace="states")
    each = sum(values.nbytes for layer in one.layers.values() for values in layer.states.values()) / one.steps
    assert steps * each <= streaming.PIECE_BYTES


@pytest.mark.parametrize("error", [BadData("odd"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 1, 15])
def test_a_run_that_fails_between_pieces_leaves_nothing(
    error: BaseException, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_pieces(*arguments: Any, **options: Any) -> Any:
        inner = reference.run_pieces(*arguments, **options)
        for states in inner:
            if len(made) == after:
                raise error
            made.append(1)
            yield states
        samples.append(1)
        return inner.recording

    def failing(*arguments: Any, **options: Any) -> Pieces:
        return Pieces(run_pieces(*arguments, **options))

    made, samples = list[int](), list[int]()
    install(fake(reference.run, run_pieces=failing), monkeypatch)
    monkeypatch.setattr(streaming, "PIECE_BYTES", 1)
    before = tmp_path / "r.h5"
    before.write_text("kept")
    with pytest.raises(type(error)):
        simulate_into(tmp_path / "r.h5", CASES[0].network, data_for(CASES[0]), "fake", "states")
    assert len(made) == after and len(samples) == after // 12
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5"] and before.read_text() == "kept"


def test_lines_of_a_run_without_labels_and_counts() -> None:
    case = CASES[0]
    found = totals(pipeline.run(case.network, replace(data_for(case), labels=None)))
    assert "accuracy not available (no array 'labels')" in recording_lines(case.network, found)
    told = "accuracy not available (no array 'labels'; the file also holds 'label', 'x')"
    assert told in recording_lines(case.network, found, ("label", "x"))
    bare = replace(found, counts={name: {"spikes": 3} for name in found.counts}, backend="bare")
    assert list(recording_lines(case.network, bare))[-1] == "overflows: not counted by backend bare"


def test_verify_and_report_of_a_source(digits_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", 4)
    monkeypatch.setattr(verification, "_refuse_itself", lambda against: None)
    network = read(digits_model.path)
    source = open_data(digits_model.data, network.input)
    data = source.first(None)
    for samples in (2, None):
        found = [pipeline.verify(network, given, "compiled", samples=samples) for given in (source, data)]
        assert found[0] == found[1] and found[0].equal
    assert pipeline.report(network, source) == pipeline.report(network, data)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_size_of_a_chunk(case: Case) -> None:
    for trace in TRACES:
        assert chunk_samples(case.network, 1, trace) == streaming.CHUNK_SAMPLES
        assert chunk_samples(case.network, 10**9, trace) == 1
        one = pipeline.run(case.network, data_for(case).first(1), trace=trace)
        kept = [one.output, *(array for layer in one.layers.values() for array in layer.states.values())]
        kept += [layer.spikes for layer in one.layers.values() if layer.spikes is not None]
        each = sum(array.nbytes for array in kept) / one.steps
        assert chunk_samples(case.network, 1000, trace) * 1000 * each <= streaming.CHUNK_BYTES


def fake(run: Any, **attributes: Any) -> Any:
    known = {"NAMES": ("fake",), "run": run, "WHOLE": False, "THREADS": False, "run_pieces": None}
    return SimpleNamespace(**known | attributes)


def install(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = backends.backends() | {"fake": module}
    monkeypatch.setattr(backends, "backends", lambda: known)


@pytest.mark.parametrize("whole", [False, True])
def test_a_backend_that_wants_all_at_once(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def run(network: QuantizedNetwork, inputs: Any, **options: Any) -> Recording:
        calls.append(len(inputs))
        return reference.run(network, inputs, **options)

    module = fake(run, WHOLE=True) if whole else fake(run)
    install(module, monkeypatch)
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", 3)
    data = data_for(CASES[0])
    assert sum(part.samples for _, part in run_parts(CASES[0].network, data, "fake")) == data.samples == sum(calls)
    assert (calls == [data.samples]) == whole
    assert backends.backend("lava").WHOLE


@pytest.mark.parametrize("error", [LavaUnavailable("gone"), BadData("odd"), MemoryError(), KeyboardInterrupt()])
def test_a_backend_that_fails_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def run(network: QuantizedNetwork, inputs: Any, **options: Any) -> Recording:
        calls.append(len(inputs))
        if len(calls) == 3:
            raise error
        return reference.run(network, inputs, **options)

    install(fake(run), monkeypatch)
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", 2)
    with pytest.raises(type(error)):
        simulate_into(tmp_path / "r.h5", CASES[0].network, data_for(CASES[0]), "fake")
    assert len(calls) == 3 and list(tmp_path.iterdir()) == []


def test_the_bar_shows_samples_a_second(digits_model: Model, tmp_path: Path) -> None:
    assert [speed_text(s) for s in (None, 0.0, 0.01234, 3.456, 45.6, 999.6, 1234567.0)] == [
        *("- samples/s", "0 samples/s", "0.0123 samples/s", "3.46 samples/s", "45.6 samples/s", "1,000 samples/s"),
        "1,234,567 samples/s",
    ]
    line = ("simulate", digits_model.path, "--data", digits_model.data, "-o", tmp_path / "r.h5")
    code, _, shown = processes.on_a_terminal(*line)
    assert code == 0 and "0/6" in shown and "6/6" in shown and "samples/s" in shown and "0:00:0" in shown


def test_recordings_in_memory_and_in_parts_are_the_same_file(tmp_path: Path) -> None:
    case = CASES[0]
    data = data_for(case)
    simulate_into(tmp_path / "a.h5", case.network, data, trace="states")
    time.sleep(1.1)  # no time of day is in the file
    write_recording(pipeline.run(case.network, data, trace="states"), tmp_path / "b.h5", case.network.recorded_bits)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def peak_megabytes(*arguments: object) -> float:
    """The most memory that a command held."""
    outcome = subprocess.run(
        [sys.executable, "-c", startup.PEAK, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return int(outcome.stderr.splitlines()[-1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to read the peak")
@pytest.mark.parametrize("kind", ["npz", "npy", "h5"])
def test_memory_does_not_grow(kind: str, lif_model: Model, tmp_path: Path, figures: Figures) -> None:
    """1,000 and 100,000 samples of 20 steps, in what is compiled before: to compile takes memory once."""
    peak_megabytes("warmup", lif_model.path)
    with np.load(lif_model.data) as arrays:
        inputs = arrays["inputs"]
    peaks = []
    for samples in (1_000, 100_000):
        path = saved(
            tmp_path, kind, inputs=np.resize(inputs, (samples, *inputs.shape[1:])), labels=np.zeros(samples, int)
        )
        peaks.append(peak_megabytes("simulate", lif_model.path, "--data", path, "-o", tmp_path / "r.h5"))
        size = path.stat().st_size / 1e6
        figures(f"simulate, {samples} samples ({kind}, {size:.1f} MB): peak {peaks[-1]:.1f} MB")
    assert peaks[1] <= 1.1 * peaks[0] and peaks[1] < 200


def verified(case: Case, backend: str, **options: Any) -> Any:
    return pipeline.verify(case.network, data_for(case), backend, samples=3, **options)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verification_in_pieces_is_that_of_the_whole(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a recording in place of a run, from a file and in memory, and with a backend that is not cut."""
    install(fake(reference.run), monkeypatch)
    data, done = data_for(case), list[tuple[int, int]]()
    whole = {name: verified(case, name) for name in ("compiled", "fake")}
    simulate_into(tmp_path / "r.h5", case.network, data, "compiled", "states")
    held = replace(read_recording(tmp_path / "r.h5"))
    monkeypatch.setattr(streaming, "PIECE_BYTES", 2000)
    for name, expected in whole.items():
        assert expected.equal and verified(case, name) == expected
    for recording in (tmp_path / "r.h5", held):
        found = verified(case, "compiled", recording=recording, on_progress=lambda *at: done.append(at))
        assert found == whole["compiled"]
    assert done == sorted(done[: len(done) // 2]) * 2 and done[-1][0] == done[-1][1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_difference_in_pieces_is_that_of_the_whole(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(network: QuantizedNetwork, inputs: Any, **options: Any) -> Recording:
        made = reference.run(network, inputs, **options)
        for index, layer in enumerate(made.layers.values()):
            for values in layer.states.values():
                values[-1, 7 - index :] += 1
        return made

    def changed() -> Any:
        return verified(case, "fake")

    install(fake(run, WHOLE=True), monkeypatch)
    whole = changed()
    assert not whole.equal and whole.comparisons[0].first_divergence.sample == 2
    monkeypatch.setattr(streaming, "PIECE_BYTES", 2000)
    assert changed() == whole
