"""The trainable modules against their equations."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from nmdeploy.errors import BadOption
from nmdeploy.models import create
from nmdeploy.models.s4d import S4D, complex_expm1
from nmdeploy.models.spiking_block import IntegratingReadout, SpikingBlock
from nmdeploy.models.surrogate import spike

SIZES = {"inputs": 2, "channels": 6, "states": 3, "layers": 2, "outputs": 4}


def normal(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))


def test_spike_is_strict() -> None:
    x = torch.tensor([-1.0, -0.0, 0.0, 1e-30, 2.0])
    assert spike(x).tolist() == [0, 0, 0, 1, 1]


def test_surrogate_gradient_is_the_formula() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64, requires_grad=True)
    spike(x).backward(torch.full_like(x, 3.0))
    at = x.detach().numpy()
    sides = normal(at, 0.5, 3.0) + normal(at, -0.5, 3.0)
    expected = 0.5 * (1.15 * normal(at, 0.0, 0.5) - 0.15 * sides)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 3 * expected, rtol=1e-12)


def test_complex_expm1_keeps_small_values() -> None:
    z = np.array([1e-9 + 2e-9j, -0.5 + 3j, -1e-12 + 0j])
    np.testing.assert_allclose(complex_expm1(torch.from_numpy(z)).numpy(), np.expm1(z), rtol=1e-14)


@pytest.mark.parametrize("steps", [1, 2, 33, 64])
def test_convolution_equals_the_sequential_form(steps: int) -> None:
    torch.manual_seed(steps)
    layer = S4D(5, 4).double()
    u = torch.randn(3, steps, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(u), layer.scan(u), rtol=1e-6, atol=1e-6)


def test_s4d_follows_its_equation() -> None:
    layer = S4D(2, 3).double()
    assert torch.allclose(layer.log_a_real, torch.tensor(0.5, dtype=torch.float64).log())
    np.testing.assert_allclose(layer.a_imag.detach().numpy(), np.pi * np.array([[0, 1, 2]] * 2), rtol=1e-6)
    u = np.random.default_rng(0).normal(size=(7, 2))
    a = -np.exp(layer.log_a_real.detach().numpy()) + 1j * layer.a_imag.detach().numpy()
    step = np.exp(layer.log_dt.detach().numpy())[:, None]
    c = layer.c.detach().numpy() @ [1, 1j]
    x, expected = np.zeros((2, 3), complex), []
    for now in u:
        x = np.exp(step * a) * x + (np.exp(step * a) - 1) / a * now[:, None]
        expected.append(2 * (c * x).sum(1).real + layer.d.detach().numpy() * now)
    np.testing.assert_allclose(layer(torch.from_numpy(u)[None])[0].detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_s4d_learns_every_parameter() -> None:
    layer = S4D(3, 4)
    layer(torch.randn(2, 9, 3)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_residual_block_hands_on_the_graded_sum() -> None:
    block = SpikingBlock(4, 4, 2, residual=True).eval()
    h = torch.rand(2, 8, 4)
    out, spikes = block(h)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(out, spikes + h)


def test_readout_is_the_mean_over_time() -> None:
    readout = IntegratingReadout(3, 2).double()
    h = torch.rand(4, 9, 3, dtype=torch.float64)
    every_step = h @ readout.weight.T + readout.bias
    torch.testing.assert_close(readout(h), every_step.mean(1))


@pytest.mark.parametrize("residual", [False, True])
def test_network_shapes(residual: bool) -> None:
    module = create("binary-s4d", **SIZES, residual=residual, dropout=0.2)
    logits, spikes = module(torch.rand(5, 11, 2))
    assert logits.shape == (5, 4) and [s.shape for s in spikes] == [(5, 11, 6)] * 2
    assert [block.residual for block in module.blocks] == [False, residual]
    logits.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_seed_fixes_the_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, third = (create("binary-s4d", **SIZES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.readout.weight, third.readout.weight)


def test_bad_options() -> None:
    with pytest.raises(BadOption, match="binary-s4d"):
        create("unheard-of", **SIZES)
    with pytest.raises(BadOption, match="layers = 0"):
        create("binary-s4d", **(SIZES | {"layers": 0}))


def test_importing_the_package_leaves_torch_out() -> None:
    code = "import sys, nmdeploy.models, nmdeploy.importers.checkpoint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
