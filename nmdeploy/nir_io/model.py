"""The integers of a model file as a JSON text and arrays, under one key of the graph's metadata.

    node/metadata/nmdeploy/model             {"format": "nmdeploy-model", "version": 3, "dt": ..., "profile": ...,
                                              "readout": ..., "output": ..., "nodes": {name: {"kind": ..., field: ...}},
                                              "edges": [[source, target, delay], ...], "notes": [...],
                                              "sha256": "<64 hex digits>"}
    node/metadata/nmdeploy/nodes/NAME/FIELD  each array, integers in their narrowest type
    node/metadata/nmdeploy/read_as           how the float network was read, as JSON; the digest does not cover it, the
                                             file's seal does

The order of the nodes is the network's. The digest covers the text without its own entry, and every array: name, type,
shape and bytes. A missing field has its default; an unknown one is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.fields import BadField, build, split
from nmdeploy.errors import BadFile, NmdeployError, UnsupportedParameter
from nmdeploy.network import families
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.network.reading import Reading
from nmdeploy.nir_io import version_2
from nmdeploy.nir_io.tree import Tree

FORMAT = "nmdeploy-model"
VERSION = 3
KEY = "nmdeploy"
PLACE = f"node/metadata/{KEY}"
READ_AS = "read_as"
CONTENT = ("dt", "profile", "readout", "output", "nodes", "edges", "notes")
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that Python raises if JSON is not laid out as a network's."""

Path = str | os.PathLike[str]
Arrays = Mapping[str, Mapping[str, npt.NDArray[Any]]]


def model_content(q: QuantizedNetwork) -> tuple[str, Arrays]:
    """Return the JSON text and the arrays of a network, by node and field."""
    if not (math.isfinite(q.dt) and q.dt > 0):
        raise UnsupportedParameter(f"dt = {q.dt}: a model file takes a finite time step over 0 s: set the network's dt")
    nodes, arrays = {}, {}
    for name, node in q.nodes.items():
        nodes[name], arrays[name] = (node.to_json(), {}) if isinstance(node, Input) else split(node)
        nodes[name] = {"kind": node.kind} | nodes[name]
        _require_finite(name, arrays[name])
    values = {
        "format": FORMAT,
        "version": VERSION,
        "dt": float(q.dt),
        "profile": q.profile,
        "readout": q.readout,
        "output": q.output,
        "nodes": nodes,
        "edges": [[e.source, e.target, e.delay] for e in q.edges],
        "notes": list(q.notes),
    }
    text = json.dumps(values, separators=(",", ":"), allow_nan=False, default=_refuse)
    vars(q)["_sha256"] = sha256 = digest(text, arrays)
    return f'{text[:-1]},"sha256":"{sha256}"}}', arrays


def reading_content(q: QuantizedNetwork) -> dict[str, str]:
    """Return the entry of a model file that says how the float network was read; empty if that is not known."""
    return {} if q.read_as is None else {READ_AS: json.dumps(q.read_as.to_json(), separators=(",", ":"))}


def _require_finite(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    for field, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UnsupportedParameter(f"node {name!r}: {field} holds a number that is not finite: quantize it again")


def _refuse(value: Any) -> Any:
    raise UnsupportedParameter(f"the network holds {value!r} ({type(value).__name__}): model files hold JSON values")


def digest(text: str, arrays: Arrays) -> str:
    """Return the SHA-256 (64 hex digits) of a JSON text and of arrays.

    The arrays count by sorted names, types, shapes and little-endian bytes.
    """
    sha = hashlib.sha256(text.encode())
    for name, node in sorted(arrays.items()):
        for field, array in sorted(node.items()):
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            sha.update(f"\n{name}/{field} {little.dtype.str} {list(little.shape)}\n".encode())
            sha.update(little.tobytes())
    return sha.hexdigest()


def network_sha256(q: QuantizedNetwork) -> str:
    """Return the digest of a network, which is computed once, from all integers, and never changes."""
    if "_sha256" not in vars(q):
        model_content(q)
    return str(vars(q)["_sha256"])


def known_sha256(q: QuantizedNetwork) -> str | None:
    """Return the digest if it is known already, as for a network that was read from a file."""
    return vars(q).get("_sha256")


def parse(path: Path, held: Any) -> dict[str, Any]:
    """Return the content of a model file (arrays among the fields of the nodes), its version and digest checked.

    Parameters
    ----------
    path : str or path
        Name of the file in errors.
    held : dict or str
        Content at `PLACE`: the tree of version 3, or the text of version 2.

    Raises
    ------
    BadFile
        The content is not nmdeploy's, has another version or an unknown entry, or does not match its SHA-256.
    """
    if isinstance(held, str):
        values, intact = version_2.parse(held)
    else:
        values, intact = _parse(held)
    if values is None or not isinstance(values.get("nodes", {}), dict):
        raise BadFile(f"{path}: holds no nmdeploy JSON at {PLACE}: export it again")
    found = values.get("format"), values.get("version")
    if found not in ((FORMAT, VERSION), (FORMAT, version_2.VERSION)):
        raise BadFile(
            f"{path}: holds {found[0]!r} version {found[1]!r}, this nmdeploy reads versions {version_2.VERSION} and "
            f"{VERSION}: export it again, or update nmdeploy"
        )
    if not intact:
        raise BadFile(f"{path}: its content was changed: it does not match its SHA-256: export it again")
    for key in values:
        if key not in (*CONTENT, "format", "version", "sha256", READ_AS):
            raise BadFile(f"{path}: holds {key!r}, which this version of nmdeploy does not know: update nmdeploy")
    return version_2.upgrade(values) if found[1] == version_2.VERSION else values


def _parse(held: Tree) -> tuple[dict[str, Any] | None, bool]:
    try:
        text, arrays = str(held["model"]), held.get("nodes", {})
        body, _, tail = text.rpartition(',"sha256":')
        values = json.loads(text)
        intact = tail == f'"{digest(body + "}", arrays)}"}}'
        for name, node in arrays.items():
            values["nodes"][name] |= node
        if READ_AS in held:
            values[READ_AS] = json.loads(held[READ_AS])
        return dict(values), intact
    except MALFORMED:
        return None, False


def nodes_of(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Build the nodes that a content describes, in its order."""
    try:
        return {name: _node(name, fields_of) for name, fields_of in values["nodes"].items()}
    except (NmdeployError, *MALFORMED) as error:
        raise no_network(path, error) from None


def _node(name: str, values: Mapping[str, Any]) -> Any:
    kind = str(values.get("kind"))
    given = {field: value for field, value in values.items() if field != "kind"}
    if kind == Input.kind:
        return Input.from_json(values)
    try:
        return build(families.quantized(name, kind), given)
    except BadField as error:
        raise BadFile(f"node {name!r} ({kind}): {error}") from None


def network_of(path: Path, values: Mapping[str, Any]) -> QuantizedNetwork:
    """Build the network that a content describes; raise `BadFile` if it describes none."""
    try:
        given = {key: values[key] for key in CONTENT if key in values}
        given |= {"nodes": nodes_of(path, values), "edges": tuple(Edge(*edge) for edge in values["edges"])}
        missing = [f.name for f in fields(QuantizedNetwork) if f.name not in given and f.default is MISSING]
        if missing:
            raise BadFile(f"its JSON lacks {', '.join(missing)}: export it again")
        given |= {READ_AS: Reading.from_json(values[READ_AS])} if READ_AS in values else {}
        q = QuantizedNetwork(**given | {"dt": float(given["dt"]), "notes": tuple(given.get("notes", ()))})
        if not (math.isfinite(q.dt) and q.dt > 0):
            raise BadFile(f"dt = {q.dt}: a time step is a finite number of seconds over 0: export it again")
        if values.get("version") == VERSION:
            vars(q)["_sha256"] = str(values["sha256"])
        return q
    except (NmdeployError, *MALFORMED) as error:
        raise no_network(path, error) from None


def no_network(path: Path, error: Exception) -> BadFile:
    """Return the error for a content that is not laid out as a network's, or whose network another rule refuses."""
    if isinstance(error, NmdeployError):
        return BadFile(f"{path}: {str(error).removeprefix(f'{path}: ')}")
    return BadFile(f"{path}: its JSON describes no network ({type(error).__name__}: {error}): export it again")
