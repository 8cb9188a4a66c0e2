"""Imports of live modules, and runs of both beside each other without the code that compares them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

import nmdeploy
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network

torch = pytest.importorskip("torch")
STEPS, SAMPLES = 24, 6


def spikes(channels: int, density: float = 0.4, seed: int = 0) -> Any:
    """Random spikes (samples, steps, channels)."""
    return (np.random.default_rng(seed).random((SAMPLES, STEPS, channels)) < density).astype(np.float64)


def strong(module: Any, factor: float = 3.0) -> Any:
    """The module with larger weights, so that its layers spike."""
    with torch.no_grad():
        for _, part in module.named_modules():
            if isinstance(part, torch.nn.Linear):
                part.weight *= factor
    return module


def imported(module: Any, sample: Any) -> Network:
    """The network of a module; every layer spikes on the sample, and none differs."""
    network = nmdeploy.load(module, sample)
    assert network.read_as is not None
    found = network.read_as.comparison
    assert found["equal"] and found["differ"] == 0 and found["spikes"] > 0, found
    assert not found["silent"], found
    return network


def require_same_output(network: Network, module: Any, sample: Any, run: Callable[[Any, Any], Any]) -> None:
    """Compare the free float64 run with `run` of the module in float64: (samples, steps, outputs)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:  # frameworks cast spikes by .float()
        with torch.no_grad(), mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
            expected = run(copy.deepcopy(module).double().eval(), torch.as_tensor(sample, dtype=torch.float64))
    finally:
        torch.set_default_dtype(before)
    ours = run_float(network, sample.reshape(*sample.shape[:2], -1)).output
    np.testing.assert_array_equal(ours.astype(np.float64), np.asarray(expected))


def require_quantized(network: Network, sample: Any) -> None:
    """Quantize, and compare reference and compiled backend value by value."""
    model = nmdeploy.quantize(network, data=sample)
    expected = nmdeploy.run(model, sample, backend="reference", trace="spikes")
    actual = nmdeploy.run(model, sample, backend="compiled", trace="spikes")
    np.testing.assert_array_equal(expected.output, actual.output)
    assert expected.output.any()
