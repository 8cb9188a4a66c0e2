"""Reader of `.pt` checkpoints, the only part of the checkpoint importer that needs torch.

Nothing is unpickled: torch loads with ``weights_only=True``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadFile

FIELDS = {"config", "sha256", "state_dict"}


def read_pt(path: Path) -> tuple[str, str, dict[str, npt.NDArray[Any]]]:
    """Return configuration (JSON), SHA-256 and tensors of a `.pt` checkpoint; raise `BadFile` for anything else."""
    try:
        import torch
    except ImportError as error:
        raise BadFile(f"{path}: reading a .pt file needs torch: pip install torch, or save as .safetensors") from error
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise anything for a file that it refuses
        raise BadFile(
            f"{path}: torch refuses it with weights_only=True ({_first_line(error)}): save tensors and strings only"
        ) from error
    if not isinstance(content, dict) or set(content) != FIELDS or not isinstance(content["state_dict"], dict):
        raise BadFile(f"{path}: is not an nmdeploy checkpoint: save it with nmdeploy.models.checkpoint.save")
    config, sha256 = content["config"], content["sha256"]
    if not isinstance(config, str) or not isinstance(sha256, str):
        raise BadFile(f"{path}: config and sha256 are not strings: save it with nmdeploy.models.checkpoint.save")
    return config, sha256, {str(name): _array(path, name, value) for name, value in content["state_dict"].items()}


def _check_archive(path: Path) -> None:
    """Check every member's CRC before torch parses any of them."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile may raise anything for a damaged directory
        raise BadFile(f"{path}: is not a PyTorch file, or is damaged ({_first_line(error)}): save it again") from error
    if damaged is not None:
        raise BadFile(f"{path}: member {damaged!r} is damaged (CRC differs): copy or save the file again")


def _array(path: Path, name: Any, value: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(value.detach().contiguous().numpy())
    except Exception as error:  # not a tensor, or of a type that NumPy lacks
        raise BadFile(
            f"{path}: state_dict entry {name!r} is not a tensor that NumPy can hold: save float32 weights"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
