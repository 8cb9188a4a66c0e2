"""The Python API has the command line's verbs."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shared import CALIBRATION, CHECKPOINT, TEST

import nmdeploy
from nmdeploy import pipeline
from nmdeploy.errors import BadOption

VERBS = ("check", "export", "load", "load_data", "quantize", "write", "read", "run", "simulate", "verify", "report")


def test_all_is_what_a_user_sees() -> None:
    assert sorted(nmdeploy.__all__) == sorted([*VERBS, *nmdeploy.CLASSES])


def test_no_module_hides_a_verb() -> None:
    for module in pkgutil.walk_packages(nmdeploy.__path__, "nmdeploy."):
        if not module.name.startswith(("nmdeploy.lava", "nmdeploy.__main__")):
            importlib.import_module(module.name)
    for verb in VERBS:
        assert callable(getattr(nmdeploy, verb))
        assert getattr(nmdeploy, verb) is getattr(pipeline, verb)


def test_the_chain_in_python(tmp_path: Path) -> None:
    network = nmdeploy.load(CHECKPOINT)
    calibration = nmdeploy.load_data(CALIBRATION, network.input)
    quantized = nmdeploy.quantize(network, "loihi2", calibration)
    nmdeploy.write(quantized, tmp_path / "model.nir")
    assert nmdeploy.read(tmp_path / "model.nir") == quantized
    data = nmdeploy.load_data(TEST, network.input).first(5)
    recording = nmdeploy.run(quantized, data)
    report = nmdeploy.report(quantized, data, recording=recording)
    assert report.samples == recording.samples == 5
    result = nmdeploy.verify(quantized, data, (), network, recording=recording)
    assert not result.equal and result.status == "nothing compared"


def test_the_reference_does_not_verify_itself() -> None:
    network = nmdeploy.load(CHECKPOINT)
    data = nmdeploy.load_data(TEST, network.input).first(1)
    with pytest.raises(BadOption, match="is the reference, or may choose it"):
        nmdeploy.verify(nmdeploy.quantize(network, "loihi2", data), data, ["reference"])


@pytest.fixture(scope="module")
def digits() -> Any:
    network = nmdeploy.load(CHECKPOINT)
    data = nmdeploy.load_data(TEST, network.input).first(2)
    return network, nmdeploy.quantize(network, "loihi2", data), data


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, q, d: nmdeploy.verify(q, d, samples=-1), "--samples -1"),
        (lambda n, q, d: nmdeploy.run(q, d.first(0)), "at least one of each"),
        (lambda n, q, d: nmdeploy.verify(q, d, against="lvaa"), "'lvaa' does not exist"),
        (lambda n, q, d: nmdeploy.run(q, d, trace="sttes"), "trace 'sttes'"),
        (lambda n, q, d: nmdeploy.run(q, replace(d, codes=d.codes.repeat(2, 2))), "give \\(samples, steps, 1\\)"),
        (
            lambda n, q, d: nmdeploy.quantize(n, "loihi2", replace(d, codes=d.codes.repeat(2, 2))),
            "give \\(samples, steps, 1\\)",
        ),
        (lambda n, q, d: nmdeploy.verify(q, d, (), replace(n, dt=1.0)), "its dt is 1.0, the model's is 0.001"),
        (lambda n, q, d: nmdeploy.report(q, d, floats=replace(n, readout="sum")), "its output is"),
        (lambda n, q, d: nmdeploy.report(replace(q, profile="mine"), d), "'mine', which is not installed"),
    ],
)
def test_mistakes_are_one_line(digits: Any, call: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        call(*digits)


def test_padding_counts_nothing_in_the_calibration(digits: Any) -> None:
    network, _, data = digits
    short = replace(data, lengths=data.lengths * 0 + 20)
    padded = data.codes.copy()
    padded[:, 20:] = 31
    assert nmdeploy.quantize(network, "loihi2", short) == nmdeploy.quantize(
        network, "loihi2", replace(short, codes=padded)
    )
