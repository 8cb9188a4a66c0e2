"""Nodes of a network as plain values, for code that shares nothing with it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def node_fields(node: Any) -> dict[str, Any]:
    """Return every field, arrays as lists, and the kind."""
    if hasattr(node, "to_json"):
        return dict(node.to_json())
    values = {f.name: getattr(node, f.name) for f in fields(node)}
    return {"kind": node.kind} | {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return node_fields(value)
    return value.tolist() if isinstance(value, np.ndarray) else value
