"""Measurements of single models: how often their several meanings, or an approximation, differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nmdeploy.models import create
from nmdeploy.models.checkpoint import load
from nmdeploy.models.modules import predicted
from nmdeploy.models.modules.fixed_refractory import difference_rates
from nmdeploy.models.modules.spiking_network import SpikingNetwork

PART = 100  # samples


def meanings(checkpoint: Path, x: npt.NDArray[Any]) -> list[str]:
    """Report how often the three meanings of a fixed refractory period differ on a trained network's membranes."""
    module = load(checkpoint).double().eval()
    length, theta = module.options["length"], module.options["theta"]
    with torch.no_grad():
        found = [
            difference_rates(block.normalize(block.neuron.outputs(block.synapse(h))), theta, length)
            for block, h in module.walk(torch.from_numpy(x[:PART]))
        ]
    return [
        f"refractory meanings {' and '.join(pair.split())} differ in {share:.3%} of the steps of neurons"
        for pair in found[0]
        for share in [float(np.mean([block[pair] for block in found]))]
    ]


def approximation(checkpoint: Path, x: npt.NDArray[Any]) -> list[str]:
    """Report how often the predicted membrane gives another spike than the recurrence, block by block."""
    exact = load(checkpoint)
    module = predicting(exact).double().eval()
    fitted, rest = torch.from_numpy(x[:PART]), torch.from_numpy(x[PART:])
    predicted.fit(module, fitted)
    shares = ", ".join(f"{share:.2%}" for share in predicted.spike_disagreement(module, rest))
    return [f'approximation="predicted", fitted on {PART} samples: spikes differ in {shares} of the steps, by block']


def predicting(exact: SpikingNetwork) -> SpikingNetwork:
    """Return the same network with the approximation."""
    fixed: dict[str, Any] = {"residual": exact.residual, "norm": exact.norm}
    module = create(exact.name, **exact.sizes, **fixed, **exact.options | {"approximation": "predicted"})
    module.load_state_dict(exact.state_dict(), strict=False)
    return module


MEASURED: dict[str, Callable[[Path, npt.NDArray[Any]], list[str]]] = {
    "fixed-refractory-ssm": meanings,
    "spike-ssm": approximation,
    "spiking-ssm": approximation,
}
