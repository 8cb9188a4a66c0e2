"""Programs that were written from the documentation alone: a simulator equals the reference, a network runs through."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from windows import windowed_of

import nmdeploy
from nmdeploy import GatedLinearUnit, Integrator, NetworkBuilder
from nmdeploy.pipeline import FormatOverrides

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "from_docs"
H, CHANNELS, CLASSES = 5, 3, 2


def program(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"from_docs_{name}", FOLDER / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def windowed(rng: Any, r: int) -> Any:
    dynamics = {
        "a": 0.9 * np.exp(1j * rng.uniform(0, 2, (H, 2))),
        "b": np.ones((H, 2, 1)),
        "c": rng.normal(size=(H, 1, 2)) + 1j * rng.normal(size=(H, 1, 2)),
        "d": rng.normal(size=(H, 1, 1)),
    }
    return windowed_of(**dynamics, kernel=rng.normal(0.5, 0.5, (H, r)), v_threshold=np.full(H, 0.2))


@pytest.mark.parametrize("rounding", ["per-product", "per-sum"])
def test_the_simulator_equals_the_reference(rounding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Windows, a gate, a delayed loop, biases, samples of unlike lengths: every state, output and class."""
    rng = np.random.default_rng(3)
    builder = NetworkBuilder(1e-3)
    x = builder.input(CHANNELS)
    first = builder.population(windowed(rng, 3), "first")
    builder.connect(x, first, rng.normal(size=(H, CHANNELS)), bias=rng.normal(size=H))
    builder.connect(first, first, rng.normal(0, 0.3, (H, H)), delay=3)
    gate = builder.population(GatedLinearUnit(neurons=H), "gate")
    builder.connect(first, gate, rng.normal(size=(2 * H, H)), bias=rng.normal(size=2 * H))
    second = builder.population(windowed(rng, 4), "second")
    builder.connect(gate, second, np.eye(H))
    out = builder.population(Integrator(beta=np.full(CLASSES, 0.9)), "out")
    builder.connect(second, out, rng.normal(size=(CLASSES, H)), bias=rng.normal(size=CLASSES))
    samples = {"inputs": rng.random((4, 26, CHANNELS)) < 0.4, "lengths": np.array([26, 25, 7, 13])}
    options = FormatOverrides(state_rounding=rounding)
    model, data, recording = (tmp_path / name for name in ("model.nir", "data.npz", "recording.h5"))
    nmdeploy.export(builder.build(out, "last"), model, data=samples, options=options)
    np.savez(data, **samples)
    nmdeploy.simulate(model, data, recording, backend="reference", trace="states")
    code = program("simulator").main([str(model), str(data), str(recording)])
    printed = capsys.readouterr().out
    assert code == 0 and " 0 differ" in printed, printed
    words = printed.split()
    assert int(words[words.index("values") - 1]) > 1000


def test_the_network_of_arrays_runs_through_the_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program("network").main(tmp_path) == 0
    assert "compiled equals reference: True" in capsys.readouterr().out
    assert (tmp_path / "report.md").exists()
