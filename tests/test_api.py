"""The Python API has the command line's verbs."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import nmdeploy
from nmdeploy import demo, pipeline
from nmdeploy.errors import BadOption

VERBS = ("load", "load_data", "quantize", "write", "read", "run", "verify", "report")


def test_all_is_what_a_user_sees() -> None:
    assert sorted(nmdeploy.__all__) == sorted(VERBS)


def test_no_module_hides_a_verb() -> None:
    for module in pkgutil.walk_packages(nmdeploy.__path__, "nmdeploy."):
        if not module.name.startswith(("nmdeploy.lava", "nmdeploy.__main__")):
            importlib.import_module(module.name)
    for verb in VERBS:
        assert callable(getattr(nmdeploy, verb))
        assert getattr(nmdeploy, verb) is getattr(pipeline, verb)


def test_the_chain_in_python(tmp_path: Path) -> None:
    network = nmdeploy.load(demo.CHECKPOINT)
    calibration = nmdeploy.load_data(demo.CALIBRATION, network.input)
    quantized = nmdeploy.quantize(network, "loihi2", calibration)
    nmdeploy.write(quantized, tmp_path / "model.nir")
    assert nmdeploy.read(tmp_path / "model.nir") == quantized
    data = nmdeploy.load_data(demo.TEST, network.input).first(5)
    recording = nmdeploy.run(quantized, data)
    report = nmdeploy.report(quantized, data, recording=recording)
    assert report.samples == recording.samples == 5
    result = nmdeploy.verify(quantized, data, (), network, recording=recording)
    assert not result.equal and result.status == "nothing compared"


@pytest.mark.parametrize("name", ["reference", "embedded"])
def test_the_reference_does_not_verify_itself(name: str) -> None:
    network = nmdeploy.load(demo.CHECKPOINT)
    data = nmdeploy.load_data(demo.TEST, network.input).first(1)
    with pytest.raises(BadOption, match="is the reference itself"):
        nmdeploy.verify(nmdeploy.quantize(network, "loihi2", data), data, [name])
