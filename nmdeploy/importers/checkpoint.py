"""Imports nmdeploy's own checkpoints: discretizes the state-space layers and folds their normalization.

Per block, in float64:

    A_d = exp(dt A),  B_d = A^-1 (exp(dt A) - I)                    zero-order hold, B = 1
    k = gamma / sqrt(var + eps),  c = beta - k mean                 batch normalization, k (2 Re(C x) + D u) + c
    StateSpace(a=A_d, b=B_d, c=2 k C, d=k D, bias=c, v_threshold=0)

Source: Gu et al., On the Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint_content import Config, Tensors, check_tensors, digest, is_dt, parse_config
from nmdeploy.network import Edge, Input, Network
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space import StateSpace
from nmdeploy.synapses.dense import Dense

SUFFIXES = (".safetensors", ".pt")


def load(path: Path, *, dt: float | None = None) -> Network:
    """The network of a checkpoint file.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or ``.pt`` (needs torch; never unpickled).
    dt : float, optional
        Seconds a step, instead of the file's.

    Raises
    ------
    BadFile
        If the file is missing, damaged, of another kind, or holds values that make no network.
    BadOption
        If `dt` is no positive number.
    """
    if dt is not None and not is_dt(dt):
        raise BadOption(f"dt = {dt!r} seconds a step: give a number above 0 (--dt)")
    network = read_checkpoint(path)
    return network if dt is None else replace(network, dt=float(dt))


def read_checkpoint(path: str | Path) -> Network:
    """The network of a checkpoint file: `load` without options."""
    path = Path(path)
    text, sha256, tensors = _read(path)
    if digest(text, tensors) != sha256:
        raise BadFile(f"{path}: its content differs from its SHA-256: the file is damaged, copy or save it again")
    config = parse_config(str(path), text)
    check_tensors(str(path), config, tensors)
    return _network(str(path), config, {name: np.asarray(t, np.float64) for name, t in tensors.items()})


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
    nodes: dict[str, Any] = {"input": Input((config.inputs,), FixedPoint(**config.input_format))}
    edges: list[Edge] = []
    sources = ["input"]
    for index, width in enumerate(config.widths):
        name, block = f"block{index}", _prefixed(tensors, f"blocks.{index}.")
        _connect(nodes, edges, sources, name, block["synapse.weight"])
        nodes[name] = _neuron(file, name, config.norm_eps, block)
        # h' = s + h: whatever reads this block also reads all that the block itself read
        sources = [name, *sources] if config.residual and width == config.channels else [name]
    _connect(nodes, edges, sources, "readout", tensors["readout.weight"])
    nodes["readout"] = Integrator(beta=np.ones(config.outputs), bias=tensors["readout.bias"])
    return Network(nodes, tuple(edges), float(config.dt), "readout", config.readout)


def _connect(nodes: dict[str, Any], edges: list[Edge], sources: list[str], target: str, weight: Any) -> None:
    """One synapse for spikes; beside spikes, one more for the input, whose codes may have fraction bits."""
    spikes = [source for source in sources if source != "input"]
    groups = {"synapse": spikes or sources} | ({"input_synapse": ["input"]} if spikes and "input" in sources else {})
    for suffix, group in groups.items():
        synapse = f"{target}.{suffix}"
        nodes[synapse] = Dense(weight)
        edges += [*(Edge(source, synapse) for source in group), Edge(synapse, target)]


def _prefixed(tensors: Tensors, prefix: str) -> dict[str, npt.NDArray[np.float64]]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _neuron(file: str, name: str, eps: float, block: Tensors) -> StateSpace:
    """Discretize and fold one block; `BadFile` if its values overflow."""
    with np.errstate(all="ignore"):
        a = -np.exp(block["neuron.log_a_real"]) + 1j * block["neuron.a_imag"]
        z = np.exp(block["neuron.log_dt"])[:, None] * a
        k = block["norm.weight"] / np.sqrt(block["norm.running_var"] + eps)
        values = {
            "a": np.exp(z),
            "b": np.expm1(z) / a,
            "c": 2 * k[:, None] * (block["neuron.c"][..., 0] + 1j * block["neuron.c"][..., 1]),
            "d": k * block["neuron.d"],
            "bias": block["norm.bias"] - k * block["norm.running_mean"],
        }
    for what, value in values.items():
        if not np.isfinite(value).all():
            raise BadFile(f"{file}: node {name!r}: {what} is not finite once discretized and folded: train it again")
    return StateSpace(**values, v_threshold=0.0)  # type: ignore[arg-type]
