"""``--timings`` prints one line per stage on stderr, and only then."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shared import Cli, Model

from nmdeploy._util.stages import stage, timed_stages

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
    given = {
        "export": [export_source(tmp_path), "-o", tmp_path / "model.nir"],
        "simulate": [lif_model.path, "--data", lif_model.data, "-o", tmp_path / "recording.h5"],
        "verify": [lif_model.path, "--data", lif_model.data, "--against", "compiled"],
        "report": [lif_model.path, "--data", lif_model.data],
    }[command]
    result = cli(command, *given, "--timings")
    assert result.exit_code == 0, result.output
    assert lines_of(result.stderr) == [*STAGES[command], "total"]
    assert lines_of(result.stdout) == [] == lines_of(cli(command, *given).stderr)


def test_stages_are_printed_for_a_command_that_fails(cli: Cli, lif_model: Model, tmp_path: Path) -> None:
    result = cli("simulate", lif_model.path, "--data", tmp_path / "none.npz", "-o", tmp_path / "r.h5", "--timings")
    assert result.exit_code == 2
    assert lines_of(result.stderr) == ["read", "total"]


def test_a_stage_that_comes_twice_is_one() -> None:
    with timed_stages() as found:
        for name in ("a", "b", "a"):
            with stage(name):
                pass
    with stage("nobody asked"):
        pass
    assert list(found) == ["a", "b"] and all(seconds >= 0 for seconds in found.values())


def export_source(folder: Path) -> Path:
    import numpy as np

    from nmdeploy import pipeline
    from nmdeploy.network.builder import NetworkBuilder
    from nmdeploy.neurons.lif import LIF

    builder = NetworkBuilder(dt=1e-3)
    hidden = builder.population(LIF(np.zeros(3), 0.9, 1.0), name="hidden")
    builder.connect(builder.input(2), hidden, np.ones((3, 2)))
    pipeline.save(builder.build(), folder / "net.safetensors")
    return folder / "net.safetensors"
