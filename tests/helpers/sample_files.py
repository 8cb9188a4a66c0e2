"""Samples saved in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np


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


SAVE: dict[str, tuple[str, Callable[..., None]]] = {
    "npz": ("a.npz", np.savez),
    "compressed npz": ("a.npz", np.savez_compressed),
    "npy": ("a.npy", as_npy),
    "h5": ("a.h5", as_hdf5),
    "packed h5": ("a.hdf5", as_packed_hdf5),
}


def saved(folder: Path, kind: str, **arrays: Any) -> Path:
    name, save = SAVE[kind]
    save(folder / name, **arrays)
    return folder / name
