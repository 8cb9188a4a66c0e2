"""Seconds of a forward and a backward pass of each network: ``python -m benchmarks.training_job TURNS``, as JSON.

All have the same synapses, batch normalization, readout, inputs and threads. The networks take turns, so that a
disturbance meets all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import DENSITY, SEED
from benchmarks.timing import seconds_of
from nmdeploy.models import create
from nmdeploy.models.modules.s4d import S4D
from nmdeploy.models.modules.spiking_block import NORM_EPS


@dataclass(frozen=True)
class Size:
    """The size of all networks and of their inputs."""

    layers: int = 4
    channels: int = 128
    states: int = 16
    batch: int = 64
    steps: int = 784
    classes: int = 10
    threads: int = 2


class PlainS4D(nn.Module):
    """S4D as its authors publish it: a kernel by a Vandermonde product, convolved by transforms of length 2 T."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        start = S4D(size.channels, size.states)
        for name, value in start.named_parameters():
            setattr(self, name, value)

    def forward(self, u: Tensor) -> Tensor:
        """Return y (batch, steps, H) of u (batch, steps, H)."""
        steps = u.shape[1]
        a = torch.complex(-torch.exp(self.log_a_real), self.a_imag)
        z = a * torch.exp(self.log_dt)[:, None]
        c = torch.view_as_complex(self.c) * (torch.exp(z) - 1) / a
        vandermonde = torch.exp(z[..., None] * torch.arange(steps))
        kernel = 2 * torch.einsum("hn,hnt->ht", c, vandermonde).real
        u = u.mT
        spectrum = torch.fft.rfft(u, n=2 * steps) * torch.fft.rfft(kernel, n=2 * steps)
        y: Tensor = torch.fft.irfft(spectrum, n=2 * steps)[..., :steps] + self.d[:, None] * u
        return y.mT


class Layers(nn.Module):
    """Dense synapses and neurons, layer by layer over whole sequences, and a readout of the mean over time.

    `norm_first` normalizes the synaptic sums, else the neurons' output. Time is axis `time` of the inputs.
    """

    def __init__(self, size: Size, neuron: Callable[[], nn.Module], *, norm_first: bool, time: int) -> None:
        super().__init__()
        self.norm_first, self.time = norm_first, time
        self.synapses = nn.ModuleList(nn.Linear(size.channels, size.channels, bias=False) for _ in range(size.layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size.channels, eps=NORM_EPS) for _ in range(size.layers))
        self.neurons = nn.ModuleList(neuron() for _ in range(size.layers))
        self.readout = nn.Linear(size.channels, size.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        for synapse, norm, neuron in zip(self.synapses, self.norms, self.neurons, strict=True):
            a = synapse(x) if self.norm_first else neuron(synapse(x))
            y = norm(a.flatten(0, 1)).view_as(a)
            x = neuron(y) if self.norm_first else y
        logits: Tensor = self.readout(x.mean(self.time))
        return logits


def spikingjelly_lif() -> nn.Module:
    """Return spikingjelly's LIF with soft reset, multi-step: the neuron of `lif-soft`, without learned parameters."""
    from spikingjelly.activation_based import neuron

    lif: nn.Module = neuron.LIFNode(tau=8.0, decay_input=False, v_reset=None, step_mode="m")
    return lif


class SnnTorchLeaky(nn.Module):
    """snnTorch's LIF, step by step over the first axis."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch

        self.neuron = snntorch.Leaky(beta=0.875)

    def forward(self, sums: Tensor) -> Tensor:
        """Return the spikes of all steps."""
        membrane, spikes = self.neuron.reset_mem(), []
        for a in sums:
            spike, membrane = self.neuron(a, membrane)
            spikes.append(spike)
        return torch.stack(spikes)


class NorseLIF(nn.Module):
    """Norse's LIF, which runs over the first axis itself."""

    def __init__(self) -> None:
        super().__init__()
        import norse.torch as norse

        self.neuron = norse.LIF()

    def forward(self, sums: Tensor) -> Tensor:
        """Return the spikes of all steps."""
        spikes: Tensor = self.neuron(sums)[0]
        return spikes


STEP_BY_STEP: dict[str, Callable[[], nn.Module]] = {"snnTorch Leaky": SnnTorchLeaky, "Norse LIF": NorseLIF}


def passes(size: Size) -> dict[str, Callable[[], Any]]:
    """Return a forward and backward pass of each network."""
    from spikingjelly.activation_based import functional

    torch.manual_seed(SEED)
    x = (torch.rand(size.batch, size.steps, size.channels) < DENSITY).float()
    steps_first = x.transpose(0, 1).contiguous()
    made: dict[str, Callable[[], Any]] = {}
    for name in ("lif-soft", "spiking-ssm", "binary-s4d"):
        sizes = {"channels": size.channels, "states": size.states, "layers": size.layers, "outputs": size.classes}
        made[name] = _pass(create(name, inputs=size.channels, **sizes), lambda network: network(x)[0])
    jelly = Layers(size, spikingjelly_lif, norm_first=True, time=0)

    def after_reset(network: nn.Module) -> Tensor:
        functional.reset_net(network)
        logits: Tensor = network(steps_first)
        return logits

    made["spikingjelly LIF"] = _pass(jelly, after_reset)
    for name, make in STEP_BY_STEP.items():
        network = Layers(size, make, norm_first=True, time=0)
        made[name] = _pass(network, lambda network: network(steps_first))
    plain = Layers(size, lambda: PlainS4D(size), norm_first=False, time=1)
    made["plain S4D"] = _pass(plain, lambda network: network(x))
    return made


def _pass(network: nn.Module, logits: Callable[[nn.Module], Tensor]) -> Callable[[], None]:
    def both_ways() -> None:
        network.zero_grad()
        torch.autograd.backward(logits(network).square().mean())

    return both_ways


def seconds(size: Size, turns: int) -> dict[str, list[float]]:
    """Return the seconds of each network's passes, by turn, after one pass that warms up."""
    torch.set_num_threads(size.threads)
    made = passes(size)
    for call in made.values():
        call()
    found = [{name: seconds_of(call) for name, call in made.items()} for _ in range(turns)]
    return {name: [turn[name] for turn in found] for name in made}


if __name__ == "__main__":
    print(json.dumps(seconds(Size(), int(sys.argv[1]))))
