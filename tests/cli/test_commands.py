"""The command line as a user meets it: what each command prints and writes, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import processes
import pytest
from shared import CALIBRATION, CHECKPOINT, ROOT, Cli, Model

from nmdeploy import __version__
from nmdeploy.cli.demo import run_demo
from nmdeploy.nir_io import read
from nmdeploy.nir_io.file import seal
from nmdeploy.recording.reader import read_recording

CORPUS = os.environ.get("NMDEPLOY_CORPUS")
needs_corpus = pytest.mark.skipif(CORPUS is None, reason="NMDEPLOY_CORPUS names no corpus")
COMMANDS = (
    "check",
    "demo",
    "diagnose",
    "doctor",
    "export",
    "inspect",
    "models",
    "profiles",
    "report",
    "simulate",
    "verify",
    "warmup",
)
WRONG_BACKEND = """
from dataclasses import replace
from nmdeploy.backends import reference
NAMES = ("wrong",)
def run(network, inputs, **options):
    recording = reference.run(network, inputs, **options)
    name, layer = next(iter(recording.layers.items()))
    state, values = next(iter(layer.states.items()))
    values = values.copy()
    values[1, 2, 3, 0] += 1
    return replace(recording, layers={**recording.layers, name: replace(layer, states={**layer.states, state: values})})
"""


def extension(folder: Path, group: str, source: str) -> dict[str, str | None]:
    """Environment in which a distribution registers one module of its own."""
    info = folder / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nmine = mine_extension\n")
    (folder / "mine_extension.py").write_text(source)
    return {"PYTHONPATH": str(folder)}


def test_help_and_version(cli: Cli) -> None:
    overview = cli("--help").stdout
    assert [line.split()[0] for line in overview.split("Commands:")[1].splitlines() if line] == sorted(COMMANDS)
    assert "..." not in overview.split("Commands:")[1]
    assert cli("--version").stdout == f"nmdeploy, version {__version__}\n"
    for command in COMMANDS:
        assert cli(command, "--help").exit_code == 0
        assert cli(command, "-h").exit_code == 0


def test_as_a_module() -> None:
    outcome = processes.run("--version")
    assert (outcome.returncode, outcome.stdout) == (0, f"nmdeploy, version {__version__}\n")


def test_the_chain(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    model, recording = tmp_path / "model.nir", tmp_path / "recording.h5"
    export = cli("export", CHECKPOINT, "--data", CALIBRATION, "--weight-bits", 4, "--state-bits", 16, "-o", model)
    assert export.exit_code == 0
    assert export.stdout.startswith("read as: checkpoint ")
    assert export.stdout.endswith(f"{model}: 4 populations on 4 cores of loihi2\n")
    assert all(line.startswith(("note: ", "warning: ")) for line in export.stderr.splitlines())
    assert {neuron.state_bits for neuron in read(model).populations.values()} >= {16}

    simulate = cli("simulate", model, "--data", digits_model.data, "--trace", "spikes", "-o", recording)
    assert (simulate.exit_code, simulate.stderr) == (0, "")
    assert "6 samples of 64 steps on reference" in simulate.stdout
    assert "accuracy 1.0000 (95 %: 0.6097 to 1.0000)\n" in simulate.stdout
    assert "block0: spike rate 0." in simulate.stdout
    assert read_recording(recording).layers["block0"].spikes is not None

    for suffix in ("json", "csv", "md"):
        report = cli(
            "report", model, "--data", digits_model.data, "--checkpoint", CHECKPOINT, "-o", tmp_path / f"r.{suffix}"
        )
        assert (report.exit_code, report.stdout) == (0, f"report: {tmp_path / f'r.{suffix}'}\n")
    accuracy = json.loads((tmp_path / "r.json").read_text())["accuracy"]
    intervals = accuracy.pop("interval")
    assert set(accuracy) == {"float", "float_rounded_input", "quantized"} == set(intervals)
    assert min(accuracy.values()) > 0.9 and all(low < accuracy[name] <= high for name, (low, high) in intervals.items())
    assert {path.name for path in tmp_path.iterdir()} == {"model.nir", "recording.h5", "r.json", "r.csv", "r.md"}


def test_inspect(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    shown = cli("inspect", digits_model.path).stdout
    assert "format: nmdeploy-model" in shown and "profile: loihi2" in shown
    header, first = (line.split() for line in shown.split("layers:\n")[1].splitlines()[:2])
    assert dict(zip(header, first, strict=True)) | {"name": "block0", "kind": "state_space", "neurons": "64"} == dict(
        zip(header, first, strict=True)
    )
    assert json.loads(cli("inspect", digits_model.path, "--json").stdout)["format"] == "nmdeploy-model"
    shown = cli("inspect", CHECKPOINT).stdout
    assert "block0: state_space 64\n" in shown and "version: 1\nmodel: binary-s4d\n" in shown
    cli("simulate", digits_model.path, "--data", digits_model.data, "-o", tmp_path / "r.h5")
    assert "layers: block0, block1, block2, readout\n" in cli("inspect", tmp_path / "r.h5").stdout


def test_simulate_the_first_samples(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    simulate = ("simulate", digits_model.path, "--data", digits_model.data, "-o", tmp_path / "r.h5")
    whole = cli(*simulate).stdout
    assert "4 samples of 64 steps" in cli(*simulate, "--samples", 4).stdout
    with np.load(digits_model.data) as arrays:
        assert np.array_equal(read_recording(tmp_path / "r.h5").predictions, arrays["labels"][:4])  # type: ignore[arg-type]
    assert cli(*simulate, "--samples", 99).stdout == whole


def test_a_mistyped_array(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    with np.load(digits_model.data) as arrays:
        np.savez(tmp_path / "d.npz", inputs=arrays["inputs"], label=arrays["labels"])
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file["inputs"], file["label"] = arrays["inputs"], arrays["labels"]
    for name in ("d.npz", "d.h5"):
        shown = cli("simulate", digits_model.path, "--data", tmp_path / name, "-o", tmp_path / "r.h5").stdout
        assert "accuracy not available (no array 'labels'; the file also holds 'label')\n" in shown


def test_samples_of_several_lengths(cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    """Padding is neither compared nor said to be steps."""
    with np.load(lif_model.data) as arrays:
        np.savez(tmp_path / "d.npz", inputs=arrays["inputs"], lengths=np.arange(10) + 1)
    shown = cli("simulate", lif_model.path, "--data", tmp_path / "d.npz", "-o", tmp_path / "r.h5").stdout
    assert "10 samples of up to 20 steps on " in shown
    verify = ("verify", lif_model.path, "--data", tmp_path / "d.npz", "--samples", 3, "--against", "compiled")
    found = json.loads(cli(*verify, "--json").stdout)["comparisons"][0]
    assert (found["samples"], found["steps"], found["valid_steps"]) == (3, 20, 6)
    each = sum(3 * neuron.size for neuron in read(lif_model.path).populations.values())  # a spike, u and v
    assert found["values_compared"] == 6 * each
    assert f"3 samples, up to 20 steps, {6 * each} values compared" in cli(*verify).stdout


def test_inspect_of_samples(cli: Cli, tmp_path: Path) -> None:
    inputs, labels = np.arange(24).reshape(3, 4, 2).astype(np.float32) / 4, np.array([4, 0, 2], np.int16)
    np.savez(tmp_path / "a.npz", inputs=inputs, labels=labels, label=labels)
    np.save(tmp_path / "a.npy", inputs * np.nan)
    for name in ("a.h5", "a.hdf5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["inputs"], file["labels"], file["label"] = inputs, labels, labels
    told = {"shape": [3, 4, 2], "type": "float32", "min": 0.0, "max": 5.75}
    for name in ("a.npz", "a.h5", "a.hdf5"):
        found = json.loads(cli("inspect", tmp_path / name, "--json").stdout)
        assert found["arrays"] == {"inputs": told, "labels": {"shape": [3], "type": "int16", "min": 0, "max": 4}}
        assert (found["format"], found["others"]) == ("samples", ["label"])
        shown = cli("inspect", tmp_path / name).stdout.splitlines()
        assert [" ".join(line.split()) for line in shown[4:6]] == [
            "inputs 3x4x2 float32 0.0 5.75",
            "labels 3 int16 0 4",
        ]
    found = json.loads(cli("inspect", tmp_path / "a.npy", "--json").stdout)["arrays"]
    assert found == {"inputs": told | {"min": None, "max": None}}
    for odd in (np.array([1.0, 2.0, 9.0]), np.array([7, 7]), np.array([[7], [8], [9]])):
        with h5py.File(tmp_path / "odd.h5", "w") as file:
            file["inputs"], file["lengths"] = inputs, odd
        np.savez(tmp_path / "odd.npz", inputs=inputs, lengths=odd)
        for name in ("odd.h5", "odd.npz"):
            found = json.loads(cli("inspect", tmp_path / name, "--json").stdout)["arrays"]["lengths"]
            assert found == {"shape": [*odd.shape], "type": str(odd.dtype), "min": None, "max": None}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Saves a new network of 4 neurons: its path."""
    from nmdeploy.fixedpoint import FixedPoint
    from nmdeploy.models import create
    from nmdeploy.models.checkpoint import save

    def make(name: str, **options: Any) -> Path:
        network = create(name, inputs=1, channels=4, states=2, layers=2, outputs=3, **options)
        save(network, tmp_path / "x.safetensors", input_format=FixedPoint(5, 4, signed=False), dt=0.002)
        return tmp_path / "x.safetensors"

    return make


def test_inspect_of_a_checkpoint_with_options(cli: Cli, saved: Callable[..., Path]) -> None:
    path = saved("multi-output", n_outputs=3, norm="none", residual=True)
    found = json.loads(cli("inspect", path, "--json").stdout)
    assert found["options"]["n_outputs"] == 3 and found["options"]["reset_action"] == "soft"
    told = {"version": 2, "model": "multi-output", "norm": "none", "residual": True, "dt": 0.002, "readout": "last"}
    assert found | told == found and found["problem"] is None
    assert found["sizes"] == {"inputs": 1, "channels": 4, "states": 2, "layers": 2, "outputs": 3}
    assert found["nodes"]["block0"] == "dense_state_space 4, 12 outputs"
    assert found["nodes"]["block1.synapse"] == "dense 4x12" and found["nodes"]["readout"] == "integrator 3"
    shown = cli("inspect", path).stdout
    assert "  n_outputs: 3\n" in shown and "  channels: 4\n" in shown and "norm: none\n" in shown


def test_inspect_of_a_checkpoint_that_cannot_be_deployed(cli: Cli, saved: Callable[..., Path]) -> None:
    path = saved("lif-soft", norm="layer")
    assert cli("check", path).exit_code != 0
    outcome = cli("inspect", path)
    assert outcome.exit_code == 0 and "model: lif-soft\n" in outcome.stdout and "norm: layer\n" in outcome.stdout
    assert "\nproblem: norm = 'layer' cannot be deployed: " in outcome.stdout and "norm='batch'" in outcome.stdout
    found = json.loads(cli("inspect", path, "--json").stdout)
    assert found["nodes"] == {} and "train with norm='batch'" in found["problem"]


def test_check(cli: Cli, digits_model: Model) -> None:
    for file in (digits_model.path, CHECKPOINT):
        outcome = cli("check", file)
        assert outcome.exit_code == 0
        assert f"{file} on loihi2: deployable\n" in outcome.stdout
        assert "yes  block1 (state_space)" in outcome.stdout
        outcome = cli("check", file, "--profile", "loihi1", "--json")
        assert outcome.exit_code == 1
        found = json.loads(outcome.stdout)
        assert not found["deployable"]
        nodes = {node["node"]: node for node in found["nodes"]}
        assert "does not run neurons of kind 'state_space'" in nodes["block0"]["problem"]
        assert nodes["readout"]["deployable"] and nodes["block0.synapse"]["deployable"]


def test_check_of_a_model_that_does_not_fit(cli: Cli, digits_model: Model, tmp_path: Path) -> None:
    loihi2 = ROOT / "hw_profiles" / "loihi2.toml"
    (tmp_path / "tiny.toml").write_text(
        loihi2.read_text().replace("usable_cores = { value = 120", "usable_cores = { value = 2")
    )
    outcome = cli("check", digits_model.path, "--profile", tmp_path / "tiny.toml")
    assert outcome.exit_code == 1
    assert "no   network (mapping)  cores (4) exceed max (2)" in outcome.stdout


@needs_corpus
def test_check_and_inspect_of_a_foreign_graph(cli: Cli) -> None:
    path = Path(str(CORPUS)) / "cnn_sinabs.nir"
    outcome = cli("check", path, "--json")
    assert outcome.exit_code == 1
    nodes = {node["node"]: node for node in json.loads(outcome.stdout)["nodes"]}
    assert len(nodes) == 15
    unsupported = {name for name, node in nodes.items() if not node["deployable"]}
    assert unsupported == {"0", "2", "5", "4", "7"}
    assert "Conv2d" in nodes["0"]["problem"] and "SumPool2d" in nodes["4"]["problem"]
    assert "0: type Conv2d" in cli("inspect", path).stdout
    assert cli("check", Path(str(CORPUS)) / "lif_norse.nir", "--dt", "1e-4").exit_code == 0


def test_profiles_and_doctor(cli: Cli) -> None:
    assert [line.split()[0] for line in cli("profiles").stdout.splitlines()] == ["loihi1", "loihi2"]
    assert "neuron_bits = 32768 bit  (published, Intel" in cli("profiles", "loihi2").stdout
    doctor = cli("doctor").stdout
    assert doctor.startswith(f"nmdeploy {__version__}, Python ")
    assert "\nnumpy " in doctor and "\nLava: " in doctor


def test_verify_finds_a_difference(digits_model: Model, tmp_path: Path) -> None:
    environment = extension(tmp_path, "nmdeploy.backends", WRONG_BACKEND)
    verify = ("verify", digits_model.path, "--data", digits_model.data, "--against", "wrong")
    outcome = processes.run(*verify, env=environment)
    assert outcome.returncode == 1, outcome.stderr
    assert "1 mismatches" in outcome.stdout
    assert (
        "first divergence: sample 1, step 2, layer block0" in outcome.stdout and "neuron 3, state 0" in outcome.stdout
    )
    outcome = processes.run(*verify, "--samples", 2, "--json", env=environment)
    assert (outcome.returncode, json.loads(outcome.stdout)["comparisons"][0]["mismatches"]) == (1, outcome.returncode)


def test_inspect_compares_the_primitives(cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    assert "primitives: equal to what its integers say" in cli("inspect", lif_model.path, "--verify").stdout
    work = tmp_path / "changed.nir"
    work.write_bytes(lif_model.path.read_bytes())
    with h5py.File(work, "r+") as file:
        node = next(node for node in file["node/nodes"].values() if "weight" in node)
        node["weight"][0, 0] += 1
    work.write_bytes(seal(work.read_bytes()))
    assert cli("inspect", work).exit_code == 0
    refused = cli("inspect", work, "--verify")
    assert refused.exit_code == 2 and "weight differs from its integers" in refused.stderr
    other = cli("inspect", lif_model.data, "--verify")
    assert other.exit_code == 2 and "is not a model" in other.stderr


def test_progress_only_on_a_terminal(digits_model: Model, tmp_path: Path) -> None:
    for line in (["simulate", "-o", tmp_path / "r.h5"], ["report"]):
        arguments = (line[0], digits_model.path, "--data", digits_model.data, *line[1:])
        code, output, shown = processes.on_a_terminal(*arguments)
        assert code == 0
        assert str(line[0]) in shown and "6/6" in shown
        piped = processes.run(*arguments)
        assert (piped.stdout, piped.stderr) == (output, "")


def test_a_check_shows_the_populations_done() -> None:
    code, output, shown = processes.on_a_terminal("check", CHECKPOINT, "--data", CALIBRATION)
    assert code == 0 and "check" in shown and re.search(r"[1-8]/8", shown)
    assert output.startswith("read as: ") and ": deployable" in output


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_report_fits_a_terminal(columns: int, cli: Cli, digits_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = cli("report", digits_model.path, "--data", digits_model.data).stdout.splitlines()
    assert max(map(len, lines)) <= max(columns, 80)
    assert "…" not in "".join(lines)
    assert "nJ of dynamic energy per sample" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("ins", ["inspect"]),
        ("export x --profile lo", ["loihi1", "loihi2"]),
        ("profiles loihi1", ["loihi1"]),
        ("simulate x --backend ref", ["reference"]),
        ("simulate x --trace s", ["spikes", "states"]),
        ("verify x --against la", ["lava"]),
        ("verify x --against lava,comp", ["lava,compiled"]),
        ("report x --prof", ["--profile"]),
    ],
)
def test_shell_completion(line: str, completions: list[str]) -> None:
    words = ["nmdeploy", *line.split()]
    outcome = processes.run(
        env={"_NMDEPLOY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    )
    assert [answer.partition(",")[2] for answer in outcome.stdout.splitlines()] == completions
    assert outcome.stderr == ""


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_shell_completion_in_bash() -> None:
    script = processes.run(env={"_NMDEPLOY_COMPLETE": "bash_source"}).stdout
    assert "complete -o nosort -F _nmdeploy_completion nmdeploy" in script
    assert subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_a_reader_that_stops_reading(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    outcome = subprocess.run(
        processes.command("profiles", "loihi2"), stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (outcome.returncode, outcome.stderr) == (141, "")


def test_verify_without_python310(digits_model: Model, tmp_path: Path) -> None:
    env = processes.without_python310(tmp_path)
    outcome = processes.run("verify", digits_model.path, "--data", digits_model.data, "--against", "lava", env=env)
    assert outcome.returncode == 2, outcome.stdout
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith("Error: Lava cannot be started: install Python 3.10")
    assert "uv python install 3.10" in outcome.stderr and "NMDEPLOY_LAVA_PYTHON" in outcome.stderr


def test_the_demo_verifies_no_more_digits_than_there_are(tmp_path: Path) -> None:
    class Said(Exception):
        """Ends the demo before it runs."""

    def say(line: str) -> None:
        if "Comparing" in line:
            raise Said(line)

    with pytest.raises(Said, match="Comparing 450 of them"):
        run_demo(str(tmp_path), 451, say)


@pytest.mark.slow
def test_demo_without_python310(tmp_path: Path) -> None:
    outcome = processes.run("demo", "-o", "out", cwd=tmp_path, env=processes.without_python310(tmp_path))
    assert outcome.returncode == 0, outcome.stderr
    assert "NOT VERIFIED AGAINST LAVA: Lava cannot be started: install Python 3.10" in outcome.stdout
    verification = json.loads((tmp_path / "out" / "verify.json").read_text())
    assert verification["status"].startswith("NOT VERIFIED AGAINST LAVA")
    assert verification["equal"] is False
    assert verification["comparisons"] == []
    assert verification["accuracy"]["float"] > 0.97
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"model.nir", "recording.h5", "verify.json", "report.json", "report.md"}
    assert [name for name in written if f"{Path('out') / name}  " not in outcome.stdout] == []
    assert "NOT VERIFIED AGAINST LAVA" in (tmp_path / "out" / "report.md").read_text()
    assert np.isclose(
        verification["accuracy"]["quantized"],
        json.loads((tmp_path / "out" / "report.json").read_text())["accuracy"]["quantized"],
    )
