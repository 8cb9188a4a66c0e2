"""Operations of a step in any lanes, per neuron or on numbers for all neurons (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nmdeploy.engine.bounds.clips import find_clip
from nmdeploy.engine.bounds.interval_arithmetic import SHIFT_MAX, Bound, constant_bound, view_bound
from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.floats import clip_mask, clipped, scaled
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.positions import Indices
from nmdeploy.engine.trace.operations import COMPARISONS
from nmdeploy.engine.trace.step import STEP
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol, is_same_view

if TYPE_CHECKING:
    from nmdeploy.engine.lower.values import Values

ONE_STATEMENT = (
    *("add", "sub", "mul", "div", "min", "max", "abs", "trunc", "ceil", "tanh"),
    *("shl", "shr", "and", "or", "xor", "not"),
)
Read = Callable[[Symbol, Lane], st.Operand]


def in_own_lanes(v: Values, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
    """Return a value times ``2**scale``."""
    if node.op in COMPARISONS:
        return _compare(v, node, index)
    found = scaled(v, node, index, lane, scale) if lane in FLOATS else None
    if found is not None:
        return found
    if node.op in ("sum", "any"):
        return v.sum_last_axis(node, index, lane, 0)
    clip = find_clip(node) if lane in FLOATS else None
    if clip is not None:
        return v.times(clipped(v, node, clip, index, lane), lane, scale)
    return v.times(_operation(v, node, lane, lambda arg, lane: v.read(arg, index, lane)), lane, scale)


def _operation(v: Values, node: Node, lane: Lane, read: Read, uniform: bool = False) -> st.Operand:
    """Return the result of an operation on operands that `read` gives."""
    op = node.op

    def apply(op: str, *args: st.Operand, to: Lane = lane) -> st.Value:
        return v.apply(to, op, *args, uniform=uniform)

    def number(value: int) -> st.Literal:
        return st.literal(value, lane)

    if op == "select" and lane != Lane.MASK:
        return apply(op, read(node.args[0], Lane.MASK), *(read(side, lane) for side in node.args[1:]))
    args = [read(arg, lane) for arg in node.args]
    if op in ("shl", "shr") and lane not in FLOATS and not _is_short(v, node):
        raise NotTraceable(f"a shift by less than 0 or more than {SHIFT_MAX} bits")
    if op == "shr" and lane in FLOATS:  # a shift by more leaves 0 or -1 of any lane
        return apply("floor", v.times(args[0], lane, -min(node.args[1].node.value, SHIFT_MAX)))
    if op in ONE_STATEMENT:
        return apply(op, *args)
    if op == "number":
        return args[0]
    if op == "select":
        return apply("or", apply("and", args[0], args[1]), apply("and", apply("not", args[0]), args[2]))
    if op == "sign":
        negative = apply("select", apply("lt", args[0], number(0), to=Lane.MASK), number(-1), number(0))
        return apply("select", apply("gt", args[0], number(0), to=Lane.MASK), number(1), negative)
    if op == "mod":
        if _bound(v, node.args[1]).low.min() <= 0:
            raise NotTraceable("a remainder by less than 1")
        rest = apply("rem", *args)
        return apply("select", apply("lt", rest, number(0), to=Lane.MASK), apply("add", rest, args[1]), rest)
    if op == "rz":
        up = apply("and", apply("shr", args[0], number(63)), number((1 << node.value) - 1))
        return apply("shr", apply("add", args[0], up), number(node.value))
    raise NotTraceable(f"the operation {op}")


def _compare(v: Values, node: Node, index: Indices) -> st.Operand:
    left, right = node.args
    if left.node.boolean and right.node.boolean:
        lane = Lane.MASK
    elif right.node.op == "const" and right.node.value == 0 and v.is_integer_sum(left.node):
        lane = Lane.I32
    else:
        lane = v.choice.comparison_lane(node.args)
        clip = find_clip(left.node) if node.op == "ne" and v.lane(left.node) in FLOATS else None
        if clip is not None and is_same_view(clip.x, right):
            return clip_mask(v, left.node, clip, index)
    return v.apply(Lane.MASK, node.op, *(v.read(arg, index, lane) for arg in node.args))


def _is_short(v: Values, node: Node) -> bool:
    low, high = _bound(v, node.args[1])
    return bool(low.min() >= 0 and high.max() <= SHIFT_MAX)


def _bound(v: Values, symbol: Symbol) -> Bound:
    node = symbol.node
    return view_bound(symbol, v.bounds[node] if node in v.bounds else constant_bound(node))


# -- tables


def look_up(v: Values, node: Node, index: Indices) -> st.Operand:
    """Return a table's values, of 64 bits, at the index of each lane."""
    place = node.args[1]
    if place.node.uniform:
        return v.splat(_look_up(v, node, scalar(v, place.node)))
    return _look_up(v, node, v.read(place, index, Lane.I64))


def _look_up(v: Values, node: Node, at: st.Operand) -> st.Value:
    """Look up, and refuse an index that may lie outside: NumPy would count it from the end, or raise."""
    table, place = node.args
    low, high = _bound(v, place)
    if low.min() < 0 or high.max() >= table.node.dims[-1]:
        raise NotTraceable(f"an index {low.min():.0f} to {high.max():.0f} of a table of {table.node.dims[-1]}")
    lane = Lane.F64 if node.real else Lane.I64
    own, slot = v.slots.of(table.node, 0, lane)
    result = v.new(lane, at.uniform and not own)
    v.put(st.LookUp(result, st.Memory.OWN if own else st.Memory.SHARED, slot, at))
    return result


# -- numbers for all neurons


def scalar(v: Values, node: Node) -> st.Operand:
    """Return a value that all neurons share, as a 64-bit integer or one condition."""
    if node.op == "const":
        return st.literal(node.value, Lane.MASK if node.boolean else Lane.I64, uniform=True)
    key = (node, "scalar")
    found = v.known(key)
    if found is None:
        with v.at_depth(0 if node.op == "param" else 1) as known:
            found = known[key] = _scalar(v, node)
    return found


def _scalar(v: Values, node: Node) -> st.Operand:
    if node.op == "leaf":
        return st.STEP_NUMBER if node.value == STEP else st.STEP_COUNT
    if node.op == "param":
        result = v.new(Lane.I64, uniform=True)
        v.put(st.Load(result, st.Memory.SHARED, v.slots.of(node, 0, Lane.I64)[1]))
        return result
    if node.op == "take":
        return _look_up(v, node, scalar(v, node.args[1].node))

    def read(arg: Symbol, lane: Lane) -> st.Operand:
        return v.convert(scalar(v, arg.node), lane)

    if node.op in COMPARISONS:
        return v.apply(Lane.MASK, node.op, *(read(arg, Lane.I64) for arg in node.args), uniform=True)
    return _operation(v, node, Lane.MASK if node.boolean else Lane.I64, read, uniform=True)


def broadcast(v: Values, node: Node, lane: Lane, scale: int) -> st.Operand:
    """Return a number that all neurons share, in every lane."""
    value = scalar(v, node)
    if lane != Lane.MASK:
        value = v.convert(value, Lane.I64)
    elif value.lane != lane:
        value = v.apply(lane, "ne", value, st.literal(0, Lane.I64), uniform=True)
    return v.times(v.splat(v.convert(value, lane)), lane, scale)
