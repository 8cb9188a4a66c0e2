"""Operations of a step in int64 lanes and on scalars, and its conditions (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from nmdeploy.engine.bounds.clips import find_clip
from nmdeploy.engine.bounds.interval_arithmetic import SHIFT_MAX, Bound, constant_bound, view_bound
from nmdeploy.engine.llvm.code import F32, F64, I1, I64, at, i64, load, splat, vector
from nmdeploy.engine.llvm.floats import clip_mask
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.trace.operations import COMPARISONS
from nmdeploy.engine.trace.step import STEP
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol, is_same_view

if TYPE_CHECKING:
    from nmdeploy.engine.llvm.values import Index, Values

SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
INTEGER_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda b, x, y: b.add(x, y),
    "sub": lambda b, x, y: b.sub(x, y),
    "mul": lambda b, x, y: b.mul(x, y),
    "shl": lambda b, x, y: b.shl(x, y),
    "shr": lambda b, x, y: b.ashr(x, y),
    "and": lambda b, x, y: b.and_(x, y),
    "or": lambda b, x, y: b.or_(x, y),
    "xor": lambda b, x, y: b.xor(x, y),
    "min": lambda b, x, y: b.select(b.icmp_signed("<", x, y), x, y),
    "max": lambda b, x, y: b.select(b.icmp_signed(">", x, y), x, y),
}


def in_integers(v: Values, node: Node, index: Index) -> Any:
    """Return a value in int64 lanes."""
    if node.op == "sum":
        return v.sum_last_axis(node, index, Lane.I64, 0)
    if node.op == "select":
        condition, yes, no = node.args
        return v.b.select(
            v.read(condition, index, Lane.MASK), v.read(yes, index, Lane.I64), v.read(no, index, Lane.I64)
        )
    return integer_operation(v, node.op, node, [v.read(arg, index, Lane.I64) for arg in node.args])


def integer_operation(v: Values, op: str, node: Node, args: list[Any]) -> Any:
    """Return the result of an operation on 64-bit integers, scalar or in lanes."""
    b, kind = v.b, args[0].type
    if kind in (I1, vector(I1, v.lanes)) and op in ("and", "or", "xor"):
        return getattr(b, op if op == "xor" else f"{op}_")(*args)

    def literal(value: int) -> Any:
        return i64(value) if kind == I64 else v.literal(value, Lane.I64, 0)

    if op in ("shl", "shr") and not _is_short(v, node):
        raise NotTraceable(f"a shift by less than 0 or more than {SHIFT_MAX} bits")
    if op in INTEGER_OPERATIONS:
        return INTEGER_OPERATIONS[op](b, *args)
    if op == "abs":
        return b.select(b.icmp_signed("<", args[0], literal(0)), b.sub(literal(0), args[0]), args[0])
    if op == "sign":
        negative = b.select(b.icmp_signed("<", args[0], literal(0)), literal(-1), literal(0))
        return b.select(b.icmp_signed(">", args[0], literal(0)), literal(1), negative)
    if op == "mod":
        if bound_of(v, node.args[1]).low.min() <= 0:
            raise NotTraceable("a remainder by less than 1")
        rest = b.srem(*args)
        return b.select(b.icmp_signed("<", rest, literal(0)), b.add(rest, args[1]), rest)
    if op == "rz":
        up = b.and_(b.ashr(args[0], literal(63)), literal((1 << node.value) - 1))
        return b.ashr(b.add(args[0], up), literal(node.value))
    if op == "number":
        return args[0]
    raise NotTraceable(f"the operation {op}")


def _is_short(v: Values, node: Node) -> bool:
    low, high = bound_of(v, node.args[1])
    return bool(low.min() >= 0 and high.max() <= SHIFT_MAX)


def bound_of(v: Values, symbol: Symbol) -> Bound:
    """Return the bound of a view."""
    node = symbol.node
    return view_bound(symbol, v.bounds[node] if node in v.bounds else constant_bound(node))


def reached(v: Values, node: Node) -> Bound:
    """Return the bound of a table's index; refuse one that may lie outside: NumPy would raise or count from the end."""
    table, place = node.args
    low, high = bound_of(v, place)
    if low.min() < 0 or high.max() >= table.node.dims[-1]:
        raise NotTraceable(f"an index {low.min():.0f} to {high.max():.0f} of a table of {table.node.dims[-1]}")
    return Bound(low, high)


def boolean(v: Values, node: Node, index: Index) -> Any:
    """Return a condition as a mask."""
    b, op = v.b, node.op
    if op in COMPARISONS:
        return _compare(v, node, index)
    if op == "any":
        return v.sum_last_axis(node, index, Lane.MASK, 0)
    args = [v.read(arg, index, Lane.MASK) for arg in node.args]
    if op == "not":
        return b.not_(args[0])
    if op == "select":
        return b.or_(b.and_(args[0], args[1]), b.and_(b.not_(args[0]), args[2]))
    return integer_operation(v, op, node, args)


def _compare(v: Values, node: Node, index: Index) -> Any:
    b = v.b
    left, right = node.args
    if left.node.boolean and right.node.boolean:
        a, c = v.read(left, index, Lane.MASK), v.read(right, index, Lane.MASK)
        return b.xor(a, c) if node.op == "ne" else b.icmp_unsigned(SIGNS[node.op], a, c)
    against_zero = right.node.op == "const" and right.node.value == 0
    if against_zero and left.node.op == "leaf" and left.node.value in v.places.sums and not left.node.real:
        raw = v.raw(left.node, v.indices(left, index))
        return b.icmp_signed(SIGNS[node.op], raw, ir.Constant(raw.type, [0] * v.lanes))
    lane = v.choice.comparison_lane(node.args)
    clip = find_clip(left.node)
    if (
        node.op == "ne"
        and v.lane(left.node) in FLOATS
        and clip is not None
        and is_same_view(clip.x, right)
        and not b.block.is_terminated
    ):
        return clip_mask(v, left.node, clip, index)
    a, c = (v.read(arg, index, lane) for arg in node.args)
    if lane == Lane.I64:
        return b.icmp_signed(SIGNS[node.op], a, c)
    return (b.fcmp_unordered if node.op == "ne" else b.fcmp_ordered)(SIGNS[node.op], a, c)


def scalar(v: Values, node: Node) -> Any:
    """Return a value that all neurons share, as a 64-bit integer or one bit."""
    if node.op == "const":
        return ir.Constant(I1 if node.boolean else I64, int(node.value))
    key = (node, "scalar")
    for scope in reversed(v.scopes):
        if key in scope.known:
            return scope.known[key]
    with v.at_depth(0 if node.op == "param" else 1) as scope:
        scope.known[key] = _scalar(v, node)
    return scope.known[key]


def _scalar(v: Values, node: Node) -> Any:
    b = v.b
    if node.op == "leaf":
        return v.places.step if node.value == STEP else v.places.steps
    if node.op == "param":
        _, slot = v.slots.of(node, 0, Lane.I64)
        return load(b, at(b, v.places.shared, slot, I64), I64)
    if node.op == "take":
        reached(v, node)
        table, place = node.args
        _, slot = v.slots.of(table.node, 0, Lane.I64)
        return load(b, at(b, v.places.shared, b.add(scalar(v, place.node), i64(slot)), I64), I64)
    args = [scalar(v, arg.node) for arg in node.args]
    if node.op in COMPARISONS:
        wide = [b.zext(a, I64) if a.type == I1 else a for a in args]
        return b.icmp_signed(SIGNS[node.op], *wide)
    if node.op == "select":
        return b.select(*args)
    if node.op == "number":
        return b.zext(args[0], I64)
    if node.op == "not":
        return b.not_(args[0])
    return integer_operation(v, node.op, node, args)


def broadcast(v: Values, node: Node, lane: Lane, scale: int) -> Any:
    """Return a number that all neurons share, in every lane."""
    value = scalar(v, node)
    if lane == Lane.MASK:
        return splat(v.b, value if value.type == I1 else v.b.icmp_signed("!=", value, i64(0)), v.lanes)
    value = v.b.zext(value, I64) if value.type == I1 else value
    if lane == Lane.I64:
        return splat(v.b, value, v.lanes)
    return v.times(splat(v.b, v.b.sitofp(value, F32 if lane == Lane.F32 else F64), v.lanes), lane, scale)
