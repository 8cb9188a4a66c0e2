"""Check that a float network is the one that a model came from."""

from __future__ import annotations

from pathlib import Path

from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.importers import load
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron, QuantizedNeuron
from nmdeploy.nir_io.file import is_sealed, load_bytes


def load_origin(
    path: str | Path, model: str | Path | None, network: QuantizedNetwork, dt: float | None = None
) -> Network:
    """Read the float network that a model file came from; `BadOption` names both files if it cannot be that one."""
    named = "the model" if model is None else str(model)
    quantized = BadOption(f"{path}: is quantized: give the float network that {named} was exported from")
    if model is not None and Path(path).exists() and Path(path).samefile(model):
        raise quantized
    try:
        floats = load(path, dt=dt)
    except UnsupportedParameter:
        if is_sealed(load_bytes(path)):
            raise quantized from None
        raise
    require_origin(network, floats, str(path), named)
    return floats


def require_origin(
    network: QuantizedNetwork, floats: Network, path: str = "--checkpoint", model: str = "the model"
) -> None:
    """Require the input, populations, output and dt of the float network that a model came from; else `BadOption`."""
    sizes = {name: _shape(neuron) for name, neuron in network.populations.items()}
    other = {name: _shape(neuron) for name, neuron in floats.populations.items()}
    pairs = {
        "input shape": (floats.input.shape, network.input.shape),
        "input format": (floats.input.format, network.input.format),
        "populations": (other, sizes),
        "output": ((floats.output, floats.readout), (network.output, network.readout)),
        "dt": (floats.dt, network.dt),
    }
    for what, (found, wanted) in pairs.items():
        if found != wanted:
            raise BadOption(
                f"{path}: is not the network that {model} came from: its {what} is {found}, "
                f"the model's is {wanted}: give the file that was exported (and its --dt)"
            )


def _shape(neuron: Neuron | QuantizedNeuron) -> tuple[str, int, int, int]:
    return neuron.kind, neuron.size, neuron.input_size, neuron.output_size
