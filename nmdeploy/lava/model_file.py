"""Reader of the integers in an nmdeploy model file (h5py is imported only here, and only when a file is read)."""

import hashlib
import json
from pathlib import Path
from typing import Any

DATASET = "node/metadata/nmdeploy"
FORMAT = "nmdeploy-model"
VERSION = 2


def read_model(path: str | Path) -> dict[str, Any]:
    """Read the JSON description of a quantized network.

    Parameters
    ----------
    path : str or Path
        HDF5 file with the JSON string at ``node/metadata/nmdeploy``.

    Returns
    -------
    dict
        Keys ``nodes`` (by name), ``edges`` ([source, target, delay]), ``output`` and others.

    Raises
    ------
    ValueError
        The file is no model file, its version is unknown, or its text does not match its SHA-256.
    """
    model = _read_json(Path(path))
    if model.get("format") != FORMAT or model.get("version") != VERSION:
        found = f"{model.get('format')!r} version {model.get('version')!r}"
        raise ValueError(f"{path}: holds {found}; this reader knows {FORMAT!r} version {VERSION}")
    missing = [key for key in ("nodes", "edges", "output") if key not in model]
    if missing:
        raise ValueError(f"{path}: the model has no {missing[0]!r}")
    return model


def _read_json(path: Path) -> dict[str, Any]:
    import h5py

    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            text = bytes(file[DATASET][()]).decode()
        model = json.loads(text)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: holds no JSON at {DATASET}: {error}") from error
    if not isinstance(model, dict):
        raise ValueError(f"{path}: the JSON at {DATASET} is no object")
    content, _, digest = text.rpartition(',"sha256":')
    if digest != f'"{hashlib.sha256((content + "}").encode()).hexdigest()}"}}':
        raise ValueError(f"{path}: the JSON at {DATASET} does not match its SHA-256; export the model again")
    return model
