"""Checkpoints of trained models: the raw parameters, with all that deployment needs in the header."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from nmdeploy._util.atomic_files import write_bytes
from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.checkpoint import read_content
from nmdeploy.importers.checkpoint_content import DT, READOUT, SIZES, digest, module_config, safetensors_bytes
from nmdeploy.models import create
from nmdeploy.models.modules.spiking_network import SpikingNetwork


def save(
    module: SpikingNetwork,
    path: str | Path,
    *,
    input_format: FixedPoint,
    dt: float = DT,
    readout: str = READOUT,
) -> None:
    """Write a trained model, atomically.

    A ``.safetensors`` file holds the state_dict's tensors. Its header holds ``nmdeploy`` (the configuration as JSON)
    and ``sha256`` (over configuration and tensors). A ``.pt`` file holds the same as ``{"config", "sha256",
    "state_dict"}`` and loads with ``weights_only=True``.

    A module that ``torch.nn.utils.prune`` prunes is written with its masks, which every reader applies.

    Parameters
    ----------
    module : SpikingNetwork
        The trained module.
    path : str or Path
        File whose name ends in ``.safetensors`` or ``.pt``.
    input_format : FixedPoint
        Format of the input codes. The model was trained on ``code * 2**-frac``.
    dt : float
        Seconds per step.
    readout : str
        Readout rule of the deployed network. ``"last"`` reads the integrator after the last step.

    Raises
    ------
    BadOption
        The suffix is another one, or an option is out of range.
    BadData
        A tensor has NaN or infinite values.
    BadFile
        The file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt"):
        raise BadOption(f"{path}: suffix {path.suffix!r} is not a checkpoint's: give .safetensors or .pt")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    config = module_config(str(path), module, arrays, input_format=input_format, dt=dt, readout=readout)
    text = config.to_json()
    sha256 = digest(text, arrays)
    is_pt = path.suffix == ".pt"
    write_bytes(path, _pt(text, sha256, state) if is_pt else safetensors_bytes(text, sha256, arrays))


def load(path: str | Path) -> SpikingNetwork:
    """Return the trained module of a checkpoint file, for further training or comparison.

    Raises
    ------
    BadFile
        The file is not a checkpoint, or its content does not match its SHA-256.
    """
    config, tensors = read_content(Path(path))
    given = {name: getattr(config, name) for name in (*SIZES, "residual", "norm")}
    module = create(config.model, **given, **config.options)
    module.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
    return module


def _pt(config: str, sha256: str, state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save({"config": config, "sha256": sha256, "state_dict": state}, buffer)
    return buffer.getvalue()
