"""Check that a float network is the one that a model came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.importers import load, resolve, takes_sample
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import holds_input_format, repeats_input
from nmdeploy.neurons.base import Neuron, QuantizedNeuron
from nmdeploy.nir_io.file import is_sealed, load_bytes

SAMPLES, STEPS = 4, 16


def load_origin(
    path: str | Path,
    model: str | Path | None,
    network: QuantizedNetwork,
    dt: float | None = None,
    options: ReadOptions = ReadOptions(),
) -> Network:
    """Read the float network that a model file came from; `BadOption` names both files if it cannot be that one.

    What `options` leave open is taken from the model, which keeps those of its export.
    """
    named = "the model" if model is None else str(model)
    quantized = BadOption(f"{path}: is quantized: give the float network that {named} was exported from")
    if model is not None and Path(path).exists() and Path(path).samefile(model):
        raise quantized
    try:
        floats = load_as_exported(path, network, dt, options)
    except UnsupportedParameter:
        if Path(path).exists() and is_sealed(load_bytes(path)):
            raise quantized from None
        raise
    floats = with_input_of(floats, network)
    require_origin(network, floats, str(path), named)
    return floats


def with_input_of(floats: Network, network: QuantizedNetwork) -> Network:
    """Return a float network with the format of a model's input, unless its source holds one."""
    if holds_input_format(floats.read_as) or floats.input.shape != network.input.shape:
        return floats
    return replace(floats, nodes={**floats.nodes, floats.input_name: network.input}, read_as=network.read_as)


def load_as_exported(
    source: Any, network: QuantizedNetwork, dt: float | None, options: ReadOptions = ReadOptions()
) -> Network:
    """Return the float network of a source, read with the options of a model's export; a `Network` as it is.

    A module runs on random inputs of the model's input format.
    """
    if isinstance(source, Network):
        return load(source, dt=dt)
    options = options if network.read_as is None else options.completed(network.read_as.options)
    source = resolve(source, options)
    if not takes_sample(source):
        return load(source, dt=dt, options=options)
    number = network.input.format
    shape = (SAMPLES, 1 if repeats_input(network.read_as) else STEPS, *network.input.shape)
    codes = np.random.default_rng(0).integers(number.min, number.max, shape, endpoint=True)
    return load(source, number.dequantize(codes), dt=dt, options=options, input_format=number)


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
