"""Live modules of Rockpool: its layers, recurrence, leak modes, Sequential and modules of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from live_modules import imported, require_quantized, require_same_output, spikes

import nmdeploy
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.neurons.base import StepTime

torch = pytest.importorskip("torch")
pytest.importorskip("rockpool")
from rockpool.nn.combinators import Sequential  # noqa: E402
from rockpool.nn.modules import (  # noqa: E402
    ExpSynTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    TimeStepDropout,
    TorchModule,
    UpDownTorch,
)

IN, HIDDEN, OUT = 12, 20, 5
ONE: dict[str, Any] = {"max_spikes_per_dt": 1}


def all_steps(module: Any, x: Any) -> Any:
    module.reset_state()
    return module(x)[0]


def lif(size: int, **more: Any) -> Any:
    return LIFTorch((size,), **ONE, **more)


def own_network() -> Any:
    class Net(TorchModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(shape=(IN, OUT))
            self.fc1, self.lif1 = LinearTorch((IN, HIDDEN)), lif(HIDDEN)
            self.fc2, self.lif2 = LinearTorch((HIDDEN, OUT)), lif(OUT)

        def forward(self, x: Any) -> Any:
            x, _, _ = self.lif1(self.fc1(x)[0])
            x, _, _ = self.lif2(self.fc2(x)[0])
            return x

    return Net()


def stack(first: Any, last: Any) -> Any:
    return Sequential(LinearTorch((IN, HIDDEN)), first, LinearTorch((HIDDEN, OUT), has_bias=True), last)


NETWORKS = {
    "default time constants": lambda: stack(lif(HIDDEN), lif(OUT)),
    "time constants per neuron": lambda: stack(
        lif(HIDDEN, tau_mem=torch.linspace(0.005, 0.05, HIDDEN), tau_syn=torch.linspace(0.002, 0.03, HIDDEN)[:, None]),
        lif(OUT, threshold=torch.linspace(0.5, 2, OUT), bias=torch.linspace(0, 0.05, OUT)),
    ),
    "decays": lambda: stack(lif(HIDDEN, leak_mode="decays"), lif(OUT, leak_mode="decays")),
    "bit shifts": lambda: stack(lif(HIDDEN, leak_mode="bitshifts"), lif(OUT)),
    "recurrent": lambda: stack(lif(HIDDEN, has_rec=True), lif(OUT)),
    "two synapses per neuron": lambda: Sequential(
        LinearTorch((IN, 2 * HIDDEN)),
        LIFTorch((2 * HIDDEN, HIDDEN), tau_syn=torch.tensor([[0.002, 0.02]]).repeat(HIDDEN, 1), **ONE),
        LinearTorch((HIDDEN, 2 * OUT)),
        LIFTorch((2 * OUT, OUT), has_rec=True, **ONE),
    ),
    "without currents": lambda: stack(LIFNeuronTorch((HIDDEN,), bias=0.01, **ONE), LIFNeuronTorch((OUT,), **ONE)),
    "synapses of their own": lambda: Sequential(
        LinearTorch((IN, HIDDEN)), ExpSynTorch((HIDDEN,)), LIFNeuronTorch((HIDDEN,), **ONE)
    ),
    "dropout": lambda: stack(Sequential(lif(HIDDEN), TimeStepDropout((HIDDEN,))), lif(OUT)),
    "a module of one's own": own_network,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_computes_the_same_spikes(name: str) -> None:
    torch.manual_seed(0)
    module, sample = NETWORKS[name](), spikes(IN)
    network = imported(module, sample)
    assert network.dt == 0.001 and network.read_as is not None and network.read_as.network["dt"].by == "source"
    require_same_output(network, module, sample, all_steps)


@pytest.mark.parametrize("name", ["time constants per neuron", "two synapses per neuron", "synapses of their own"])
def test_the_integers_run(name: str) -> None:
    torch.manual_seed(0)
    sample = spikes(IN)
    require_quantized(nmdeploy.load(NETWORKS[name](), sample), sample)


def test_a_readout_of_currents() -> None:
    torch.manual_seed(0)
    network = imported(stack(lif(HIDDEN), ExpSynTorch((OUT,))), spikes(IN))
    assert network.populations["3_ExpSynTorch"].kind == "integrator" and network.readout == "last"
    assert network.read_as is not None and network.read_as.comparison["values_error"] < 1e-12


def test_it_takes_random_spikes_without_samples_and_keeps_its_states() -> None:
    torch.manual_seed(0)
    module = own_network()
    module(torch.ones(2, 8, IN))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = nmdeploy.load(module)
    assert list(network.nodes) == ["input", "fc1", "lif1", "fc2", "lif2"]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_exact_ties_spike() -> None:
    """Dyadic weights and decays: membranes meet their threshold in many steps, and spike there."""
    torch.manual_seed(0)
    module = stack(lif(HIDDEN, leak_mode="decays"), lif(OUT, leak_mode="decays"))
    for part in (module[0], module[2]):
        part.weight.data = torch.round(part.weight.data * 2) / 2
    module[2].bias.data = torch.round(module[2].bias.data * 4) / 4
    sample = spikes(IN)
    network = imported(module, sample)
    require_same_output(network, module, sample, all_steps)
    neuron, synapse = network.populations["1_LIFTorch"], network.synapses["0_LinearTorch"]
    sums = synapse.apply(sample.reshape(-1, IN)).reshape(*sample.shape[:2], HIDDEN)
    state, met = neuron.start(len(sample)), 0
    for step in range(sample.shape[1]):
        state, sent = neuron.step(state, sums[:, step], StepTime(step, sample.shape[1]))
        ties = state["v_peak"][..., 0] == 1.0
        assert np.asarray(sent, bool)[ties].all()
        met += int(ties.sum())
    assert met > 10


REFUSED = {
    "max_spikes_per_dt": (lambda: LIFTorch((HIDDEN,)), r"'1_LIFTorch': max_spikes_per_dt = 65536 .*=1"),
    "noise": (lambda: lif(HIDDEN, noise_std=0.1), r"'1_LIFTorch': noise_std = 0.1 is random: set noise_std = 0"),
    "threshold": (lambda: lif(HIDDEN, threshold=torch.tensor(-0.5)), r"'1_LIFTorch': threshold -0.5: retrain"),
    "kind": (lambda: UpDownTorch((HIDDEN,)), r"'1_UpDownTorch': UpDownTorch of Rockpool .*NetworkBuilder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_deployed_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UnsupportedParameter, match=message):
        nmdeploy.load(Sequential(LinearTorch((IN, HIDDEN)), make()), spikes(IN))


def test_the_remedy_for_several_spikes_works() -> None:
    torch.manual_seed(0)
    module = stack(LIFTorch((HIDDEN,)), LIFTorch((OUT,)))
    for layer in (module[1], module[3]):
        layer.max_spikes_per_dt = torch.tensor(1.0)
    imported(module, spikes(IN))


def test_the_time_step_is_the_modules_own() -> None:
    with pytest.raises(BadOption, match=r"--dt 0.5: the module has its own time step, 0.001 s"):
        nmdeploy.load(stack(lif(HIDDEN), lif(OUT)), spikes(IN), dt=0.5)
