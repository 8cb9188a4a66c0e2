"""Recordings on disk: HDF5, docs/formats.md."""

from __future__ import annotations

import mmap
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.errors import BadFile
from nmdeploy.files import write_bytes
from nmdeploy.hdf5_heap import has_endless_heap
from nmdeploy.recording import Layer, Recording

DAMAGED = (
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
ATTRIBUTES = ("model_sha256", "backend", "version", "latency", "seed")


def write_recording(recording: Recording, path: str | Path) -> None:
    """Write a recording as a whole or not at all.

    The HDF5 file is made in memory: HDF5 does not recover from a disk that is full.
    """
    import h5py

    content = BytesIO()
    with h5py.File(content, "w") as file:
        for name in ATTRIBUTES:
            file.attrs[name] = getattr(recording, name)
        kind = "spikes" if recording.spiking else "readout"
        _array(file, f"output/{kind}", recording.output)
        file["lengths"] = recording.lengths
        layers = file.create_group("layers", track_order=True)
        for name, layer in recording.layers.items():
            group = layers.create_group(name)
            if layer.spikes is not None:
                _array(group, "spikes", layer.spikes)
            states = group.create_group("states", track_order=True)
            for state, values in layer.states.items():
                _array(states, state, values)
            metrics = group.create_group("counts", track_order=True)
            for metric, counts in layer.counts.items():
                metrics[metric] = counts
    write_bytes(path, content.getbuffer())


def _array(group: Any, name: str, values: Any) -> None:
    stored = values.astype(np.uint8) if values.dtype == bool else values
    group.create_dataset(name, data=stored, compression="gzip", compression_opts=1, shuffle=True)


def read_recording(path: str | Path) -> Recording:
    """Read what `write_recording` wrote; `BadFile` for anything else."""
    import h5py

    if not Path(path).is_file():
        raise BadFile(f"{path}: there is no such file: check the path")
    try:
        _check_heaps(path)
        with h5py.File(path, "r") as file:
            kind = "spikes" if "output/spikes" in file else "readout"
            output = file[f"output/{kind}"][()]
            return Recording(
                output=_spikes(output) if kind == "spikes" else output,
                spiking=kind == "spikes",
                layers={name: _layer(group) for name, group in file["layers"].items()},
                lengths=file["lengths"][()],
                **{name: _plain(file.attrs[name]) for name in ATTRIBUTES},
            )
    except DAMAGED as error:
        why = " ".join(str(error).split())[:80]
        raise BadFile(f"{path}: is damaged or no recording ({why}): run nmdeploy simulate again") from None


def _check_heaps(path: str | Path) -> None:
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if has_endless_heap(content):
            raise ValueError("its texts have no end")


def _layer(group: Any) -> Layer:
    return Layer(
        spikes=_spikes(group["spikes"][()]) if "spikes" in group else None,
        states={name: values[()] for name, values in group.get("states", {}).items()},
        counts={name: values[()] for name, values in group.get("counts", {}).items()},
    )


def _spikes(stored: Any) -> Any:
    """Bytes are binary spikes; what is wider are signed and graded codes."""
    return stored.astype(bool) if stored.dtype == np.uint8 else stored


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
