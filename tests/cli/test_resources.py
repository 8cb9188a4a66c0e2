"""``--timings`` prints a line per stage on stderr, only then; ``--max-memory`` holds, or one line refuses it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shared import Cli, Model

from benchmarks.startup import PEAK
from nmdeploy._util import memory
from nmdeploy._util.memory import SMALL_MIB, memory_limit
from nmdeploy._util.stages import stage, timed_stages
from nmdeploy.errors import BadOption
from nmdeploy.nir_io import read
from nmdeploy.running import chunk_samples, piece_steps

STAGES = {
    "export": ["read", "quantize", "map", "assess", "write"],
    "simulate": ["read", "run"],
    "verify": ["read", "run reference", "run compiled", "float network"],
    "report": ["read", "run", "map and count"],
}


def lines_of(text: str) -> list[str]:
    return [match[1] for match in re.finditer(r"^([a-z ]+): \d+\.\d{3} s$", text, re.MULTILINE)]


@pytest.mark.parametrize("command", STAGES)
def test_each_stage_has_a_line(command: str, cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    given = arguments(command, lif_model, tmp_path)
    result = cli(command, *given, "--timings")
    assert result.exit_code == 0, result.output
    assert lines_of(result.stderr) == [*STAGES[command], "total"]
    assert lines_of(result.stdout) == [] == lines_of(cli(command, *given).stderr)


def test_stages_are_printed_for_a_command_that_fails(cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    result = cli("simulate", lif_model.path, "--data", tmp_path / "none.npz", "-o", tmp_path / "r.h5", "--timings")
    assert result.exit_code == 2
    assert lines_of(result.stderr) == ["read", "total"]


@pytest.mark.parametrize("command", STAGES)
def test_a_limit_that_nothing_fits_into_is_one_line(command: str, cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    given = arguments(command, lif_model, tmp_path)
    result = cli(command, *given, "--max-memory", "20")
    assert result.exit_code == 2
    line = result.stderr.strip().splitlines()[-1]
    assert re.fullmatch(
        r"Error: .*--max-memory 20: the process holds [\d,]+ MiB (and .* takes [\d,]+ MiB more|with .*): "
        r"give [\d,]+ or more, or fewer samples",
        line,
    ), result.stderr
    assert not list(tmp_path.glob("new*"))
    enough = cli(command, *given, "--max-memory", "4096")  # this process holds the other tests' memory too
    assert enough.exit_code == 0, enough.output


@pytest.mark.parametrize("limit", ["0", "-5"])
def test_a_limit_below_one(limit: str, cli: Cli, lif_model: Model) -> None:
    result = cli("report", lif_model.path, "--data", lif_model.data, "--max-memory", limit)
    assert result.exit_code == 2 and f"--max-memory {limit}: give 1 MiB or more" in result.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc for the memory of a process")
def test_a_run_stays_within_its_limit(tmp_path: Path) -> None:
    path, few, many = wide_model(tmp_path)

    def peak(data: Path, *options: object) -> int:
        given = [
            "simulate",
            path,
            "--data",
            data,
            "--trace",
            "states",
            "--backend",
            "compiled",
            "-o",
            tmp_path / "r.h5",
        ]
        command = [sys.executable, "-c", PEAK, *map(str, (*given, *options))]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr
        return int(found.stderr.splitlines()[-1]) // 1024

    assert peak(few, "--max-memory", SMALL_MIB) <= SMALL_MIB
    limit = peak(many) - 3
    assert peak(many, "--max-memory", limit) <= limit


def test_chunks_follow_the_limit(lif_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    network = read(lif_model.path)
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    steps = 1_000_000
    chunks = {}
    for limit in (None, 1000, 140, 120):
        with memory_limit(limit):
            chunks[limit] = chunk_samples(network, steps, "none"), piece_steps(network, steps, "states")
    assert chunks[None] == chunks[1000]
    assert chunks[120] < chunks[None] and chunks[120][1] < chunks[140][1] <= chunks[None][1]
    with memory_limit(1), pytest.raises(BadOption, match="a sample of 1,000,000 steps takes"):
        chunk_samples(network, steps, "none")


def wide_model(folder: Path) -> tuple[Path, Path, Path]:
    """Return a model whose states are many, and the paths of one sample and of some more."""
    from nmdeploy import pipeline
    from nmdeploy.network.builder import NetworkBuilder
    from nmdeploy.neurons.lif import LIF

    rng, builder = np.random.default_rng(0), NetworkBuilder(dt=1e-3)
    hidden = builder.population(LIF(np.full(20_000, 0.5), 0.9, 1.0), name="hidden")
    builder.connect(builder.input(4), hidden, rng.normal(size=(20_000, 4)))
    pipeline.save(builder.build(), folder / "wide.safetensors")
    for name, samples in (("few", 1), ("many", 3)):
        np.save(folder / f"{name}.npy", rng.integers(0, 2, (samples, 60, 4)).astype(np.uint8))
    pipeline.export(folder / "wide.safetensors", folder / "wide.nir", data=folder / "few.npy")
    return folder / "wide.nir", folder / "few.npy", folder / "many.npy"


def test_a_stage_that_comes_twice_is_one() -> None:
    with timed_stages() as found:
        for name in ("a", "b", "a"):
            with stage(name):
                pass
    with stage("nobody asked"):
        pass
    assert list(found) == ["a", "b"] and all(seconds >= 0 for seconds in found.values())


def arguments(command: str, model: Model, folder: Path) -> list[object]:
    """Return arguments with which a command writes what its name in the folder says, "new", if it writes at all."""
    return {
        "export": [export_source(folder), "-o", folder / "new.nir"],
        "simulate": [model.path, "--data", model.data, "-o", folder / "new.h5"],
        "verify": [model.path, "--data", model.data, "--against", "compiled"],
        "report": [model.path, "--data", model.data, "-o", folder / "new.json"],
    }[command]


def export_source(folder: Path) -> Path:
    from nmdeploy import pipeline
    from nmdeploy.network.builder import NetworkBuilder
    from nmdeploy.neurons.lif import LIF

    builder = NetworkBuilder(dt=1e-3)
    hidden = builder.population(LIF(np.zeros(3), 0.9, 1.0), name="hidden")
    builder.connect(builder.input(2), hidden, np.ones((3, 2)))
    pipeline.save(builder.build(), folder / "net.safetensors")
    return folder / "net.safetensors"
