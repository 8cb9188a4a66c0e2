"""Recordings on disk: HDF5, docs/formats.md."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.errors import BadFile
from nmdeploy.files import write_bytes
from nmdeploy.recording import Layer, Recording

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
        for name, layer in recording.layers.items():
            group = file.create_group(f"layers/{name}", track_order=True)
            if layer.spikes is not None:
                _array(group, "spikes", layer.spikes)
            for state, values in layer.states.items():
                _array(group, f"states/{state}", values)
            for metric, counts in layer.counts.items():
                group[f"counts/{metric}"] = counts
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
        with h5py.File(path, "r") as file:
            kind = "spikes" if "output/spikes" in file else "readout"
            output = file[f"output/{kind}"][()]
            return Recording(
                output=output.astype(bool) if kind == "spikes" else output,
                spiking=kind == "spikes",
                layers={name: _layer(group) for name, group in file["layers"].items()},
                lengths=file["lengths"][()],
                **{name: _plain(file.attrs[name]) for name in ATTRIBUTES},
            )
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise BadFile(f"{path}: is damaged or no recording ({str(error)[:80]}): run nmdeploy simulate again") from None


def _layer(group: Any) -> Layer:
    return Layer(
        spikes=group["spikes"][()].astype(bool) if "spikes" in group else None,
        states={name: values[()] for name, values in group.get("states", {}).items()},
        counts={name: values[()] for name, values in group.get("counts", {}).items()},
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
