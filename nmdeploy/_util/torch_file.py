"""Reading of ``.pt`` files without unpickling: torch loads them with ``weights_only=True``."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nmdeploy._util.foreign import is_instance, tensor_array
from nmdeploy.errors import BadFile

REFUSED = re.compile(r"GLOBAL ([\w.]+)")
"""The class or function in torch's message that only unpickling could make."""
REASON_MAX = 120


def load_pt(path: Path, instead: str) -> Any:
    """Return the content of a ``.pt`` file: tensors, numbers and texts in dicts and lists.

    Parameters
    ----------
    path : Path
    instead : str
        What to save as if there is no torch.

    Raises
    ------
    BadFile
        There is no torch; the file is damaged, or holds an object that only unpickling could read.
    """
    try:
        import torch
    except ImportError as error:
        raise BadFile(f"{path}: reading a .pt file needs torch: pip install torch, or save as {instead}") from error
    _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise anything for a file that it refuses
        raise BadFile(
            f"{path}: torch refuses it with weights_only=True ({_reason(error)}): save tensors and strings only"
        ) from error


def tensor_of(value: Any) -> npt.NDArray[Any] | None:
    """Return a tensor's values, or None for anything else and for types that NumPy lacks."""
    if not is_instance(value, "torch", "Tensor"):
        return None
    try:
        return tensor_array(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return None


def kind_of(content: Any) -> str:
    """Return in words what a file holds."""
    if isinstance(content, dict):
        return f"a dict of {', '.join(map(repr, list(content)[:4])) or 'nothing'}"
    return f"an object of type {type(content).__name__}"


def _check_archive(path: Path) -> None:
    """Check every member's CRC before torch parses any of them, and that it is no program."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged, names = archive.testzip(), archive.namelist()
    except Exception as error:  # zipfile may raise anything for a damaged directory
        raise BadFile(f"{path}: is not a PyTorch file, or is damaged ({_first_line(error)}): save it again") from error
    if damaged is not None:
        raise BadFile(f"{path}: member {damaged!r} is damaged (CRC differs): copy or save the file again")
    if any(name.endswith("/constants.pkl") for name in names):
        raise BadFile(f"{path}: is a TorchScript program, not tensors: save tensors with torch.save")


def _reason(error: Exception) -> str:
    found = REFUSED.search(str(error))
    return f"it holds a {found[1]}, which only unpickling could make" if found else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:REASON_MAX]
