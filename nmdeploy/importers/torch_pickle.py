"""Reader of `.pt` checkpoints, the only part of the checkpoint importer that needs torch.

Nothing is unpickled: torch loads with ``weights_only=True``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.torch_file import load_pt
from nmdeploy.errors import BadFile

FIELDS = {"config", "sha256", "state_dict"}


def read_pt(path: Path) -> tuple[str, str, dict[str, npt.NDArray[Any]]]:
    """Return configuration (JSON), SHA-256 and tensors of a `.pt` checkpoint; raise `BadFile` for anything else."""
    content = load_pt(path, ".safetensors")
    if not isinstance(content, dict) or set(content) != FIELDS or not isinstance(content["state_dict"], dict):
        raise BadFile(
            f"{path}: is not an nmdeploy checkpoint: save it with nmdeploy.models.checkpoint.save, or if it "
            f"is the state dict of a module, give the module: package.module:attribute --weights {path}"
        )
    config, sha256 = content["config"], content["sha256"]
    if not isinstance(config, str) or not isinstance(sha256, str):
        raise BadFile(f"{path}: config and sha256 are not strings: save it with nmdeploy.models.checkpoint.save")
    return config, sha256, {str(name): _array(path, name, value) for name, value in content["state_dict"].items()}


def _array(path: Path, name: Any, value: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(value.detach().contiguous().numpy())
    except Exception as error:  # not a tensor, or of a type that NumPy lacks
        raise BadFile(
            f"{path}: state_dict entry {name!r} is not a tensor that NumPy can hold: save float32 weights"
        ) from error
