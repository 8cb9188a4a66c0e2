"""Imports nmdeploy's own checkpoints: each block's trained neuron as a population, its normalization folded.

Per block, in float64, with batch normalization k = gamma / sqrt(var + eps), c = beta - k mean, by what its model
normalizes:

    membrane    k y + c: the model scales what makes y, and adds c to its bias
    current     k (W h) + c: weights k W, and a bias c of the population's sums, or where it has none, of the synapses

and with a mixer, behind the spikes s, a gated linear unit: (M s + m)[2h] * sigmoid((M s + m)[2h + 1]).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile, UnsupportedParameter, prefix_errors
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import refuse_other_dt
from nmdeploy.importers.checkpoint_content import Config, Tensors, check_tensors, digest, masked, parse_config
from nmdeploy.models.catalog import Trained
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.synapses.dense import Dense
from nmdeploy.synapses.sparse import Sparse, weights_of

SUFFIXES = (".safetensors", ".pt")


def load(path: Path, *, dt: float | None = None) -> Network:
    """The network of a checkpoint file.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or ``.pt`` (needs torch; never unpickled).
    dt : float, optional
        Seconds a step; the file holds its own, which it must be.

    Raises
    ------
    BadFile
        If the file is missing, damaged, of another kind, or holds values that make no network.
    UnsupportedParameter
        If it was trained with layer normalization, or its neurons hold a value without deployed meaning.
    BadOption
        If `dt` is not the file's.
    """
    network = read_checkpoint(path)
    refuse_other_dt(path, dt, network.dt)
    return network


def read_checkpoint(path: str | Path) -> Network:
    """The network of a checkpoint file: `load` without options."""
    config, tensors = read_content(Path(path))
    return _network(str(path), config, {name: np.asarray(t, np.float64) for name, t in tensors.items()})


def read_content(path: Path) -> tuple[Config, Tensors]:
    """Configuration and tensors of a checkpoint file, checked against each other; `BadFile` as for `load`.

    Tensors that torch prunes are multiplied by their masks.
    """
    text, sha256, tensors = _read(path)
    if digest(text, tensors) != sha256:
        raise BadFile(f"{path}: its content differs from its SHA-256: the file is damaged, copy or save it again")
    config, tensors = parse_config(str(path), text), masked(str(path), tensors)
    check_tensors(str(path), config, tensors)
    return config, tensors


def _read(path: Path) -> tuple[str, str, Tensors]:
    """Configuration (JSON), SHA-256 and tensors."""
    try:
        with path.open("rb") as file:
            data = file.read() if path.suffix != ".pt" else file.read(1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFile(f"{path}: cannot be read ({reason}): give an existing checkpoint file") from error
    if not data:
        raise BadFile(f"{path}: the file is empty: copy or save the checkpoint again")
    if path.suffix == ".pt":
        from nmdeploy.importers.torch_pickle import read_pt

        return read_pt(path)
    if path.suffix != ".safetensors":
        raise BadFile(f"{path}: suffix {path.suffix!r} is no checkpoint: give one of {SUFFIXES}")
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
            f"{path}: a safetensors file without nmdeploy's metadata: save it with nmdeploy.models.checkpoint.save"
        )
    return metadata["nmdeploy"], metadata["sha256"], tensors


def _network(file: str, config: Config, tensors: Tensors) -> Network:
    if config.norm == "layer":
        raise UnsupportedParameter(
            f"{file}: norm = 'layer' cannot be deployed: its scale depends on the data of each step, no weights or "
            "thresholds hold it: train with norm='batch'"
        )
    graph = _Graph(file, config, {"input": Input((config.inputs,), FixedPoint(**config.input_format))})
    sources = ["input"]
    for index, width in enumerate(config.widths):
        sent = graph.add_block(index, _prefixed(tensors, f"blocks.{index}."), sources)
        # h' = s + h: whatever reads this block also reads all that the block itself read
        sources = [sent, *sources] if config.residual and width == config.width else [sent]
    graph.connect(sources, "readout", weights_of(tensors["readout.weight"]))
    graph.nodes["readout"] = Integrator(beta=np.ones(config.outputs), bias=tensors["readout.bias"])
    return Network(graph.nodes, tuple(graph.edges), float(config.dt), "readout", config.readout)


@dataclass
class _Graph:
    """Nodes and edges while they are collected."""

    file: str
    config: Config
    nodes: dict[str, Any]
    edges: list[Edge] = field(default_factory=list)

    def add_block(self, index: int, block: Tensors, sources: list[str]) -> str:
        """Synapses, population and, where the model has one, mixer and gate; the name of what the block sends."""
        name, config, kind = f"block{index}", self.config, self.config.neuron_model
        with np.errstate(all="ignore"), prefix_errors(self.file):
            scale, shift = _normalization(config, block)
            weight, bias = block.get("synapse.weight", np.eye(config.channels)), None
            if kind.normalizes == "current" and config.norm == "batch":
                weight, bias = scale[:, None] * weight, shift
                scale, shift = np.ones(config.spikes), np.zeros(config.spikes)
            population = kind.population(Trained(_prefixed(block, "neuron."), scale, shift, config.options, index))
            biased = None if bias is None else population.with_input_bias(bias)
            # The identity between blocks keeps its form: it was not pruned.
            make = weights_of if "synapse.weight" in block else Dense
            self.connect(sources, name, make(weight, bias if biased is None else None))
            self.nodes[name] = biased or population
        for node in (f"{name}.synapse", name):
            _require_finite(self.file, node, self.nodes[node])
        if not kind.mixer:
            return name
        self.nodes[f"{name}.mixer"] = weights_of(block["mixer.weight"], block["mixer.bias"])
        self.nodes[f"{name}.gate"] = GatedLinearUnit(neurons=config.channels)
        self.edges += [Edge(name, f"{name}.mixer"), Edge(f"{name}.mixer", f"{name}.gate")]
        return f"{name}.gate"

    def connect(self, sources: list[str], target: str, weights: Dense | Sparse) -> None:
        """One synapse for all spikes, which are integers; one for each other source, whose codes have fractions.

        The first has the bias.
        """
        spikes = [source for source in sources if _sends_spikes(self.nodes[source])]
        groups = [group for group in (spikes, *([source] for source in sources if source not in spikes)) if group]
        for index, group in enumerate(groups):
            synapse = f"{target}.{group[0]}_synapse" if index else f"{target}.synapse"
            self.nodes[synapse] = replace(weights, bias=None) if index else weights
            self.edges += [*(Edge(source, synapse) for source in group), Edge(synapse, target)]


def _sends_spikes(node: Any) -> bool:
    return isinstance(node, Neuron) and node.spiking and getattr(node, "spike", "binary") != "graded"


def _prefixed(tensors: Tensors, prefix: str) -> dict[str, npt.NDArray[np.float64]]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _normalization(config: Config, block: Tensors) -> tuple[FloatArray, FloatArray]:
    """Scale and shift of batch normalization in evaluation; ones and zeros without one."""
    if config.norm == "none":
        return np.ones(config.spikes), np.zeros(config.spikes)
    k = block["norm.weight"] / np.sqrt(block["norm.running_var"] + config.norm_eps)
    return k, block["norm.bias"] - k * block["norm.running_mean"]


def _require_finite(file: str, name: str, node: Any) -> None:
    """`BadFile` names the first field of a block's node whose values overflowed."""
    for each in fields(node):
        value = np.asarray(getattr(node, each.name))
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            raise BadFile(
                f"{file}: node {name!r}: {each.name} is not finite once discretized and folded: train it again"
            )
