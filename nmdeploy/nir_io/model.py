"""The JSON text of a model file: a quantized network in full, canonical, its own SHA-256 at the end.

    {"format": "nmdeploy-model", "version": 2, "dt": ..., "profile": ..., "readout": ..., "output": ...,
     "nodes": {name: {"kind": ..., every integer and format}}, "edges": [[source, target, delay], ...],
     "notes": [...], "sha256": "<64 hex digits over the text without this entry>"}

The order of the nodes is the network's.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from nmdeploy.errors import BadFile, NmdeployError, UnsupportedParameter
from nmdeploy.network import families
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork

FORMAT = "nmdeploy-model"
VERSION = 2
KEY = "nmdeploy"
DATASET = f"node/metadata/{KEY}"
CONTENT = ("dt", "profile", "readout", "output", "nodes", "edges", "notes")
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises where JSON is not laid out as a network's."""

Path = str | os.PathLike[str]


def model_json(q: QuantizedNetwork) -> str:
    """The JSON text of a network."""
    content = content_json(q)
    vars(q)["_sha256"] = sha256 = digest(content)
    return f'{content[:-1]},"sha256":"{sha256}"}}'


def network_sha256(q: QuantizedNetwork) -> str:
    """The digest in that text, kept with the network, which never changes: all its integers must be written for it."""
    if "_sha256" not in vars(q):
        model_json(q)
    return str(vars(q)["_sha256"])


def known_sha256(q: QuantizedNetwork) -> str | None:
    """The digest, if it was asked for before, as of a network that was read from a file."""
    return vars(q).get("_sha256")


def content_json(q: QuantizedNetwork) -> str:
    """The JSON text without its digest."""
    if not (math.isfinite(q.dt) and q.dt > 0):
        raise UnsupportedParameter(f"dt = {q.dt}: a model file takes a finite time step over 0 s: set the network's dt")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "dt": float(q.dt),
        "profile": q.profile,
        "readout": q.readout,
        "output": q.output,
        "nodes": {name: node.to_json() for name, node in q.nodes.items()},
        "edges": [[e.source, e.target, e.delay] for e in q.edges],
        "notes": list(q.notes),
    }
    try:
        return json.dumps(content, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:
        raise UnsupportedParameter("the network holds a number that is not finite: look for NaN in its gains") from None


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise UnsupportedParameter(f"the network holds {value!r} ({type(value).__name__}): model files hold JSON values")


def digest(content: str) -> str:
    """SHA-256 of a text, 64 hex digits."""
    return hashlib.sha256(content.encode()).hexdigest()


def parse(path: Path, text: Any) -> dict[str, Any]:
    """The JSON text as a dict, its version and digest checked."""
    body, _, tail = str(text).rpartition(',"sha256":')
    try:
        header = json.loads(text)
        found = (header["format"], header["version"])
        whole = all(key in header for key in CONTENT)
        intact = tail == f'"{digest(body + "}")}"}}'
    except MALFORMED:
        raise BadFile(f"{path}: holds no nmdeploy JSON at {DATASET}: export it again") from None
    if found != (FORMAT, VERSION):
        raise BadFile(
            f"{path}: holds {found[0]!r} version {found[1]!r}, this nmdeploy reads version {VERSION}: export it "
            "again, or update nmdeploy"
        )
    if not whole:
        raise BadFile(f"{path}: its JSON lacks one of {', '.join(CONTENT)}: export it again")
    if not intact:
        raise BadFile(f"{path}: its JSON was changed: it does not match its SHA-256: export it again")
    return dict(header)


def nodes_of(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """The nodes that a header describes, in its order."""
    try:
        return {name: _node(name, values) for name, values in header["nodes"].items()}
    except (NmdeployError, *MALFORMED) as error:
        raise no_network(path, error) from None


def _node(name: str, values: Mapping[str, Any]) -> Any:
    return Input.from_json(values) if values.get("kind") == Input.kind else families.from_json(name, values)


def network_of(path: Path, header: Mapping[str, Any]) -> QuantizedNetwork:
    """The network that a header describes; `BadFile` where it describes none."""
    try:
        return QuantizedNetwork(
            nodes=nodes_of(path, header),
            edges=tuple(Edge(*edge) for edge in header["edges"]),
            dt=float(header["dt"]),
            output=header["output"],
            readout=header["readout"],
            profile=header["profile"],
            notes=tuple(header["notes"]),
        )
    except (NmdeployError, *MALFORMED) as error:
        raise no_network(path, error) from None


def no_network(path: Path, error: Exception) -> BadFile:
    """The error for JSON that is not laid out as a network's, or whose network another rule refuses."""
    if isinstance(error, NmdeployError):
        return BadFile(f"{path}: {str(error).removeprefix(f'{path}: ')}")
    return BadFile(f"{path}: its JSON describes no network ({type(error).__name__}: {error}): export it again")
