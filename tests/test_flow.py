"""The flow of a job: nothing runs twice, a recording is used, and only in place of the run that it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from shared import CALIBRATION, CHECKPOINT, Cli, Model

from nmdeploy import pipeline
from nmdeploy.analysis.report import read_report
from nmdeploy.backends import reference
from nmdeploy.errors import BadData, BadFile, BadOption, DoesNotFit
from nmdeploy.job import Job
from nmdeploy.recording.reader import read_recording
from nmdeploy.recording.types import Totals
from nmdeploy.samples.source import Data, load_data


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of each call of the reference, which `auto` chooses for small jobs."""
    calls: list[int] = []
    run = reference.run

    def counted(network: Any, inputs: Any, **options: Any) -> Any:
        calls.append(len(inputs))
        return run(network, inputs, **options)

    monkeypatch.setattr(reference, "run", counted)
    return calls


@pytest.fixture
def recording(cli: Cli, digits_model: Model, tmp_path: Path) -> Path:
    """A recording of all six samples, without traces."""
    path = tmp_path / "r.h5"
    assert cli("simulate", digits_model.path, "--data", digits_model.data, "-o", path).exit_code == 0
    return path


@pytest.mark.parametrize("name", ["report", "verify"])
def test_a_recording_takes_the_place_of_a_run(
    name: str, cli: Cli, digits_model: Model, recording: Path, runs: list[int]
) -> None:
    arguments = (name, digits_model.path, "--data", digits_model.data)
    arguments += ("--against", "compiled", "--samples", "2") if name == "verify" else ()
    without = cli(*arguments)
    before = list(runs)
    used = cli(*arguments, "--recording", recording)
    assert used.exit_code == 0 and used.stdout == without.stdout
    assert runs[len(before) :] == ([2] if name == "verify" else [])
    assert before == ([2, 4] if name == "verify" else [6])


@pytest.mark.parametrize(("samples", "expected"), [(None, [6]), (2, [2, 4]), (6, [6]), (99, [6])])
def test_verify_runs_no_sample_twice(
    samples: int | None, expected: list[int], digits_model: Model, runs: list[int]
) -> None:
    whole = pipeline.verify(digits_model.path, digits_model.data, "compiled", samples=samples)
    assert runs == expected
    assert whole.accuracy["quantized"] == 1.0 and whole.equal
    everything = pipeline.verify(digits_model.path, digits_model.data, "compiled")
    assert (whole.accuracy, whole.overflows) == (everything.accuracy, everything.overflows)


@pytest.mark.parametrize("backend", ["compiled", "reference"])
def test_a_recording_with_states_is_compared_itself(
    backend: str, cli: Cli, digits_model: Model, tmp_path: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that traced all states is not made again; a value in it that differs is found."""
    path = tmp_path / "r.h5"
    options = ("--backend", backend, "--trace", "states", "-o", path)
    assert cli("simulate", digits_model.path, "--data", digits_model.data, *options).exit_code == 0
    del runs[:]
    arguments = ("verify", digits_model.path, "--data", digits_model.data, "--against", "compiled", "--samples", 3)
    assert cli(*arguments, "--recording", path).exit_code == 0
    assert runs == ([3] if backend == "compiled" else [])
    with h5py.File(path, "r+") as file:
        file["layers/block0/states/re"][1, 5, 3, 2, 0] ^= 1
    changed = cli(*arguments, "--recording", path)
    assert changed.exit_code == 1 and "sample 1, step 5, layer block0, re of neuron 3, state 2" in changed.stdout


def test_a_recording_of_the_first_samples(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    arguments = (digits_model.path, "--data", digits_model.data)
    assert cli("simulate", *arguments, "--samples", 4, "-o", tmp_path / "r.h5").exit_code == 0
    used = pipeline.report(digits_model.path, digits_model.data, recording=tmp_path / "r.h5")
    data = pipeline.load_data(digits_model.data, pipeline.read(digits_model.path).input)
    assert used == pipeline.report(digits_model.path, data.first(4)) and used.samples == 4
    result = pipeline.verify(digits_model.path, digits_model.data, "compiled", recording=tmp_path / "r.h5")
    assert result.comparisons[0].samples == 4 and result.equal


def test_a_recording_of_other_samples_is_refused(
    cli: Cli, digits_model: Model, recording: Path, lif_model: Model, tmp_path: Path
) -> None:
    with np.load(digits_model.data) as arrays:
        inputs, labels = arrays["inputs"], arrays["labels"]
    other = inputs.copy()
    other[3, 7, 0] = 1 - other[3, 7, 0]
    changes: dict[str, dict[str, Any]] = {
        "value": {"inputs": other},
        "order": {"inputs": inputs[::-1]},
        "lengths": {"inputs": inputs, "lengths": np.array([64] * 5 + [63])},
        "fewer": {"inputs": inputs[:5], "labels": labels[:5]},
    }
    for name, arrays_of in changes.items():
        np.savez(tmp_path / f"{name}.npz", **arrays_of)
        for command in ("report", "verify"):
            result = cli(command, digits_model.path, "--data", tmp_path / f"{name}.npz", "--recording", recording)
            assert result.exit_code == 2
            assert f"{name}.npz: its inputs and lengths are not those that {recording} was made" in result.stderr
    result = cli("report", lif_model.path, "--data", lif_model.data, "--recording", recording)
    assert result.exit_code == 2 and "is a recording of another model" in result.stderr
    with h5py.File(recording, "r+") as file:
        del file.attrs["inputs_sha256"]
    result = cli("report", digits_model.path, "--data", digits_model.data, "--recording", recording)
    assert result.exit_code == 2 and "does not say which samples" in result.stderr
    assert pipeline.report(digits_model.path, digits_model.data).samples == 6
    assert read_recording(recording).inputs_sha256 == ""


def test_labels_and_further_arrays_are_no_inputs(
    cli: Cli, digits_model: Model, recording: Path, tmp_path: Path
) -> None:
    """The digest is that of codes and lengths: another type, codes in place of values, or labels change nothing."""
    network = pipeline.read(digits_model.path)
    data = load_data(digits_model.data, network.input)
    np.savez(tmp_path / "codes.npz", codes=data.codes.astype(np.int64), labels=data.labels, more=np.ones(3))
    with h5py.File(tmp_path / "values.h5", "w") as file:
        file["inputs"] = data.as_values(network.input.format).astype(np.float64)
        file["lengths"] = np.full(6, 64)
    for name, accuracy in (("codes.npz", 1.0), ("values.h5", None)):
        found = pipeline.report(digits_model.path, tmp_path / name, recording=recording)
        assert found.accuracy["quantized"] == accuracy
    bare = Data(data.codes, None, data.lengths)
    held = pipeline.run(network, bare)
    assert held.inputs_sha256 == read_recording(recording).inputs_sha256
    with pytest.raises(BadOption, match="the data: its inputs and lengths are not those"):
        pipeline.report(network, replace(bare, lengths=data.lengths - 1), recording=held)


def test_export_does_what_the_command_does(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    made = pipeline.export(CHECKPOINT, tmp_path / "a.nir", data=digits_model.data)
    result = cli("export", CHECKPOINT, "--data", digits_model.data, "-o", tmp_path / "b.nir")
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()
    assert pipeline.read(tmp_path / "a.nir") == made.network
    said = [line.partition(": ")[2] for line in result.stderr.splitlines()]
    assert said == list(made.notes)
    floats = pipeline.load(CHECKPOINT)
    calibration = pipeline.load_data(digits_model.data, floats.input)
    again = pipeline.export(floats, tmp_path / "c.nir", data=calibration)
    assert again == made and (tmp_path / "c.nir").read_bytes() == (tmp_path / "a.nir").read_bytes()
    assert made.job == pipeline.export(floats, tmp_path / "c.nir", data=calibration).job


def test_export_checks_the_target_first(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r"digits\.safetensors: profile 'loihi1': population 'block0'"):
        pipeline.export(CHECKPOINT, tmp_path / "a.nir", "loihi1")
    with pytest.raises(BadFile, match=r"give -o a name that ends in \.nir"):
        pipeline.export(CHECKPOINT, tmp_path / "a.h5")
    with pytest.raises((BadFile, BadData), match="no such file"):
        pipeline.export(CHECKPOINT, tmp_path / "a.nir", data=tmp_path / "none.npz")
    assert not list(tmp_path.iterdir())


def test_a_job_names_what_a_result_was_made_from(tmp_path: Path) -> None:
    floats = pipeline.load(CHECKPOINT)
    calibration = pipeline.load_data(CALIBRATION, floats.input).first(9)
    options = pipeline.FormatOverrides(weight_bits=4)
    made = [
        pipeline.export(floats, tmp_path / "a.nir", data=calibration).job,
        pipeline.export(floats, tmp_path / "a.nir", data=calibration.first(8)).job,
        pipeline.export(floats, tmp_path / "a.nir", data=calibration, options=options).job,
        pipeline.export(replace(floats, dt=0.002), tmp_path / "a.nir", data=calibration).job,
    ]
    assert len({job.id for job in made}) == 4
    assert all(Job.from_json(json.loads(json.dumps(job.to_json()))) == job for job in made)
    with pytest.raises(ValueError, match="id of the job"):
        Job.from_json({**made[0].to_json(), "network": "other"})


def test_a_job_does_not_depend_on_where_the_profile_lies(tmp_path: Path) -> None:
    floats, copy = pipeline.load(CHECKPOINT), tmp_path / "loihi2.toml"
    copy.write_text(Path(pipeline.load_profile("loihi2").path).read_text("utf-8"), "utf-8")
    calibration = pipeline.load_data(CALIBRATION, floats.input).first(9)
    first, second = (
        pipeline.export(floats, tmp_path / "a.nir", name, calibration).job for name in ("loihi2", str(copy))
    )
    assert first == second


def test_reports_and_totals_are_read_back_and_added(digits_model: Model, tmp_path: Path) -> None:
    network = pipeline.read(digits_model.path)
    data = pipeline.load_data(digits_model.data, network.input)
    floats = pipeline.load(CHECKPOINT)
    checked = pipeline.verify(network, data, "compiled", floats, samples=2)
    whole = pipeline.report(network, data, verification=checked, output=tmp_path / "whole.json")
    assert read_report(tmp_path / "whole.json") == whole
    assert whole.job.data == whole.totals.inputs_sha256 != ""
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path, part in zip(paths, (data.first(2), data.after(2)), strict=True):
        pipeline.report(network, part, output=path)
    one, two = map(read_report, paths)
    both = one.totals + two.totals
    assert replace(both, inputs_sha256=whole.totals.inputs_sha256) == whole.totals
    assert Totals.from_json(json.loads(json.dumps(both.to_json()))) == both
    again = pipeline.report(network, data, recording=both)
    assert (again.layers, again.total) == (whole.layers, whole.total)
    assert again.accuracy["quantized"] == whole.accuracy["quantized"] and again.accuracy["float"] is None
    with pytest.raises(BadOption, match="totals of two models"):
        one.totals + replace(two.totals, model_sha256="other")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BadFile, match="is not a report of nmdeploy"):
        read_report(tmp_path / "bad.json")


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_value(threads: int, cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    options = ("--data", digits_model.data, "--backend", "compiled", "--trace", "states")
    for name, more in (("a.h5", ()), ("b.h5", ("--threads", threads))):
        assert cli("simulate", digits_model.path, *options, *more, "-o", tmp_path / name).exit_code == 0
    assert read_recording(tmp_path / "a.h5") == read_recording(tmp_path / "b.h5")


def test_threads_that_cannot_be(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    for backend, threads, words in (
        ("auto", 0, "--threads 0: give 1 or more"),
        ("reference", 2, "backend 'reference' takes no number of threads: leave --threads out"),
        ("lava", 1, "backend 'lava' takes no number of threads"),
    ):
        options = ("--data", digits_model.data, "--backend", backend, "--threads", threads, "-o", tmp_path / "r.h5")
        result = cli("simulate", digits_model.path, *options)
        assert result.exit_code == 2 and words in result.stderr
    assert not list(tmp_path.iterdir())
