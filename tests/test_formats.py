"""docs/formats.md against what the commands really write."""

from __future__ import annotations

import csv
import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import safetensors
from family_examples import examples
from family_examples import network as float_network
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from networks_windowed import windowed_case
from referencing import Registry, Resource
from shared import CALIBRATION, CHECKPOINT

from nmdeploy import pipeline
from nmdeploy.analysis import finding
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.network_file import network_content
from nmdeploy.models import create
from nmdeploy.models.checkpoint import save

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "formats.md").read_text("utf-8")
BLOCKS = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)]
SCHEMAS = {schema["$id"]: schema for schema in BLOCKS}
REGISTRY: Registry[Any] = Registry().with_resources((name, Resource.from_contents(s)) for name, s in SCHEMAS.items())


def validate(document: Any, name: str) -> None:
    Draft202012Validator(SCHEMAS[f"urn:nmdeploy:{name}"], registry=REGISTRY).validate(document)


def output(result: Any, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NIR file as another program writes it: two LIF populations."""
    random = np.random.default_rng(0)

    def lif(size: int) -> nir.LIF:
        ones = np.ones(size)
        return nir.LIF(tau=0.01 * ones, r=10 * ones, v_leak=0 * ones, v_threshold=ones)

    nodes = {
        "in": nir.Input(input_type=np.array([4])),
        "w1": nir.Affine(weight=random.normal(0.5, 0.5, (6, 4)), bias=np.full(6, 0.125)),
        "l1": lif(6),
        "w2": nir.Linear(weight=random.normal(0.5, 0.5, (3, 6))),
        "l2": lif(3),
        "out": nir.Output(output_type=np.array([3])),
    }
    names = list(nodes)
    path = tmp_path_factory.mktemp("nir") / "graph.nir"
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))
    return path


def test_every_schema_is_one_and_has_a_name() -> None:
    assert len(SCHEMAS) == len(BLOCKS) == 10
    for schema in BLOCKS:
        Draft202012Validator.check_schema(schema)
        assert schema["$id"].startswith("urn:nmdeploy:") and schema["title"]


def test_checkpoint_configuration() -> None:
    with safetensors.safe_open(CHECKPOINT, "numpy") as file:
        metadata = file.metadata()
        names = set(file.keys())
    assert set(metadata) == {"nmdeploy", "sha256"}
    config = json.loads(metadata["nmdeploy"])
    validate(config, "checkpoint-config")
    told = set(re.findall(r"`(blocks\.i\.[\w.]+|readout\.\w+)`", PAGE))
    told |= {
        f"blocks.i.norm{end}" for end in re.findall(r"`(\.\w+)`", PAGE) if end.startswith((".bias", ".running", ".num"))
    }
    assert {re.sub(r"blocks\.\d+", "blocks.i", name) for name in names} == told


def model_content(path: Path) -> Any:
    """The JSON text of a model file, with the arrays of each node as lists."""
    with h5py.File(path) as file:
        assert set(file["node/metadata"]) == {"nmdeploy"}
        held = file["node/metadata/nmdeploy"]
        assert set(held) - {"read_as"} == {"model", "nodes"}
        if "read_as" in held:
            validate(json.loads(held["read_as"][()]), "reading")
        values = json.loads(held["model"].asstr()[()])
        for name, node in held["nodes"].items():
            assert all(array.dtype.kind in "iuf" for array in node.values())
            for field, array in node.items():
                part, _, inner = field.rpartition(".")
                place = values["nodes"][name]
                (place[part] if part else place)[inner] = array[()].tolist()
        return values


def test_metadata_of_a_node_with_a_part(tmp_path: Path) -> None:
    pipeline.write(windowed_case(1).network, tmp_path / "windowed.nir")
    content = model_content(tmp_path / "windowed.nir")
    validate(content, "model")
    assert any(node.get("dynamics", {}).get("a_re") for node in content["nodes"].values())


def test_model_metadata(digits_model: Any, lif_model: Any) -> None:
    for model in (digits_model, lif_model):
        validate(model_content(model.path), "model")
        block = model.path.read_bytes()[:512]
        assert re.fullmatch(rb"nmdeploy-model\n[0-9a-f]{64}\n\0+", block)


def test_the_model_schema_refuses_an_unknown_field(lif_model: Any) -> None:
    document = model_content(lif_model.path)
    next(node for node in document["nodes"].values() if node["kind"] == "lif")["tau"] = 1
    with pytest.raises(ValidationError):
        validate(document, "model")


def test_a_model_of_a_foreign_graph(cli: Any, graph: Path, tmp_path: Path) -> None:
    arguments = ("--profile", "loihi1", "--dt", "0.001", "-o", tmp_path / "m.nir")
    assert cli("export", graph, *arguments).exit_code == 0
    validate(model_content(tmp_path / "m.nir"), "model")


@pytest.mark.parametrize("checkpoint", [(), ("--checkpoint", CHECKPOINT)])
def test_diagnose_json(cli: Any, digits_model: Any, checkpoint: tuple[Any, ...]) -> None:
    document = output(cli("diagnose", digits_model.path, "--data", digits_model.data, "--json", *checkpoint))
    validate(document, "diagnose")
    assert document["compared"] == bool(checkpoint) and document["samples"] == 6


def test_diagnose_schema_lists_the_faults_and_states() -> None:
    held = SCHEMAS["urn:nmdeploy:diagnose"]["properties"]
    faults = {value for name, value in vars(finding).items() if name.isupper() and isinstance(value, str)}
    named = held["findings"]["items"]["properties"]
    assert faults == {*named["fault"]["enum"], *named["origin"]["enum"]}


@pytest.mark.parametrize("checkpoint", [(), ("--checkpoint", CHECKPOINT)])
def test_verify_json(cli: Any, digits_model: Any, checkpoint: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    backend_named("twin", monkeypatch, 0)
    arguments = ("--data", digits_model.data, "--against", "twin", "--samples", 2, "--json")
    document = output(cli("verify", digits_model.path, *arguments, *checkpoint))
    validate(document, "verify")
    assert document["comparisons"][0]["samples"] == 2
    assert (document["accuracy"]["float"] is not None) == bool(checkpoint) == (document["agreement"] is not None)


def backend_named(name: str, monkeypatch: pytest.MonkeyPatch, change: int) -> None:
    """A further backend: the reference, with one value changed."""
    from nmdeploy import backends
    from nmdeploy.backends import reference

    class Twin:
        NAMES = (name,)
        WHOLE = THREADS = False

        @staticmethod
        def run(*arguments: Any, **options: Any) -> Any:
            recording = reference.run(*arguments, **options)
            if change:
                next(iter(recording.layers.values())).states["v"][1, 2, 0] += change
            return recording

    known = backends.backends() | {name: Twin}
    monkeypatch.setattr(backends, "backends", lambda: known)


def test_verify_json_with_a_difference(cli: Any, lif_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend_named("wrong", monkeypatch, 1)
    result = cli("verify", lif_model.path, "--data", lif_model.data, "--against", "wrong", "--json")
    document = output(result, code=1)
    validate(document, "verify")
    (comparison,) = document["comparisons"]
    assert document["status"] == "different" and comparison["mismatches"] == 1
    divergence = comparison["first_divergence"]
    assert (divergence["sample"], divergence["step"], divergence["neuron"], divergence["kind"]) == (1, 2, 0, "v")
    assert divergence["actual"] == divergence["expected"] + 1


def test_report_json_csv_and_markdown(cli: Any, digits_model: Any, tmp_path: Path) -> None:
    for name in ("report.json", "report.csv", "report.md"):
        arguments = ("--data", digits_model.data, "-o", tmp_path / name)
        assert cli("report", digits_model.path, *arguments).exit_code == 0
    document = json.loads((tmp_path / "report.json").read_text())
    validate(document, "report")
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [layer["name"] for layer in document["layers"]] + ["total"]
    fields = set(document["layers"][0]) - {"energy_joules"}
    facts = {f"read_as_{fact}" for population in document["read_as"]["populations"].values() for fact in population}
    assert set(rows[0]) == fields | facts | {f"energy_joules_{part}" for part in document["total"]["energy_joules"]}
    assert rows[0]["read_as_reset"] == document["read_as"]["populations"]["block0"]["reset"]["value"]
    assert rows[0]["energy_joules_static"] == ""
    table = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(rows)


def test_report_json_where_the_target_does_not_run_the_family(cli: Any, digits_model: Any, tmp_path: Path) -> None:
    arguments = ("--data", digits_model.data, "--profile", "loihi1", "-o", tmp_path / "report.json")
    assert cli("report", digits_model.path, *arguments).exit_code == 0
    document = json.loads((tmp_path / "report.json").read_text())
    validate(document, "report")
    assert not document["fits"] and document["problems"]
    assert "hypothetical: one update per real state" in document["layers"][0]["energy_source"]


def test_report_with_a_verification(digits_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nmdeploy import pipeline

    model = pipeline.read(digits_model.path)
    data = pipeline.load_data(digits_model.data, model.input).first(2)
    backend_named("twin", monkeypatch, 0)
    verification = pipeline.verify(model, data, ("twin",), None)
    document = pipeline.report(model, data, verification=verification).to_json()
    validate(json.loads(json.dumps(document)), "report")
    assert document["verification"]["equal"]


def test_check_json(cli: Any, graph: Path, lif_model: Any) -> None:
    for file, profile in ((CHECKPOINT, "loihi2"), (graph, "loihi1"), (lif_model.path, "loihi1")):
        document = output(cli("check", file, "--profile", profile, "--dt", 0.001, "--json"))
        validate(document, "check")
        assert document["deployable"]


def test_check_json_of_what_cannot_be_deployed(cli: Any, graph: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "conv.nir"
    damaged.write_bytes(graph.read_bytes())
    with h5py.File(damaged, "a") as file:
        file["node/nodes/l1/type"][()] = "Conv2d"
    for file, profile in ((damaged, "loihi1"), (CHECKPOINT, "loihi1")):
        document = output(cli("check", file, "--profile", profile, "--dt", 0.001, "--json"), code=1)
        validate(document, "check")
        assert not document["deployable"]


def test_inspect_json(cli: Any, graph: Path, digits_model: Any, lif_model: Any, tmp_path: Path) -> None:
    recording = tmp_path / "recording.h5"
    assert cli("simulate", lif_model.path, "--data", lif_model.data, "-o", recording).exit_code == 0
    formats = []
    for file in (digits_model.path, lif_model.path, graph, CHECKPOINT, recording, CALIBRATION):
        document = output(cli("inspect", file, "--json"))
        validate(document, "inspect")
        formats.append(document["format"])
    assert formats == ["nmdeploy-model", "nmdeploy-model", "nir", "checkpoint", "recording", "samples"]
    for norm in ("batch", "layer"):
        network = create("multi-output", inputs=1, channels=2, states=2, layers=1, outputs=2, norm=norm)
        save(network, tmp_path / "x.safetensors", input_format=FixedPoint(5, 4, signed=False))
        validate(output(cli("inspect", tmp_path / "x.safetensors", "--json")), "inspect")
    pipeline.save(pipeline.load(CHECKPOINT), tmp_path / "net.safetensors")
    validate(output(cli("inspect", tmp_path / "net.safetensors", "--json")), "inspect")


@pytest.mark.parametrize("neuron", examples(), ids=lambda neuron: neuron.kind)
def test_float_network(neuron: Any) -> None:
    text, tensors = network_content(float_network(neuron))
    validate(json.loads(text), "network")
    assert {name.rpartition("/")[0] for name in tensors} <= {"synapse", "n"} and "synapse/weight" in tensors


@pytest.mark.parametrize("trace", ["none", "spikes", "states"])
def test_recording(cli: Any, digits_model: Any, tmp_path: Path, trace: str) -> None:
    path = tmp_path / "recording.h5"
    arguments = ("--data", digits_model.data, "--trace", trace, "-o", path)
    assert cli("simulate", digits_model.path, *arguments).exit_code == 0
    found: list[str] = []
    with h5py.File(path) as file:
        told = {"format_version", "model_sha256", "backend", "version", "latency", "seed", "inputs_sha256"}
        assert set(file.attrs) == told
        file.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
        samples, steps, _ = file["output/readout"].shape
        counts = file["layers/block0/counts"]
        assert all(counts[name].shape == (samples,) for name in counts)
        told = PAGE[PAGE.index("Counts: `spikes`") :].split("\n\n")[0]
        assert set(counts) - {"im_saturations"} == set(re.findall(r"`(\w+)`", told))
        if trace == "states":
            assert file["layers/block0/states/re"].shape == (samples, steps, 64, 8, 3)  # planes of 24 bits
            assert file["layers/readout/states/v"].shape == (samples, steps, 10, 3)
    kinds = {re.sub(r"layers/[\w.]+", "layers/NAME", name).split("/NAME/")[-1].split("/")[0] for name in found}
    expected = {"none": set(), "spikes": {"spikes"}, "states": {"spikes", "states"}}[trace]
    assert kinds == {"output", "lengths", "predictions", "counts"} | expected


@pytest.mark.parametrize("path", sorted((ROOT / "hw_profiles").glob("*.toml")), ids=lambda path: path.stem)
def test_profiles(path: Path) -> None:
    validate(tomllib.loads(path.read_text("utf-8")), "profile")


def test_the_profile_schema_refuses_an_unknown_key_and_a_missing_source() -> None:
    profile = tomllib.loads((ROOT / "hw_profiles" / "loihi2.toml").read_text("utf-8"))
    for change in ({"speed": {"value": 1, "source": "x"}}, {"cores": {"value": 128}}):
        with pytest.raises(ValidationError):
            validate(profile | {"chip": profile["chip"] | change}, "profile")


def test_data(cli: Any, digits_model: Any, tmp_path: Path) -> None:
    with np.load(CALIBRATION) as arrays:
        inputs, labels = arrays["inputs"][:3], arrays["labels"][:3]
    np.savez(tmp_path / "values.npz", inputs=inputs.astype(np.float64), labels=labels, lengths=np.array([64, 32, 1]))
    data = ("--data", tmp_path / "values.npz")
    assert cli("simulate", digits_model.path, *data, "-o", tmp_path / "r.h5").exit_code == 0
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["lengths"][()].tolist() == [64, 32, 1]
        assert not file["output/readout"][1, 32:].any() and not file["output/readout"][2, 1:].any()


@pytest.mark.parametrize("arguments", [("inspect", "none.nir"), ("verify",), ("profiles", "none"), ("nothing",)])
def test_bad_usage_and_bad_input_exit_with_2_and_one_line(cli: Any, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
