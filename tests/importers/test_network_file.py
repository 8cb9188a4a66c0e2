"""Float networks in a file: the same network comes back, whatever it holds, and every command takes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import safetensors.numpy
from family_examples import examples, network
from hypothesis import given, settings
from hypothesis import strategies as st
from nir_networks import random_network
from shared import CALIBRATION, CHECKPOINT, Cli

import nmdeploy
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint import read_content
from nmdeploy.importers.checkpoint_content import digest
from nmdeploy.importers.network_file import VERSION, network_content, network_of
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.synapses.scale_group import PER_POPULATION, PER_ROW, ScaleGroup
from nmdeploy.synapses.sparse import Sparse


def comes_back(floats: Network, path: Path) -> None:
    nmdeploy.save(floats, path)
    found = nmdeploy.load(path)
    assert found == floats and list(found.nodes) == list(floats.nodes)
    for name, node in floats.nodes.items():
        assert repr(found.nodes[name]) == repr(node)
    first = path.read_bytes()
    nmdeploy.save(found, path)
    assert path.read_bytes() == first


def small(**changes: Any) -> Network:
    builder = NetworkBuilder(2e-3)
    x = builder.input((2, 3), FixedPoint(5, 2, signed=False))
    hidden = builder.population(
        LIF(alpha=0.5, beta=np.linspace(0.1, 0.9, 4), v_threshold=1.0, refractory_steps=2), "a/b"
    )
    builder.connect(x, hidden, np.arange(24.0).reshape(4, 6) / 7, bias=np.arange(4.0) / 3)
    builder.connect(hidden, hidden, np.eye(4) / 3, delay=2)
    readout = builder.population(Integrator(beta=np.full(3, 0.97)), "out")
    builder.connect(hidden, readout, np.ones((3, 4)))
    return replace(builder.build("out", "last"), **changes)


@pytest.mark.parametrize("index", range(len(examples())))
def test_every_family(index: int, tmp_path: Path) -> None:
    comes_back(network(examples()[index]), tmp_path / "net.safetensors")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_networks(tmp_path_factory: Any, seed: int) -> None:
    floats = random_network(np.random.default_rng(seed))
    comes_back(floats, tmp_path_factory.mktemp("net") / "net.safetensors")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    group=st.sampled_from([PER_ROW, ScaleGroup(2), PER_POPULATION]),
    density=st.sampled_from([0.0, 0.1, 1.0]),
    bias=st.booleans(),
)
def test_sparse_synapses(seed: int, group: ScaleGroup, density: float, bias: bool, tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(6, 5)) * (rng.random((6, 5)) < density)
    builder = NetworkBuilder(1e-3)
    x = builder.input(5)
    out = builder.population(Integrator(beta=rng.random(6)))
    builder.connect(x, out, Sparse.from_matrix(matrix, rng.normal(size=6) if bias else None, group))
    floats = builder.build()
    comes_back(floats, tmp_path_factory.mktemp("net") / "net.safetensors")


def test_the_demo_s_network_is_a_checkpoint_of_every_command(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    floats = nmdeploy.load(CHECKPOINT)
    nmdeploy.save(floats, path)
    assert floats == nmdeploy.load(path, dt=floats.dt)
    for source, name in ((CHECKPOINT, "a.nir"), (path, "b.nir")):
        assert cli("export", source, "--data", CALIBRATION, "-o", tmp_path / name).exit_code == 0
    assert nmdeploy.read(tmp_path / "a.nir") == nmdeploy.read(tmp_path / "b.nir")
    checked = [
        cli("check", source).stdout.partition("\n")[2].replace(str(source), "SOURCE") for source in (CHECKPOINT, path)
    ]
    assert checked[0] == checked[1] and "block0" in checked[0]
    run = ("--data", CALIBRATION, "--checkpoint", path, "--json", "--samples", 2, "--against", "compiled")
    verified = json.loads(cli("verify", tmp_path / "b.nir", *run).stdout)
    assert verified["equal"] and verified["accuracy"]["float"] > 0.5
    report = cli("report", tmp_path / "b.nir", "--data", CALIBRATION, "--checkpoint", path)
    assert report.exit_code == 0 and "Float network: 1.0000 (95 %: 0." in report.stdout
    assert "format: network" in cli("inspect", path).stdout
    other = cli("export", path, "--dt", 1, "-o", tmp_path / "c.nir")
    assert other.exit_code == 2 and "holds its own time step, 0.001 s" in other.stderr
    refused = cli("verify", path, "--data", CALIBRATION)
    assert refused.exit_code == 2 and "is a checkpoint, not a model" in refused.stderr


def test_the_integers_are_those_of_the_network_in_memory(tmp_path: Path) -> None:
    floats = small()
    nmdeploy.save(floats, tmp_path / "net.safetensors")
    inputs = np.random.default_rng(0).integers(0, 4, (5, 20, 2, 3))
    expected = nmdeploy.quantize(floats, data=inputs)
    assert nmdeploy.quantize(nmdeploy.load(tmp_path / "net.safetensors"), data=inputs) == expected


def test_what_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(BadOption, match="stored as \\.safetensors: give a name"):
        nmdeploy.save(small(), tmp_path / "net.pt")
    with pytest.raises(BadOption, match="takes a float Network, this is a QuantizedNetwork"):
        nmdeploy.save(nmdeploy.quantize(small(), data=np.ones((1, 4, 6))), path)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="dt = nan"):
        nmdeploy.save(small(dt=float("nan")), path)
    infinite = LIF(alpha=0.0, beta=0.5, v_threshold=np.array([1.0, np.inf]))
    with pytest.raises(BadOption, match=r"node 'n': v_threshold holds 1 NaN or infinite values, limit 0"):
        nmdeploy.save(network(infinite), path)
    assert not list(tmp_path.iterdir())


def test_a_module_s_reader_names_the_other_kind(tmp_path: Path) -> None:
    nmdeploy.save(small(), tmp_path / "net.safetensors")
    with pytest.raises(BadFile, match=r"holds a float network, not a module .*: read it with nmdeploy\.load"):
        read_content(tmp_path / "net.safetensors")


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    nmdeploy.save(small(), path)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 41):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(BadFile, match=r"net\.safetensors: "):
            nmdeploy.load(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = tmp_path / "net.safetensors"
    nmdeploy.save(small(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadFile, match=r"net\.safetensors: "):
        nmdeploy.load(path)


def content() -> tuple[dict[str, Any], dict[str, Any]]:
    text, tensors = network_content(small())
    return json.loads(text), dict(tensors)


def node(name: str, **fields: Any) -> Any:
    def change(values: dict[str, Any]) -> None:
        values["nodes"][name] |= fields

    return change


BAD = {
    "version": (lambda v: v.update(version=VERSION + 1), "version 2, limit 1: update nmdeploy"),
    "no version": (lambda v: v.pop("version"), "version None"),
    "unknown entry": (lambda v: v.update(colour=1), "holds 'colour', which this version .*: update nmdeploy"),
    "unknown field": (node("out", colour=1), r"node 'out' \(integrator\): field 'colour' is unknown here"),
    "unknown kind": (node("out", kind="hedgehog"), "node 'out': kind 'hedgehog' is unknown here"),
    "no kind": (lambda v: v["nodes"]["out"].pop("kind"), "kind 'None' is unknown here"),
    "type": (node("a/b", refractory_steps="2"), "field 'refractory_steps' = '2': is not an integer"),
    "missing": (lambda v: v.pop("output"), "lacks output: save it again"),
    "dt": (lambda v: v.update(dt=-1), "dt = -1.0"),
    "no dt": (lambda v: v.update(dt=None), "describes no network"),
    "edge": (lambda v: v["edges"].append(["out", "nowhere", 0]), "there is no node 'nowhere'"),
    "half a step": (lambda v: v["edges"].append(["a/b", "out.synapse", 0.5]), "describes no network"),
    "edges": (lambda v: v.update(edges=3), "describes no network"),
    "nodes": (lambda v: v.update(nodes=[]), "net: "),
    "readout": (lambda v: v.update(readout="best"), "readout rule 'best' is unknown"),
    "lost node": (lambda v: v["nodes"].pop("out"), "tensor 'out/beta' belongs to no node"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_content_that_is_wrong_is_refused_in_one_line(name: str) -> None:
    values, tensors = content()
    change, message = BAD[name]
    change(values)
    with pytest.raises(BadFile, match=message) as found:
        network_of("net", json.dumps(values), tensors)
    assert str(found.value).startswith("net: ") and "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("out/beta", None, "field 'beta' is missing: save it again with nmdeploy.save"),
        ("out/beta", np.full(3, np.nan), "beta holds 3 NaN"),
        ("out/beta", np.ones(2), "net: "),
        ("out/beta", np.ones(3, np.int64), "field 'beta' = .* is not an array of numbers: save it again"),
        ("surplus", np.ones(3), "tensor 'surplus' belongs to no node"),
        ("out/beta:complex", np.ones(3), "is no float64 array of pairs"),
    ],
)
def test_tensors_that_are_wrong(name: str, tensor: Any, message: str) -> None:
    values, tensors = content()
    tensors.pop(name, None)
    with pytest.raises(BadFile, match=message):
        network_of("net", json.dumps(values), tensors if tensor is None else tensors | {name: tensor})


def test_a_missing_field_has_its_default(tmp_path: Path) -> None:
    """So that a later version may add fields: files of this one are read then."""
    values, tensors = content()
    del values["readout"], values["nodes"]["a/b"]["refractory_steps"], tensors["a/b/v_reset"]
    found = network_of("net", json.dumps(values), tensors)
    lif = found.populations["a/b"]
    assert isinstance(lif, LIF) and found.readout == "sum" and lif.refractory_steps == 0 and not lif.v_reset.any()


def test_the_header_is_that_of_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    nmdeploy.save(small(), path)
    with safetensors.safe_open(path, "numpy") as file:
        held = file.metadata()
    assert set(held) == {"nmdeploy", "sha256"}
    assert held["sha256"] == digest(held["nmdeploy"], safetensors.numpy.load_file(path))


def test_how_the_source_was_read_is_kept(tmp_path: Path) -> None:
    """A format that was assumed is one that the data may choose, also from the file; the reset is the option's."""
    ones = np.ones(2)
    nodes = {
        "input": nir.Input(np.array([2])),
        "fc": nir.Linear(np.eye(2)),
        "n": nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones),
        "output": nir.Output(np.array([2])),
    }
    nir.write(
        tmp_path / "g.nir", nir.NIRGraph(nodes, [("input", "fc"), ("fc", "n"), ("n", "output")], type_check=False)
    )
    options = ReadOptions(dt=1e-3, resets={"": "subtract"}, axes="TNC")
    floats, path = nmdeploy.load(tmp_path / "g.nir", options=options), tmp_path / "net.safetensors"
    nmdeploy.save(floats, path)
    found = nmdeploy.load(path)
    assert floats.read_as is not None and found.read_as is not None
    assert found.read_as.source == f"{floats.read_as.source}, saved in {path}"
    assert found.read_as.populations == floats.read_as.populations and found.read_as.options == {"axes": "TNC"}
    assert found.read_as.populations["n"]["reset"].by == "option"
    data = np.random.default_rng(0).integers(0, 9, (5, 3, 2)) / 8
    models = [nmdeploy.quantize(each, data=data) for each in (floats, found)]
    assert models[0] == models[1] and models[0].input.format.frac == 3
    assert nmdeploy.load(path, options=ReadOptions(input_bits=5)).input.format == floats.input.format
