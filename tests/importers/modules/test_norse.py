"""Live modules of Norse: every layer and its cell, recurrent ones, and SequentialState."""

from __future__ import annotations

from typing import Any

import pytest
from live_modules import imported, require_quantized, require_same_output, spikes

import nmdeploy
from nmdeploy.errors import BadOption, UnsupportedParameter

torch = pytest.importorskip("torch")
norse = pytest.importorskip("norse.torch")
nn = torch.nn
IN, HIDDEN, OUT = 12, 20, 5


def whole(module: Any, x: Any) -> Any:
    return module(x.transpose(0, 1))[0].transpose(0, 1)


def outer_loop(module: Any, x: Any) -> Any:
    state, outputs = None, []
    for step in range(x.shape[1]):
        output, state = module(x[:, step], state)
        outputs.append(output)
    return torch.stack(outputs, 1)


def linear(inputs: int, outputs: int, gain: float) -> Any:
    layer = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        layer.weight *= gain
    return layer


def sequential(first: Any, last: Any, own_weights: bool = False) -> Any:
    torch.manual_seed(0)
    before = [] if own_weights else [linear(IN, HIDDEN, 12.0)]
    return norse.SequentialState(*before, first(), linear(HIDDEN, OUT, 12.0), last())


LIF, BOX, IAF = norse.LIFParameters, norse.LIFBoxParameters, norse.IAFParameters
SLOW = LIF(tau_mem_inv=torch.as_tensor(50.0), tau_syn_inv=torch.as_tensor(120.0), v_th=torch.as_tensor(0.7))
SUBTRACT = BOX(reset_method=norse.functional.reset.reset_subtract)
LEAK = BOX(v_leak=torch.as_tensor(-0.2), v_reset=torch.as_tensor(-0.1))
CELLS = {
    "lif": lambda: norse.LIFCell(),
    "lif parameters": lambda: norse.LIFCell(SLOW, dt=0.002),
    "box": lambda: norse.LIFBoxCell(),
    "box subtract": lambda: norse.LIFBoxCell(SUBTRACT),
    "box leak": lambda: norse.LIFBoxCell(LEAK),
    "iaf": lambda: norse.IAFCell(),
    "recurrent": lambda: norse.LIFRecurrentCell(IN, HIDDEN),
    "recurrent autapses": lambda: norse.LIFRecurrentCell(IN, HIDDEN, autapses=True),
}


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_computes_the_same_spikes(name: str) -> None:
    own = name.startswith("recurrent")
    module = sequential(CELLS[name], lambda: norse.LIFCell(dt=0.002 if "parameters" in name else 0.001), own)
    sample = spikes(IN, 0.7)
    network = imported(module, sample)
    assert network.dt == (0.002 if "parameters" in name else 0.001)
    require_same_output(network, module, sample, outer_loop)
    require_quantized(network, sample)


LAYERS = {
    "lif": lambda: norse.LIF(),
    "iaf": lambda: norse.IAF(),
    "recurrent": lambda: norse.LIFRecurrent(IN, HIDDEN),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_over_all_steps_computes_the_same_spikes(name: str) -> None:
    module = sequential(LAYERS[name], norse.LIF, name == "recurrent")
    sample = spikes(IN, 0.7)
    network = imported(module, sample)
    require_same_output(network, module, sample, whole)


def test_a_lifted_cell_runs_all_steps() -> None:
    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.box = linear(IN, HIDDEN, 12.0), norse.Lift(norse.LIFBoxCell())

        def forward(self, x: Any) -> Any:
            return self.box(self.fc(x))

    torch.manual_seed(0)
    module, sample = Net(), spikes(IN, 0.7)
    network = imported(module, sample)
    assert list(network.nodes) == ["input", "fc", "box.lifted_module"]
    require_same_output(network, module, sample, whole)


def test_a_readout_without_filter() -> None:
    module, sample = sequential(norse.LIFCell, norse.LIBoxCell), spikes(IN, 0.7)
    network = imported(module, sample)
    assert network.populations["3"].kind == "integrator" and network.readout == "last"
    assert network.read_as is not None and network.read_as.comparison["values_error"] < 1e-12


def test_the_time_step_is_the_modules_own() -> None:
    with pytest.raises(BadOption, match=r"--dt 0.5: the module has its own time step, 0.001 s"):
        nmdeploy.load(sequential(norse.LIFCell, norse.LIFCell), spikes(IN), dt=0.5)


def test_other_neurons_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameter, match=r"layer '1': LIFAdExCell of Norse .*NetworkBuilder"):
        nmdeploy.load(sequential(norse.LIFAdExCell, norse.LIFCell), spikes(IN, 0.7))
