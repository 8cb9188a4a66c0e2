"""Model files of version 2, with all integers as one JSON text, and fields that have other names in version 3."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from nmdeploy.network import families

VERSION = 2
KINDS: Mapping[str, str] = {"coupled_state_space": "dense_state_space", "gate": "gated_linear_unit"}
"""Kinds of nodes that have another name in version 3."""
FIELDS: Mapping[str, str] = {"gain": "scale"}
"""Fields of nodes that have another name in version 3."""

WINDOWED = "windowed_state_space"
DYNAMICS = (
    *("rounding", "state_bits", "coefficient_bits", "frac_a", "frac_b", "frac_c", "frac_d", "a_re", "a_im"),
    *("b_re", "b_im", "c_re", "c_im", "d", "bias", "frac_in", "frac_x", "frac_y", "scale"),
)
"""Fields of windowed neurons that are those of their dynamics today."""
THRESHOLD_OF_DYNAMICS = (1 << 31) - 1  # it decides nothing: the window does


def parse(text: str) -> tuple[dict[str, Any] | None, bool]:
    """Return the content of the text, or None for other texts, and whether it matches its digest."""
    body, _, tail = text.rpartition(',"sha256":')
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None, False
    sha256 = hashlib.sha256(f"{body}}}".encode()).hexdigest()
    return (dict(values), tail == f'"{sha256}"}}') if isinstance(values, dict) else (None, False)


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content in the form of version 3: its names, and lists of numbers as arrays."""
    return {**values, "nodes": {name: _upgraded(node) for name, node in values["nodes"].items()}}


def _upgraded(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    kind = str(KINDS.get(str(node.get("kind")), node.get("kind")))
    renamed = {FIELDS.get(field, field): value for field, value in node.items() if value is not None}
    if kind == WINDOWED:
        inner = {field: renamed.pop(field) for field in DYNAMICS if field in renamed}
        inner |= {"vth": np.full(np.shape(inner.get("a_re", ()))[:1], THRESHOLD_OF_DYNAMICS)}
        renamed["dynamics"] = _with_arrays("state_space", inner)
    return {**_with_arrays(kind, renamed), "kind": kind}


def _with_arrays(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a node, lists of numbers as arrays."""
    family = families.quantized_neurons().get(kind) or families.quantized_synapses().get(kind)
    names = {f.name for f in fields(family)} if family is not None else set()  # type: ignore[arg-type]
    arrays = {field: _array(value) for field, value in values.items() if field in names and isinstance(value, list)}
    return {**values, **arrays}


def _array(values: Any) -> Any:
    """Return a list of integers, or of numbers, as an array; return anything else unchanged."""
    array = np.array(values)
    return array if array.dtype.kind in "if" else values
