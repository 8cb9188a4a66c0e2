"""Clips with literal ends, as they occur in the graph."""

from __future__ import annotations

from typing import NamedTuple

from nmdeploy.engine.trace.symbols import Node, Symbol, shows_whole_node


class Clip(NamedTuple):
    """Clip ``min(max(x, low), high)``; an end that does not exist is None."""

    x: Symbol
    low: float | None
    high: float | None


def find_clip(node: Node) -> Clip | None:
    """Return the clip that a node is, if its ends are literal, else None."""
    if node.op not in ("min", "max") or node.args[1].node.op != "const":
        return None
    end, inner = float(node.args[1].node.value), node.args[0]
    if node.op == "max":
        return Clip(inner, end, None)
    below = find_clip(inner.node) if inner.node.op == "max" and shows_whole_node(inner) else None
    return Clip(inner, None, end) if below is None else Clip(below.x, below.low, end)
