"""The examples of docs/extending/, installed by entry points as a third party's package would be, and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from requires_lava import require_lava

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / "extending.md", *sorted((ROOT / "docs" / "extending").glob("*.md"))]
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.M | re.S)
GROUP = re.compile(r'^\[project\.entry-points\."([\w.]+)"\]\n((?:\w+ = "\w+"\n)+)', re.M)


def examples() -> dict[str, str]:
    return {name: text for page in PAGES for name, text in FILE.findall(page.read_text("utf-8"))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file of the pages and the metadata that installing its pyproject.toml would leave."""
    folder = tmp_path_factory.mktemp("site")
    files = examples()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    groups = GROUP.findall(files["pyproject.toml"])
    assert len(groups) == 7
    info = folder / "nmdeploy_example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nmdeploy-example\nVersion: 1.0\n")
    text = "\n".join(f"[{group}]\n{lines}" for group, lines in groups).replace('"', "")
    (info / "entry_points.txt").write_text(text)
    random = np.random.default_rng(0)
    np.savez(folder / "calibration.npz", inputs=random.integers(0, 2, (8, 20, 2)))
    np.savez(folder / "test.npz", inputs=random.integers(0, 2, (4, 20, 2)), labels=np.array([0, 1, 2, 0]))
    return folder


def python(site: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True, timeout=timeout
    )


def nmdeploy(site: Path, *arguments: str, code: int = 0) -> str:
    done = python(site, "-m", "nmdeploy", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def model(site: Path) -> Path:
    data = ("--data", "calibration.npz")
    nmdeploy(site, "export", "example_network.json", "--profile", "example_chip", *data, "-o", "model.nir")
    return site / "model.nir"


def test_the_profile_is_listed_and_its_figures_have_sources(site: Path) -> None:
    assert re.search(r"^example_chip +Example chip: runs pif; 4 cores$", nmdeploy(site, "profiles"), re.M)
    assert "made up for docs/extending/profile.md" in nmdeploy(site, "profiles", "example_chip")


def test_the_importer_loads_and_the_network_is_deployable_where_the_profile_runs_it(site: Path) -> None:
    command = ("check", "example_network.json", "--data", "calibration.npz")
    checked = json.loads(nmdeploy(site, *command, "--profile", "example_chip", "--json"))
    assert {node["node"]: node["kind"] for node in checked["nodes"]} == {
        "layer0.synapse": "dense",
        "layer0": "pif",
        "layer1.synapse": "one_to_one",
        "layer1": "pif",
    }
    on_loihi2 = python(site, "-m", "nmdeploy", *command, "--profile", "loihi2")
    assert on_loihi2.returncode == 1
    assert "does not run neurons of kind 'pif'" in on_loihi2.stdout


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dt": 1, "inputs": 1, "layers": [{}]}'])
def test_the_importer_refuses_what_is_no_network_in_one_line(site: Path, text: str) -> None:
    (site / "bad.json").write_text(text)
    error = nmdeploy(site, "check", "bad.json", code=2)
    assert error.startswith("Error: bad.json: describes no network") and error.count("\n") == 1


def test_the_backend_equals_the_reference_in_every_value(site: Path, model: Path) -> None:
    verified = json.loads(
        nmdeploy(site, "verify", "model.nir", "--data", "test.npz", "--against", "unbounded", "--json")
    )
    (comparison,) = verified["comparisons"]
    # 4 samples, 20 steps, 2 populations of 3 neurons, spikes and v
    assert verified["equal"] and comparison["values_compared"] == 4 * 20 * 6 * 2
    assert comparison["candidate"] == "unbounded"


def test_the_backend_records(site: Path, model: Path) -> None:
    arguments = ("--backend", "unbounded", "--trace", "states", "-o", "run.h5")
    assert "4 samples of 20 steps on unbounded" in nmdeploy(
        site, "simulate", "model.nir", "--data", "test.npz", *arguments
    )
    assert json.loads(nmdeploy(site, "inspect", "run.h5", "--json"))["backend"] == "unbounded"


def test_the_report_renders(site: Path, model: Path) -> None:
    nmdeploy(site, "report", "model.nir", "--data", "test.npz", "-o", "report.tex")
    lines = (site / "report.tex").read_text().splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrrrr}" and lines[-1] == r"\end{tabular}"
    assert [line.split(" & ")[0] for line in lines[2:-1]] == ["layer0", "layer1", "total"]


INTEGERS = """
from pathlib import Path

import numpy as np
from nmdeploy import pipeline
from nmdeploy.network.float_run import run_float

floats = pipeline.load("example_network.json")
q = pipeline.read("model.nir")
assert [n.kind for n in q.populations.values()] == ["pif", "pif"], q
pipeline.write(q, "again.nir")
assert pipeline.read("again.nir") == q
assert Path("again.nir").read_bytes() == Path("model.nir").read_bytes()

data = pipeline.load_data("test.npz", q.input)
recording = pipeline.run(q, data, trace="states")
# by hand, from the docstring
w = q.synapses
sums = {"layer0": data.codes @ w["layer0.synapse"].weight.T << w["layer0.synapse"].weight_exp}
first = recording.layers["layer0"].spikes.astype(np.int64)
sums["layer1"] = first * w["layer1.synapse"].weight << w["layer1.synapse"].weight_exp
for name, a in sums.items():
    vth, v = q.populations[name].vth, 0
    for step in range(a.shape[1]):
        y = v + a[:, step]
        s = y > vth
        v = np.where(s, y - vth, y)
        assert np.array_equal(s, recording.layers[name].spikes[:, step]), name
        assert np.array_equal(v, recording.layers[name].states["v"][:, step]), name
    assert 0 < recording.layers[name].spikes.mean() < 0.8, name
# the float network has the same spikes, but for the rounding of the weights
run = run_float(floats, data.codes)
for name in q.populations:
    same = np.mean(run.spikes[name] == recording.layers[name].spikes)
    assert same > 0.95, (name, same)

# what another reader of the file computes with NIR's primitives has the same output spikes
import nir

graph = nir.read("model.nir")
nodes = graph.nodes
v, s0 = {n: 0.0 for n in q.populations}, {n: 0.0 for n in q.populations}
for step in range(data.codes.shape[1]):
    arriving = data.codes[:, step]
    for name in q.populations:
        synapse = nodes[name + ".synapse"]
        a = arriving @ synapse.weight.T if hasattr(synapse, "weight") else arriving * synapse.scale
        loop = s0[name] * nodes[name + ".reset"].scale
        v[name] = v[name] + q.dt * nodes[name + ".v"].r * (a + loop)
        arriving = s0[name] = (v[name] > nodes[name].threshold).astype(float)
        assert np.array_equal(arriving, recording.layers[name].spikes[:, step]), (name, step)
print("done")
"""


def test_the_neuron_runs_by_its_rule_and_the_model_file_holds_it(site: Path, model: Path) -> None:
    done = python(site, "-c", INTEGERS)
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr


COMPILED = """
import numpy as np
from equal_runs import both, random_codes, random_lengths
from nmdeploy import pipeline
from nmdeploy.backends import auto, compiled, reference
from nmdeploy.engine.trace import symbols

q = pipeline.read("model.nir")
for trace in ("none", "spikes", "states"):
    recording, _ = both(q, random_codes(q, 0, 5, 150), random_lengths(0, 5, 150), trace)
assert 0 < recording.output.mean() < 0.8
data = pipeline.load_data("test.npz", q.input)
assert pipeline.run(q, data, "compiled").output.tolist() == pipeline.run(q, data, "reference").output.tolist()


# a family whose step branches on a value

from dataclasses import fields, replace
from example_neuron import QuantizedPIF

class Branching(QuantizedPIF):
    kind = "branching"

    def advance(self, registers, a, now):
        (v,), _ = registers
        if (v > 3).any():
            a = a + 1
        return super().advance(registers, a, now)

first = next(iter(q.populations))
neuron = q.populations[first]
branching = Branching(**{f.name: getattr(neuron, f.name) for f in fields(neuron)})
network = replace(q, nodes=dict(q.nodes) | {first: branching})
try:
    compiled.run(network, data.codes)
except symbols.NotTraceable as error:
    print(error)
chosen, note = auto.choose(network, 100, 10000, "none")
assert chosen is reference and note.startswith("population 'layer0' (branching) cannot be compiled"), note
recording = pipeline.run(network, data)
assert recording.output.tolist() == pipeline.run(network, data, "reference").output.tolist()
"""


def test_the_neuron_is_compiled_without_a_line_in_the_engine(site: Path, model: Path) -> None:
    code = f"import sys; sys.path.append({str(ROOT / 'tests' / 'helpers')!r})\n{COMPILED}"
    done = python(site, "-c", code)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"population 'layer0' \(branching\) cannot be compiled \(.*\n", done.stdout)


TRAINED = """
import sys
import numpy as np
import torch
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models import create
from nmdeploy.models.checkpoint import save

module = create("leaky-ternary", inputs=2, channels=6, states=3, layers=2, outputs=3, limit=1.5)
x = torch.from_numpy(np.load("calibration.npz")["inputs"]).float()
for _ in range(20):
    logits, spikes = module(x)
torch.nn.functional.cross_entropy(logits, torch.zeros(len(x), dtype=torch.long)).backward()
assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
assert {-1.0, 0.0, 1.0} == set(spikes[0].unique().tolist()), spikes[0].unique()
save(module, "trained.safetensors", input_format=FixedPoint(1, 0, False))
"""


@pytest.fixture(scope="module")
def trained(site: Path) -> Path:
    """A network of the example's model, and its model."""
    done = python(site, "-c", TRAINED)
    assert done.returncode == 0, done.stderr
    nmdeploy(site, "export", "trained.safetensors", "--data", "calibration.npz", "-o", "trained.nir")
    return site / "trained.nir"


def test_the_model_is_listed_and_described_without_torch(site: Path) -> None:
    assert re.search(r"^leaky-ternary +dense leaky dynamics, ternary spikes; .*$", nmdeploy(site, "models"), re.M)
    assert "  limit = 3.0: magnitude at which a state is scaled down\n" in nmdeploy(site, "models", "leaky-ternary")
    code = "import sys; from nmdeploy.models.catalog import neuron_model; neuron_model('leaky-ternary'); "
    code += "sys.exit('torch' in sys.modules)"
    assert python(site, "-c", code).returncode == 0


def test_the_model_trains_and_exports_as_its_float_population(site: Path, trained: Path) -> None:
    data = ("--data", "test.npz", "--checkpoint", "trained.safetensors")
    nmdeploy(site, "report", "trained.nir", *data, "-o", "trained.json")
    accuracy = json.loads((site / "trained.json").read_text())["accuracy"]
    assert accuracy["float"] is not None and accuracy["quantized"] is not None
    layers = json.loads(nmdeploy(site, "inspect", "trained.nir", "--json"))["layers"]
    assert layers["block0"]["kind"] == "dense_state_space" and layers["block0"]["neurons"] == 6


@pytest.mark.lava
def test_the_model_equals_lava(site: Path, trained: Path) -> None:
    require_lava()
    done = python(site, "-m", "nmdeploy", "verify", "trained.nir", "--data", "test.npz", "--json", timeout=300)
    assert done.returncode == 0, done.stderr
    (comparison,) = json.loads(done.stdout)["comparisons"]
    # 4 samples, 20 steps; spikes, three states and y of 2 x 6 neurons, v of 3
    assert comparison["values_compared"] == 4 * 20 * (2 * 6 * 5 + 3) and comparison["mismatches"] == 0


def contract_tests(site: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest on the tests that run over every model, those of one."""
    options = ("-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib", "--rootdir", str(ROOT))
    folder = ROOT / "tests" / "models" / "catalog"
    # the equations are those of papers, written by hand for the package's own models
    chosen = ("-k", name, str(folder), "--ignore", str(folder / "test_equations.py"))
    return python(site, "-m", "pytest", *options, *arguments, *chosen, timeout=600)


@pytest.mark.slow
def test_the_model_inherits_every_contract_test(site: Path) -> None:
    names = ("leaky-ternary", "binary-s4d")
    listed = {name: contract_tests(site, name, "--collect-only").stdout.replace(name, "NAME") for name in names}
    inherited, whole = (set(re.findall(r"^\S+::\S*NAME\S*$", listed[name], re.M)) for name in names)
    assert len(inherited) >= 5 and inherited >= whole, whole - inherited
    done = contract_tests(site, "leaky-ternary")
    assert done.returncode == 0 and f"{len(inherited)} passed" in done.stdout, done.stdout + done.stderr


def test_a_model_of_a_family_that_is_not_installed_is_refused_in_one_line(site: Path, model: Path) -> None:
    bare = subprocess.run(
        [sys.executable, "-m", "nmdeploy", "verify", str(model), "--data", str(site / "test.npz")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert bare.returncode == 2 and "kind 'pif' is unknown here" in bare.stderr and bare.stderr.count("\n") == 1


def test_the_examples_keep_the_rules_of_style(site: Path) -> None:
    files = [str(site / name) for name in examples() if name.endswith(".py")]
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([str(ruff), *command, *config, *files], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_examples_are_typed(site: Path) -> None:
    files = [name for name in examples() if name.endswith(".py")]
    done = python(site, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", ".cache", *files)
    assert done.returncode == 0, done.stdout
