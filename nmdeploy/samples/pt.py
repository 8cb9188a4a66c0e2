"""Samples in torch's ``.pt`` files: a tensor of inputs, or a dict of tensors with the names of an .npz.

The file is never unpickled (`nmdeploy._util.torch_file`), and is held in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nmdeploy._util.torch_file import kind_of, load_pt, tensor_of
from nmdeploy.errors import BadFile
from nmdeploy.samples.arrays import slices
from nmdeploy.samples.stored import INPUTS, VECTORS, Array, Stored, name_of_samples

REMEDY = "save samples with torch.save({'inputs': tensor, 'labels': tensor}, path)"


def open_pt(path: Path) -> Stored | tuple[str, ...]:
    """Open the tensors of a ``.pt`` file; return their names if none holds samples.

    Raises
    ------
    BadFile
        The file is damaged, or holds anything but tensors; the message says what.
    """
    content = load_pt(path, ".npz")
    bare = tensor_of(content)
    named = content if isinstance(content, Mapping) else {"inputs": content} if bare is not None else None
    if named is None:
        raise BadFile(f"{path}: holds {kind_of(content)}, not tensors: {REMEDY}")
    if set(named) == {"config", "sha256", "state_dict"}:
        raise BadFile(f"{path}: is a checkpoint, not samples: give it in place of a model, and samples to --data")
    found = name_of_samples(path, named)
    if found is None:
        return tuple(map(str, named))
    samples = _tensor(path, found, named[found])
    vectors = {name: _tensor(path, name, named[name]) for name in VECTORS if name in named}
    others = tuple(str(name) for name in named if name not in (found, *VECTORS))
    return Stored(found, samples.shape, samples.dtype, vectors, partial(slices, samples), others=others)


def holds_samples(path: Path) -> bool:
    """Return True for a file that holds a tensor, or a dict with one of inputs or codes."""
    content = load_pt(path, ".npz")
    if isinstance(content, Mapping):
        return any(name in content for name in INPUTS)
    return tensor_of(content) is not None


def _tensor(path: Path, name: str, value: Any) -> Array:
    array = tensor_of(value)
    if array is None:
        raise BadFile(f"{path}: {name!r} is {kind_of(value)}, not a tensor that NumPy can hold: {REMEDY}")
    return array
