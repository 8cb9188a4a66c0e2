"""Float networks in a ``.safetensors`` file, exactly as they are in memory.

The header holds, as `nmdeploy.models.checkpoint` does it, ``nmdeploy`` and ``sha256``. The first is a JSON text:

    {"format": "nmdeploy-network", "version": 1, "dt": ..., "output": ..., "readout": ...,
     "nodes": {name: {"kind": ..., field: ...}}, "edges": [[source, target, delay], ...], "read_as": {...}}

``read_as`` says how the network's own source was read; files of before have none.

The tensors ``NODE/FIELD`` are the arrays of the nodes. A complex array is ``NODE/FIELD:complex``, with one more axis of
real and imaginary part. A missing field has its default, so that a later version may add fields; an unknown one is
refused.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.atomic_files import write_bytes
from nmdeploy._util.fields import BadField, build, split
from nmdeploy.errors import BadFile, BadOption, NmdeployError
from nmdeploy.importers.checkpoint_content import Tensors, digest, safetensors_bytes
from nmdeploy.importers.readings import reading_to_save
from nmdeploy.network import families
from nmdeploy.network.expected import require_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.network.reading import reading_of

FORMAT = "nmdeploy-network"
VERSION = 1
CONTENT = ("dt", "output", "readout", "nodes", "edges")
READ_AS = "read_as"
COMPLEX = ":complex"
AGAIN = "save it again with nmdeploy.save"
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that Python raises if JSON is not laid out as a network's."""


def save(network: Network, path: str | Path) -> None:
    """Write a float network to a file that `load` and every command take as a checkpoint, in one step.

    Parameters
    ----------
    network : Network
        Nodes, edges with delays, dt, readout and the input's format are kept: ``load(path) == network``. So is how its
        source was read.
    path : str or Path
        File whose name ends in ``.safetensors``. An existing file is replaced.

    Raises
    ------
    BadOption
        The object is no float network, the suffix is another one, or a value of a node is not finite.
    BadFile
        The file cannot be written.
    """
    require_float(network, "save")
    if Path(path).suffix != ".safetensors":
        raise BadOption(f"{path}: float networks are stored as .safetensors: give a name that ends in .safetensors")
    text, tensors = network_content(network)
    write_bytes(path, safetensors_bytes(text, digest(text, tensors), tensors))


def network_content(network: Network) -> tuple[str, Tensors]:
    """Return the JSON text and the tensors of a network."""
    if not (math.isfinite(network.dt) and network.dt > 0):
        raise BadOption(f"dt = {network.dt}: a time step is a finite number of seconds over 0: set the network's dt")
    nodes: dict[str, Any] = {}
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, node in network.nodes.items():
        plain, arrays = (node.to_json(), {}) if isinstance(node, Input) else split(node)
        nodes[name] = {"kind": node.kind} | plain
        _require_finite(name, arrays)
        tensors |= dict(_stored(f"{name}/{field}", array) for field, array in arrays.items())
    values = {
        "format": FORMAT,
        "version": VERSION,
        "dt": float(network.dt),
        "output": network.output,
        "readout": network.readout,
        "nodes": nodes,
        "edges": [[edge.source, edge.target, edge.delay] for edge in network.edges],
        READ_AS: reading_to_save(network).to_json(),
    }
    try:
        return json.dumps(values, separators=(",", ":"), allow_nan=False, default=_plain), tensors
    except (TypeError, ValueError) as error:
        raise BadOption(f"the network holds a value that is no finite JSON value ({error}): replace it") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _require_finite(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    for field, array in arrays.items():
        bad = 0 if array.dtype.kind not in "fc" else int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise BadOption(f"node {name!r}: {field} holds {bad} NaN or infinite values, limit 0: replace them")


def _stored(name: str, array: npt.NDArray[Any]) -> tuple[str, npt.NDArray[Any]]:
    if array.dtype.kind != "c":
        return name, np.array(array, order="C")
    pairs = np.array(array, np.complex128, order="C").reshape(*array.shape, 1)
    return name + COMPLEX, pairs.view(np.float64)


def is_network(text: Any) -> bool:
    """Return True if a header's JSON text is that of a float network."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT


def network_of(file: str, text: str, tensors: Tensors) -> Network:
    """Return the network that a header's JSON text and the tensors describe; `BadFile` if they describe none."""
    values = json.loads(text)
    version = values.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise BadFile(f"{file}: holds {FORMAT!r} version {version!r}, limit {VERSION}: update nmdeploy")
    for key in values:
        if key not in (*CONTENT, READ_AS, "format", "version"):
            raise BadFile(f"{file}: holds {key!r}, which this version of nmdeploy does not know: update nmdeploy")
    try:
        return _network(values, tensors)
    except NmdeployError as error:
        raise BadFile(f"{file}: {error}") from None
    except MALFORMED as error:
        what = f"{type(error).__name__}: {error}"
        raise BadFile(f"{file}: its JSON describes no network ({what}): {AGAIN}") from None


def _network(values: Mapping[str, Any], tensors: Tensors) -> Network:
    given = {key: values[key] for key in CONTENT if key in values}
    required = [f.name for f in fields(Network) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in given]:
        raise BadFile(f"its JSON lacks {', '.join(missing)}: {AGAIN}")
    arrays: dict[str, dict[str, npt.NDArray[Any]]] = {name: {} for name in values["nodes"]}
    for name, tensor in tensors.items():
        node, _, field = name.rpartition("/")
        if node not in arrays:
            raise BadFile(f"tensor {name!r} belongs to no node: {AGAIN}")
        arrays[node][field.removesuffix(COMPLEX)] = _loaded(field, tensor)
    for name, held in arrays.items():
        _require_finite(name, held)
    nodes = {name: _node(name, held, arrays[name]) for name, held in values["nodes"].items()}
    edges = tuple(Edge(source, target, operator.index(delay)) for source, target, delay in values["edges"])
    network = Network(**given | {"nodes": nodes, "edges": edges, "dt": float(given["dt"])}, read_as=reading_of(values))
    if not (math.isfinite(network.dt) and network.dt > 0):
        raise BadFile(f"dt = {network.dt}: a time step is a finite number of seconds over 0: {AGAIN}")
    return network


def _loaded(field: str, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not field.endswith(COMPLEX):
        return tensor
    if tensor.dtype != np.float64 or tensor.shape[-1:] != (2,):
        raise BadFile(f"tensor {field!r} is no float64 array of pairs: {AGAIN}")
    return np.ascontiguousarray(tensor).view(np.complex128)[..., 0]


def _node(name: str, values: Mapping[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Any:
    kind = str(values.get("kind"))
    if kind == Input.kind:
        return Input.from_json(values)
    try:
        return build(families.floats(name, kind), {key: held for key, held in values.items() if key != "kind"} | arrays)
    except BadField as error:
        raise BadFile(f"node {name!r} ({kind}): {error}".replace("export it again", AGAIN)) from None
