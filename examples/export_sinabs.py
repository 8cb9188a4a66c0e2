"""Export of a Sinabs network as a NIR file, with its outputs on samples, for `nmdeploy export --from sinabs --expect`.

Sinabs 3.1 needs an older nir than nmdeploy, so that this program runs in an environment of its own:

    uv run --no-project --python 3.11 --with sinabs==3.1.3 --with torch==2.13.0 python export_sinabs.py \
        nets:make_net --weights net.pt --data samples.npz -o net.nir --outputs outputs.npy

``nets:make_net`` is a module of Python and its attribute: the network, or a function that returns it. The samples are
the array ``inputs``, (samples, steps, channels), of an .npz file. The network runs in float64. What the file cannot
hold is refused by name. It prints the command that reads both files.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import sinabs.layers as layers
import torch
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, SingleSpike
from sinabs.nir import to_nir

KINDS = (layers.IAF, layers.IAFSqueeze, layers.LIF, layers.LIFSqueeze, layers.ExpLeak, layers.ExpLeakSqueeze)
SQUEEZED = (layers.IAFSqueeze, layers.LIFSqueeze, layers.ExpLeakSqueeze)


def main() -> int:
    """Export the network that the command line names; return the exit code."""
    given = _arguments()
    net = named(given.name, given.weights).double().eval()
    problems = [problem for name, layer in stateful(net) for problem in refused(name, layer)]
    if problems:
        print(f"{given.name}: {problems[0]}", file=sys.stderr)
        return 2
    with np.load(given.data) as held:
        samples = held["inputs"].astype(np.float64)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]  # Sinabs rounds spikes to float32, which layers in float64 refuse
    try:
        graph = exported(net, samples[:1])
    except NotImplementedError as error:
        print(f"{given.name}: {error} by to_nir of Sinabs: leave it out of the network", file=sys.stderr)
        return 2
    nir.write(given.output, graph)
    np.save(given.outputs, outputs(net, samples))
    print("nmdeploy export", given.output, "--from sinabs", *resets(net), f"--data {given.data}", end=" ")
    print(f"--expect {given.outputs} -o model.nir")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("name", help="package.module:attribute of the network, or of a function that returns it")
    parser.add_argument("--weights", type=Path, help="state dict of the network")
    parser.add_argument("--data", type=Path, required=True, help=".npz with an array 'inputs'")
    parser.add_argument("-o", "--output", type=Path, required=True, help="NIR file to write")
    parser.add_argument("--outputs", type=Path, required=True, help=".npy of the outputs to write")
    return parser.parse_args()


def named(name: str, weights: Path | None) -> Any:
    """Return the network of a name, with its weights; states that the last batch left are not loaded."""
    sys.path.insert(0, str(Path.cwd()))
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    net = found if isinstance(found, torch.nn.Module) else found()
    if weights is not None:
        own = {f"{of}.{key}": state for of, layer in stateful(net) for key, state in layer.named_buffers(recurse=False)}
        net.load_state_dict({**torch.load(weights, map_location="cpu", weights_only=True), **own})
    return net


def stateful(net: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers with states by their names."""
    return ((name, part) for name, part in net.named_modules() if isinstance(part, layers.StatefulLayer))


def refused(name: str, layer: Any) -> Iterator[str]:
    """Yield what a layer does and the file cannot hold, with the remedy."""
    if type(layer) not in KINDS:
        names = ", ".join(kind.__name__ for kind in KINDS)
        yield f"layer {name!r}: {type(layer).__name__} cannot be exported, only {names}"
        return
    if layer.min_v_mem is not None:
        yield f"layer {name!r}: min_v_mem = {layer.min_v_mem.item():g} is not exported: train with min_v_mem=None"
    if layer.tau_syn_calculated is not None:
        yield f"layer {name!r}: tau_syn is not exported: train with tau_syn=None"
    if layer.does_spike and not _single(layer.spike_fn):
        yield f"layer {name!r}: several spikes per step: give spike_fn=SingleSpike, and train with it"
    if layer.reset_fn not in (None, MembraneSubtract(), MembraneReset()):
        yield f"layer {name!r}: {layer.reset_fn}: give reset_fn=MembraneSubtract() or MembraneReset()"


def _single(spike_fn: Any) -> bool:
    return spike_fn is SingleSpike or spike_fn == MaxSpike(1)


def resets(net: Any) -> list[str]:
    """Return the options of resets that are not Sinabs's default."""
    return [f"--reset {name}=zero" for name, layer in stateful(net) if layer.reset_fn == MembraneReset()]


def outputs(net: Any, samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the outputs of every step, (samples, steps, outputs)."""
    count, steps = samples.shape[:2]
    with torch.no_grad():
        found = net(_prepared(net, samples)).numpy()
    return np.asarray(found, np.float64).reshape(count, steps, -1)


def _prepared(net: Any, samples: npt.NDArray[np.float64]) -> torch.Tensor:
    """Return the input of a network for samples, its states at their start."""
    squeezed = False
    for _, layer in stateful(net):
        layer.reset_states()
        if isinstance(layer, SQUEEZED):
            squeezed, layer.batch_size, layer.num_timesteps = True, *samples.shape[:2]
    x = torch.as_tensor(samples)
    return x.flatten(0, 1) if squeezed else x


def exported(net: Any, sample: npt.NDArray[np.float64]) -> Any:
    """Return the NIR graph, with the shapes of one step and the gains of `norm_input`."""
    leaky = {name: layer for name, layer in stateful(net) if layer.tau_mem_calculated is not None}
    for layer in leaky.values():
        layer.tau_mem = torch.nn.Parameter(layer.tau_mem_calculated.detach())
        if layer.does_spike:
            thresholds = layer.spike_threshold.detach().expand_as(layer.tau_mem)
            layer.spike_threshold = torch.nn.Parameter(thresholds.clone(), requires_grad=False)
    graph = to_nir(net, _prepared(net, sample))
    for name, layer in leaky.items():
        leak = -np.expm1(-1 / layer.tau_mem.detach().numpy())
        gain = leak if layer.norm_input else np.ones_like(leak)
        graph.nodes[name].r = gain / leak if layer.does_spike else gain  # nmdeploy reads leak r of LIF, r of LI
    for name, node in graph.nodes.items():
        if isinstance(node, (nir.Input, nir.Output)):
            graph.nodes[name] = type(node)(_one_step(node))
    return graph


def _one_step(node: Any) -> npt.NDArray[np.int64]:
    """Return the shape of an input or output without the axis of the steps."""
    (shape,) = node.input_type.values()
    return np.asarray(shape)[-1:]


if __name__ == "__main__":
    raise SystemExit(main())
