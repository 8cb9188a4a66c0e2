"""Trainable torch modules of the networks that nmdeploy deploys.

Importing this package does not import torch; `create` does. `s4d` reads the parameters of a public S4D layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmdeploy.models.modules.spiking_network import SpikingNetwork

__all__ = ["create", "s4d"]


def __getattr__(name: str) -> Any:
    if name == "s4d":
        from nmdeploy.models.public_s4d import s4d

        return s4d
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create(
    name: str, *, inputs: int, channels: int, states: int, layers: int, outputs: int, seed: int = 0, **options: Any
) -> SpikingNetwork:
    """Return a new network, ready to be trained.

    ``nmdeploy models NAME`` prints the equation, options and source of one::

        alif                  adaptive threshold: each spike raises it for a while (LSNN)
        binary-s4d            S4D, then a Heaviside function; never reset
        cuba-lif              current-based leaky integrate-and-fire, Loihi's rule
        dh-lif                dendritic branches with time constants of their own, into one soma
        fixed-refractory-ssm  S4D whose output is the membrane, never reset; a fixed refractory period silences it
        if                    integrate-and-fire: no leak, the threshold is subtracted
        lif-hard              leaky integrate-and-fire, set to V_reset after a spike
        lif-soft              leaky integrate-and-fire, the threshold is subtracted
        multi-output          several inputs and outputs, any A; spike, reset and refractory period each by itself
        p-spike-ssm           S4D whose output is the probability of a spike
        pmsn                  multi-compartment linear dynamics into an integrate-and-fire soma, parallel in training
        psn-sliding           sliding parallel spiking neuron: a learnable temporal filter of order k, no recurrence
        rf                    resonate-and-fire: a damped oscillator that spikes at a phase, Lava's rule
        spike-ssm             S4D into a leaky integrate-and-fire soma, with a refractory variable that decays
        spiking-ssm           S4D into a leaky integrate-and-fire soma with learnable threshold
        tc-lif                two compartments, dendrite and soma, that drive each other
        windowed-ssm          S4D read once per window of r steps by a kernel; the spike lasts the window; then a GLU

    Parameters
    ----------
    name : one of these models, or one that another distribution registers
    inputs, channels, states, layers, outputs : numbers of input channels, neurons per block, states per neuron (of
        models that do not fix them), blocks and classes
    seed : of the initial weights; the state of torch's own generator is preserved
    **options
        Options of `SpikingNetwork`: ``residual`` (False), ``dropout`` (0.0), ``norm`` ("batch", "layer" or "none") and
        ``compiled`` (False; needs a C++ compiler). The model's own options follow.

    Returns
    -------
    SpikingNetwork, values (batch, steps, inputs) to logits (batch, outputs) and the spikes of each block

    Raises
    ------
    BadOption, for an unknown name, option or value, a size below 1, or ``compiled=True`` without a C++ compiler
    """
    import torch

    from nmdeploy.models.modules.spiking_network import SpikingNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpikingNetwork(name, inputs, channels, states, layers, outputs, **options)
