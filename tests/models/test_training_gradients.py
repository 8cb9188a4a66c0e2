"""Spikes and gradients of training against its plainest form, for every model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_models
from nmdeploy.models.modules import soma_scan, surrogate
from nmdeploy.models.modules.s4d import S4D
from nmdeploy.models.modules.spiking_network import SpikingNetwork
from tests.helpers.agreement import settled
from tests.helpers.plain_training import make_plain, outputs

STEPS, INPUTS, CHANNELS = 130, 4, 8
MOST_LEFT_OUT = 0.05
NAMES = [name for name, model in neuron_models().items() if model.module.startswith("nmdeploy.")]


def network(name: str, dtype: torch.dtype) -> SpikingNetwork:
    """Return a network in evaluation mode: its samples do not affect each other."""
    module = create(name, inputs=INPUTS, channels=CHANNELS, states=4, layers=2, outputs=3)
    return settled(module.double()).to(dtype)


def drawn(samples: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, STEPS, INPUTS, generator=generator, dtype=torch.float64)
    x[:, : STEPS // 5] = 0
    return x.to(dtype)


def run(module: nn.Module, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the spikes of each block and the gradients of every parameter and of the input."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    logits, spikes = module(x)
    weights = torch.linspace(-1, 2, STEPS, dtype=x.dtype)[:, None]
    torch.autograd.backward(logits.sin().sum() + sum((s * weights).sin().mean() for s in spikes))
    gradients = {name: value.grad for name, value in [*module.named_parameters(), ("x", x)] if value.grad is not None}
    return [s.detach() for s in spikes], gradients


def plain(module: nn.Module, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    with pytest.MonkeyPatch.context() as patch:
        make_plain(patch)
        return run(module, x)


def farthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, str]:
    """Return the largest difference of a gradient over that gradient's largest value, and its parameter."""
    assert found.keys() == expected.keys()
    return max(
        (float((found[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)), name)
        for name, value in expected.items()
    )


@pytest.mark.parametrize("name", NAMES)
def test_spikes_are_equal_and_gradients_agree_in_double_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (soma_scan, surrogate):
        monkeypatch.setattr(module, "PIECE", 3 * CHANNELS * 16)  # several pieces, the last one shorter
    module, x = network(name, torch.float64), drawn(3, torch.float64)
    spikes, gradients = run(module, x)
    expected_spikes, expected = plain(module, x)
    assert any(s.any() for s in spikes)
    for found, s in zip(spikes, expected_spikes, strict=True):  # in float64 even those of outputs that round elsewhere
        assert torch.equal(found, s)
    difference, parameter = farthest(gradients, expected)
    assert difference <= 1e-6, parameter


@pytest.mark.parametrize("steps", [1, 55, 56, 57, 300])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_s4d_outputs_are_those_of_the_convolution(steps: int, dtype: torch.dtype, tolerance: float) -> None:
    layer = S4D(5, 4).to(dtype)
    u = torch.randn(3, steps, 5, dtype=dtype)
    with torch.no_grad():
        expected = outputs(layer.double(), u.double())
        found = layer.to(dtype).outputs(u)
    assert float((found - expected).abs().max() / expected.abs().max()) <= tolerance


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_in_single_precision_where_all_spikes_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, x = network(name, torch.float32), drawn(40, torch.float32)
    pairs = zip(run(module, x)[0], plain(module, x)[0], strict=True)
    agree = torch.stack([(found == s).flatten(1).all(1) for found, s in pairs]).all(0)
    left_out = len(x) - int(agree.sum())
    difference, parameter = farthest(run(module, x[agree])[1], plain(module, x[agree])[1])
    with capsys.disabled():
        print(f"\n{name}: {left_out} of {len(x)} inputs left out, gradients within {difference:.1e} ({parameter})")
    assert left_out < MOST_LEFT_OUT * len(x)
    assert difference <= 1e-4, parameter


class Written(TorchDispatchMode):
    """Count the values that all operations return."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.values += sum(each.numel() for each in tree_leaves(returned) if isinstance(each, Tensor))
        return returned


@pytest.mark.parametrize("name", NAMES)
def test_work_is_linear_in_the_steps(name: str) -> None:
    module = create(name, inputs=INPUTS, channels=CHANNELS, states=4, layers=1, outputs=3)
    written = {}
    for steps in (64, 128):
        with Written() as count:
            logits, _ = module(torch.randn(2, steps, INPUTS))
            logits.sum().backward()
        written[steps] = count.values
    assert written[128] <= 2.1 * written[64]
