"""Importer of nmdeploy's own checkpoints, in which each block's trained neuron becomes a population.

A checkpoint of a float network (`nmdeploy.importers.network_file`) is recognized by its header.

The normalization is folded per block, in float64. Batch normalization has k = gamma / sqrt(var + eps) and
c = beta - k mean. Its form depends on the signal that the block's model normalizes:

    membrane    k y + c: the model scales what makes y, and adds c to its bias
    current     k (W h) + c: weights k W, and a bias c of the synaptic sums

With a mixer, a gated linear unit follows the spikes s: (M s + m)[2h] * sigmoid((M s + m)[2h + 1]).
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.foreign import is_instance
from nmdeploy._util.system import reason
from nmdeploy.errors import BadFile, BadOption, UnsupportedParameter, prefix_errors
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import refuse_options, refuse_other_dt
from nmdeploy.importers.checkpoint_content import (
    DT,
    Config,
    Tensors,
    check_tensors,
    digest,
    masked,
    module_config,
    module_tensors,
    parse_config,
)
from nmdeploy.importers.network_file import is_network, network_of
from nmdeploy.importers.readings import saved_reading, with_reading
from nmdeploy.models.catalog import Trained
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import holds_input_format
from nmdeploy.neurons.base import SPIKES, FloatArray, Neuron
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.synapses.dense import Dense
from nmdeploy.synapses.sparse import Sparse, weights_of

SUFFIXES = (".safetensors", ".pt")


def load(path: Path, options: ReadOptions = ReadOptions()) -> Network:
    """Return the float network of a checkpoint file.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or a ``.pt`` file, which needs torch and is never unpickled.
    options : ReadOptions
        Only a time step, which must be the file's.

    Raises
    ------
    BadFile
        The file is missing, damaged or of another kind, or its values make no network.
    UnsupportedParameter
        The network was trained with layer normalization, or a value of its neurons has no deployed meaning.
    BadOption
        The time step is not the file's, or another option is given: a checkpoint says everything itself.
    """
    network = read_checkpoint(path)
    refuse_other_dt(path, options.dt, network.dt)
    refuse_options(path, options, *(() if holds_input_format(network.read_as) else ("input_bits", "input_frac")))
    return saved_reading(network, path) if network.read_as else with_reading(network, f"checkpoint {path}")


def takes(source: object) -> bool:
    """Return True for a module that `nmdeploy.models.create` makes."""
    return is_instance(source, "nmdeploy.models", "SpikingNetwork")


def load_object(module: Any, options: ReadOptions = ReadOptions(), input_format: FixedPoint | None = None) -> Network:
    """Return the float network of a trained module, as `load` would of its checkpoint; torch is not imported here.

    Parameters
    ----------
    module : SpikingNetwork
    options : ReadOptions
        Only a time step; 0.001 s if left out, as in a checkpoint.
    input_format : FixedPoint
        Of the inputs; the module was trained on ``code * 2**-frac``.
    """
    name = "the module"
    if input_format is None:
        raise BadOption(f"{name}: holds no number format of its inputs: load it with input_format=FixedPoint(...)")
    tensors = module_tensors(module)
    refuse_options(name, options)
    dt = DT if options.dt is None else options.dt
    config = module_config(name, module, tensors, input_format=input_format, dt=dt)
    network = _network(name, config, {key: np.asarray(t, np.float64) for key, t in masked(name, tensors).items()})
    return with_reading(network, name)


def read_checkpoint(path: str | Path) -> Network:
    """Return the network of a checkpoint file, as `load` does without options."""
    text, tensors = _sealed(Path(path))
    if is_network(text):
        return network_of(str(path), text, tensors)
    config, tensors = _content(str(path), text, tensors)
    return _network(str(path), config, {name: np.asarray(t, np.float64) for name, t in tensors.items()})


def read_content(path: Path) -> tuple[Config, Tensors]:
    """Return configuration and tensors of a module's checkpoint file, checked against each other.

    It raises `BadFile` as `load` does.
    """
    text, tensors = _sealed(path)
    if is_network(text):
        raise BadFile(f"{path}: holds a float network, not a module of nmdeploy.models: read it with nmdeploy.load")
    return _content(str(path), text, tensors)


def holds_network(path: Path) -> bool:
    """Return True if a checkpoint file, which is checked, holds a float network and not the tensors of a module."""
    return is_network(_sealed(path)[0])


def _content(file: str, text: str, tensors: Tensors) -> tuple[Config, Tensors]:
    config, tensors = parse_config(file, text), masked(file, tensors)
    check_tensors(file, config, tensors)
    return config, tensors


def _sealed(path: Path) -> tuple[str, Tensors]:
    """Return configuration (JSON) and tensors, checked against their SHA-256."""
    text, sha256, tensors = _read(path)
    if digest(text, tensors) != sha256:
        raise BadFile(f"{path}: its content differs from its SHA-256: the file is damaged, copy or save it again")
    return text, tensors


def _read(path: Path) -> tuple[str, str, Tensors]:
    """Return configuration (JSON), SHA-256 and tensors."""
    try:
        with path.open("rb") as file:
            data = file.read() if path.suffix != ".pt" else file.read(1)
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: cannot be read ({reason(error)}): give an existing checkpoint file") from error
    if not data:
        raise BadFile(f"{path}: the file is empty: copy or save the checkpoint again")
    if path.suffix == ".pt":
        from nmdeploy.importers.torch_pickle import read_pt

        return read_pt(path)
    if path.suffix != ".safetensors":
        raise BadFile(f"{path}: suffix {path.suffix!r} is not a checkpoint's: give one of {SUFFIXES}")
    return _read_safetensors(path, data)


def _read_safetensors(path: Path, data: bytes) -> tuple[str, str, Tensors]:
    import safetensors.numpy

    try:
        tensors = safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header.get("__metadata__", {})
    except Exception as error:  # safetensors, NumPy and json each raise their own for a damaged or foreign file
        raise BadFile(f"{path}: no safetensors file, or a damaged one: copy or save the checkpoint again") from error
    if "nmdeploy" not in metadata or "sha256" not in metadata:
        raise BadFile(
            f"{path}: a safetensors file without nmdeploy's metadata: save it with nmdeploy.models.checkpoint.save, or "
            "a float network with nmdeploy.save"
        )
    return metadata["nmdeploy"], metadata["sha256"], tensors


def _network(file: str, config: Config, tensors: Tensors) -> Network:
    if config.norm == "layer":
        raise UnsupportedParameter(
            f"{file}: norm = 'layer' cannot be deployed: its scale depends on the data of each step, so weights and "
            "thresholds cannot hold it: train with norm='batch'"
        )
    builder = NetworkBuilder(config.dt)
    sources = [builder.input(config.inputs, FixedPoint(**config.input_format))]
    for index, width in enumerate(config.widths):
        sent = _add_block(builder, file, config, index, _prefixed(tensors, f"blocks.{index}."), sources)
        # h' = s + h: all synapses that read this block also read the inputs of the block itself
        sources = [sent, *sources] if config.residual and width == config.width else [sent]
    builder.population(Integrator(beta=np.ones(config.outputs)), "readout")
    _connect(builder, sources, "readout", weights_of(tensors["readout.weight"]), tensors["readout.bias"])
    with np.errstate(all="ignore"):
        network = builder.build("readout", config.readout)
    for name, node in network.nodes.items():
        _require_finite(file, name, node)
    return network


def _add_block(
    builder: NetworkBuilder, file: str, config: Config, index: int, block: Tensors, sources: list[str]
) -> str:
    """Add synapses, population and, if the model has one, mixer and gate; return the name of what the block sends."""
    name, kind = f"block{index}", config.neuron_model
    with np.errstate(all="ignore"), prefix_errors(file):
        scale, shift = _normalization(config, block)
        weight, bias = block.get("synapse.weight", np.eye(config.channels)), None
        if kind.normalizes == "current" and config.norm == "batch":
            weight, bias = scale[:, None] * weight, shift
            scale, shift = np.ones(config.spikes), np.zeros(config.spikes)
        trained = Trained(_prefixed(block, "neuron."), scale, shift, config.options, index)
        builder.population(kind.population(trained), name)
        # The identity between blocks keeps its form: it was not pruned.
        synapse = weights_of(weight) if "synapse.weight" in block else Dense(weight)
        _connect(builder, sources, name, synapse, bias)
    if not kind.mixer:
        return name
    gate = builder.population(GatedLinearUnit(neurons=config.channels), f"{name}.gate")
    builder.connect(name, gate, block["mixer.weight"], block["mixer.bias"], name=f"{name}.mixer")
    return gate


def _connect(
    builder: NetworkBuilder, sources: list[str], target: str, synapse: Dense | Sparse, bias: FloatArray | None
) -> None:
    """Connect all spikes, which are integers, by one synapse; each other source, whose codes have fractions, by one.

    The first has the bias.
    """
    spikes = [source for source in sources if _sends_spikes(builder.node(source))]
    groups = [group for group in (spikes, *([source] for source in sources if source not in spikes)) if group]
    for index, group in enumerate(groups):
        builder.connect(group, target, synapse if index or bias is None else synapse.with_bias(bias))


def _sends_spikes(node: Any) -> bool:
    return isinstance(node, Neuron) and node.emits in SPIKES


def _prefixed(tensors: Tensors, prefix: str) -> dict[str, npt.NDArray[np.float64]]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _normalization(config: Config, block: Tensors) -> tuple[FloatArray, FloatArray]:
    """Return scale and shift of batch normalization in evaluation; ones and zeros without it."""
    if config.norm == "none":
        return np.ones(config.spikes), np.zeros(config.spikes)
    k = block["norm.weight"] / np.sqrt(block["norm.running_var"] + config.norm_eps)
    return k, block["norm.bias"] - k * block["norm.running_mean"]


def _require_finite(file: str, name: str, node: Any) -> None:
    """Raise `BadFile` for the first field of a block's node whose values overflowed."""
    for each in fields(node):
        value = np.asarray(getattr(node, each.name))
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            raise BadFile(
                f"{file}: node {name!r}: {each.name} is not finite once discretized and folded: train it again"
            )
