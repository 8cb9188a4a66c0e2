"""Content of a checkpoint: its configuration, its tensors, and the digest over both.

It needs no torch: the writers (`nmdeploy.models.checkpoint`, `nmdeploy.importers.network_file`) and the readers share
it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadData, BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models.catalog import NORMS, NeuronModel, neuron_model, neuron_models
from nmdeploy.network.graph import RULES

FORMAT = "nmdeploy-checkpoint"
VERSION = 2
SINCE_VERSION_2: Mapping[str, Any] = {"norm": "batch", "options": {}}
DT, READOUT = 0.001, "last"  # seconds per step, and readout rule, of modules that are saved or loaded without others
SIZES = ("inputs", "channels", "states", "layers", "outputs")

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Config:
    """A checkpoint's configuration.

    Parameters
    ----------
    model : str
        Name of the model, see `nmdeploy.models.catalog`.
    inputs, channels, states, layers, outputs : int
        Numbers of input channels, neurons per block, states per neuron, blocks and classes.
    residual : bool
        True if every block with equally many input and output channels adds its input to its spikes.
    norm : {"batch", "layer", "none"}
        Normalization of each block.
    norm_eps : float
        Constant that the normalization adds to the variance.
    dt : float
        Seconds per step.
    readout : str
        Readout rule of the deployed network.
    input_format : mapping
        Fields of the inputs' `FixedPoint`.
    options : mapping
        All options of the model.
    """

    model: str
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
    norm: str = "batch"
    options: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT
    version: int = VERSION

    @property
    def neuron_model(self) -> NeuronModel:
        """Model of the neurons."""
        return neuron_model(self.model)

    @property
    def synaptic_sums(self) -> int:
        """Number of inputs of a block's neurons together."""
        return self.channels * self.neuron_model.inputs(self.options)

    @property
    def spikes(self) -> int:
        """Number of outputs of a block's neurons together."""
        return self.channels * self.neuron_model.outputs(self.options)

    @property
    def width(self) -> int:
        """Number of channels that leave a block."""
        return self.channels if self.neuron_model.mixer else self.spikes

    @property
    def widths(self) -> list[int]:
        """Number of channels that enter each block."""
        return [self.inputs] + [self.width] * (self.layers - 1)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def digest(config: str, tensors: Tensors) -> str:
    """Return the SHA-256 (hex) of the configuration and the tensors.

    Tensors are sorted by name and count by name, type, shape and little-endian bytes.
    """
    sha = hashlib.sha256(f"{FORMAT}\n{config}\n".encode())
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        sha.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        sha.update(array.astype(array.dtype.newbyteorder("<"), order="C").tobytes())
    return sha.hexdigest()


def safetensors_bytes(text: str, sha256: str, tensors: Tensors) -> bytes:
    """Return the bytes of a ``.safetensors`` file whose header holds a JSON text and a digest."""
    import safetensors.numpy

    data = safetensors.numpy.save(dict(tensors), {"nmdeploy": text, "sha256": sha256})
    end = 8 + int.from_bytes(data[:8], "little")
    # safetensors orders the metadata at random; the same network must make the same file
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    return len(packed).to_bytes(8, "little") + packed + data[end:]


def parse_config(file: str, text: Any) -> Config:
    """Return the configuration in a header's JSON string; raise `BadFile` for the first field that is wrong."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFile(f"{file}: its configuration is not JSON: save the checkpoint again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BadFile(f"{file}: its configuration is not {FORMAT!r}: save it with nmdeploy.models.checkpoint.save")
    if type(values.get("version")) is not int or not 1 <= values["version"] <= VERSION:
        raise BadFile(f"{file}: checkpoint version {values.get('version')!r}, limit {VERSION}: update nmdeploy")
    added = SINCE_VERSION_2 if values["version"] == 1 else {}
    names = {f.name for f in fields(Config)} - added.keys()
    if set(values) != names:
        raise BadFile(f"{file}: configuration fields {sorted(set(values) ^ names)} missing or unknown: save it again")
    config = Config(**values, **added)
    for name, wanted, valid in _rules(config):
        if not valid:
            raise BadFile(
                f"{file}: configuration field {name} = {getattr(config, name)!r}: give {wanted} and save it again"
            )
    try:
        return replace(config, options=config.neuron_model.complete(config.options))
    except BadOption as error:
        raise BadFile(f"{file}: {error}") from error


def _rules(config: Config) -> list[tuple[str, str, bool]]:
    rules = [(name, "an integer of at least 1", _is_size(getattr(config, name))) for name in SIZES]
    return [
        *rules,
        ("model", f"one of {', '.join(neuron_models())}", config.model in list(neuron_models())),
        ("options", "a mapping of finite values", _are_finite(config.options)),
        ("norm", f"one of {NORMS}", config.norm in NORMS),
        ("residual", "true or false", isinstance(config.residual, bool)),
        ("norm_eps", "a number of at least 0", _is_number(config.norm_eps) and config.norm_eps >= 0),
        ("dt", "seconds per step, more than 0", is_dt(config.dt)),
        ("readout", f"one of {RULES}", config.readout in RULES),
        ("input_format", "the fields of a FixedPoint", _input_format(config.input_format) is not None),
    ]


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_finite(options: Any) -> bool:
    return isinstance(options, dict) and all(math.isfinite(v) for v in options.values() if isinstance(v, float))


def is_dt(value: Any) -> bool:
    """Return True if a value can be the seconds of a step."""
    return _is_number(value) and bool(value > 0)


def _input_format(values: Any) -> FixedPoint | None:
    """Return the input format, or None if the fields do not make one."""
    try:
        fixed = FixedPoint(**values)
    except (TypeError, BadOption):
        return None
    return fixed if type(fixed.frac) is int and abs(fixed.frac) <= 32 and isinstance(fixed.signed, bool) else None


def expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor that a checkpoint of this configuration holds."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, width in enumerate(config.widths):
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in _block_shapes(config, index, width).items()}
    return shapes | {"readout.weight": (config.outputs, config.width), "readout.bias": (config.outputs,)}


def _block_shapes(config: Config, index: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of a block's tensors.

    With a mixer, blocks after the first take its values unchanged and have no synapses.
    """
    kind = config.neuron_model
    neuron = kind.shapes(config.channels, config.states, config.options)
    shapes: dict[str, tuple[int, ...]] = {f"neuron.{name}": shape for name, shape in neuron.items()}
    if index == 0 or not kind.mixer:
        shapes["synapse.weight"] = (config.synaptic_sums, width)
    if kind.mixer:
        shapes |= {"mixer.weight": (2 * config.channels, config.spikes), "mixer.bias": (2 * config.channels,)}
    normalized = config.synaptic_sums if kind.normalizes == "current" else config.spikes
    affine: dict[str, tuple[int, ...]] = {f"norm.{name}": (normalized,) for name in ("weight", "bias")}
    statistics: dict[str, tuple[int, ...]] = {f"norm.{name}": (normalized,) for name in ("running_mean", "running_var")}
    if config.norm == "batch":
        return shapes | affine | statistics | {"norm.num_batches_tracked": ()}
    return shapes | affine if config.norm == "layer" else shapes


ORIGINAL, MASK = "_orig", "_mask"
"""Ends of the names that ``torch.nn.utils.prune`` gives a pruned tensor and its mask."""


def masked(file: str, tensors: Tensors) -> Tensors:
    """Return the tensors with each pruned one multiplied by its mask; `BadFile` for one without the other."""
    pruned = {name.removesuffix(end) for end in (ORIGINAL, MASK) for name in tensors if name.endswith(end)}
    kept = {name: array for name, array in tensors.items() if not name.endswith((ORIGINAL, MASK))}
    for name in sorted(pruned):
        for part in (name + ORIGINAL, name + MASK):
            if part not in tensors:
                raise BadFile(f"{file}: tensor {part!r} is missing: save the whole state_dict of the pruned model")
        original, mask = (np.asarray(tensors[name + end]) for end in (ORIGINAL, MASK))
        if original.shape != mask.shape or not np.isin(mask, (0, 1)).all():
            raise BadFile(f"{file}: tensor {name + MASK!r} is no mask of 0 and 1 of its tensor's shape: prune it again")
        kept[name] = np.where(mask != 0, original, np.zeros((), original.dtype))
    return kept


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
        if array.dtype.kind != ("i" if name.endswith("norm.num_batches_tracked") else "f"):
            raise BadFile(f"{file}: tensor {name!r} has type {array.dtype}: save floating-point weights")
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise BadFile(f"{file}: tensor {name!r} holds {count} NaN or infinite values, limit 0: train it again")
        if name.endswith("norm.running_var") and (array < 0).any():
            raise BadFile(f"{file}: tensor {name!r} has a variance of {float(array.min()):g}, limit 0: train it again")


def module_tensors(module: Any) -> Tensors:
    """Return the tensors of a torch module's ``state_dict`` as arrays."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in module.state_dict().items()}


def module_config(
    name: str, module: Any, tensors: Tensors, *, input_format: FixedPoint, dt: float = DT, readout: str = READOUT
) -> Config:
    """Return the configuration of a module of `nmdeploy.models`, checked against its tensors.

    Raises
    ------
    BadData
        A tensor holds NaN or infinite values.
    BadOption
        A value is out of range.
    """
    for key, array in tensors.items():
        if not np.isfinite(array).all():
            raise BadData(f"{name}: tensor {key!r} holds NaN or infinite values: training diverged, lower its rate")
    given = Config(**module.config, dt=dt, readout=readout, input_format=input_format.to_json())
    try:
        config = parse_config(name, given.to_json())
        check_tensors(name, config, masked(name, tensors))
    except BadFile as error:
        raise BadOption(str(error)) from error
    return config
