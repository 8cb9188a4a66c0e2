"""Samples saved in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch


def as_hdf5(path: Path, **arrays: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def as_packed_hdf5(path: Path, **arrays: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            chunks = tuple(max(1, size // 2) for size in np.shape(values))
            file.create_dataset(name, data=values, chunks=chunks, compression="gzip", fletcher32=True)


def as_npy(path: Path, inputs: Any, **_: Any) -> None:
    np.save(path, inputs)


def as_pt(path: Path, **arrays: Any) -> None:
    torch.save({name: _tensor(values) for name, values in arrays.items()}, path)


def as_bare_pt(path: Path, inputs: Any, **_: Any) -> None:
    torch.save(_tensor(inputs), path)


def _tensor(values: Any) -> torch.Tensor:
    array = np.asarray(values)
    return torch.tensor(array.astype(array.dtype.newbyteorder("=")))


SAVE: dict[str, tuple[str, Callable[..., None]]] = {
    "npz": ("a.npz", np.savez),
    "compressed npz": ("a.npz", np.savez_compressed),
    "npy": ("a.npy", as_npy),
    "h5": ("a.h5", as_hdf5),
    "packed h5": ("a.hdf5", as_packed_hdf5),
    "pt": ("a.pt", as_pt),
    "bare pt": ("a.pt", as_bare_pt),
}


BARE = ("npy", "bare pt")
"""Formats that hold the inputs alone."""


def saved(folder: Path, kind: str, **arrays: Any) -> Path:
    name, save = SAVE[kind]
    save(folder / name, **arrays)
    return folder / name
