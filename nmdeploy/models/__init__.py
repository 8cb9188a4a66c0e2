"""Trainable torch modules: the networks that nmdeploy deploys.

Importing this package does not import torch; `create` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmdeploy.models.spiking_network import SpikingNetwork

__all__ = ["create"]


def create(
    name: str, *, inputs: int, channels: int, states: int, layers: int, outputs: int, seed: int = 0, **options: Any
) -> SpikingNetwork:
    """A new network, ready to be trained.

    Parameters
    ----------
    name : str
        Of a system, as `nmdeploy models` lists them: ``"binary-s4d"``, ``"lif-soft"``, ...
    inputs, channels, states, layers, outputs : int
        Input channels, neurons a block, states a neuron (of systems that do not fix them), blocks, classes.
    seed : int
        Fixes the initial weights; torch's own generator is left as it was.
    **options
        ``residual``, ``dropout``, ``norm`` and ``compiled`` of `SpikingNetwork`, and the system's own options.

    Raises
    ------
    BadOption
        For an unknown name, option or value, or a size below 1.
    """
    import torch

    from nmdeploy.models.spiking_network import SpikingNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpikingNetwork(name, inputs, channels, states, layers, outputs, **options)
