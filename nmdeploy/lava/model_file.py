"""Reader of the integers in an nmdeploy model file, which imports h5py only when it opens a file."""

import hashlib
import json
from pathlib import Path
from typing import Any

PLACE = "node/metadata/nmdeploy"
FORMAT = "nmdeploy-model"
VERSIONS = (2, 3)
# Names of version 2 that differ in version 3.
KINDS_OF_2 = {"coupled_state_space": "dense_state_space", "gate": "gated_linear_unit"}
FIELDS_OF_2: dict[str, str] = {"gain": "scale"}
WINDOW_OF_2 = ("kind", "window", "kernel", "frac_k", "vth", "send_once", "frac_u")  # the others are its dynamics' now


def read_model(path: str | Path) -> dict[str, Any]:
    """Read the description of a quantized network.

    Parameters
    ----------
    path : str or Path
        HDF5 file. Version 3 holds a JSON text at ``node/metadata/nmdeploy/model`` and the arrays beside it. Version 2
        holds one JSON text at ``node/metadata/nmdeploy``.

    Returns
    -------
    dict
        Keys ``nodes`` (by name), ``edges`` ([source, target, delay]), ``output`` and others. The fields of a node are
        numbers, texts and arrays.

    Raises
    ------
    ValueError
        The file is not a model file, its version is unknown, or its content does not match its SHA-256.
    """
    text, arrays = _read(Path(path))
    try:
        model = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: holds no JSON at {PLACE}: {error}") from error
    if not isinstance(model, dict):
        raise ValueError(f"{path}: the JSON at {PLACE} is not an object")
    if model.get("format") != FORMAT or model.get("version") not in VERSIONS:
        found = f"{model.get('format')!r} version {model.get('version')!r}"
        raise ValueError(f"{path}: holds {found}; this reader knows {FORMAT!r} versions 2 and 3")
    content, _, digest = text.rpartition(',"sha256":')
    if digest != f'"{_digest(content + "}", arrays)}"}}':
        raise ValueError(f"{path}: the content at {PLACE} does not match its SHA-256; export the model again")
    missing = [key for key in ("nodes", "edges", "output") if key not in model]
    if missing:
        raise ValueError(f"{path}: the model has no {missing[0]!r}")
    for name, fields in arrays.items():
        for key, array in fields.items():
            _place(model["nodes"][name], key.split("."), array)
    return _upgraded(model) if model["version"] == 2 else model


def _read(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the JSON text, and the arrays by node and field."""
    import h5py

    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            held = file[PLACE]
            if isinstance(held, h5py.Dataset):
                return bytes(held[()]).decode(), {}
            nodes = {name: {key: array[()] for key, array in group.items()} for name, group in held["nodes"].items()}
            return bytes(held["model"][()]).decode(), nodes
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: holds no JSON at {PLACE}: {error}") from error


def _place(node: dict[str, Any], keys: list[str], array: Any) -> None:
    """Store an array in a node: under its name, or, if that is "part.name", in the part."""
    for key in keys[:-1]:
        node = node.setdefault(key, {})
    node[keys[-1]] = array


def _digest(text: str, arrays: dict[str, dict[str, Any]]) -> str:
    """Return the SHA-256 of the text and the arrays.

    Each array contributes its name, type, shape and bytes, sorted by node and field.
    """
    sha = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        for key in sorted(arrays[name]):
            array = arrays[name][key]
            array = array.astype(array.dtype.newbyteorder("<"))
            sha.update(f"\n{name}/{key} {array.dtype.str} {list(array.shape)}\n".encode())
            sha.update(array.tobytes())
    return sha.hexdigest()


def _upgraded(model: dict[str, Any]) -> dict[str, Any]:
    """Return a model of version 2 with the names of version 3."""
    nodes = {}
    for name, node in model["nodes"].items():
        fields = {FIELDS_OF_2.get(key, key): value for key, value in node.items()}
        fields["kind"] = KINDS_OF_2.get(node.get("kind"), node.get("kind"))
        if fields["kind"] == "windowed_state_space":
            dynamics = {key: fields.pop(key) for key in list(fields) if key not in WINDOW_OF_2}
            fields["dynamics"] = dynamics
        nodes[name] = fields
    return {**model, "nodes": nodes}
