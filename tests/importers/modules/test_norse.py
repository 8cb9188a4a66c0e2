"""Live modules of Norse: every layer and its cell, recurrent ones, and SequentialState."""

from __future__ import annotations

from typing import Any

import pytest
from live_modules import imported, require_quantized, require_same_output, spikes

import nmdeploy
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.neurons.base import StepTime

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


FILTERED = {
    "cell": lambda: (norse.LIFCell(), linear(HIDDEN, OUT, 12.0), norse.LICell()),
    "layer": lambda: (norse.LIF(), linear(HIDDEN, OUT, 12.0), norse.LI()),
    "own weights": lambda: (norse.LIFCell(), norse.LILinearCell(HIDDEN, OUT)),
    "dt": lambda: (norse.LIFCell(dt=0.002), linear(HIDDEN, OUT, 12.0), norse.LICell(dt=0.002)),
}


@pytest.mark.parametrize("name", FILTERED)
def test_a_readout_with_a_filter(name: str) -> None:
    torch.manual_seed(0)
    module, sample = norse.SequentialState(linear(IN, HIDDEN, 12.0), *FILTERED[name]()), spikes(IN, 0.7)
    network = imported(module, sample)
    last = list(network.populations)[-1]
    assert network.populations[last].kind == "filtered_integrator" and network.readout == "last"
    assert network.read_as is not None and network.read_as.comparison["values_error"] < 1e-12
    require_quantized(network, sample)


HIDDEN_VALUES = {
    "cell": lambda: (norse.LICell(), linear(HIDDEN, OUT, 6.0), norse.LIFCell()),
    "layer": lambda: (norse.LI(), linear(HIDDEN, OUT, 6.0), norse.LIF()),
    "box": lambda: (norse.LIBoxCell(), linear(HIDDEN, OUT, 6.0), norse.LIFBoxCell()),
}


@pytest.mark.parametrize("name", HIDDEN_VALUES)
def test_a_hidden_membrane_is_sent_as_values(name: str) -> None:
    torch.manual_seed(1)
    module, sample = norse.SequentialState(linear(IN, HIDDEN, 3.0), *HIDDEN_VALUES[name]()), spikes(IN, 0.7)
    network = imported(module, sample)
    assert network.populations["1"].kind == "filtered_integrator" and network.populations["1"].feeds_synapses
    require_quantized(network, sample)


def test_exact_ties_are_equal() -> None:
    """Dyadic weights and time constants: membranes meet their threshold in many steps, and do not spike there."""
    eighth = LIF(tau_mem_inv=torch.as_tensor(125.0), tau_syn_inv=torch.as_tensor(500.0), v_th=torch.as_tensor(0.25))
    cell = norse.LICell(norse.LIParameters(torch.as_tensor(500.0), torch.as_tensor(250.0)))
    torch.manual_seed(0)
    module = norse.SequentialState(linear(IN, HIDDEN, 4.0), norse.LIFCell(eighth), linear(HIDDEN, OUT, 4.0), cell)
    for part in (module[0], module[2]):
        part.weight.data = torch.round(part.weight.data * 2) / 2
    sample = spikes(IN, 0.4)
    network = imported(module, sample)
    state, met = network.populations["1"].start(len(sample)), 0
    sums = network.synapses["0"].apply(sample.reshape(-1, IN)).reshape(*sample.shape[:2], HIDDEN)
    for step in range(sample.shape[1]):
        state, _ = network.populations["1"].step(state, sums[:, step], StepTime(step, sample.shape[1]))
        met += int((state["y"] == 0.25).sum())
    assert met > 10


def test_a_readout_with_a_resting_potential_is_refused_by_name() -> None:
    at_rest = norse.LIParameters(v_leak=torch.as_tensor(0.5))
    with pytest.raises(UnsupportedParameter, match=r"layer '3': v_leak = 0.5 of a readout: train it with 0"):
        nmdeploy.load(sequential(norse.LIFCell, lambda: norse.LICell(at_rest)), spikes(IN, 0.7))


def test_the_time_step_is_the_modules_own() -> None:
    with pytest.raises(BadOption, match=r"--dt 0.5: the module has its own time step, 0.001 s"):
        nmdeploy.load(sequential(norse.LIFCell, norse.LIFCell), spikes(IN), dt=0.5)


def test_other_neurons_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameter, match=r"layer '1': LIFAdExCell of Norse .*NetworkBuilder"):
        nmdeploy.load(sequential(norse.LIFAdExCell, norse.LIFCell), spikes(IN, 0.7))
