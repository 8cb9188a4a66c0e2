"""The model file, a quantized network as NIR, with its integers in the metadata.

``nir.read`` reads every file as standard primitives (``nmdeploy.nir_io.graph``). The graph's metadata holds the network
under the key ``nmdeploy`` (``nmdeploy.nir_io.model``): all integers, number formats, rule names, edges and their order.
Reading takes the network from there. The file starts with the SHA-256 of all bytes that follow
(``nmdeploy.nir_io.file``), so any changed bit is refused. `check_primitives` computes the primitives again and compares
them with the file's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from nmdeploy._util.atomic_files import write_bytes
from nmdeploy.errors import BadFile
from nmdeploy.network.expected import require_path, require_quantized
from nmdeploy.network.graph import Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io.file import check_seal, is_sealed, load_bytes, read_tree, seal, with_user_block
from nmdeploy.nir_io.graph import primitives
from nmdeploy.nir_io.model import KEY, PLACE, model_content, network_of, network_sha256, parse, reading_content
from nmdeploy.nir_io.notes import reader_notes
from nmdeploy.nir_io.primitives import Primitives
from nmdeploy.nir_io.tree import Tree

Path = str | os.PathLike[str]

EXPORT = "quantize it: nmdeploy export {} --profile loihi2 -o model.nir"
SAMPLES = "holds samples: give it to --data, and here the model (.nir)"
RECORDING = "is a recording, which nmdeploy inspect describes: give the model (.nir) that was run"
OTHER = "holds no NIR graph: check that it is a .nir file"
CHECKPOINT = f"is a checkpoint, not a model: {EXPORT}"
OTHER_FILES = {"safetensors": CHECKPOINT, "pt": CHECKPOINT, "npz": SAMPLES, "npy": SAMPLES}


def write(q: QuantizedNetwork, path: Path) -> list[str]:
    """Write a model file in one step; if that fails, no file is left.

    Parameters
    ----------
    q : QuantizedNetwork
        The network.
    path : str or path
        File name, usually with the suffix ``.nir``. An existing file is replaced.

    Returns
    -------
    list of str
        Notes for other readers of NIR, one line per thing that they would misread or refuse.

    Raises
    ------
    UnsupportedParameter
        A node has no NIR form, or a name that the file cannot hold.
    BadFile
        The path cannot be written.
    """
    require_quantized(q, "write")
    graph = primitives(q)
    text, arrays = model_content(q)
    paths = {f"{PLACE}/nodes/{name}/{field}": array for name, node in arrays.items() for field, array in node.items()}
    write_bytes(path, seal(with_user_block(_nir_bytes(graph, {"model": text} | reading_content(q)), paths)))
    return reader_notes(q, graph)


def read(path: Path) -> QuantizedNetwork:
    """Read the quantized network of a model file: ``read(write(q)) == q``.

    Raises
    ------
    BadFile
        The file is missing, damaged, or not written by nmdeploy.
    """
    require_path(path, "read", "a QuantizedNetwork needs no reading, a float Network is no model")
    return network_of(path, read_content(path))


def check_primitives(path: Path) -> None:
    """Compute the primitives of a model file from its integers again, and compare.

    A file of another version is compared as well: a change of the primitives since then shows here.

    Raises
    ------
    BadFile
        A primitive differs; the message names the first one.
    """
    q = read(path)
    _compare(path, read_tree(path, load_bytes(path))["node"], primitives(q))


def model_sha256(model: QuantizedNetwork | Path) -> str:
    """Return the digest of a model, or of a model file: 64 hex digits over its integers and formats.

    Two files have the same digest exactly if their networks are equal.
    """
    return network_sha256(model if isinstance(model, QuantizedNetwork) else read(model))


def read_content(path: Path) -> dict[str, Any]:
    """Return the content of a model file, its digests checked; neither ``nir`` nor the rest of the file is read."""
    held = load_bytes(path)
    _require_ours(path, held)
    return parse(path, read_tree(path, held, only=PLACE)[""])


def describe(path: Path) -> dict[str, Any]:
    """Return the content of a ``.nir`` file for ``nmdeploy inspect``, without importing ``nir``.

    Returns
    -------
    dict
        For a model file ``format, version, sha256, profile, dt, readout, output, notes, bytes``, and by name ``input,
        layers, synapses``. For another NIR file ``format`` ("nir"), and ``nodes`` by name with their types and shapes.
    """
    content = load_bytes(path)
    if not is_sealed(content):
        return {"format": "nir", "nodes": _foreign_nodes(foreign_tree(path, content))}
    held = read_content(path)
    q = network_of(path, held)
    nodes = q.nodes
    return {
        "format": held["format"],
        "version": held["version"],
        "sha256": network_sha256(q),
        "profile": q.profile,
        "dt": q.dt,
        "readout": q.readout,
        "output": q.output,
        "notes": list(q.notes),
        "read_as": None if q.read_as is None else q.read_as.to_json(),
        "bytes": len(content),
        "input": {name: node.to_json() for name, node in nodes.items() if isinstance(node, Input)},
        "layers": {name: _layer(node) for name, node in nodes.items() if node.role == "population"},
        "synapses": {name: _synapse(node) for name, node in nodes.items() if node.role == "synapse"},
    }


def _layer(node: Any) -> dict[str, Any]:
    fields = {"kind": node.kind, "neurons": node.size, "outputs": node.output_size, "states": node.real_states}
    return fields | {"state_bits": node.state_bits, "footprint_bits": node.footprint_bits}


def _synapse(node: Any) -> dict[str, Any]:
    fields = {"kind": node.kind, "bits": node.bits, "shape": list(node.shape)}
    return fields | {"synapses": node.synapse_count, "footprint_bits": node.footprint_bits}


def _foreign_nodes(tree: Tree) -> dict[str, Any]:
    nodes = _at(tree, "node", "nodes")
    described = {}
    for name, fields in (nodes if isinstance(nodes, dict) else {}).items():
        fields = fields if isinstance(fields, dict) else {}
        shapes = {key: list(value.shape) for key, value in fields.items() if isinstance(value, np.ndarray)}
        described[name] = {"type": str(fields.get("type", "?"))} | shapes
    return described


def _nir_bytes(graph: Primitives, metadata: Mapping[str, str]) -> bytes:
    import nir

    nodes = {name: nir.dict2NIRNode(dict(fields)) for name, fields in graph.nodes.items()}
    target = BytesIO()
    nir.write(target, nir.NIRGraph(nodes, list(graph.edges), metadata={KEY: dict(metadata)}, type_check=False))
    return target.getvalue()


def graph_bytes(name: str, graph: Any) -> bytes:
    """Return a ``nir.NIRGraph`` as the bytes of its file; `BadFile` for one that cannot be written."""
    import nir

    target = BytesIO()
    try:
        nir.write(target, graph, compression=None)  # with compression, HDF5 holds no scalar
    except Exception as error:  # nir and h5py each raise their own for what a file cannot hold
        raise BadFile(
            f"{name}: cannot be written as NIR ({type(error).__name__}: {error}): correct its nodes"
        ) from None
    return target.getvalue()


def _require_ours(path: Path, content: bytes) -> None:
    """Raise `BadFile` unless the file is sealed by nmdeploy and unchanged."""
    if not is_sealed(content):
        suffix = str(path).rpartition(".")[2]
        if content and suffix in OTHER_FILES:
            raise BadFile(f"{path}: {OTHER_FILES[suffix].format(path)}")
        foreign_tree(path, content)
        raise BadFile(f"{path}: is a float NIR file: {EXPORT.format(path)} --dt SECONDS")
    check_seal(path, content)


def foreign_tree(path: Path, content: bytes) -> Tree:
    """Return the tree of a NIR file without nmdeploy's seal.

    Raises
    ------
    BadFile
        The file is one of nmdeploy's that lost its seal, or is not NIR.
    """
    tree = read_tree(path, content)
    if "node" not in tree:
        recording = "output" in tree and "layers" in tree
        raise BadFile(f"{path}: {RECORDING if recording else SAMPLES if 'inputs' in tree else OTHER}")
    if _at(tree, "node", "metadata", KEY) is not None:
        raise BadFile(f"{path}: damaged, or rewritten by another program: its seal is lost: export it again")
    return tree


def _at(tree: Tree, *keys: str) -> Any:
    """Return the entry under nested keys, or None."""
    found: Any = tree
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _compare(path: Path, node: Tree, expected: Primitives) -> None:
    """Raise `BadFile` unless the file's primitives are bit for bit those of its integers."""
    nodes = node.get("nodes")
    nodes = nodes if isinstance(nodes, dict) else {}
    for name in sorted(nodes.keys() ^ expected.nodes.keys()):
        raise BadFile(f"{path}: node {name!r} is only in its {_side(name, nodes)}: export it again")
    for name, fields in expected.nodes.items():
        found = nodes[name] if isinstance(nodes[name], dict) else {}
        for key in sorted(found.keys() ^ fields.keys()):
            raise BadFile(f"{path}: node {name!r}: {key!r} is only in its {_side(key, found)}: export it again")
        for key, value in fields.items():
            if not _identical(found[key], value):
                raise BadFile(f"{path}: node {name!r}: {key} differs from its integers: export it again")
    if node.get("edges") != [list(edge) for edge in expected.edges]:
        raise BadFile(f"{path}: its NIR edges are not those of its integers: export it again")


def _side(key: str, found: Mapping[str, Any]) -> str:
    return "NIR primitives" if key in found else "integers"


def _identical(found: Any, expected: Any) -> bool:
    if isinstance(expected, str) or isinstance(found, (str, list, dict)):
        return bool(type(found) is type(expected) and found == expected)
    a, b = np.asarray(found), np.asarray(expected)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
