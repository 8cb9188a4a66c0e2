"""Trainable torch modules: the networks that nmdeploy deploys.

Importing this package does not import torch; `create` does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nmdeploy.errors import BadOption

if TYPE_CHECKING:
    from nmdeploy.models.spiking_state_space import SpikingStateSpace

__all__ = ["MODELS", "create"]

MODELS = {"binary-s4d": "nmdeploy.models.spiking_state_space:SpikingStateSpace"}


def create(
    name: str, *, inputs: int, channels: int, states: int, layers: int, outputs: int, seed: int = 0, **options: Any
) -> SpikingStateSpace:
    """A new network, ready to be trained.

    Parameters
    ----------
    name : str
        One of `MODELS`: ``"binary-s4d"``.
    inputs, channels, states, layers, outputs : int
        Input channels, neurons a block, stored complex states a neuron, blocks, classes.
    seed : int
        Fixes the initial weights; torch's own generator is left as it was.
    **options
        Keyword options of the model, such as ``residual`` and ``dropout``.

    Raises
    ------
    BadOption
        For a name that is not registered, or a size below 1.
    """
    if name not in MODELS:
        raise BadOption(f"model {name!r} is unknown: choose one of {', '.join(sorted(MODELS))}")
    import torch

    module, _, attribute = MODELS[name].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        created: SpikingStateSpace = factory(inputs, channels, states, layers, outputs, **options)
    return created
