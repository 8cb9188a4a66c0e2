"""Bounds of values per neuron and state, through every operation (docs/engine.md).

A bound is a pair of float64 arrays (H or 1, *dims), lowest and highest value. They hold integers up to 2**53 exactly.
The bound of a larger value is widened, so that it remains a bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from nmdeploy.engine.trace.symbols import Node, Symbol, is_same_view, shows_whole_node
from nmdeploy.engine.trace.views import compose
from nmdeploy.neurons.base import FloatArray

F64_EXACT = 2.0**53 - 1  # 2**53 may be the rounded form of a larger integer
F32_EXACT = 2.0**24
"""Largest magnitudes up to which every integer is a float64, or a float32."""
TOP = 2.0**70
SHIFT_MAX = 63


class Bound(NamedTuple):
    """Lowest and highest value, inclusive."""

    low: FloatArray
    high: FloatArray

    @property
    def magnitude(self) -> float:
        """Largest magnitude over all neurons and states."""
        return float(max(np.abs(self.low).max(initial=0), np.abs(self.high).max(initial=0)))


def round_outward(low: Any, high: Any) -> Bound:
    """Return the bound of a computed result, widened if it may be rounded, and never beyond `TOP`."""
    low, high = np.atleast_1d(np.asarray(low, np.float64)), np.atleast_1d(np.asarray(high, np.float64))
    if max(np.abs(low).max(initial=0), np.abs(high).max(initial=0)) > F64_EXACT:
        low, high = low - np.abs(low) * 2.0**-50, high + np.abs(high) * 2.0**-50
    return Bound(np.maximum(low, -TOP), np.minimum(high, TOP))


def _corners(operation: Callable[[Any, Any], Any]) -> Callable[[Bound, Bound], Bound]:
    def bound(a: Bound, b: Bound) -> Bound:
        ends = [operation(x, y) for x in a for y in b]
        return round_outward(np.minimum.reduce(ends), np.maximum.reduce(ends))

    return bound


def _by(k: Any) -> Any:
    return np.clip(k, 0, SHIFT_MAX).astype(np.int64)


def _shift_left(a: Bound, b: Bound) -> Bound:
    return _corners(lambda x, k: np.ldexp(x, _by(k)))(a, b)


def _shift_right(a: Bound, b: Bound) -> Bound:
    return _corners(lambda x, k: np.floor(np.ldexp(x, -_by(k))))(a, b)


def _multiply(a: Bound, b: Bound) -> Bound:
    if a.low is a.high:  # a parameter: each end moves one way
        ends = a.low * b.low, a.low * b.high
        return round_outward(np.minimum(*ends), np.maximum(*ends))
    return _multiply(b, a) if b.low is b.high else _corners(np.multiply)(a, b)


def absolute(a: Bound) -> Bound:
    """Return the bound of magnitudes."""
    low = np.where((a.low <= 0) & (a.high >= 0), 0.0, np.minimum(np.abs(a.low), np.abs(a.high)))
    return round_outward(low, np.maximum(np.abs(a.low), np.abs(a.high)))


def _bitwise_and(a: Bound, b: Bound) -> Bound:
    """Bound bitwise and: it does not exceed an operand that is not negative."""
    lows = (a.low >= 0) | (b.low >= 0)
    high = np.where(a.low >= 0, np.where(b.low >= 0, np.minimum(a.high, b.high), a.high), b.high)
    return round_outward(np.where(lows, 0, -TOP), np.where(lows, high, TOP))


def _bitwise_or(a: Bound, b: Bound) -> Bound:
    """Bound bitwise or and exclusive or: they are below the next power of two."""
    most = np.maximum(np.maximum(np.abs(a.low), np.abs(a.high)), np.maximum(np.abs(b.low), np.abs(b.high)))
    top = np.ldexp(1.0, np.frexp(most)[1])
    signed = (a.low < 0) | (b.low < 0)
    return round_outward(np.where(signed, -top, 0), np.where(signed, top, top - 1))


def _remainder(a: Bound, b: Bound) -> Bound:
    within = (a.low >= 0) & (a.high < b.low)
    return round_outward(np.where(within, a.low, 0), np.where(within, a.high, b.high - 1))


BINARY_BOUNDS: dict[str, Callable[[Bound, Bound], Bound]] = {
    "add": lambda a, b: round_outward(a.low + b.low, a.high + b.high),
    "sub": lambda a, b: round_outward(a.low - b.high, a.high - b.low),
    "mul": _multiply,
    "min": lambda a, b: Bound(np.minimum(a.low, b.low), np.minimum(a.high, b.high)),
    "max": lambda a, b: Bound(np.maximum(a.low, b.low), np.maximum(a.high, b.high)),
    "shl": _shift_left,
    "shr": _shift_right,
    "and": _bitwise_and,
    "or": _bitwise_or,
    "xor": _bitwise_or,
    "mod": _remainder,
}
COMPARISON_BOUNDS: dict[str, Callable[[Bound, Bound], tuple[Any, Any]]] = {
    "lt": lambda a, b: (a.high < b.low, a.low >= b.high),
    "gt": lambda a, b: (a.low > b.high, a.high <= b.low),
    "le": lambda a, b: (a.high <= b.low, a.low > b.high),
    "ge": lambda a, b: (a.low >= b.high, a.high < b.low),
    "eq": lambda a, b: ((a.low == a.high) & (b.low == b.high) & (a.low == b.low), (a.high < b.low) | (a.low > b.high)),
    "ne": lambda a, b: ((a.high < b.low) | (a.low > b.high), (a.low == a.high) & (b.low == b.high) & (a.low == b.low)),
}


Bounds = Mapping[Node, Bound]


def view_bound(symbol: Symbol, bound: Bound) -> Bound:
    """Return the bound of a node over the axes of a view of it; an axis may keep size 1."""
    low = _view_end(symbol, bound.low)
    return Bound(low, low if bound.high is bound.low else _view_end(symbol, bound.high))


def _view_end(symbol: Symbol, array: FloatArray) -> FloatArray:
    key: list[Any] = [slice(None)]
    axes = [1] * len(symbol.sizes)
    for place, size in zip(symbol.places, array.shape[1:], strict=False):
        if isinstance(place, int):
            key.append(place if size > 1 else 0)
        else:
            axis, start, step = place
            full = symbol.sizes[axis]
            key.append(slice(start, start + step * (full - 1) + 1, step) if size > 1 else slice(None))
            axes[axis] = full if size > 1 else 1
    part = array[tuple(key)]
    return np.asarray(part.reshape(part.shape[0], *axes))


def _truth(always: Any, never: Any) -> Bound:
    return Bound(np.where(always, 1.0, 0.0), np.where(never, 0.0, 1.0))


def _logic(op: str, a: Bound, b: Bound) -> Bound:
    if op == "and":
        return Bound(np.minimum(a.low, b.low), np.minimum(a.high, b.high))
    if op == "or":
        return Bound(np.maximum(a.low, b.low), np.maximum(a.high, b.high))
    sure = (a.low == a.high) & (b.low == b.high)
    return Bound(np.where(sure, np.abs(a.low - b.low), 0.0), np.where(sure, np.abs(a.low - b.low), 1.0))


Constraint = tuple[Symbol, Any, Any]
"""A view, and its lower and upper limit where a condition holds."""


def _select(node: Node, bounds: Bounds, given: tuple[Constraint, ...] = ()) -> Bound:
    """Bound each side under its condition.

    For example, the side that a reset leaves is not above the threshold, and one correction is enough.
    """
    condition, yes, no = node.args
    c = view_bound(condition, bounds[condition.node])
    y = _constrain(yes, bounds, (*given, *_constraints(condition, True, bounds)))
    n = _constrain(no, bounds, (*given, *_constraints(condition, False, bounds)))
    low = np.where(c.low > 0, y.low, np.where(c.high > 0, np.minimum(y.low, n.low), n.low))
    high = np.where(c.low > 0, y.high, np.where(c.high > 0, np.maximum(y.high, n.high), n.high))
    return Bound(low, high)


def _constrain(symbol: Symbol, bounds: Bounds, given: tuple[Constraint, ...]) -> Bound:
    """Return the bound of a view where constraints hold."""
    box = view_bound(symbol, bounds[symbol.node])
    met = [(least, most) for x, least, most in given if is_same_view(x, symbol)]
    if met:
        low = functools.reduce(np.maximum, [least for least, _ in met], box.low)
        high = functools.reduce(np.minimum, [most for _, most in met], box.high)
        # An empty side does not count: its condition never holds.
        return Bound(np.minimum(low, box.high), np.maximum(high, box.low))
    node = symbol.node
    if given and shows_whole_node(symbol):
        if node.op in ("add", "sub"):
            return _intersect(box, BINARY_BOUNDS[node.op](*(_constrain(arg, bounds, given) for arg in node.args)))
        if node.op == "select":
            return _intersect(box, _select(node, bounds, given))
        if node.op in ("min", "max", "number"):
            return _intersect(box, _bound_of_args(node, [_constrain(arg, bounds, given) for arg in node.args]))
    return box


def _intersect(a: Bound, b: Bound) -> Bound:
    """Return the intersection of two bounds that both hold.

    Where it is empty, no value exists, and the first bound is as good.
    """
    low, high = np.maximum(a.low, b.low), np.minimum(a.high, b.high)
    return Bound(np.where(low <= high, low, a.low), np.where(low <= high, high, a.high))


def _always_holds(condition: Symbol, holds: bool, bounds: Bounds) -> bool:
    low, high = view_bound(condition, bounds[condition.node])
    return bool((low >= 1).all() if holds else (high <= 0).all())


def _constraints(condition: Symbol, holds: bool, bounds: Bounds) -> list[Constraint]:
    node = condition.node
    if node.op not in ("not", "and", "or", "gt", "ge", "lt", "le"):
        return []
    sides = tuple(compose(condition, arg) for arg in node.args)
    if node.op == "not":
        return _constraints(sides[0], not holds, bounds)
    if node.op in ("and", "or"):
        if holds != (node.op == "and"):  # one of them holds: known only if the other cannot hold
            sides = tuple(a for a in sides if not _always_holds(a, not holds, bounds))
        known = len(sides) < 2 or holds == (node.op == "and")
        return [c for side in sides for c in _constraints(side, holds, bounds)] if known else []
    x, limit = sides
    box = view_bound(limit, bounds[limit.node])
    upwards = (node.op in ("gt", "ge")) == holds
    strict = (node.op in ("gt", "lt")) == holds
    return [(x, box.low + strict, TOP) if upwards else (x, -TOP, box.high - strict)]


def constant_bound(node: Node) -> Bound:
    """Return the bound of a literal or a parameter: its value."""
    value = np.atleast_1d(np.asarray(node.value, np.float64))
    return Bound(value, value) if np.abs(value).max(initial=0) <= F64_EXACT else round_outward(value, value)


def _reduce(node: Node, a: Bound) -> Bound:
    size = node.args[0].sizes[-1]
    if node.op == "any":
        return Bound(a.low.max(-1), a.high.max(-1))
    spread = 1 if a.low.shape[-1] == size else size
    low, high = a.low.sum(-1) * spread, a.high.sum(-1) * spread
    terms = np.maximum(np.abs(a.low), np.abs(a.high)).sum(-1) * spread
    lost = np.where(terms > F64_EXACT, terms * 2.0**-40, 0.0)  # if terms cancel, the error of their rounding remains
    return round_outward(low - lost, high + lost)


def _bound_of(node: Node, bounds: Bounds) -> Bound:
    """Return the bound of an operation's result."""
    if node.op in ("const", "param"):
        return constant_bound(node)
    if node.op == "select":
        return _select(node, bounds)
    args = [view_bound(arg, bounds[arg.node]) for arg in node.args]
    if node.op == "sub" and _counts_down(node):
        at_least = np.where(args[0].low >= 0, np.maximum(args[0].low - 1, 0), args[0].low - 1)
        return Bound(at_least, np.where(args[0].high > 0, np.maximum(args[0].high - 1, 0), args[0].high))
    return _bound_of_args(node, args)


def _counts_down(node: Node) -> bool:
    """Return True for ``x - (x != 0)``, which keeps a value that is not negative so."""
    x, less = node.args
    if less.node.op != "number" or not shows_whole_node(less) or less.node.args[0].node.op != "ne":
        return False
    unequal = less.node.args[0]
    inner, zero = unequal.node.args
    return shows_whole_node(unequal) and is_same_view(inner, x) and zero.node.op == "const" and zero.node.value == 0


def _bound_of_args(node: Node, args: list[Bound]) -> Bound:
    if node.op in ("sum", "any"):
        return _reduce(node, args[0])
    if node.op == "take":
        return Bound(*_table_ends(args[0], node))
    if node.op == "rz":
        return round_outward(
            np.trunc(np.ldexp(args[0].low, -node.value)), np.trunc(np.ldexp(args[0].high, -node.value))
        )
    if node.op == "not":
        return Bound(1 - args[0].high, 1 - args[0].low)
    if node.op == "number":
        return args[0]
    if node.op == "abs":
        return absolute(args[0])
    if node.op == "sign":
        return Bound(np.sign(args[0].low), np.sign(args[0].high))
    if node.op in COMPARISON_BOUNDS:
        return _truth(*COMPARISON_BOUNDS[node.op](*args))
    if node.boolean:
        return _logic(node.op, *args)
    return BINARY_BOUNDS[node.op](*args)


def _table_ends(table: Bound, node: Node) -> tuple[FloatArray, FloatArray]:
    low, high = table.low.min(-1), table.high.max(-1)
    shape = (low.shape[0], *[1] * len(node.dims))
    return low.reshape(shape), high.reshape(shape)


def evaluate(nodes: list[Node], leaves: Mapping[Node, Bound]) -> dict[Node, Bound]:
    """Return the bound of each node, given the bounds of the leaves."""
    bounds: dict[Node, Bound] = dict(leaves)
    for node in nodes:
        if node not in bounds:
            bounds[node] = _bound_of(node, bounds)
    return bounds


def join(a: Bound, b: Bound) -> Bound:
    """Return the bound that holds both."""
    return Bound(np.minimum(a.low, b.low), np.maximum(a.high, b.high))


def contains(outer: Bound, inner: Bound) -> bool:
    """Return True if `outer` holds `inner`."""
    return bool((inner.low >= outer.low).all() and (inner.high <= outer.high).all())
