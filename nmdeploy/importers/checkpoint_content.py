"""What a checkpoint says: its configuration, its tensors, and the digest over both.

Free of torch and safetensors: the writer (`nmdeploy.models.checkpoint`) and both readers share it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network import READOUTS

FORMAT = "nmdeploy-checkpoint"
VERSION = 1
MODEL = "binary-s4d"
SIZES = ("inputs", "channels", "states", "layers", "outputs")

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Config:
    """A checkpoint's configuration.

    Parameters
    ----------
    inputs, channels, states, layers, outputs : int
        Input channels, neurons a block, stored complex states a neuron, blocks, classes.
    residual : bool
        Every block whose input has as many channels as its output adds its input to its spikes.
    norm_eps : float
        What batch normalization adds to the variance.
    dt : float
        Seconds a step.
    readout : str
        Readout rule of the deployed network.
    input_format : mapping
        Fields of the inputs' `FixedPoint`.
    """

    inputs: int
    channels: int
    states: int
    layers: int
    outputs: int
    residual: bool
    norm_eps: float
    dt: float
    readout: str
    input_format: Mapping[str, Any]
    model: str = MODEL
    format: str = FORMAT
    version: int = VERSION

    @property
    def widths(self) -> list[int]:
        """Channels that enter each block."""
        return [self.inputs] + [self.channels] * (self.layers - 1)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def digest(config: str, tensors: Tensors) -> str:
    """SHA-256 (hex) over the configuration and the tensors' sorted names, types, shapes and little-endian bytes."""
    sha = hashlib.sha256(f"{FORMAT}\n{config}\n".encode())
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        sha.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        sha.update(array.astype(array.dtype.newbyteorder("<"), order="C").tobytes())
    return sha.hexdigest()


def parse_config(file: str, text: Any) -> Config:
    """The configuration in a header's JSON string; `BadFile` names the first field that is wrong."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFile(f"{file}: its configuration is no JSON: save the checkpoint again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BadFile(f"{file}: its configuration is not {FORMAT!r}: save it with nmdeploy.models.checkpoint.save")
    if values.get("version") != VERSION:
        raise BadFile(f"{file}: checkpoint version {values.get('version')!r}, limit {VERSION}: update nmdeploy")
    if values.get("model") != MODEL:
        raise BadFile(f"{file}: model {values.get('model')!r} is unknown: {MODEL!r} is supported")
    names = {f.name for f in fields(Config)}
    if set(values) != names:
        raise BadFile(f"{file}: configuration fields {sorted(set(values) ^ names)} missing or unknown: save it again")
    config = Config(**values)
    for name, wanted, valid in _rules(config):
        if not valid:
            raise BadFile(f"{file}: configuration field {name} = {values[name]!r}: give {wanted} and save it again")
    return config


def _rules(config: Config) -> list[tuple[str, str, bool]]:
    rules = [(name, "an integer of at least 1", _is_size(getattr(config, name))) for name in SIZES]
    return [
        *rules,
        ("residual", "true or false", isinstance(config.residual, bool)),
        ("norm_eps", "a number of at least 0", _is_number(config.norm_eps) and config.norm_eps >= 0),
        ("dt", "seconds a step, more than 0", is_dt(config.dt)),
        ("readout", f"one of {READOUTS}", config.readout in READOUTS),
        ("input_format", "the fields of a FixedPoint", _input_format(config.input_format) is not None),
    ]


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_dt(value: Any) -> bool:
    """Whether a value can be the seconds of a step."""
    return _is_number(value) and bool(value > 0)


def _input_format(values: Any) -> FixedPoint | None:
    """The input format, or None if the fields do not make one."""
    try:
        fixed = FixedPoint(**values)
    except (TypeError, BadOption):
        return None
    return fixed if type(fixed.frac) is int and abs(fixed.frac) <= 32 and isinstance(fixed.signed, bool) else None


def expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of this configuration holds."""
    channels, states = config.channels, config.states
    shapes: dict[str, tuple[int, ...]] = {}
    for index, width in enumerate(config.widths):
        block = {"synapse.weight": (channels, width), "neuron.c": (channels, states, 2), "norm.num_batches_tracked": ()}
        block |= {f"neuron.{name}": (channels, states) for name in ("log_a_real", "a_imag")}
        block |= {f"neuron.{name}": (channels,) for name in ("log_dt", "d")}
        block |= {f"norm.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    return shapes | {"readout.weight": (config.outputs, channels), "readout.bias": (config.outputs,)}


def check_tensors(file: str, config: Config, tensors: Tensors) -> None:
    """Raise `BadFile` unless the tensors are those of the configuration: names, shapes, types, finite values."""
    if config.layers > len(tensors):
        raise BadFile(f"{file}: {config.layers} layers are configured, {len(tensors)} tensors stored: save it again")
    expected = expected_shapes(config)
    for name in sorted(set(expected) ^ set(tensors)):
        what = "is missing" if name in expected else "is unknown"
        raise BadFile(f"{file}: tensor {name!r} {what}: save the whole state_dict of a {config.model!r} model")
    for name, shape in expected.items():
        array = tensors[name]
        if array.shape != shape:
            raise BadFile(f"{file}: tensor {name!r} has shape {array.shape}, configured is {shape}: save it again")
        if array.dtype.kind != ("i" if name.endswith("num_batches_tracked") else "f"):
            raise BadFile(f"{file}: tensor {name!r} has type {array.dtype}: save floating-point weights")
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise BadFile(f"{file}: tensor {name!r} holds {count} NaN or infinite values, limit 0: train it again")
        if name.endswith("running_var") and (array < 0).any():
            raise BadFile(f"{file}: tensor {name!r} has a variance of {float(array.min()):g}, limit 0: train it again")
