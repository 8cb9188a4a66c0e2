"""The float network of a model that came from a module: given again as a network, as the module, or by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_modules import spikes, strong

import nmdeploy
from nmdeploy.network.read_options import ReadOptions

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")


class Repeating(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A module that repeats its input over 12 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(6, 8)
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x: Any) -> Any:
        mem, record = self.lif.init_leaky(), []
        for _ in range(12):
            spk, mem = self.lif(self.fc(x), mem)
            record.append(spk)
        return torch.stack(record)


def test_a_network_is_taken_as_it_is_whatever_the_options_of_the_export(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = strong(torch.nn.Sequential(torch.nn.Linear(6, 8), snn.Leaky(0.9, init_hidden=True))), spikes(6)
    reading = ReadOptions(readout="mean", dt=1e-4)
    model = nmdeploy.export(net, tmp_path / "model.nir", data=x, reading=reading).network
    network = nmdeploy.load(net, x, options=reading)
    for floats in (network, net):
        assert nmdeploy.verify(model, x, "compiled", floats=floats).agreement is not None


def test_a_module_that_repeats_its_input_is_run_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = strong(Repeating())
    x = np.repeat(np.random.default_rng(0).random((4, 1, 6)), 12, axis=1)
    model = nmdeploy.export(net, tmp_path / "model.nir", data=x).network
    found = nmdeploy.verify(model, x, "compiled", floats=net)
    assert found.equal and found.agreement is not None
