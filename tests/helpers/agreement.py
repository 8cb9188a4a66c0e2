"""Agreement of a model's forms: parallel, step by step, and the deployed float population."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmdeploy.models import create
from nmdeploy.models.catalog import Trained
from nmdeploy.models.modules.spiking_network import SpikingNetwork
from nmdeploy.neurons.base import StepTime


def live(
    name: str, seed: int = 0, *, inputs: int = 4, channels: int = 8, layers: int = 2, **options: Any
) -> SpikingNetwork:
    """Return a network of random weights in float64 and evaluation mode, normalized on random inputs."""
    module = create(
        name, inputs=inputs, channels=channels, states=4, layers=layers, outputs=3, seed=seed, **options
    ).double()
    return settled(module, seed)


def settled(module: SpikingNetwork, seed: int = 0) -> SpikingNetwork:
    """Return the network in evaluation mode, with the normalization's statistics of random inputs, block by block."""
    generator = torch.Generator().manual_seed(seed)
    module.train()
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0  # the last batch
        for _ in range(2):
            module(values(generator, 32, 40, module.sizes["inputs"]).to(module.readout.weight.dtype))
        for norm in norms:
            norm.momentum = 0.1
    return module.eval()


def values(generator: torch.Generator, samples: int, steps: int, inputs: int) -> Tensor:
    """Return random inputs, codes 0 to 16 over 16."""
    return torch.randint(0, 17, (samples, steps, inputs), generator=generator).double() / 16


def spikes_of(network: SpikingNetwork, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each block's spikes, parallel and step by step, on the same inputs."""
    with torch.no_grad():
        return [(block.spikes(h), block.spikes(h, sequential=True)) for block, h in network.walk(x)]


def disagreements(network: SpikingNetwork, x: Tensor) -> tuple[int, int]:
    """Count the neuron-steps in which a block's `forward` and `sequential` differ, and all: ``-> (different, total)``.

    x is (samples, steps, inputs). The network is in evaluation mode, and both are in float64.
    """
    pairs = spikes_of(network, x)
    return sum(int((a != b).sum()) for a, b in pairs), sum(a.numel() for a, _ in pairs)


def gradients(network: SpikingNetwork, x: Tensor, sequential: bool) -> dict[str, Tensor]:
    """Return the gradients of a loss on the logits, by parameter."""
    network.zero_grad()
    h = x
    for block in network.blocks:
        h = block.hand_on(h, block.spikes(h, sequential=sequential))
    network.readout(h).sin().sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def gradient_error(network: SpikingNetwork, x: Tensor) -> float:
    """Return the largest relative difference of a parameter's gradient between the two forms.

    All parameters must have a gradient.
    """
    network.eval()
    parallel, steps = (gradients(network, x, sequential) for sequential in (False, True))
    assert parallel.keys() == steps.keys() == dict(network.named_parameters()).keys()
    return max(float((parallel[name] - steps[name]).norm() / steps[name].norm().clamp(min=1e-12)) for name in steps)


def trained(network: SpikingNetwork, index: int) -> Trained:
    """Return a block's neuron as the importer makes it, without the normalization of currents."""
    block: Any = network.blocks[index]
    scale, shift = np.ones(block.outputs), np.zeros(block.outputs)
    if network.norm == "batch" and not block.current:
        norm = block.norm
        scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().double().numpy()
        shift = norm.bias.detach().double().numpy() - scale * norm.running_mean.double().numpy()
    tensors = {name: value.detach().double().numpy() for name, value in block.neuron.state_dict().items()}
    return Trained(tensors, scale, shift, network.options, index)


def population_disagreements(network: SpikingNetwork, x: Tensor) -> tuple[int, int]:
    """Count as `disagreements` does, for `forward` against the float population of `NeuronModel.population`."""
    different = total = 0
    with torch.no_grad():
        for index, (block, h) in enumerate(network.walk(x)):
            a = block.synapse(h)
            sums = (block.normalize(a) if block.current else a).numpy()
            expected = block.spikes(h).numpy()
            population = network.neuron_model.population(trained(network, index))
            assert sums.shape[2] == population.input_size and expected.shape[2] == population.output_size
            different += int((run(population, sums) != expected).sum())
            total += expected.size
    return different, total


def run(population: Any, sums: Any) -> Any:
    """Return a float population's outputs, aligned, for sums (samples, steps, input_size)."""
    samples, steps, width = sums.shape
    state, outputs = population.start(samples), []
    for step in range(steps + population.output_latency):
        now = sums[:, step] if step < steps else np.zeros((samples, width))
        state, output = population.step(state, now, StepTime(step, steps))
        outputs.append(np.asarray(output, np.float64))
    return np.stack(outputs[population.output_latency :], 1)
