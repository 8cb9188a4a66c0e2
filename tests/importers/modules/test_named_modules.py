"""Modules by name on the command line: weights, expected outputs, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from live_modules import spikes

from nmdeploy.cli.commands import main
from nmdeploy.importers.python_names import is_name, named_object

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
SOURCE = """
import torch
import snntorch as snn


class Net(torch.nn.Module):
    def __init__(self, gain=3.0):
        super().__init__()
        self.fc1 = torch.nn.Linear(12, 16)
        self.lif1 = snn.Leaky(0.9)
        self.fc2 = torch.nn.Linear(16, 4)
        self.lif2 = snn.Leaky(0.9)
        for layer in (self.fc1, self.fc2):
            layer.weight.data *= gain

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        record = []
        for step in range(x.shape[1]):
            spk1, mem1 = self.lif1(self.fc1(x[:, step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            record.append(spk2)
        return torch.stack(record, 1)


def make_net():
    torch.manual_seed(0)
    return Net()


class Hidden(snn.Leaky):
    def forward(self, x, mem=None):
        spk, mem = super().forward(x, mem)
        return (mem > 1.5).to(spk.dtype), mem


def make_other():
    net = make_net()
    net.lif1 = Hidden(0.9)
    return net
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "some_nets", raising=False)
    Path("some_nets.py").write_text(SOURCE)
    np.savez("data.npz", inputs=spikes(12), labels=np.zeros(6, int))
    return tmp_path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_named_module_is_exported_and_compared(folder: Path) -> None:
    result = run("export", "some_nets:make_net", "--data", "data.npz", "-o", "model.nir")
    assert result.exit_code == 0, result.output
    assert "import: equal to snnTorch" in result.output and "0 of 2,880 spikes differ" in result.output
    checked = run("check", "some_nets:make_net", "--data", "data.npz")
    assert checked.exit_code == 0 and "some_nets:make_net on loihi2: deployable" in checked.output
    verified = run(
        *("verify", "model.nir", "--data", "data.npz", "--against", "compiled", "--checkpoint", "some_nets:make_net"),
        "--json",
    )
    assert verified.exit_code == 0, verified.output
    found = json.loads(verified.output)
    assert found["import"]["equal"] and found["import"]["differ"] == 0 and found["expected"] is None


def test_a_module_that_computes_something_else_is_not_exported(folder: Path) -> None:
    result = run("export", "some_nets:make_other", "--data", "data.npz", "-o", "model.nir")
    assert result.exit_code == 1 and not Path("model.nir").exists()
    assert "import: not equal to snnTorch" in result.stderr and "first layer 'lif1', neuron" in result.stderr


def test_weights_with_prefixes_and_one_level_of_nesting(folder: Path) -> None:
    net = named_object("some_nets:make_net")
    state = {key: value + 0.5 for key, value in net.state_dict().items() if "fc" in key}
    state |= {key: value for key, value in net.state_dict().items() if "fc" not in key}
    for held in (
        state,
        {"model": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        {f"_orig_mod.module.{key}": value for key, value in state.items()},
    ):
        torch.save(held, "net.pt")
        loaded = named_object("some_nets:make_net", "net.pt")
        assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    result = run("export", "some_nets:make_net", "--weights", "net.pt", "--data", "data.npz", "-o", "model.nir")
    assert result.exit_code == 0, result.output
    with_checkpoint = ("--checkpoint", "some_nets:make_net", "--against", "compiled")
    assert run("verify", "model.nir", "--data", "data.npz", *with_checkpoint).exit_code == 0


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("no_such_nets:net", None, "module 'no_such_nets' cannot be imported"),
        ("some_nets:nothing", None, "has no attribute 'nothing'"),
        ("some_nets:make_net", "none.pt", "there is no such file"),
        ("some_nets:make_net", "other.pt", "is of another module than some_nets:make_net: it lacks"),
        ("some_nets:make_net", "pickled.pt", "is no state dict"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, name: str, weights: str | None, message: str) -> None:
    torch.save({"a": torch.zeros(2)}, "other.pt")
    torch.save({"a": Path("x")}, "pickled.pt")
    extra = [] if weights is None else ["--weights", weights]
    result = run("export", name, *extra, "-o", "model.nir")
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1, result.output
    assert not Path("model.nir").exists()


def test_expected_outputs_and_accuracies(folder: Path) -> None:
    net = named_object("some_nets:make_net")
    with torch.no_grad():
        outputs = net(torch.as_tensor(spikes(12), dtype=torch.float32)).numpy()
    np.save("spikes.npy", outputs)
    np.save("readout.npy", outputs.sum(1))
    accuracy = float((outputs.sum(1).argmax(1) == 0).mean())
    arguments = ("export", "some_nets:make_net", "--data", "data.npz", "-o", "model.nir")
    for name in ("spikes.npy", "readout.npy"):
        result = run(*arguments, "--expect", name, "--expect-accuracy", f"{accuracy:.4f}")
        assert result.exit_code == 0 and f"expected: equal to {name}, 0 of" in result.output, result.output
    Path("model.nir").unlink()
    outputs[2, 3, 1] = 1 - outputs[2, 3, 1]
    np.save("spikes.npy", outputs)
    wrong = run(*arguments, "--expect", "spikes.npy")
    assert wrong.exit_code == 1 and "first sample 2, step 3, output 1" in wrong.stderr
    other = run(*arguments, "--expect-accuracy", accuracy + 0.3)
    assert other.exit_code == 1 and "the float network has" in other.stderr and not Path("model.nir").exists()


def test_a_file_of_that_name_is_a_file(folder: Path) -> None:
    assert is_name("nets:make_net") and not is_name("net.nir") and not is_name("a b:c")
    Path("nets:make_net").write_text("")
    assert not is_name("nets:make_net")
