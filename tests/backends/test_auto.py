"""Which backend runs a job: the compiled one, unless the reference is done before, or is the only one that can."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from family_examples import inputs, quantized
from networks import lif_case

from nmdeploy import pipeline
from nmdeploy import running as streaming
from nmdeploy.backends import auto, backends, compiled, reference
from nmdeploy.cli import demo
from nmdeploy.cli.commands import main
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.errors import BadOption
from nmdeploy.neurons.lif import LIF, QuantizedLIF
from nmdeploy.recording.reader import read_recording
from nmdeploy.running import simulate_into
from nmdeploy.samples.source import Data


@dataclass(frozen=True, eq=False)
class Branching(QuantizedLIF):
    """Asks for a value, which symbols have none of."""

    def advance(self, registers: Any, a: Any, now: Any) -> Any:
        return super().advance(registers, a if now.step < 1 << 20 else 0 * a, now)


def branching() -> Any:
    network = quantized(LIF(0.5 * np.ones(12), 0.9, 1.0))  # type: ignore[arg-type]
    nodes = {
        name: Branching(**{f.name: getattr(node, f.name) for f in fields(QuantizedLIF)}) if name == "n" else node  # type: ignore[union-attr]
        for name, node in network.nodes.items()
    }
    return type(network)(nodes, network.edges, network.dt, network.output, network.readout)


def data(codes: Any) -> Data:
    return Data(codes, None, np.full(len(codes), codes.shape[1], np.int64))


def test_a_small_job_is_run_by_the_reference_at_once() -> None:
    network = lif_case(1).network
    assert auto.choose(network, 1, 10, "none") == (reference, None)


def test_many_small_jobs_are_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine begins once the reference has taken as long as its start, for each level of tracing by itself."""
    network = lif_case(1).network
    one = auto._reference_seconds(network, 1, 10)
    monkeypatch.setattr(auto, "START_SECONDS", 3.5 * one)
    monkeypatch.setattr(auto, "COMPILE_SECONDS", 0.0)
    assert [auto.choose(network, 1, 10, "none")[0] for _ in range(4)] == [reference] * 3 + [compiled]
    assert auto.choose(network, 1, 10, "none")[0] is compiled
    assert auto.choose(network, 1, 10, "states")[0] is reference
    assert auto.choose(lif_case(1).network, 1, 10, "none")[0] is reference


def test_a_large_job_is_compiled() -> None:
    network = lif_case(1).network
    module, note = auto.choose(network, 10_000, 100, "none")
    assert module is compiled and note is None


def test_the_whole_job_counts_not_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, samples = lif_case(1).network, data(np.repeat(lif_case(1).inputs[:1], 400, 0))
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", 2)
    monkeypatch.setattr(auto, "START_SECONDS", 20 * samples.steps * auto.STEP_SECONDS)
    monkeypatch.setattr(auto, "COMPILE_SECONDS", 0.0)
    assert auto.choose(network, 2, samples.steps, "none")[0] is reference
    monkeypatch.setattr(reference, "run", None)
    totals = simulate_into(tmp_path / "r.h5", network, samples)
    assert (totals.backend, totals.samples) == ("compiled", 400)


def test_who_runs_a_job_is_decided_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may compile the network meanwhile."""
    network, samples = lif_case(1).network, data(lif_case(1).inputs[:2, :10])
    monkeypatch.setattr(streaming, "CHUNK_SAMPLES", 1)
    first = True
    for _, part in streaming.run_parts(network, samples):
        assert part.backend == "reference"
        if first:
            compiled.engine(network, "none")
        first = False
    assert {part.backend for _, part in streaming.run_parts(network, samples)} == {"compiled"}


def test_a_recording_says_what_ran(tmp_path: Path) -> None:
    network, samples = lif_case(1).network, data(lif_case(1).inputs[:1, :10])
    assert pipeline.run(network, samples).backend == "reference"
    assert simulate_into(tmp_path / "r.h5", network, samples).backend == "reference"
    assert read_recording(tmp_path / "r.h5").backend == "reference"
    assert pipeline.run(network, samples, "reference").backend == "reference"
    compiled.engine(network, "none")
    assert pipeline.run(network, samples).backend == "compiled"


def test_what_is_at_hand_runs_smaller_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the time to begin and the time to compile: the engine after `warmup`, the reference before."""
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(auto, "START_SECONDS", 0.001)
    monkeypatch.setattr(auto, "COMPILE_SECONDS", 1e3)
    model, network = tmp_path / "model.nir", quantized(LIF(0.5 * np.ones(12), 0.9, 1.0))  # type: ignore[arg-type]
    pipeline.write(network, model)
    assert auto.choose(pipeline.read(model), 9, 50, "none") == (reference, None)
    assert CliRunner().invoke(main, ["warmup", str(model)]).exit_code == 0
    assert auto.choose(pipeline.read(model), 9, 50, "none") == (compiled, None)
    monkeypatch.setattr(auto, "START_SECONDS", 1e3)
    assert auto.choose(pipeline.read(model), 9, 50, "none") == (reference, None)


def test_what_is_compiled_already_runs_small_jobs_too() -> None:
    network = lif_case(1).network
    compiled.engine(network, "none")
    assert auto.choose(network, 1, 10, "none")[0] is compiled


def test_what_cannot_be_compiled_runs_on_the_reference_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "START_SECONDS", 0.0)
    monkeypatch.setattr(auto, "COMPILE_SECONDS", 0.0)
    network, samples = branching(), data(inputs())
    with pytest.warns(RuntimeWarning, match=r"population 'n' \(lif\) cannot be compiled .* the reference runs"):
        found = pipeline.run(network, samples)
    assert np.array_equal(found.output, pipeline.run(network, samples, "reference").output)


def test_a_comparison_runs_the_backend_it_names() -> None:
    """The reference in its place would be compared with itself."""
    with pytest.raises(NotTraceable, match=r"'n' .* cannot be compiled .*: run it with --backend reference"):
        pipeline.verify(branching(), data(inputs()), "compiled")


def test_a_small_comparison_is_not_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    network, samples = lif_case(1).network, data(lif_case(1).inputs[:1, :5])
    ran: list[str] = []
    run = compiled.run
    monkeypatch.setattr(compiled, "run", lambda *given, **more: ran.append("compiled") or run(*given, **more))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pipeline.verify(network, samples, "compiled").equal
    assert ran == ["compiled"]


def test_a_backend_by_name_does_what_it_says() -> None:
    """Only `auto` may choose; the name of before is understood, and not listed."""
    network, samples = lif_case(1).network, data(lif_case(1).inputs[:1, :5])
    for name in ("compiled", "reference"):
        assert pipeline.run(network, samples, name).backend == name
    assert pipeline.run(network, samples, "embedded").backend == "compiled"
    assert "embedded" not in backends()
    with pytest.raises(NotTraceable, match=r"cannot be compiled .*: run it with --backend reference"):
        pipeline.run(branching(), data(inputs()), "compiled")


@pytest.mark.parametrize("name", ["reference", "auto"])
def test_the_reference_is_not_compared_with_itself(name: str) -> None:
    network, samples = lif_case(1).network, data(lif_case(1).inputs[:1, :5])
    with pytest.raises(BadOption, match=rf"'{name}' is the reference, or may choose it.*--against lava"):
        pipeline.verify(network, samples, name)


def test_warmup_compiles_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path / "kernels"))
    model = tmp_path / "model.nir"
    pipeline.write(quantized(LIF(0.5 * np.ones(12), 0.9, 1.0)), model)  # type: ignore[arg-type]
    first, second = (CliRunner().invoke(main, ["warmup", str(model)]) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    (made,) = re.findall(r"model.nir: (\d+) kernels compiled, 0 were available in .*kernels", first.stdout)
    assert int(made) == len(list((tmp_path / "kernels").glob("*.o"))) > 5
    assert f"model.nir: 0 kernels compiled, {made} were available" in second.stdout


def test_warmup_without_a_model_compiles_the_demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path))
    assert CliRunner().invoke(main, ["warmup"]).stdout.startswith("demo: ")
    network = demo.demo_model()
    at_hand = len(list(tmp_path.glob("*.o")))
    compiled.run(network, np.zeros((1, 4, 1), np.uint8))
    assert len(list(tmp_path.glob("*.o"))) == at_hand


def test_warmup_says_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path / "file"))
    done = CliRunner().invoke(main, ["warmup"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.fullmatch(r"Error: .*file: kernels cannot be kept there \(.+\): .* NMDEPLOY_CACHE\n", done.stderr)


def test_warmup_mends_what_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path))
    CliRunner().invoke(main, ["warmup"])
    damaged = sorted(tmp_path.glob("*.o"))[:3]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1])
    assert "demo: 3 kernels compiled" in CliRunner().invoke(main, ["warmup"]).stdout
    assert "demo: 0 kernels compiled" in CliRunner().invoke(main, ["warmup"]).stdout


def test_a_model_that_is_none_is_found_before_any_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path / "kernels"))
    pipeline.write(quantized(LIF(0.5 * np.ones(12), 0.9, 1.0)), tmp_path / "model.nir")  # type: ignore[arg-type]
    done = CliRunner().invoke(main, ["warmup", str(tmp_path / "model.nir"), str(tmp_path / "none.nir")])
    assert done.exit_code == 2 and not (tmp_path / "kernels").exists()


SLOW = (pytest.param(kind, marks=pytest.mark.slow) for kind in ("i1", "u2", "i2", "u4", "i4"))


@pytest.mark.parametrize("kind", ["u1", "i8", *SLOW])
def test_warmup_compiles_every_type_of_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("NMDEPLOY_CACHE", str(tmp_path))
    CliRunner().invoke(main, ["warmup"])
    at_hand = len(list(tmp_path.glob("*.o")))
    compiled.run(demo.demo_model(), np.zeros((1, 4, 1), kind))
    assert len(list(tmp_path.glob("*.o"))) == at_hand


def test_warmup_says_what_is_no_model(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["warmup", str(tmp_path / "none.nir")])
    assert done.exit_code == 2 and "there is no such file" in done.stderr and done.stderr.count("\n") == 1
