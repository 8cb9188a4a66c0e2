"""The model file: a quantized network as NIR, with its integers in the metadata.

``nir.read`` reads every file as standard primitives (``nmdeploy.nir_graph``). The graph's metadata holds one JSON text
under the key ``nmdeploy`` (HDF5: ``node/metadata/nmdeploy``) with all integers, number formats, rule names, edges and
their order; reading takes the network from it, computes the primitives again and compares them with the file's. The
text ends with the SHA-256 of the rest of it, and the file starts with the SHA-256 of all bytes that follow
(``nmdeploy.nir_file``): any changed bit is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from nmdeploy import families
from nmdeploy.errors import BadFile, UnsupportedParameter
from nmdeploy.network import Edge, Input, QuantizedNetwork
from nmdeploy.nir_file import Tree, check_seal, is_sealed, load_bytes, read_tree, replace_file, seal, with_user_block
from nmdeploy.nir_graph import Primitives, primitives
from nmdeploy.nir_notes import reader_notes

FORMAT = "nmdeploy-model"
VERSION = 1
KEY = "nmdeploy"
DATASET = f"node/metadata/{KEY}"
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, ArithmeticError, RecursionError)


def write(q: QuantizedNetwork, path: str | os.PathLike[str]) -> list[str]:
    """Write a model file in one step; nothing is left behind if that fails.

    Parameters
    ----------
    q : QuantizedNetwork
    path : str or path
        Usually ends with ``.nir``; an existing file is replaced.

    Returns
    -------
    list of str
        What other readers of NIR would misread or refuse, one line each.

    Raises
    ------
    UnsupportedParameter
        A node has no NIR form, or a name that the file cannot hold.
    BadFile
        The path cannot be written.
    """
    graph = primitives(q)
    replace_file(path, seal(with_user_block(_nir_bytes(graph, model_json(q)))))
    return reader_notes(q, graph)


def read(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """The quantized network of a model file: ``read(write(q)) == q``.

    Raises
    ------
    BadFile
        The file is missing, damaged, not written by nmdeploy, or its primitives are not those of its integers.
    """
    content = load_bytes(path)
    tree = _sealed_tree(path, content)
    text = tree.get("node", {}).get("metadata", {}).get(KEY, "")
    header = _parse(path, text)
    q = _network(path, header)
    if text != model_json(q):
        raise BadFile(f"{path}: its JSON holds more than this version of nmdeploy knows: update nmdeploy")
    _compare(path, tree["node"], primitives(q))
    return q


def model_sha256(model: QuantizedNetwork | str | os.PathLike[str]) -> str:
    """The digest of a model, or of a model file: 64 hex digits over its integers and formats.

    Two files have the same digest exactly if their networks are equal.
    """
    if isinstance(model, QuantizedNetwork):
        return _digest(_content_json(model))
    return str(read_header(model)["sha256"])


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON of a model file, its digests checked; neither ``nir`` nor the rest of the file is read."""
    content = load_bytes(path)
    _require_ours(path, content)
    return _parse(path, read_tree(path, content, only=DATASET)[""])


def model_json(q: QuantizedNetwork) -> str:
    """The JSON text that a model file holds: canonical, its own SHA-256 at the end."""
    content = _content_json(q)
    return f'{content[:-1]},"sha256":"{_digest(content)}"}}'


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a ``.nir`` file holds, for ``nmdeploy inspect``: cheap, without importing ``nir``.

    Returns
    -------
    dict
        Of a model file: ``format, version, sha256, profile, dt, readout, output, input, latency, layers, synapses, notes``.
        Of another NIR file: ``format`` ("nir") and ``nodes``, each with its name, type and shapes.
    """
    content = load_bytes(path)
    if not is_sealed(content):
        return _describe_foreign(read_tree(path, content))
    header = read_header(path)
    nodes = _nodes(path, header)
    described = {key: header[key] for key in ("format", "version", "sha256", "profile", "dt", "readout", "output", "notes")}
    return described | {
        "bytes": len(content),
        "input": header["nodes"][next(name for name, node in nodes.items() if isinstance(node, Input))],
        "layers": [_layer(name, node) for name, node in nodes.items() if hasattr(node, "states")],
        "synapses": [_synapse(name, node) for name, node in nodes.items() if hasattr(node, "apply")],
    }


def _layer(name: str, node: Any) -> dict[str, Any]:
    fields = {"neurons": node.size, "states": node.real_states, "state_bits": node.state_bits}
    return {"name": name, "kind": node.kind, **fields, "footprint_bits": node.footprint_bits}


def _synapse(name: str, node: Any) -> dict[str, Any]:
    fields = {"shape": list(node.shape), "synapses": node.synapses, "footprint_bits": node.footprint_bits}
    return {"name": name, "kind": node.kind, "bits": getattr(node, "bits", None), **fields}


def _describe_foreign(tree: Tree) -> dict[str, Any]:
    nodes = tree.get("node", {}).get("nodes", {})
    described = []
    for name, fields in nodes.items():
        fields = fields if isinstance(fields, dict) else {}
        shapes = {key: list(value.shape) for key, value in fields.items() if isinstance(value, np.ndarray)}
        described.append({"name": name, "type": str(fields.get("type", "?")), "shapes": shapes})
    return {"format": "nir", "nodes": described}


def _content_json(q: QuantizedNetwork) -> str:
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
    raise UnsupportedParameter(f"the network holds {value!r} of type {type(value).__name__}: a model file holds JSON values")


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _nir_bytes(graph: Primitives, text: str) -> bytes:
    import nir

    nodes = {name: nir.dict2NIRNode(dict(fields)) for name, fields in graph.nodes.items()}
    target = BytesIO()
    nir.write(target, nir.NIRGraph(nodes, list(graph.edges), metadata={KEY: text}, type_check=False))
    return target.getvalue()


def _sealed_tree(path: str | os.PathLike[str], content: bytes) -> Tree:
    _require_ours(path, content)
    return read_tree(path, content)


def _require_ours(path: str | os.PathLike[str], content: bytes) -> None:
    """`BadFile` unless the file is sealed by nmdeploy and unchanged."""
    if is_sealed(content):
        check_seal(path, content)
        return
    tree = read_tree(path, content)
    if KEY in (tree.get("node", {}) or {}).get("metadata", {}):
        raise BadFile(f"{path}: damaged, or rewritten by another program: its first 512 bytes are not nmdeploy's: export again")
    raise BadFile(f"{path}: is a float NIR file: quantize it first: nmdeploy export {path} --profile loihi2 -o model.nir")


def _parse(path: str | os.PathLike[str], text: Any) -> dict[str, Any]:
    """The JSON text as a dict, its digest and version checked."""
    body, _, tail = str(text).rpartition(',"sha256":')
    try:
        header = json.loads(text)
        known = (header["format"], header["version"]) == (FORMAT, VERSION)
        intact = tail == f'"{_digest(body + "}")}"}}'
    except MALFORMED:
        raise BadFile(f"{path}: holds no nmdeploy JSON at {DATASET}: export it again") from None
    if not known:
        raise BadFile(f"{path}: holds {header['format']!r} version {header['version']!r}: this nmdeploy reads version {VERSION}")
    if not intact:
        raise BadFile(f"{path}: its JSON was changed: it does not match its SHA-256: export it again")
    return dict(header)


def _nodes(path: str | os.PathLike[str], header: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: _node(name, values) for name, values in header["nodes"].items()}
    except MALFORMED as error:
        raise BadFile(f"{path}: its JSON describes no network ({type(error).__name__}: {error}): export it again") from None


def _node(name: str, values: Mapping[str, Any]) -> Any:
    return Input.from_json(values) if values.get("kind") == Input.kind else families.from_json(name, values)


def _network(path: str | os.PathLike[str], header: Mapping[str, Any]) -> QuantizedNetwork:
    nodes = _nodes(path, header)
    try:
        return QuantizedNetwork(
            nodes=nodes,
            edges=tuple(Edge(*edge) for edge in header["edges"]),
            dt=header["dt"],
            output=header["output"],
            readout=header["readout"],
            profile=header["profile"],
            notes=tuple(header["notes"]),
        )
    except MALFORMED as error:
        raise BadFile(f"{path}: its JSON describes no network ({type(error).__name__}: {error}): export it again") from None


def _compare(path: str | os.PathLike[str], node: Tree, expected: Primitives) -> None:
    """`BadFile` unless the file's primitives are bit for bit those of its integers."""
    nodes = node.get("nodes")
    nodes = nodes if isinstance(nodes, dict) else {}
    for name in sorted(nodes.keys() ^ expected.nodes.keys()):
        raise BadFile(f"{path}: node {name!r} stands only in its {_side(name, nodes)}: export it again")
    for name, fields in expected.nodes.items():
        found = nodes[name] if isinstance(nodes[name], dict) else {}
        for key in sorted(found.keys() ^ fields.keys()):
            raise BadFile(f"{path}: node {name!r}: {key!r} stands only in its {_side(key, found)}: export it again")
        for key, value in fields.items():
            if not _identical(found[key], value):
                raise BadFile(f"{path}: node {name!r}: {key} is not what its integers say: export it again")
    if node.get("edges") != [list(edge) for edge in expected.edges]:
        raise BadFile(f"{path}: its NIR edges are not those of its integers: export it again")


def _side(key: str, found: Mapping[str, Any]) -> str:
    return "NIR primitives" if key in found else "integers"


def _identical(found: Any, expected: Any) -> bool:
    if isinstance(expected, str) or isinstance(found, (str, list, dict)):
        return bool(type(found) is type(expected) and found == expected)
    a, b = np.asarray(found), np.asarray(expected)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
