"""The reader of recordings in HDF5 (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy._util.open_file import open_hdf5
from nmdeploy.errors import BadFile
from nmdeploy.network.timing import Timing
from nmdeploy.recording.column import BITS
from nmdeploy.recording.narrow import planes_of, widened
from nmdeploy.recording.pieces import States
from nmdeploy.recording.types import ATTRIBUTES, Layer, Recording
from nmdeploy.recording.writer import FORMAT, VERSION, RecordingWriter

PIECE_CACHE_BYTES = 1 << 22  # the chunks of one array that a piece ends in are unpacked once


def write_recording(
    recording: Recording, path: str | Path, bits: Mapping[str, Mapping[str, int]] | None = None
) -> None:
    """Write a recording as a whole or not at all; `bits` as for `RecordingWriter`."""
    with RecordingWriter(path, recording.samples, bits) as writer:
        writer.append(recording)
        writer.inputs_sha256 = recording.inputs_sha256


def read_recording(path: str | Path, samples: int | None = None) -> Recording:
    """Read what `RecordingWriter` wrote, all samples or the first ones; `BadFile` for anything else."""
    with open_recording(path) as file:
        return _recording(file, slice(samples))


def read_pieces(path: str | Path, sample: int, timing: Timing, steps: int) -> Generator[States, None, Recording]:
    """Read one sample in pieces of steps, as `Pieces` takes them."""
    part = slice(sample, sample + 1)
    with open_recording(path, PIECE_CACHE_BYTES) as file:
        rest = _recording(file, part, with_states=False)
        for first in range(0, rest.steps + timing.drain_steps, steps):
            rows = {name: timing.rows(name, first, first + steps, rest.steps) for name in rest.layers}
            yield {
                name: {state: read_codes(stored, part, rows[name]) for state, stored in group["states"].items()}
                for name, group in file["layers"].items()
                if len(group.get("states", ())) and rows[name].start < rows[name].stop
            }
        return rest


def _recording(file: Any, part: slice, with_states: bool = True) -> Recording:
    kind = _kind(file)
    stored = file[f"output/{kind}"]
    attributes, output = _attributes(file), stored[part]
    if len(output) < len(stored):
        attributes["inputs_sha256"] = ""
    return Recording(
        output=_spikes(output) if kind == "spikes" else output,
        spiking=kind == "spikes",
        layers={name: _layer(group, part, with_states) for name, group in file["layers"].items()},
        lengths=file["lengths"][part],
        predictions=file["predictions"][part] if "predictions" in file else None,
        **attributes,
    )


def is_recording(path: str | Path) -> bool:
    """Return True for an HDF5 file that is laid out as a recording; raise `BadFile` if it cannot be read."""
    with open_hdf5(path) as file:
        return "output" in file and "layers" in file


def describe_recording(path: str | Path) -> dict[str, Any]:
    """Return samples, steps, names of the layers and attributes of a recording, without its arrays."""
    with open_recording(path) as file:
        samples, steps, _ = file[f"output/{_kind(file)}"].shape
        layers = file["layers"]
        traced = any(len(group.get("states", ())) for group in layers.values())
        return {
            "samples": samples,
            "steps": steps,
            "layers": list(layers),
            "has_states": traced,
            **_attributes(file),
        }


def _kind(file: Any) -> str:
    return "spikes" if "output/spikes" in file else "readout"


def _attributes(file: Any) -> dict[str, Any]:
    known = {"inputs_sha256": ""} | dict(file.attrs)  # older files have no digest of their inputs
    return {name: _plain(known[name]) for name in ATTRIBUTES}


@contextmanager
def open_recording(path: str | Path, cache_bytes: int | None = None) -> Iterator[Any]:
    """Open a recording as an `h5py.File`; whatever is wrong with it becomes a `BadFile`."""
    if not Path(path).is_file():
        raise BadFile(f"{path}: there is no such file: check the path")
    remedy = "run nmdeploy simulate again"
    with open_hdf5(path, kind="recording", remedy=remedy, holds_texts=True, cache_bytes=cache_bytes) as file:
        version = int(file.attrs.get(FORMAT, 1))
        if not 1 <= version <= VERSION:
            raise BadFile(
                f"{path}: is a recording of format version {version}, and this nmdeploy reads 1 to {VERSION}: update it"
            )
        yield file


def _layer(group: Any, part: slice, with_states: bool) -> Layer:
    states = group.get("states", {}) if with_states else {}
    return Layer(
        spikes=_spikes(group["spikes"][part]) if "spikes" in group else None,
        states={name: read_codes(values, part) for name, values in states.items()},
        counts={name: values[part] for name, values in group.get("counts", {}).items()},
    )


def read_codes(stored: Any, *part: slice) -> Any:
    """Read codes of a file in the type that a run returns, whatever the width in which they are stored."""
    if BITS not in stored.attrs:
        return stored[part]
    planes = planes_of(int(stored.attrs[BITS]))
    return widened([stored[part]] if planes == 1 else [stored[(*part, ..., plane)] for plane in range(planes)])


def _spikes(stored: Any) -> Any:
    """Return bool for bytes, which are binary spikes; wider types are signed and graded codes."""
    return stored.astype(bool) if stored.dtype == np.uint8 else stored


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
