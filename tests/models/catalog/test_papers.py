"""Where a source's claims hold and where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agreement import live, values
from figures import Figures

from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint import read_checkpoint
from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_model
from nmdeploy.models.checkpoint import load, save
from nmdeploy.models.modules.fixed_refractory import SENT, difference_rates, sent_linear
from nmdeploy.models.modules.predicted import fit, spike_disagreement
from nmdeploy.models.modules.spiking_network import SpikingNetwork
from nmdeploy.neurons.base import StepTime
from nmdeploy.neurons.state_space.diagonal import StateSpace


def steps_of(*spikes: int, length: int = 12) -> torch.Tensor:
    raw = torch.zeros(1, length, 1, dtype=torch.bool)
    raw[0, list(spikes)] = True
    return raw


def times(sent: torch.Tensor) -> list[int]:
    return sent[0, :, 0].nonzero().ravel().tolist()


def test_raw_and_emitted_refractory_periods_differ() -> None:
    raw = steps_of(0, 3, 6)
    assert times(SENT["raw"](raw, 5)) == [0] and times(SENT["emitted"](raw, 5)) == [0, 6]


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("length", [1, 2, 5, 50, 300])
def test_refractory_periods_in_parallel_equal_their_steps(rate: float, length: int) -> None:
    raw = torch.rand(4, 257, 9, generator=torch.Generator().manual_seed(length)) < rate
    for name, rule in SENT.items():
        last = np.full((4, 9), -length)
        for t, now in enumerate(raw.numpy().swapaxes(0, 1)):
            sent = now & (t - last >= length)
            assert np.array_equal(rule(raw, length)[:, t], sent), (name, t)
            last = np.where(now if name == "raw" else sent, t, last)


def test_the_source_s_convolution_is_the_raw_meaning() -> None:
    raw = torch.rand(3, 99, 4, generator=torch.Generator().manual_seed(0)) < 0.2
    kernel = torch.tensor([-2.0, -2, -2, -2, 1]).expand(4, 1, 5)
    padded = torch.nn.functional.pad(raw.float().mT, (4, 0))
    mask = torch.nn.functional.conv1d(padded, kernel, groups=4).mT > 0
    assert torch.equal(SENT["raw"](raw, 5), raw & mask)


def test_the_linear_refractory_function_is_a_third_meaning(figures: Figures) -> None:
    rising = np.array([0.6, 0.7, 0.8, 0.9, 1.3, 1.4, 1.5])
    assert sent_linear(rising, 0.5, 5).nonzero()[0].tolist() == [0, 4]
    y = torch.from_numpy(rising)[None, :, None]
    assert times(SENT["emitted"](y > 0.5, 5)) == [0, 5] and times(SENT["raw"](y > 0.5, 5)) == [0]
    rates = difference_rates(y, 0.5, 5)
    assert rates == {"raw emitted": 1 / 7, "raw linear": 1 / 7, "emitted linear": 2 / 7}
    flat = torch.full((1, 11, 1), 0.6)
    assert difference_rates(flat, 0.5, 5)["emitted linear"] == 0
    walk = torch.randn(8, 200, 8, generator=torch.Generator().manual_seed(1)).cumsum(1) / 5
    figures(f"fixed-refractory-ssm, random walks, r = 5: share of steps that differ {difference_rates(walk, 0.5, 5)}")


def soft_reset(inputs: list[float]) -> list[int]:
    v, spikes = 0.0, []
    for a in inputs:
        v += a
        spikes.append(int(v > 1))
        v -= spikes[-1]
    return spikes


def counted(inputs: list[float]) -> list[int]:
    neuron: Any = create("pmsn", inputs=1, channels=1, states=1, layers=1, outputs=1).blocks[0].neuron
    return neuron.fire(torch.tensor(inputs, dtype=torch.float64)[None, :, None])[0, :, 0].int().tolist()


def test_counting_equals_a_soft_reset_only_below_the_threshold() -> None:
    large = [0.4, 2.3, 0.1, 0.2, 0.6]
    assert soft_reset(large) == [0, 1, 1, 0, 1] and counted(large) == [0, 1, 0, 0, 1]
    small = (0.999 * np.random.default_rng(0).random(10_000)).tolist()
    assert counted(small) == soft_reset(small)


def test_the_deployed_count_is_the_same_neuron() -> None:
    modulo = {"soma": True, "rectify": True, "leak": 1.0, "reset_condition": "each", "reset_action": "modulo"}
    population: Any = StateSpace(a=[[0j]], b=[[1]], c=[[1]], d=[0.0], v_threshold=1.0, **modulo)
    # the second meets whole thresholds exactly, where H(0) = 0 leaves one
    for large in ([0.4, 2.3, 0.1, 0.2, 0.6], [2.0, 0.25, 0.5, 1.0, 0.25]):
        spikes, state = [], population.start(1)
        for step, a in enumerate(large):
            state, s = population.step(state, np.array([[a]]), StepTime(step, 5))
            spikes.append(int(s[0, 0]))
        assert spikes == counted(large)
    assert spikes == [1, 1, 0, 1, 0]


def squared_errors(network: SpikingNetwork, x: torch.Tensor) -> tuple[float, float]:
    """Of the first block's membrane: predicted, and taken to be its own input."""
    block: Any = network.blocks[0]
    with torch.no_grad():
        y = block.normalize(block.neuron.outputs(block.synapse(x)))
        predicted, exact = block.neuron.predictor(y), block.neuron.before_reset(y)
        return float((predicted - exact).square().mean()), float((y - exact).square().mean())


@pytest.mark.parametrize("name", ["spike-ssm", "spiking-ssm"])
def test_the_predicted_membrane_is_approximate(name: str, figures: Figures) -> None:
    network = predicting(live(name, 7, channels=32))
    x = values(torch.Generator().manual_seed(7), 32, 64, 4)
    fit(network, x)
    predicted, taken = squared_errors(network, x)
    assert predicted < 0.5 * taken
    rates = spike_disagreement(network, values(torch.Generator().manual_seed(8), 32, 64, 4))
    figures(
        f"{name}: predicted spikes that differ from the recurrence, by block: {', '.join(f'{r:.3f}' for r in rates)}"
    )
    assert all(0 < rate < 0.2 for rate in rates)
    assert "predictor.weight" in neuron_model(name).shapes(32, 4, network.options)


def predicting(exact: SpikingNetwork) -> SpikingNetwork:
    """The same network with the approximation, not fitted."""
    network = create(exact.name, **exact.sizes, approximation="predicted").double().eval()
    missing, unexpected = network.load_state_dict(exact.state_dict(), strict=False)
    assert unexpected == [] and all("predictor" in key for key in missing)
    return network


@pytest.mark.parametrize("name", ["spike-ssm", "spiking-ssm"])
def test_a_prediction_runs_once_it_is_fitted_and_a_checkpoint_knows(name: str, tmp_path: Path) -> None:
    exact = live(name, 7)
    network, x = predicting(exact), values(torch.Generator().manual_seed(7), 32, 64, 4)
    for file in ("unfitted.safetensors", "unfitted.pt"):
        save(network, tmp_path / file, input_format=FixedPoint(5, 4, signed=False))
        for unfitted in (network, load(tmp_path / file).double().eval()):
            with pytest.raises(
                BadOption, match=r"^approximation = 'predicted': .*nmdeploy\.models\.modules\.predicted\.fit"
            ):
                unfitted(x)
    fit(network, x)
    save(network, tmp_path / "fitted.safetensors", input_format=FixedPoint(5, 4, signed=False))
    logits = network(x)[0]
    assert not torch.equal(logits, exact(x)[0])
    torch.testing.assert_close(load(tmp_path / "fitted.safetensors").double().eval()(x)[0], logits)
    # deployed is the recurrence, fitted or not
    save(exact, tmp_path / "exact.safetensors", input_format=FixedPoint(5, 4, signed=False))
    fitted, recurrent = (read_checkpoint(tmp_path / f"{name}.safetensors") for name in ("fitted", "exact"))
    assert str(fitted.nodes) == str(recurrent.nodes) and fitted.edges == recurrent.edges


def test_the_membrane_that_the_prediction_is_fitted_to_is_that_of_the_recurrence() -> None:
    network = live("spike-ssm", 7)
    neuron: Any = network.blocks[0].neuron
    y = torch.randn(3, 40, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vth = neuron.coefficients()["v_threshold"][:, 0]
    assert torch.equal((neuron.before_reset(y) > vth).double(), neuron.recur(y))
