"""Axes of samples in other orders, in memory and in files, and what is said where sizes leave the order open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sample_files import saved

from nmdeploy import pipeline
from nmdeploy.cli.commands import main
from nmdeploy.errors import BadData, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Input
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import Fact
from nmdeploy.recording.reader import read_recording
from nmdeploy.samples.axes import AXES
from nmdeploy.samples.source import load_data, open_data

NUMBER = FixedPoint(4, 0)
TURNS = {"NTC": (0, 1, 2), "TNC": (1, 0, 2), "NCT": (0, 2, 1)}
RNG = np.random.default_rng(0)
VALUES = RNG.integers(-8, 8, (5, 7, 3))


@pytest.mark.parametrize("kind", ["npz", "npy", "h5"])
@pytest.mark.parametrize("axes", AXES)
def test_every_order_gives_the_same_samples(kind: str, axes: str, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, inputs=np.ascontiguousarray(VALUES.transpose(TURNS[axes])))
    source = open_data(path, Input((3,), NUMBER), axes=axes)
    assert (source.samples, source.steps) == (5, 7)
    assert np.array_equal(source.first(None).codes, VALUES)
    assert np.array_equal(np.concatenate([chunk.codes for chunk in source.chunks(2)]), VALUES)
    assert np.array_equal(source.after(2).first(None).codes, VALUES[2:])
    assert np.array_equal(source.limited(4).first(None).codes, VALUES[:4])
    assert source.axes == Fact(axes, "option")


@pytest.mark.parametrize("axes", AXES)
def test_inputs_of_several_axes(axes: str) -> None:
    values = RNG.integers(0, 2, (4, 6, 2, 3))
    turned = {"NTC": values, "TNC": values.swapaxes(0, 1), "NCT": np.moveaxis(values, 1, -1)}[axes]
    lengths = np.array([6, 5, 4, 3])
    data = load_data({"inputs": turned, "lengths": lengths}, Input((2, 3)), axes=axes)
    assert np.array_equal(data.codes, values.reshape(4, 6, 6)) and np.array_equal(data.lengths, lengths)


@pytest.mark.parametrize(
    ("shape", "labels", "said", "expected"),
    [
        ((5, 7, 3), 5, None, ("data", "NTC")),
        ((5, 7, 3), None, None, ("assumed", "TNC")),
        ((5, 5, 3), 5, None, ("assumed", "TNC")),
        ((5, 3, 3), 5, None, ("assumed", "NCT")),
        ((3, 3, 3), None, None, ("assumed", "TNC or NCT")),
        ((3, 3, 3), None, "NTC", ("option", "NTC")),
    ],
)
def test_where_sizes_do_not_decide_it_is_said(
    shape: tuple[int, ...], labels: int | None, said: str | None, expected: tuple[str, str]
) -> None:
    held: dict[str, Any] = {"inputs": np.zeros(shape)}
    held |= {} if labels is None else {"labels": np.zeros(labels, int)}
    fact = open_data(held, Input((3,)), axes=said).axes
    assert fact.by == expected[0] and fact.value.endswith(expected[1])


def test_remedies_name_the_order_that_fits() -> None:
    with pytest.raises(BadData, match=r"give --axes NCT$"):
        open_data(VALUES.transpose(0, 2, 1), Input((3,)))
    with pytest.raises(BadData, match="--axes TNC if steps come first"):
        open_data({"inputs": VALUES.swapaxes(0, 1), "labels": np.zeros(5, int)}, Input((3,)))
    with pytest.raises(BadData, match=r"check --axes NCT, its shape is \(5, 7, 3\) as given"):
        open_data(VALUES, Input((3,)), axes="NCT")
    with pytest.raises(BadOption, match="--axes CNT: choose one of NTC, TNC, NCT"):
        open_data(VALUES, Input((3,)), axes="CNT")
    with pytest.raises(BadOption, match="--axes CNT: choose one of"):
        ReadOptions(axes="CNT")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_model_keeps_the_axes_of_its_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that takes data reads them in that order, unless an option says another one."""
    from nmdeploy.examples import digits

    monkeypatch.chdir(tmp_path)
    files = digits()
    held = {name: values[:12] for name, values in np.load(files.test).items()}
    np.savez("ntc.npz", **held)
    np.savez("tnc.npz", **{**held, "inputs": held["inputs"].swapaxes(0, 1)})
    assert run("export", files.checkpoint, "--data", "ntc.npz", "-o", "plain.nir").exit_code == 0
    assert run("export", files.checkpoint, "--data", "tnc.npz", "--axes", "TNC", "-o", "kept.nir").exit_code == 0
    assert pipeline.read("plain.nir") == pipeline.read("kept.nir")
    for model, option, data in (("kept.nir", [], "tnc"), ("kept.nir", ["NTC"], "ntc"), ("plain.nir", ["TNC"], "tnc")):
        axes = [part for each in option for part in ("--axes", each)]
        given = (model, "--data", f"{data}.npz", *axes)
        assert run("simulate", *given, "-o", "rec.h5").exit_code == 0
        assert read_recording("rec.h5").samples == 12
        assert run("report", *given, "-o", "report.json").exit_code == 0
        checked = run("verify", *given, "--against", "compiled", "--samples", "2")
        assert checked.exit_code == 0 and "equal, 2 samples, 64 steps" in checked.stdout
    assert run("simulate", "kept.nir", "--data", "ntc.npz", "-o", "rec.h5").exit_code == 2
