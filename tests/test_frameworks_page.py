"""The networks of examples/frameworks: compared with random weights, one trained whole, and their generated page."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from requires_lava import require_lava
from uv_environment import uv_environment

import nmdeploy
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network, readout_values

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
train_framework = pytest.importorskip("examples.train_framework")

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NAMES = train_framework.names()
SAMPLES = 2


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the folder docs/."""
    monkeypatch.syspath_prepend(DOCS)

    def module(name: str) -> ModuleType:
        found = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return found

    return module


def row(docs: Any, name: str) -> dict[str, Any]:
    """The committed row of a network."""
    found: dict[str, Any] = docs("generate_frameworks").held()[name]
    return found


def test_the_page_is_current_and_every_network_is_measured(docs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert docs("generate_frameworks").run(["--check"]) == 0, capsys.readouterr().err
    assert "  - Networks of frameworks: frameworks.md\n" in (ROOT / "mkdocs.yml").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_row_holds_what_the_page_promises(docs: Any, name: str) -> None:
    found = row(docs, name)
    assert not docs("frameworks_results").is_marked(found)
    assert (found["samples"], found["import"]["samples"], found["import"]["differ"]) == (450, 450, 0)
    assert [each["samples"] for each in found["lava"]] == [3]


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 181.0},
        {"import": {"equal": False}},
        {"import": {"float32_margin": 2e-6}},
        {"accuracy": {"float": 0.95, "quantized": 0.93}},
        {"lava": []},
        {"lava": [{"samples": 3, "values": 9, "mismatches": 1}]},
    ],
)
def test_a_network_that_misses_is_marked(docs: Any, change: dict[str, Any]) -> None:
    name = "snntorch_defaults"
    found = row(docs, name)
    held = {**found, **change, "import": found["import"] | change.get("import", {})}
    text = docs("frameworks_page").page({name: held})
    assert f"**`{name}`**" in text and f"**`{name}`**" not in docs("frameworks_page").page({name: found})


def test_a_changed_figure_or_file_is_found(docs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = docs("generate_frameworks")
    results = json.loads(generate.RESULTS.read_text("utf-8"))
    for key, value in (("framework_accuracy", 0.5), ("file_sha256", "")):
        changed = {**results, NAMES[0]: results[NAMES[0]] | {key: value}}
        (tmp_path / "frameworks.json").write_text(json.dumps(changed))
        monkeypatch.setattr(generate, "RESULTS", tmp_path / "frameworks.json")
        assert generate.run(["--check"]) == 1
    assert generate.run(["--maesure"]) == 2
    with pytest.raises(SystemExit, match="network 'nobody' is unknown"):
        generate.run(["--measure", "nobody"])


def test_training_never_sees_the_test_samples() -> None:
    for form, shape in (("spikes", (32, 64)), ("grey", (32, 64)), ("sequence", (64, 1))):
        data = train_framework.digits(form)
        assert data.inputs.shape[1:] == data.test_inputs.shape[1:] == shape and len(data.test_inputs) == 450
        seen = {sample.tobytes() for sample in data.test_inputs}
        assert not any(sample.tobytes() in seen for sample in data.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_with_random_weights_is_read_as_its_framework_computes_it(docs: Any, name: str) -> None:
    for package in ("snntorch", "norse", "spikingjelly", "rockpool", "sinabs"):
        if name.startswith(package):
            pytest.importorskip(package)
    file = train_framework.network_file(name)
    torch.manual_seed(0)
    net = file.make_net().eval()
    x = train_framework.digits(file.DATA).inputs[:SAMPLES]
    if "to_network" in vars(file):
        network = file.to_network(net)
        found = docs("frameworks_results").compared(name, network, net, x)
        assert found["convolution_error"] < 1e-5
    else:
        network = nmdeploy.load(net, x)
        assert network.read_as is not None
        found = network.read_as.comparison
    assert found["equal"] and found["spikes"] > 0
    require_same_readout(network, file, net, x)


def require_same_readout(network: Network, file: ModuleType, net: Any, x: Any) -> None:
    """Compare what trains and classifies with the readout that is deployed."""
    lengths = np.full(len(x), x.shape[1])
    ours = readout_values(run_float(network, x).output.astype(np.float64), network.readout, lengths)
    with torch.no_grad():
        np.testing.assert_allclose(ours, file.scores(net, torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.lava
def test_a_network_is_trained_imported_and_deployed(docs: Any, tmp_path: Path) -> None:
    pytest.importorskip("spikingjelly")
    require_lava()
    results = docs("frameworks_results")
    found = results.measured(results.train("spikingjelly_soft", tmp_path), 1)
    assert not results.is_marked(found), found
    assert found["import"]["samples"] == 450 and found["framework_accuracy"] > 0.9


@pytest.mark.slow
def test_a_network_of_sinabs_is_exported_where_sinabs_is(
    docs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in uv_environment().items():
        monkeypatch.setenv(name, value)
    results = docs("frameworks_results")
    found = results.measured(results.train("sinabs_lif", tmp_path, "--epochs", "1"), 0)["import"]
    assert (found["samples"], found["spikes"], found["differ"]) == (450, 450 * 32 * 10, 0)


@pytest.mark.slow
def test_a_trained_network_is_taken_from_the_folder(docs: Any, tmp_path: Path) -> None:
    pytest.importorskip("spikingjelly")
    results = docs("frameworks_results")
    trained = results.train("spikingjelly_hard", tmp_path, "--epochs", "1")
    before = trained.file(".pt").stat().st_mtime_ns
    assert results.train("spikingjelly_hard", tmp_path).file(".pt").stat().st_mtime_ns == before
    trained.file(".sha256").write_text("of another file")
    assert results.train("spikingjelly_hard", tmp_path, "--epochs", "1").file(".pt").stat().st_mtime_ns > before
