"""Checkpoints: round trip, folding, the shipped file, and every way in which a file can be bad."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

import nmdeploy
from nmdeploy.errors import BadData, BadFile, BadOption, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint import SUFFIXES, load, read_checkpoint, read_content
from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_models
from nmdeploy.models.checkpoint import load as load_module
from nmdeploy.models.checkpoint import save
from nmdeploy.models.modules.spiking_network import SpikingNetwork
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network, readout_values
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.synapses.dense import Dense

DATA = Path(nmdeploy.__file__).parent / "examples"
GRADED = FixedPoint(bits=5, frac=4, signed=False)
SIZES = {"inputs": 1, "channels": 4, "states": 2, "layers": 2, "outputs": 3}
OUTPUT = ("readout.synapse", "readout")
TIE = 1e-9


def trained(seed: int = 0, **options: Any) -> SpikingNetwork:
    """A model whose normalization has seen data, some of its gammas negative."""
    sizes = SIZES | {key: value for key, value in options.items() if key in SIZES}
    module = create("binary-s4d", **sizes, seed=seed, residual=options.get("residual", False))
    generator = torch.Generator().manual_seed(seed)
    for block in module.blocks:
        block.norm.weight.data = torch.randn(sizes["channels"], generator=generator)
        block.norm.bias.data = 0.5 * torch.randn(sizes["channels"], generator=generator)
    for _ in range(20):
        module(torch.randint(0, 17, (16, 12, sizes["inputs"]), generator=generator) / 16)
    return module.eval()


def values(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(GRADED.dequantize(rng.integers(0, 17, (8, 23, 1)))).float()


def assert_folded(module: SpikingNetwork, network: Network, values: np.ndarray) -> None:
    """The NumPy network's membranes, spikes and logits are the module's, in float64."""
    module = module.double().eval()
    run = run_float(network, values, trace=True)
    h = torch.from_numpy(values)
    with torch.no_grad():
        logits, spikes = module(h)
        for index, (block, arriving) in enumerate(module.walk(h)):
            membrane = block.normalize(block.neuron.outputs(block.synapse(arriving))).numpy()
            np.testing.assert_allclose(run.membranes[f"block{index}"], membrane, atol=1e-5)
            clear = np.abs(membrane) > TIE
            assert clear.mean() > 0.999
            assert np.array_equal(run.spikes[f"block{index}"][clear], spikes[index].numpy().astype(bool)[clear])
    np.testing.assert_allclose(run.output[:, -1] / values.shape[1], logits.numpy(), atol=1e-5)
    assert np.array_equal(readout_values(run.output, network.readout).argmax(1), logits.numpy().argmax(1))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("options", [{}, {"residual": True}, {"residual": True, "inputs": 4, "layers": 3}])
def test_folding(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    module = trained(3, **options)
    assert any((block.norm.weight < 0).any() for block in module.blocks)
    save(module, tmp_path / f"x{suffix}", input_format=GRADED)
    network = load(tmp_path / f"x{suffix}")
    codes = np.random.default_rng(0).integers(0, 17, (8, 20, module.sizes["inputs"]))
    assert_folded(module, network, GRADED.dequantize(codes))


def test_topology(tmp_path: Path) -> None:
    save(trained(layers=3, residual=True), tmp_path / "x.safetensors", input_format=GRADED, dt=0.002)
    network = read_checkpoint(tmp_path / "x.safetensors")
    names = ["input", *(f"block{i}{part}" for i in range(3) for part in (".synapse", "")), "readout.synapse", "readout"]
    assert list(network.nodes) == names and network.order == names
    assert network.dt == 0.002 and network.readout == "last" and network.input.format == GRADED
    assert [e.source for e in network.incoming["block1.synapse"]] == ["block0"]
    assert [e.source for e in network.incoming["readout.synapse"]] == ["block2", "block1", "block0"]
    assert not network.populations["block0"].v_threshold.any()  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    module, path = trained(), tmp_path / f"x{suffix}"
    files = set()
    for _ in range(8):
        save(module, path, input_format=GRADED)
        files.add(path.read_bytes())
    assert len(files) == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert load(path) == read_checkpoint(str(path))
    assert load(path, ReadOptions(dt=0.001)).dt == load(path).dt == 0.001
    with pytest.raises(BadOption, match=r"--dt 0.01: .*own time step, 0.001 s: leave"):
        load(path, ReadOptions(dt=0.01))


def test_both_kinds_hold_the_same(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        save(trained(), tmp_path / f"x{suffix}", input_format=GRADED)
    assert load(tmp_path / "x.safetensors") == load(tmp_path / "x.pt")
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    assert trained().load_state_dict(content["state_dict"]) and json.loads(content["config"])["channels"] == 4


@pytest.mark.parametrize("name", neuron_models())
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_every_model_deploys_what_torch_computes(tmp_path: Path, name: str, norm: str) -> None:
    module = create(name, **SIZES, seed=1, norm=norm, residual=True)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for _ in range(40):
            module(values(rng))
    save(module.eval(), tmp_path / "x.safetensors", input_format=GRADED)
    x = values(rng).double()
    with torch.no_grad():
        logits, spikes = module.double()(x)
    run = run_float(load(tmp_path / "x.safetensors"), x.numpy())
    assert norm == "none" or any(s.any() for s in spikes)
    for index, s in enumerate(spikes):
        assert np.array_equal(run.spikes[f"block{index}"].astype(float), s.numpy()), index
    np.testing.assert_allclose(run.output[:, -1] / x.shape[1], logits.numpy(), atol=1e-9)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", neuron_models())
def test_every_model_loads_again_as_a_module(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    module = create(name, **SIZES, seed=1, norm="layer", residual=True)
    save(module, path, input_format=GRADED, dt=0.002)
    config, tensors = read_content(path)
    assert (config.version, config.model, config.norm, config.dt) == (2, name, "layer", 0.002)
    assert config.options == neuron_models()[name].complete({}) and set(tensors) == set(module.state_dict())
    again = load_module(path)
    assert again.config == module.config
    assert all(torch.equal(again.state_dict()[key], value) for key, value in module.state_dict().items())
    with pytest.raises(UnsupportedParameter, match="norm='batch'"):
        load(path)


def test_save_refuses(tmp_path: Path) -> None:
    module = trained()
    for options in ({"dt": 0.0}, {"readout": "first"}):
        with pytest.raises(BadOption):
            save(module, tmp_path / "x.pt", input_format=GRADED, **options)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="suffix"):
        save(module, tmp_path / "x.bin", input_format=GRADED)
    with pytest.raises(BadFile, match="folder"):
        save(module, tmp_path / "nowhere" / "x.pt", input_format=GRADED)
    module.readout.bias.data[0] = torch.nan
    with pytest.raises(BadData, match=r"readout\.bias"):
        save(module, tmp_path / "x.pt", input_format=GRADED)
    assert list(tmp_path.iterdir()) == []


def test_safetensors_needs_no_torch(tmp_path: Path) -> None:
    save(trained(), tmp_path / "x.safetensors", input_format=GRADED)
    code = "import sys; from nmdeploy.importers.checkpoint import read_checkpoint as read; "
    code += f"read({str(tmp_path / 'x.safetensors')!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    data = np.load(DATA / "digits.npz")
    return {"network": load(DATA / "digits.safetensors"), "inputs": data["inputs"], "labels": data["labels"]}


def test_a_file_of_version_1_loads_to_what_it_always_did(digits: dict[str, Any]) -> None:
    """Every number of the shipped file, by the formulas of the version that wrote it."""
    held = safetensors.numpy.load_file(DATA / "digits.safetensors")
    tensors = {name: np.asarray(tensor, np.float64) for name, tensor in held.items()}
    network = digits["network"]
    assert read_content(DATA / "digits.safetensors")[0].version == 1
    assert network.order == ["input", *(f"block{i}{x}" for i in range(3) for x in (".synapse", "")), *OUTPUT]
    for index in range(3):
        block = {name.removeprefix(f"blocks.{index}."): tensor for name, tensor in tensors.items()}
        assert network.nodes[f"block{index}.synapse"] == Dense(block["synapse.weight"])
        assert network.nodes[f"block{index}"] == first_version(block)
    assert network.nodes["readout.synapse"] == Dense(tensors["readout.weight"])
    assert network.nodes["readout"] == Integrator(beta=np.ones(10), bias=tensors["readout.bias"])
    assert (network.dt, network.output, network.readout) == (0.001, "readout", "last")


def first_version(block: dict[str, np.ndarray]) -> StateSpace:
    a = -np.exp(block["neuron.log_a_real"]) + 1j * block["neuron.a_imag"]
    z = np.exp(block["neuron.log_dt"])[:, None] * a
    k = block["norm.weight"] / np.sqrt(block["norm.running_var"] + 1e-5)
    return StateSpace(
        a=np.exp(z),
        b=np.expm1(z) / a,
        c=2 * k[:, None] * (block["neuron.c"][..., 0] + 1j * block["neuron.c"][..., 1]),
        d=k * block["neuron.d"],
        bias=block["norm.bias"] - k * block["norm.running_mean"],
        v_threshold=0.0,
    )


def test_shipped_files(digits: dict[str, Any]) -> None:
    assert sum(path.stat().st_size for path in DATA.glob("digits*")) < 500_000
    assert digits["inputs"].shape == (450, 64, 1) and digits["inputs"].dtype == np.float32
    codes = digits["network"].input.format.quantize(digits["inputs"])
    assert np.array_equal(GRADED.dequantize(codes), digits["inputs"]) and codes.max() == 16
    calibration = np.load(DATA / "digits_calibration.npz")
    assert calibration["inputs"].shape == (128, 64, 1) and calibration["labels"].shape == (128,)
    seen = {sample.tobytes() for sample in digits["inputs"]}
    assert not any(sample.tobytes() in seen for sample in calibration["inputs"])


def test_shipped_accuracy_and_rates(digits: dict[str, Any]) -> None:
    run = run_float(digits["network"], digits["inputs"])
    classes = readout_values(run.output, digits["network"].readout).argmax(1)
    assert (classes == digits["labels"]).mean() >= 0.97
    rates = {name: float(spikes.mean()) for name, spikes in run.spikes.items()}
    assert len(rates) == 3 and all(0.01 <= rate <= 0.20 for rate in rates.values()), rates


def test_shipped_checkpoint_is_what_torch_computes(digits: dict[str, Any]) -> None:
    tensors = safetensors.numpy.load_file(DATA / "digits.safetensors")
    module = create("binary-s4d", inputs=1, channels=64, states=8, layers=3, outputs=10)
    module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    assert_folded(module, digits["network"], digits["inputs"].astype(np.float64))
