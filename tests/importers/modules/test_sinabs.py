"""Networks of Sinabs: refused as modules, exported in an environment of their own, and compared by their outputs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_modules import spikes
from uv_environment import uv_environment

import nmdeploy
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.torch_modules import SINABS

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guides" / "from-spikingjelly-sinabs-rockpool.md").read_text("utf-8")
NETS = """
import torch
import sinabs.layers as sl
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, SingleSpike


def net(*layers):
    torch.manual_seed(0)
    first, last = torch.nn.Linear(12, 20), torch.nn.Linear(20, 5)
    for layer in (first, last):
        layer.weight.data *= 3
    return torch.nn.Sequential(first, *layers[:-1], last, layers[-1])


def one(kind, **more):
    return kind(spike_fn=SingleSpike, **more)


class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net(one(sl.IAF, spike_threshold=torch.tensor(0.75)), one(sl.LIF, tau_mem=10.0))
        for index in (0, 2):
            self.body[index].weight.data = torch.round(self.body[index].weight.data * 4) / 4
            self.body[index].bias.data = torch.round(self.body[index].bias.data * 4) / 4

    def forward(self, x):
        return self.body(x)


def norm_input(): return net(one(sl.LIF, tau_mem=4.0), one(sl.IAF))
def plain_input(): return net(one(sl.LIF, tau_mem=torch.linspace(3, 30, 20), norm_input=False), one(sl.IAF))
def squeezed(): return net(
    one(sl.LIFSqueeze, tau_mem=5.0, norm_input=False, batch_size=1), one(sl.IAFSqueeze, batch_size=1)
)
def reset(): return net(
    sl.LIF(5.0, spike_fn=MaxSpike(1), reset_fn=MembraneReset(), train_alphas=True), sl.ExpLeak(8.0, norm_input=True)
)
def several(): return net(sl.LIF(5.0), one(sl.IAF))
def lowest(): return net(one(sl.IAF, min_v_mem=-1.0), one(sl.IAF))
def current(): return net(one(sl.LIF, tau_mem=5.0, tau_syn=3.0), one(sl.IAF))
def recurrent(): return net(one(sl.LIFRecurrent, tau_mem=5.0, rec_connect=torch.nn.Linear(20, 20)), one(sl.IAF))
def other(): return net(one(sl.IAF, reset_fn=MembraneSubtract(0.5)), one(sl.IAF))
def dropped(): return net(one(sl.IAF), torch.nn.Dropout(), one(sl.IAF))
"""
EQUAL = ("Own", "norm_input", "plain_input", "squeezed", "reset")
REFUSED = {
    "several": "layer '1': several spikes per step: give spike_fn=SingleSpike, and train with it",
    "lowest": "layer '1': min_v_mem = -1 is not exported: train with min_v_mem=None",
    "current": "layer '1': tau_syn is not exported: train with tau_syn=None",
    "recurrent": "layer '1': LIFRecurrent cannot be exported, only IAF",
    "other": "layer '1': MembraneSubtract(subtract_value=0.5): give reset_fn=MembraneSubtract()",
    "dropped": "not supported by to_nir of Sinabs: leave it out of the network",
}
DRIVER = """
import contextlib, io, json, sys
import export_sinabs

found = {}
for name in sys.argv[1:]:
    sys.argv = ["", f"nets:{name}", "--data", "samples.npz", "-o", f"{name}.nir", "--outputs", f"{name}.npy"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = export_sinabs.main()
    found[name] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(found))
"""


def run(command: list[str], **environment: str) -> str:
    """The output of a command, which must succeed; uv finds the wheels that pip finds."""
    from uv import find_uv_bin

    known = {"uv": [str(find_uv_bin())], "nmdeploy": [sys.executable, "-m", "nmdeploy"]}
    done = subprocess.run(
        [*known[command[0]], *command[1:]],
        env={**os.environ, **uv_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def guide_commands() -> list[list[str]]:
    """The two commands of the guide's part on Sinabs, with the program of this repository."""
    text = next(block for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.M | re.S) if "sinabs" in block)
    program = "examples/export_sinabs.py"
    return [
        [str(ROOT / program) if word == program else word for word in shlex.split(line)] for line in text.splitlines()
    ]


def test_a_module_is_refused_with_the_command_of_the_guide() -> None:
    torch = pytest.importorskip("torch")
    layer = type("LIF", (torch.nn.Module,), {"__module__": "sinabs.layers.lif"})
    command, reading = (line for line in GUIDE.splitlines() if line.startswith(("uv run", "nmdeploy export net.nir")))
    assert command == SINABS.replace("NAME", "nets:make_net")
    with pytest.raises(UnsupportedParameter, match="its neurons are of Sinabs") as error:
        nmdeploy.load(torch.nn.Sequential(torch.nn.Linear(4, 4), layer()), spikes(4))
    assert SINABS in str(error.value) and reading in str(error.value)


@pytest.mark.slow
def test_the_commands_of_the_guide_compare_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (nets,) = re.findall(r'^```python title="nets.py"\n(.*?)^```$', GUIDE, re.M | re.S)
    Path("nets.py").write_text(nets)
    np.savez("samples.npz", inputs=spikes(16))
    export, read = guide_commands()
    assert run(export).split() == read
    assert "expected: equal to outputs.npy, 0 of 1,440 outputs differ" in run(read, PYTHONPATH=str(ROOT))
    assert np.load("outputs.npy").any() and Path("model.nir").exists()


@pytest.mark.slow
def test_every_layer_compares_equal_or_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process of Sinabs exports all; exact ties are those of network Own, whose weights are quarters."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)
    Path("driver.py").write_text(DRIVER)
    np.savez("samples.npz", inputs=spikes(12))
    uv = guide_commands()[0]
    driver = [*uv[: uv.index("python") + 1], "driver.py", *EQUAL, *REFUSED]
    found: dict[str, Any] = json.loads(run(driver, PYTHONPATH=str(ROOT / "examples")))
    for name in EQUAL:
        code, printed, problem = found[name]
        assert code == 0 and np.load(f"{name}.npy").any(), problem
        read = run(printed.split(), PYTHONPATH=str(ROOT))
        assert f"expected: equal to {name}.npy, 0 of 720 outputs differ" in read
    for name, message in REFUSED.items():
        code, _, problem = found[name]
        assert code == 2 and message in problem and problem.count("\n") == 1, problem
        assert not Path(f"{name}.nir").exists()
