"""The building blocks of the trainable modules against their equations; the models have tests of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmdeploy.cli.models import listing
from nmdeploy.errors import BadOption
from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_models
from nmdeploy.models.modules import scan
from nmdeploy.models.modules.integrate_and_fire import IF
from nmdeploy.models.modules.s4d import S4D, complex_expm1
from nmdeploy.models.modules.scan import deployed_bits, identity
from nmdeploy.models.modules.spiking_block import IntegratingReadout, SpikingBlock
from nmdeploy.models.modules.surrogate import graded, phase, spike, stochastic, straight_through, ternary

SIZES: dict[str, int] = {"inputs": 2, "channels": 6, "states": 3, "layers": 2, "outputs": 4}


def normal(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))


def multi_gaussian(at: np.ndarray) -> np.ndarray:
    sides = normal(at, 0.5, 3.0) + normal(at, -0.5, 3.0)
    return 0.5 * (1.15 * normal(at, 0.0, 0.5) - 0.15 * sides)


def slope(function: Any, *at: float) -> list[float]:
    """Gradient of a function of scalars."""
    inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in at]
    function(*inputs).backward()
    return [0.0 if x.grad is None else float(x.grad) for x in inputs]


def test_spike_is_strict() -> None:
    x = torch.tensor([-1.0, -0.0, 0.0, 1e-30, 2.0])
    assert spike(x).tolist() == [0, 0, 0, 1, 1]


def test_surrogate_gradient_is_the_formula() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64, requires_grad=True)
    spike(x).backward(torch.full_like(x, 3.0))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 3 * multi_gaussian(x.detach().numpy()), rtol=1e-12)


def test_straight_through_is_exact() -> None:
    path = torch.rand(1000, requires_grad=True)
    passed = straight_through(torch.ones(1000), path)
    passed.sum().backward()
    assert path.grad is not None and torch.equal(passed, torch.ones(1000)) and torch.equal(path.grad, torch.ones(1000))


def test_ternary_spikes_and_their_gradient() -> None:
    one = torch.tensor(1.0)
    assert ternary(torch.tensor([-2.0, -1, 0.5, 1, 1.5]), one).tolist() == [-1, 0, 0, 0, 1]
    at, _ = slope(ternary, -0.75, 1.0)
    assert at == pytest.approx(float(multi_gaussian(np.array(-1.75)) + multi_gaussian(np.array(-0.25))))


def test_graded_spikes_and_their_gradient() -> None:
    half = torch.tensor(0.5)
    mu = torch.tensor([-9.0, -0.8, 0.5, 0.3, 0.6, 1.9])
    assert graded(mu, half, 0.25, 4).tolist() == [-1.75, -0.75, 0, 0, 0.5, 1.75]
    gate = float(multi_gaussian(np.array(0.5)))
    assert slope(lambda x: graded(x, half, 0.25, 8), 1.0)[0] == pytest.approx(1 + gate)
    assert slope(lambda x: graded(x, half, 0.25, 2), 1.0)[0] == pytest.approx(0.25 * gate)


def test_stochastic_spikes_and_their_gradient() -> None:
    bits = torch.tensor([0, 32768, 65535])
    assert stochastic(torch.tensor([0.0, 0.5, 1.0]), torch.tensor(1.0), bits).tolist() == [0, 0, 1]
    assert stochastic(torch.tensor([0.1, 0.6, 0.9]), torch.tensor(1.0), bits).tolist() == [1, 1, 0]
    slopes = [slope(lambda y: stochastic(y, torch.tensor(2.0), torch.tensor(9)), at)[0] for at in (-0.5, 0.7, 2.1)]
    assert slopes == [0, 0.5, 0]


def test_the_phase_spike_has_a_gradient_on_each_factor() -> None:
    at = (1.25, 0.25, -0.5)
    slopes = slope(lambda re, im, before: phase(re, im, before, torch.tensor(1.0)), *at)
    assert slopes == pytest.approx(
        [float(multi_gaussian(np.array(x))) * sign for x, sign in ((0.25, 1), (0.25, 1), (0.5, -1))]
    )
    assert float(phase(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(-0.1), torch.tensor(1.0))) == 1


def test_deployed_bits_are_uniform_and_differ_between_blocks() -> None:
    p = {"v_threshold": torch.ones(64, 2)}
    bits = deployed_bits(0, p, 500)
    assert bits.shape == (500, 128) and bits.min() >= 0 and bits.max() < 65536
    counts = torch.bincount(bits.ravel() >> 12, minlength=16)
    assert float((counts - 4000).abs().max()) < 300
    assert (bits != deployed_bits(1, p, 500)).double().mean() > 0.99


def test_complex_expm1_keeps_small_values() -> None:
    z = np.array([1e-9 + 2e-9j, -0.5 + 3j, -1e-12 + 0j])
    np.testing.assert_allclose(complex_expm1(torch.from_numpy(z)).numpy(), np.expm1(z), rtol=1e-14)


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
    np.testing.assert_allclose(
        layer.outputs(torch.from_numpy(u)[None])[0].detach().numpy(), expected, rtol=1e-9, atol=1e-9
    )


def test_s4d_is_exactly_zero_at_rest() -> None:
    layer = S4D(5, 4)
    u = torch.randn(3, 64, 5)
    u[:, :20] = 0
    u[0, :, 2] = 0
    y = layer.outputs(u)
    assert (y[:, :20] == 0).all() and (y[0, :, 2] == 0).all() and (y[:, 20:, :2] != 0).all()


def test_s4d_learns_every_parameter() -> None:
    layer = S4D(3, 4)
    layer.outputs(torch.randn(2, 9, 3)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("name", ["binary-s4d", "lif-soft", "multi-output"])
def test_residual_blocks_hand_on_the_sum(name: str) -> None:
    network = create(name, **SIZES, residual=True).eval()
    width = network.readout.in_features
    assert [block.residual for block in network.blocks] == [False, True]
    h = torch.rand(2, 8, width)
    block: Any = network.blocks[1]
    out, spikes = block(h)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(out, spikes + h)


def test_a_mixer_gates_values_neuron_by_neuron() -> None:
    block = SpikingBlock(2, IF(3, 1), sums=3, spikes=3, mixer=True).eval()
    s = torch.rand(2, 8, 3)
    assert block.mixer is not None
    mixed = torch.nn.functional.linear(s, block.mixer.weight, block.mixer.bias)
    torch.testing.assert_close(block.hand_on(s[..., :2], s), mixed[..., 0::2] * torch.sigmoid(mixed[..., 1::2]))


def test_readout_is_the_mean_over_time() -> None:
    readout = IntegratingReadout(3, 2).double()
    h = torch.rand(4, 9, 3, dtype=torch.float64)
    every_step = h @ readout.weight.T + readout.bias
    torch.testing.assert_close(readout(h), every_step.mean(1))


def test_seed_fixes_the_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, third = (create("binary-s4d", **SIZES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.readout.weight, third.readout.weight)


def test_stochastic_spikes_are_drawn_anew_in_training_only() -> None:
    network = create("p-spike-ssm", **SIZES)
    x = torch.rand(3, 30, 2)
    assert not torch.equal(network(x)[1][0], network(x)[1][0])
    network.eval()
    assert torch.equal(network(x)[1][0], network(x)[1][0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unheard-of", {}, "binary-s4d"),
        ("lif-soft", {"layers": 0}, "layers = 0"),
        ("lif-soft", {"channels": 2.5}, "channels = 2.5: give an int of at least 1"),
        ("lif-soft", {"residual": 1}, "residual = 1: give True or False"),
        ("lif-soft", {"compiled": None}, "compiled = None: give True or False"),
        ("lif-soft", {"dropout": 1.0}, "dropout = 1.0: give a number from 0 to below 1"),
        ("lif-soft", {"dropout": -0.1}, "dropout = -0.1"),
        ("lif-soft", {"dropout": float("nan")}, "dropout = nan"),
        ("lif-soft", {"dropout": True}, "dropout = True"),
        ("lif-soft", {"dropout": "0.5"}, "dropout = '0.5'"),
        ("lif-hard", {"v_reset": float("nan")}, "v_reset = nan: give a finite number"),
        ("fixed-refractory-ssm", {"theta": float("inf")}, "theta = inf: give a finite number"),
        ("fixed-refractory-ssm", {"theta": 10**400}, "theta = 1000.*: give a finite number"),
        ("binary-s4d", {"dt_min": 0.0}, "dt_min = 0.0: give at least 1e-06"),
        ("binary-s4d", {"dt_max": -1}, "dt_max = -1: give at least 1e-06"),
        ("binary-s4d", {"dt_min": 0.5}, "dt_min = 0.5 exceeds dt_max = 0.2: swap them"),
        ("lif-soft", {"norm": "group"}, "norm = 'group'"),
        ("lif-soft", {"tau": 2.0}, "option 'tau' is unknown"),
        ("dh-lif", {"branches": 0}, "branches = 0: give at least 1"),
        ("fixed-refractory-ssm", {"refractory": "linear"}, "choose one of"),
        ("lif-hard", {"learn_reset": 1}, "type bool"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        create(name, **(SIZES | options))


def test_values_at_their_bounds_are_taken() -> None:
    network = create("binary-s4d", **SIZES, dt_min=1e-6, dt_max=1e-6, dropout=0, residual=True)
    torch.testing.assert_close(network.blocks[0].neuron.log_dt.exp(), torch.full((6,), 1e-6))


def test_compiling_without_a_compiler_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert scan.find_compiler() is None
    with pytest.raises(BadOption, match=r"^compiled = True: 0 C\+\+ compilers .* install one, or compiled = False$"):
        create("lif-hard", **SIZES, compiled=True)


@pytest.mark.parametrize("name", [*scan.COMPILERS, "CXX"])
def test_any_of_the_compilers_will_do(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "mine")
    found = tmp_path / ("mine" if name == "CXX" else name)
    found.touch(mode=0o755)
    assert scan.find_compiler() == str(found)
    assert create("lif-hard", **SIZES, compiled=True).blocks[0].neuron.compiled


def test_the_help_of_create_lists_the_models_as_the_command_does() -> None:
    told = [line.strip() for line in str(create.__doc__).splitlines()]
    own = [line for line in listing() if neuron_models()[line.split()[0]].module.startswith("nmdeploy.")]
    assert own == [line for line in told if line in own] and len(own) >= 17


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.compile's own
def test_the_compiled_scan_computes_the_same() -> None:
    neuron = IF(6, 1)
    a = torch.randn(4, 19, 6)
    eager = neuron(a, identity)
    eager.sin().sum().backward()
    expected, neuron.threshold_raw.grad = neuron.threshold_raw.grad, None
    neuron.compiled = True
    compiled = neuron(a, identity)
    compiled.sin().sum().backward()
    assert torch.equal(compiled, eager) and expected is not None and neuron.threshold_raw.grad is not None
    torch.testing.assert_close(neuron.threshold_raw.grad, expected)


def test_importing_the_package_leaves_torch_out() -> None:
    code = "import sys, nmdeploy.models.catalog as catalog, nmdeploy.importers.checkpoint as c; catalog.neuron_models()"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
