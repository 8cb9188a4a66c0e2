"""Descriptions of files: models, checkpoints, other NIR graphs, recordings, samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy._util.open_file import hdf5_holds
from nmdeploy.errors import BadFile, BadOption, NmdeployError
from nmdeploy.network.read_options import FLAGS, ReadOptions
from nmdeploy.network.reading import Reading
from nmdeploy.samples.source import BLOCK_BYTES, open_stored
from nmdeploy.samples.stored import Array, Stored

SOURCES = ("nir", "checkpoint", "network")
RANGED_BYTES = 1 << 28  # what is read in a moment; the range of larger inputs is not looked for


def describe_file(path: str, verify: bool = False, reading: ReadOptions = ReadOptions()) -> dict[str, Any]:
    """Return a flat description of a file, by its suffix; `BadFile` for anything else.

    With `verify`, the NIR primitives of a model are computed from its integers again, and compared. A source of a
    network is read with the options `reading`.
    """
    source = Path(path)
    if not source.exists():
        raise BadFile(f"{path}: there is no such file: check the path")
    if source.is_dir():
        raise BadFile(f"{path}: is a folder: give a file: {', '.join(DESCRIBE)}")
    describe = _model if hdf5_holds(source, "node") else DESCRIBE.get(source.suffix)
    if describe is None:
        raise BadFile(f"{path}: files of type {source.suffix!r} are unknown: give one of {', '.join(DESCRIBE)}")
    described = {"file": path} | describe(source)
    if described["format"] in SOURCES:
        described |= _read(path, reading)
    elif given := reading.given():
        name = next(iter(given))
        raise BadOption(f"{FLAGS[name]} {given[name]}: {path} is no source of a network: leave {FLAGS[name]} out")
    return described | _verified(path, described) if verify else described


def _read(path: str, options: ReadOptions) -> dict[str, Any]:
    from nmdeploy.importers import load

    try:
        network = load(path, options=options)
    except NmdeployError as error:  # the file is described without it
        return {"read_as": None, "problem": str(error).removeprefix(f"{path}: ")}
    return {"read_as": None if network.read_as is None else network.read_as.to_json(), "problem": None}


def _verified(path: str, described: dict[str, Any]) -> dict[str, Any]:
    from nmdeploy.nir_io import check_primitives
    from nmdeploy.nir_io.model import FORMAT

    if described["format"] != FORMAT:
        raise BadFile(f"{path}: is not a model: --verify compares the NIR primitives of a model with its integers")
    check_primitives(path)
    return {"primitives": "equal to what its integers say"}


def _model(path: Path) -> dict[str, Any]:
    from nmdeploy.nir_io import describe

    return describe(path)


def _checkpoint(path: Path) -> dict[str, Any]:
    from nmdeploy.importers.checkpoint import holds_network, load, read_content
    from nmdeploy.importers.checkpoint_content import SIZES

    if holds_network(path):
        return _network(path)
    config, _ = read_content(path)
    nodes, problem = {}, None
    try:
        nodes = {name: _node(node) for name, node in load(path).nodes.items()}
    except NmdeployError as error:  # the file itself is sound: what is wrong keeps it from being deployed
        problem = str(error).removeprefix(f"{path}: ")
    shown = ("version", "model", "options", "norm", "residual", "dt", "readout")
    sizes = {name: getattr(config, name) for name in SIZES}
    described = {"format": "checkpoint"} | {name: getattr(config, name) for name in shown}
    return described | {"sizes": sizes, "nodes": nodes, "problem": problem}


def _network(path: Path) -> dict[str, Any]:
    from nmdeploy.importers.checkpoint import read_checkpoint
    from nmdeploy.importers.network_file import VERSION

    network = read_checkpoint(path)
    nodes = {name: _node(node) for name, node in network.nodes.items()}
    known = {name: getattr(network, name) for name in ("dt", "output", "readout")}
    return {"format": "network", "version": VERSION, **known, "input": network.input.to_json(), "nodes": nodes}


def _node(node: Any) -> str:
    """Return kind and size, and the number of outputs if a neuron has several."""
    population = node.role == "population"
    text = f"{node.kind} {'x'.join(map(str, (node.size,) if population else node.shape))}"
    return f"{text}, {node.output_size} outputs" if population and node.outputs > 1 else text


def _recording(path: Path) -> dict[str, Any]:
    from nmdeploy.recording.reader import describe_recording

    return {"format": "recording", **describe_recording(path)}


def _samples(path: Path) -> dict[str, Any]:
    from nmdeploy.cli.inspect import describe_data

    return describe_data(path)


def _pt(path: Path) -> dict[str, Any]:
    from nmdeploy.samples.pt import holds_samples

    return _samples(path) if holds_samples(path) else _checkpoint(path)


def _hdf5(path: Path) -> dict[str, Any]:
    from nmdeploy.recording.reader import is_recording

    return _recording(path) if is_recording(path) else _samples(path)


DESCRIBE = {
    ".nir": _model,
    ".safetensors": _checkpoint,
    ".pt": _pt,
    ".pth": _pt,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".hdf": _hdf5,
    ".npz": _samples,
    ".npy": _samples,
}


def render(described: dict[str, Any]) -> str:
    """Return the lines for the terminal."""
    read_as, block = described.get("read_as"), []
    if read_as is not None:
        reading = Reading.from_json(read_as)
        block = [*reading.lines(), *(f"note: {warning}" for warning in reading.warnings)]
    rest = (_lines(key, value) for key, value in described.items() if key != "read_as")
    return "\n".join([*block, *(line for lines in rest for line in lines)])


def _lines(key: str, value: Any) -> Iterator[str]:
    rows = list(value.values()) if isinstance(value, dict) else []
    if rows and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        yield f"{key}:"
        yield from (f"  {line}" for line in _table([{"name": name} | row for name, row in value.items()]))
    elif rows:
        yield f"{key}:"
        yield from (f"  {name}: {_cell(item)}" for name, item in value.items())
    else:
        yield f"{key}: {_cell(value)}"


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield aligned columns, numbers to the right."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[key]) for key in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [isinstance(rows[0].get(key), int) for key in columns]
    for line in cells:
        aligned = zip(line, widths, numeric, strict=True)
        yield "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in aligned).rstrip()


def _cell(value: Any) -> str:
    """Return a value as a few words: lists of numbers as 64x1, other lists and mappings with commas."""
    if value is None or value in ([], {}, ""):
        return "-"
    if isinstance(value, list):
        return ("x" if all(isinstance(item, int) for item in value) else ", ").join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return str(value)


def describe_data(path: Path) -> dict[str, Any]:
    """Describe samples; raise `BadFile` or `BadData` if there are none."""
    stored = open_stored(path)
    arrays = {stored.name: _array(stored.shape, stored.dtype, _blocks(stored))}
    for name, held in stored.vectors.items():
        # Only shape and type are known of what is not one integer per sample.
        known = held.shape == stored.shape[:1] and held.dtype.kind in "iu"
        arrays[name] = _array(held.shape, held.dtype, iter([held] if known else []))
    return {"format": "samples", "arrays": arrays, "others": list(stored.others)}


def _blocks(stored: Stored) -> Iterator[Array]:
    size = math.prod(stored.shape) * stored.dtype.itemsize
    if stored.shape and 0 < size <= RANGED_BYTES:
        yield from stored.blocks(max(1, BLOCK_BYTES * stored.shape[0] // size))


def _array(shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterator[Array]) -> dict[str, Any]:
    described: dict[str, Any] = {"shape": list(shape), "type": str(dtype), "min": None, "max": None}
    ends = [(block.min(), block.max()) for block in blocks if block.size] if dtype.kind in "biuf" else []
    if ends and np.isfinite(ends).all():
        number = float if dtype.kind == "f" else int
        described |= {"min": number(min(low for low, _ in ends)), "max": number(max(high for _, high in ends))}
    return described
