"""Live modules of snnTorch: every layer, every reset, and the forms in which networks are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from live_modules import imported, require_quantized, require_same_output, spikes, strong

import nmdeploy
from nmdeploy.errors import ImportDiffers, UnsupportedParameter
from nmdeploy.network.float_run import run_float
from nmdeploy.neurons.lif import LIF

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
LeakyKernel = pytest.importorskip("snntorch._neurons.leakykernel").LeakyKernel  # not in snntorch's namespace
nn = torch.nn
IN, HIDDEN, OUT = 12, 20, 5
HIDE = {"init_hidden": True}


def outer_loop(module: Any, x: Any) -> Any:
    """Call the module once per step; its states begin at rest."""
    for part in module.modules():
        for state in ("mem", "syn", "syn_exc", "syn_inh", "spk"):
            if state in part._buffers:
                part._buffers[state] = torch.zeros(0)
    outputs = [module(x[:, step]) for step in range(x.shape[1])]
    return torch.stack([each[0] if isinstance(each, tuple) else each for each in outputs], 1)


def sequential(layer: Any, **last: Any) -> Any:
    """A network with a layer between two linear ones."""
    torch.manual_seed(0)
    return strong(
        nn.Sequential(nn.Linear(IN, HIDDEN), layer, nn.Linear(HIDDEN, OUT), snn.Leaky(0.9, init_hidden=True, **last))
    )


ONES = torch.linspace(0.5, 0.95, HIDDEN)
LAYERS = {
    "leaky": lambda: snn.Leaky(0.9, **HIDE),
    "leaky immediate": lambda: snn.Leaky(0.9, reset_delay=False, threshold=9.0, **HIDE),
    "leaky zero": lambda: snn.Leaky(0.9, reset_mechanism="zero", **HIDE),
    "leaky zero immediate": lambda: snn.Leaky(0.9, reset_mechanism="zero", reset_delay=False, **HIDE),
    "leaky none": lambda: snn.Leaky(0.5, threshold=2.0, reset_mechanism="none", **HIDE),
    "leaky per neuron": lambda: snn.Leaky(ONES, threshold=2 * ONES, learn_beta=True, learn_threshold=True, **HIDE),
    "leaky clamped": lambda: snn.Leaky(torch.tensor(1.3), **HIDE),
    "leaky without memory": lambda: snn.Leaky(0.0, **HIDE),
    "leaky small beta": lambda: snn.Leaky(0.01, **HIDE),
    "leaky graded": lambda: snn.Leaky(0.9, graded_spikes_factor=0.4, **HIDE),
    "synaptic": lambda: snn.Synaptic(0.7, 0.9, **HIDE),
    "synaptic immediate": lambda: snn.Synaptic(0.7, 0.9, reset_delay=False, threshold=9.0, **HIDE),
    "synaptic zero": lambda: snn.Synaptic(0.7, 0.9, reset_mechanism="zero", **HIDE),
    "synaptic none": lambda: snn.Synaptic(0.3, 0.5, reset_mechanism="none", threshold=4.0, **HIDE),
    "synaptic small beta": lambda: snn.Synaptic(0.7, 0.02, **HIDE),
    "alpha zero": lambda: snn.Alpha(0.9, 0.8, threshold=0.2, **HIDE),
    "alpha none": lambda: snn.Alpha(0.9, 0.8, threshold=0.2, reset_mechanism="none", **HIDE),
    "lapicque": lambda: snn.Lapicque(beta=0.9, threshold=0.2, **HIDE),
    "lapicque R and C": lambda: snn.Lapicque(R=5.0, C=2.0, threshold=0.1, reset_mechanism="zero", **HIDE),
    "rleaky": lambda: snn.RLeaky(0.9, linear_features=HIDDEN, **HIDE),
    "rleaky one to one": lambda: snn.RLeaky(0.9, V=0.3, all_to_all=False, **HIDE),
    "rleaky zero": lambda: snn.RLeaky(0.9, linear_features=HIDDEN, reset_mechanism="zero", **HIDE),
    "rsynaptic": lambda: snn.RSynaptic(0.7, 0.8, linear_features=HIDDEN, **HIDE),
    "rsynaptic zero": lambda: snn.RSynaptic(0.7, 0.8, V=-0.5, all_to_all=False, reset_mechanism="zero", **HIDE),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_computes_the_same_spikes(name: str) -> None:
    module, sample = sequential(LAYERS[name]()), spikes(IN)
    network = imported(module, sample)
    assert [*network.populations] == ["1", "3"]
    require_same_output(network, module, sample, outer_loop)
    require_quantized(network, sample)


@pytest.mark.parametrize("beta", [0.5, 0.75, 0.9, 1.0])
def test_exact_ties_are_kept(beta: float) -> None:
    module, sample = sequential(snn.Leaky(beta, **HIDE)), spikes(IN, 0.7)
    with torch.no_grad():
        for part in (module[0], module[2]):
            part.weight.copy_(torch.round(part.weight * 4) / 4)
            part.bias.copy_(torch.round(part.bias * 4) / 4)
    require_same_output(imported(module, sample), module, sample, outer_loop)


class Tutorial5(nn.Module):  # type: ignore[misc, name-defined]
    """The network of snnTorch's tutorial 5."""

    def __init__(self, steps: int = 10) -> None:
        super().__init__()
        self.steps = steps
        self.fc1 = nn.Linear(IN, HIDDEN)
        self.lif1 = snn.Leaky(beta=0.95)
        self.fc2 = nn.Linear(HIDDEN, OUT)
        self.lif2 = snn.Leaky(beta=0.95)

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec, mem2_rec = [], []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


def test_the_class_of_tutorial_5() -> None:
    torch.manual_seed(1)
    module, sample = strong(Tutorial5()), np.round(np.random.default_rng(0).random((6, IN)) * 16) / 16
    network = imported(module, sample)
    assert list(network.nodes) == ["input", "fc1", "lif1", "fc2", "lif2"]
    assert network.readout == "sum" and network.read_as is not None
    assert network.read_as.network["input"].value == "the input of a sample is repeated in every step"
    repeated = np.repeat(sample[:, None], 10, 1)
    require_same_output(network, module, repeated, lambda net, x: net(x[:, 0])[0].transpose(0, 1))
    require_quantized(network, repeated)
    again = nmdeploy.load(module, repeated)
    assert again == network


class Loop(Tutorial5):
    """Steps inside of forward, time first, with dropout and normalization, and a reduced result."""

    def __init__(self, reduce: str, axis: int = 0) -> None:
        super().__init__()
        self.reduce, self.axis = reduce, axis
        self.norm, self.drop = nn.BatchNorm1d(HIDDEN), nn.Dropout(0.5)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        record, count = [], 0
        for step in range(x.size(self.axis)):
            cur1 = self.norm(self.fc1(x[step] if self.axis == 0 else x[:, step]))
            spk1, mem1 = self.lif1(cur1, mem1)
            spk2, mem2 = self.lif2(self.fc2(self.drop(spk1)), mem2)
            record.append(spk2)
            count = count + spk2
        whole = torch.stack(record)
        return {"sum": whole.sum(0), "mean": whole.mean(dim=0), "count": count, "rate": count / len(record)}[
            self.reduce
        ]


@pytest.mark.parametrize(
    ("reduce", "axis", "readout"), [("sum", 0, "sum"), ("mean", 1, "mean"), ("count", 1, "sum"), ("rate", 0, "mean")]
)
def test_steps_inside_of_forward_and_what_becomes_of_them(reduce: str, axis: int, readout: str) -> None:
    torch.manual_seed(1)
    module = strong(Loop(reduce, axis))
    network = imported(module, spikes(IN))
    assert network.readout == readout and network.read_as is not None
    assert network.read_as.network["readout"].by == "source"
    assert list(network.nodes) == ["input", "fc1", "lif1", "fc2", "lif2"]


class Recurrent(Tutorial5):
    """A residual connection, and a recurrence by hand with the spikes of the step before."""

    def __init__(self) -> None:
        super().__init__()
        self.fc2, self.back = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.fc3, self.lif3 = nn.Linear(HIDDEN, OUT), snn.Leaky(0.8)

    def forward(self, x: Any) -> Any:
        mem1, mem2, mem3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        spk2, record = torch.zeros(x.shape[1], HIDDEN), []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.fc1(x[step]) + self.back(spk2), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk3, mem3 = self.lif3(self.fc3(spk2 + spk1), mem3)
            record.append(spk3)
        return torch.stack(record)


def test_residuals_and_recurrences_by_hand() -> None:
    torch.manual_seed(2)
    module, sample = strong(Recurrent()), spikes(IN)
    network = imported(module, sample)
    assert [(e.source, e.target) for e in network.edges if e.delay == 1] == [("lif2", "back")]
    assert {e.source for e in network.edges if e.target == "fc3"} == {"lif1", "lif2"}
    require_same_output(network, module, sample, lambda net, x: net(x.transpose(0, 1)).transpose(0, 1))


ALL_STEPS: dict[str, Callable[[], list[nn.Module]]] = {
    "StateLeaky": lambda: [nn.Linear(IN, OUT), snn.StateLeaky(0.8, OUT, threshold=2.0)],
    "LinearLeaky": lambda: [snn.LinearLeaky(0.8, IN, OUT, threshold=2.0)],
    "LeakyKernel": lambda: [LeakyKernel(IN, OUT, beta=0.8, threshold=0.4)],
    "two of LeakyParallel": lambda: [
        snn.LeakyParallel(IN, HIDDEN, beta=0.8, threshold=0.4, graded_spikes_factor=0.5),
        snn.LeakyParallel(HIDDEN, OUT, beta=0.5, bias=False, threshold=0.2),
    ],
}


@pytest.mark.parametrize("kind", ALL_STEPS)
def test_layers_that_run_all_steps_at_once(kind: str) -> None:
    torch.manual_seed(3)
    module, sample = strong(nn.Sequential(*ALL_STEPS[kind]())), spikes(IN)
    network = imported(module, sample)

    def run(net: Any, x: Any) -> Any:
        out = net(x.transpose(0, 1))
        return (out[0] if isinstance(out, tuple) else out).transpose(0, 1)

    require_same_output(network, module, sample, run)


def test_a_membrane_that_is_not_below_0() -> None:
    """The clip matters: a membrane without it spikes later after inhibition. Integers follow it to the spike."""
    module = LeakyKernel(1, 1, beta=0.9, threshold=1.0, bias=False)
    with torch.no_grad():
        module.rnn.weight_ih_l0.fill_(0.5)
    inputs = np.array([[-4.0, -4.0, 1.0, 1.0, 1.0, 1.0]])[..., None]
    network = nmdeploy.load(module, inputs)
    model = nmdeploy.quantize(network, data=nmdeploy.load_data({"inputs": inputs}, network.input))
    spiked = nmdeploy.run(model, {"inputs": inputs}, trace="spikes").layers[model.output].spikes
    assert spiked is not None and spiked[0, :, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert float(run_float(network, inputs).output[0, -1, 0]) == 1 and "not below 0" in str(network.read_as)


def test_membranes_that_act_on_each_other_are_refused() -> None:
    with pytest.raises(UnsupportedParameter, match="weight_hh_enable=False"):
        nmdeploy.load(LeakyKernel(IN, OUT, beta=0.8, weight_hh_enable=True), spikes(IN))


def test_a_last_membrane_without_reset_is_a_readout() -> None:
    class Net(Tutorial5):
        def __init__(self) -> None:
            super().__init__()
            self.lif2 = snn.Leaky(0.9, reset_mechanism="none")

        def forward(self, x: Any) -> Any:
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            for step in range(x.shape[0]):
                spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
                _, mem2 = self.lif2(self.fc2(spk1), mem2)
            return mem2

    torch.manual_seed(4)
    network = nmdeploy.load(strong(Net()), spikes(IN))
    assert network.populations["lif2"].kind == "integrator" and network.readout == "last"


def test_without_a_sample_random_spikes_make_it_fire() -> None:
    network = nmdeploy.load(sequential(snn.Leaky(0.9, **HIDE)))
    assert network.read_as is not None and not network.read_as.comparison["silent"]


def test_states_of_training_do_not_matter() -> None:
    module, sample = sequential(snn.Leaky(0.9, **HIDE), output=True), spikes(IN)
    fresh = nmdeploy.load(module, sample)
    module(torch.ones(3, IN))[0].sum().backward()
    mode = module.training
    assert imported(module, sample) == fresh
    assert module.training is mode and module[1].mem.grad_fn is not None


def test_zero_resets_are_the_chips_own_neuron() -> None:
    network = nmdeploy.load(sequential(snn.Synaptic(0.7, 0.9, reset_mechanism="zero", **HIDE)), spikes(IN))
    neuron = network.populations["1"]
    assert isinstance(neuron, LIF) and neuron.refractory_steps == 1


def test_a_reset_that_holds_spikes_back_is_named() -> None:
    with pytest.raises(ImportDiffers, match=r"first layer '1', neuron .*train with reset_delay=True, or with a higher"):
        nmdeploy.load(sequential(snn.Leaky(0.9, reset_delay=False, **HIDE)), spikes(IN))


REFUSED = {
    "inhibition": lambda: snn.Leaky(0.9, inhibition=True, **HIDE),
    "state_quant": lambda: snn.Leaky(0.9, state_quant=lambda x: x, **HIDE),
    "negative": lambda: snn.Leaky(0.9, threshold=-0.1, **HIDE),
    "Alpha with reset 'subtract'": lambda: snn.Alpha(0.9, 0.8, reset_mechanism="subtract", **HIDE),
}


@pytest.mark.filterwarnings("ignore:Inhibition is an unstable")
@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_deployed_is_refused_by_name(reason: str) -> None:
    with pytest.raises(UnsupportedParameter, match=f"layer '1'.*{reason}"):
        nmdeploy.load(sequential(REFUSED[reason]()), spikes(IN))


def test_what_cannot_be_followed_is_refused_by_name() -> None:
    class Net(Tutorial5):
        def forward(self, x: Any) -> Any:
            return self.lif1(torch.relu(self.fc1(x)), self.lif1.reset_mem())[0]

    with pytest.raises(UnsupportedParameter, match=r"layer 'lif1': .*torch's relu\(\).*NetworkBuilder"):
        nmdeploy.load(Net(), spikes(IN))
