"""The Python API has the command line's verbs."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared import CALIBRATION, CHECKPOINT, TEST

import nmdeploy
from nmdeploy import pipeline
from nmdeploy.errors import BadData, BadOption

VERBS = (
    *("check", "diagnose", "export", "load", "load_data", "quantize", "read", "report", "run", "save", "simulate"),
    *("verify", "write"),
)


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


def as_kind(kind: str, values: Any) -> Any:
    """An array as another package holds it."""
    if kind == "array":
        return values
    tensor = torch.tensor(values)
    return {
        "tensor": tensor,
        "with gradients": tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor,
        "bfloat16": tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor,
        "sparse": tensor.to_sparse(),
        "transposed": tensor.transpose(0, -1).contiguous().transpose(0, -1),
        "list": tensor.tolist(),
    }[kind]


@pytest.mark.parametrize("kind", ["array", "tensor", "with gradients", "bfloat16", "sparse", "transposed", "list"])
def test_arrays_and_tensors_are_samples(kind: str, digits: Any, tmp_path: Path) -> None:
    network, quantized, data = digits
    given = as_kind(kind, data.values)
    run = partial(nmdeploy.run, quantized, backend="reference")  # after some small jobs, auto takes another one
    assert run(given) == run({"inputs": given}) == run(data)
    assert nmdeploy.quantize(network, data=given) == quantized
    lengths = {"inputs": given, "lengths": as_kind(kind, data.lengths - 3)}
    assert run(lengths) == run(replace(data, lengths=data.lengths - 3))


def test_every_verb_takes_tensors(digits: Any, tmp_path: Path) -> None:
    network, quantized, data = digits
    values, labels, lengths = map(torch.tensor, (data.values, data.labels, data.lengths - 3))
    assert pipeline.choose_scales(network, data=values) == pipeline.choose_scales(network, data=data)
    named = {"inputs": values, "labels": labels, "lengths": lengths}
    nmdeploy.export(network, tmp_path / "a.nir", data=named)
    nmdeploy.export(network, tmp_path / "b.nir", data=replace(data, lengths=data.lengths - 3))
    assert nmdeploy.read(tmp_path / "a.nir") == nmdeploy.read(tmp_path / "b.nir")
    assert nmdeploy.run(tmp_path / "a.nir", named).lengths.tolist() == (data.lengths - 3).tolist()
    result = nmdeploy.verify(tmp_path / "a.nir", named, "compiled", network)
    assert result.equal and result.accuracy["float"] is not None
    found = nmdeploy.report(tmp_path / "a.nir", named)
    assert found.accuracy["quantized"] == result.accuracy["quantized"]
    assert nmdeploy.report(quantized, values).accuracy["quantized"] is None
    made = nmdeploy.simulate(tmp_path / "a.nir", named, tmp_path / "r.h5")
    assert made.totals.accuracy == result.accuracy["quantized"]


def test_profiles_are_paths_too(digits: Any) -> None:
    network, quantized, data = digits
    path = Path(__file__).parent.parent / "hw_profiles" / "loihi2.toml"
    assert nmdeploy.quantize(network, path, data) == nmdeploy.quantize(network, str(path), data)
    assert nmdeploy.report(quantized, data, path).profile == "loihi2"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda n, q, d: nmdeploy.quantize("net.nir"),
            "quantize: 'net.nir' is a path: load it first",
        ),
        (lambda n, q, d: nmdeploy.quantize(Path("net.nir")), r"nmdeploy.quantize\(nmdeploy.load\('net.nir'\), ...\)"),
        (lambda n, q, d: nmdeploy.quantize(q), "quantize: takes a float Network, this is a QuantizedNetwork: give the"),
        (lambda n, q, d: nmdeploy.quantize(d), "not an object of type Data: make one with nmdeploy.load"),
        (lambda n, q, d: pipeline.choose_scales("net.nir"), "choose_scales: 'net.nir' is a path"),
        (lambda n, q, d: nmdeploy.save("net.nir", "x"), "save: 'net.nir' is a path: load it first"),
        (
            lambda n, q, d: nmdeploy.write("a.nir", "b.nir"),
            r"'a.nir' is a path: read it first, nmdeploy.write\(nm",
        ),
        (lambda n, q, d: nmdeploy.write(n, "b.nir"), "this is a float Network: call nmdeploy.quantize first"),
        (lambda n, q, d: nmdeploy.read(q), "read: takes a path, not an object of type QuantizedNetwork"),
        (lambda n, q, d: nmdeploy.run(n, d), "this is a float Network: call nmdeploy.quantize first"),
        (lambda n, q, d: nmdeploy.run(d, q), "takes a QuantizedNetwork, not an object of type Data: make one with"),
        (lambda n, q, d: nmdeploy.verify(n, d), "this is a float Network"),
        (lambda n, q, d: nmdeploy.report(d.codes, d), "not an object of type ndarray"),
        (lambda n, q, d: nmdeploy.load_data(TEST, "net.nir"), "takes samples and the network or its input, not str"),
    ],
)
def test_objects_and_paths_are_not_confused_in_silence(digits: Any, call: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message) as found:
        call(*digits)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "holds values of type object"),
        (3, r"has shape \(\)"),
        (torch.ones(64, 1), "add an axis for samples"),
        ({"labels": torch.ones(3)}, "holds no array 'inputs' or 'codes', only 'labels'"),
        (torch.ones(1, 2, 1, dtype=torch.complex64), "of type complex64: give integers or floats"),
        ([[1, 2], [3]], "is no array of numbers"),
        ({"inputs": np.ones((2, 3, 1)), "labels": [1]}, "'inputs' has 2 samples, 'labels' 1"),
    ],
)
def test_data_that_are_none_are_refused_by_name(digits: Any, data: Any, message: str) -> None:
    with pytest.raises(BadData, match=message):
        nmdeploy.run(digits[1], data)
