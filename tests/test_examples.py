"""The example trains, and what the package ships is what it makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shared import CALIBRATION, CHECKPOINT, TEST

from nmdeploy import pipeline
from nmdeploy.importers.checkpoint import read_content

EXAMPLE = Path(__file__).parent.parent / "examples" / "train_digits.py"


@pytest.mark.slow
def test_training_writes_a_checkpoint_and_the_data_that_ship(tmp_path: Path) -> None:
    out = str(tmp_path / CHECKPOINT.name)
    command = [sys.executable, str(EXAMPLE), "--epochs", "1", "--channels", "16", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    network = pipeline.load(tmp_path / CHECKPOINT.name)
    assert network.input == pipeline.load(CHECKPOINT).input
    for shipped in (TEST, CALIBRATION):
        with np.load(shipped) as wanted, np.load(tmp_path / shipped.name) as found:
            assert set(wanted.files) == set(found.files)
            for name in wanted.files:
                np.testing.assert_array_equal(found[name], wanted[name])
    with np.load(TEST) as test, np.load(CALIBRATION) as calibration:
        assert len(test["inputs"]) == 450
        seen = {sample.tobytes() for sample in test["inputs"]}
        assert not any(sample.tobytes() in seen for sample in calibration["inputs"])


def train(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_another_model_with_an_option_leaves_its_learning_curve(tmp_path: Path) -> None:
    out, curve = tmp_path / "x.safetensors", tmp_path / "x.json"
    sizes = ("--epochs", 6, "--channels", 8, "--layers", 1)
    done = train("--model", "fixed-refractory-ssm", "--option", "length=3", *sizes, "--out", out, "--curve", curve)
    assert done.returncode == 0, done.stderr
    config, tensors = read_content(out)
    assert (config.model, config.options["length"]) == ("fixed-refractory-ssm", 3)
    held = json.loads(curve.read_text())
    assert [point["epoch"] for point in held["curve"]] == [5, 6] and held["seconds"] > 0
    for point in held["curve"]:
        line = f"training accuracy {point['training_accuracy']:.4f}, test {point['test_accuracy']:.4f}"
        assert line in done.stdout
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert "training fixed-refractory-ssm for 6 epochs\nepoch   1  loss " in done.stdout
    assert [f"epoch {epoch:3d}  loss" in done.stdout for epoch in range(1, 8)] == [True] * 6 + [False]
    trained = sum(tensor.size for name, tensor in tensors.items() if not name.endswith(statistics))
    assert held["parameters"] == trained
    assert held["recipe"]["epochs"] == 6 and held["recipe"]["rate"] == 0.01


@pytest.mark.slow
def test_without_a_compiler_it_says_so_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    sizes = ("--epochs", 1, "--channels", 4, "--layers", 1)
    done = train("--model", "if", *sizes, "--out", tmp_path / "x.safetensors")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no C++ compiler (g++, clang++, c++) found: training does not compile")


@pytest.mark.slow
def test_the_approximation_is_fitted_while_it_trains(tmp_path: Path) -> None:
    out, sizes = tmp_path / "x.safetensors", ("--epochs", 2, "--channels", 4, "--layers", 2)
    done = train("--model", "spiking-ssm", "--option", "approximation=predicted", *sizes, "--out", out)
    assert done.returncode == 0, done.stderr
    _, tensors = read_content(out)
    for block in (0, 1):
        assert tensors[f"blocks.{block}.neuron.predictor.fitted"] == 1
        assert (tensors[f"blocks.{block}.neuron.predictor.weight"] != 0).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "nobody"), "'nobody' is not one of"),
        (("--option", "nobody=1"), "option 'nobody' is unknown"),
        (("--option", "dt_min=much"), "--option dt_min=much: give a value of type float"),
    ],
)
def test_a_wrong_model_or_option_ends_in_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = train(*arguments, "--out", tmp_path / "x.safetensors")
    assert done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
