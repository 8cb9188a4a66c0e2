"""Operations of a step in float64 and float32 lanes (docs/engine.md)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from nmdeploy.engine.bounds.clips import Clip, find_clip
from nmdeploy.engine.llvm.code import F32, F64, I32, I64, bits, call, each_lane, fold_halves, towards_zero, vector
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.schedule import is_reduction
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol, is_same_view

if TYPE_CHECKING:
    from nmdeploy.engine.llvm.values import Index, Values

FUSED = ("contract",)
MAGIC = 1.5 * 2.0**52
MAGIC_BITS = 0x4338 << 48
VECTOR_BITS = 512
SHIFT_MAX = 63  # a shift by this or more leaves 0 or -1 of any lane; a much smaller factor cannot be represented


def in_floats(v: Values, node: Node, index: Index, lane: Lane, scale: int) -> Any:
    """Return a value times ``2**scale``."""
    b, op = v.b, node.op
    if op == "rz":
        return v.times(call(b, "llvm.trunc", [_quotient(v, node, index, lane)]), lane, scale)
    if op == "mul":
        first, second = node.args
        if takes_scale(v, first, lane):
            return b.fmul(v.read(first, index, lane, scale), v.read(second, index, lane), flags=FUSED)
        if takes_scale(v, second, lane):
            return b.fmul(v.read(first, index, lane), v.read(second, index, lane, scale), flags=FUSED)
    if op == "shl":
        x, by = node.args[0], node.args[1].node.value
        if x.node.op == "leaf" and x.node.value in v.places.sums and scale == 0 and v.bounds[node].magnitude < 2.0**31:
            return from_integers(v, v.raw(x.node, v.indices(x, index)), lane, by)
        if takes_scale(v, x, lane):
            return v.read(x, index, lane, scale + by)
        return v.times(v.read(x, index, lane), lane, scale + by)
    if op in ("add", "sub", "sum") and scale and not all(takes_scale(v, arg, lane) for arg in node.args):
        return v.times(v.element(node, index, lane), lane, scale)
    if op == "add":
        return b.fadd(*(v.read(arg, index, lane, scale) for arg in node.args), flags=FUSED)
    if op == "sub":
        return b.fsub(*(v.read(arg, index, lane, scale) for arg in node.args), flags=FUSED)
    if op == "sum":
        return v.sum_last_axis(node, index, lane, scale)
    return v.times(_elementwise(v, node, index, lane), lane, scale)


def in_words(v: Values, node: Node, index: Index) -> Any:
    """Return a float32 value as 32-bit integers.

    A value that is truncated anyway is truncated directly into them.
    """
    b, words = v.b, vector(I32, v.lanes)
    here = v.lane(node) == Lane.F32 and node not in v.stored and not node.uniform
    if here and node.op == "rz":
        return b.fptosi(_quotient(v, node, index, Lane.F32), words)
    if here and node.op in ("add", "sub") and all(v.lane(arg.node) == Lane.F32 for arg in node.args):
        args = [v.read(arg, index, Lane.I32) for arg in node.args]
        return b.add(*args) if node.op == "add" else b.sub(*args)
    return b.fptosi(v.element(node, index, Lane.F32), words)


def _quotient(v: Values, node: Node, index: Index, lane: Lane) -> Any:
    """Return the value that `rz` truncates.

    It is exact, or it is a product of float32 that is itself rounded towards zero.
    """
    x, by = node.args[0], -node.value
    if lane == Lane.F32 and v.choice.rounds_product(node):
        places = v.indices(x, index)
        first, second = sorted(x.node.args, key=lambda arg: not takes_scale(v, arg, lane))
        return towards_zero(v.b, "fmul", v.read(first, places, lane, by), v.read(second, places, lane))
    if takes_scale(v, x, lane):
        return v.read(x, index, lane, by)
    return v.times(v.read(x, index, lane), lane, by)


def _elementwise(v: Values, node: Node, index: Index, lane: Lane) -> Any:
    b, op = v.b, node.op
    if op == "select":
        condition, yes, no = node.args
        return b.select(v.read(condition, index, Lane.MASK), v.read(yes, index, lane), v.read(no, index, lane))
    clip = find_clip(node)
    if clip is not None and not b.block.is_terminated:
        return _clip(v, node, clip, index, lane)
    args = [v.read(arg, index, lane) for arg in node.args]
    if op == "mul":
        return b.fmul(*args, flags=FUSED)
    if op in ("min", "max"):
        return b.select(b.fcmp_ordered("<" if op == "min" else ">", *args), *args)
    if op == "tanh":
        return each_lane(b, "tanh", args[0])
    if op == "div":
        return b.fdiv(*args)
    if op in ("trunc", "ceil"):
        return call(b, f"llvm.{op}", args)
    if op == "abs":
        return call(b, "llvm.fabs", args)
    if op == "sign":
        zero = v.literal(0, lane, 0)
        negative = b.select(b.fcmp_ordered("<", args[0], zero), v.literal(-1, lane, 0), zero)
        return b.select(b.fcmp_ordered(">", args[0], zero), v.literal(1, lane, 0), negative)
    if op == "shr":
        down = min(node.args[1].node.value, SHIFT_MAX)
        return call(b, "llvm.floor", [v.times(args[0], lane, -down)])
    if op == "number":
        return args[0]
    raise NotTraceable(f"the operation {op}")


def _clip(v: Values, node: Node, clip: Clip, index: Index, lane: Lane) -> Any:
    """Clip a value.

    Clips seldom act, so one comparison decides if any lane needs one.
    """
    b = v.b
    value, rare = v.read(clip.x, index, lane), any_lane_clips(v, node, clip, index)
    before, limited = b.block, value
    with v.unlikely(rare):
        for end, sign in ((clip.high, ">"), (clip.low, "<")):
            if end is not None:
                limit = v.literal(end, lane, 0)
                limited = b.select(b.fcmp_ordered(sign, limited, limit), limit, limited)
        inside = b.block
    merged = b.phi(value.type)
    merged.add_incoming(value, before)
    merged.add_incoming(limited, inside)
    return merged


def clip_mask(v: Values, node: Node, clip: Clip, index: Index) -> Any:
    """Return a mask of the lanes that a clip changes."""
    key = (node, index, "beyond")
    known = v.scopes[-1].known
    if key in known:
        return known[key]
    b, lane = v.b, v.lane(node)
    x = v.read(clip.x, index, lane)
    if clip.low is not None and clip.high == -clip.low:
        known[key] = b.fcmp_ordered(">", call(b, "llvm.fabs", [x]), v.literal(clip.high, lane, 0))
    else:
        ends = [(clip.low, "<"), (clip.high, ">")]
        masks = [b.fcmp_ordered(sign, x, v.literal(end, lane, 0)) for end, sign in ends if end is not None]
        known[key] = functools.reduce(b.or_, masks)
    return known[key]


def any_lane_clips(v: Values, node: Node, clip: Clip, index: Index) -> Any:
    """Return 1 if any lane needs the clip.

    The lanes are folded to one vector, so that one comparison remains.
    """
    key = (node, index, "guard")
    known = v.scopes[-1].known
    if key not in known:
        b, lane = v.b, v.lane(node)
        x = v.read(clip.x, index, lane)
        ends = [(clip.low, "<"), (clip.high, ">")]
        if clip.low is not None and clip.high == -clip.low:
            x, ends = call(b, "llvm.fabs", [x]), ends[1:]
        met = [_any_lane_beyond(b, x, end, sign) for end, sign in ends if end is not None]
        known[key] = functools.reduce(b.or_, met)
    return known[key]


def _any_lane_beyond(b: ir.IRBuilder, x: Any, end: float, sign: str) -> Any:
    """Return 1 if any lane is beyond an end.

    Above an end of 0 or more, or below a negative end, the bits of the floats are compared as integers. Integer units
    are idle while float units are not. As signed integers, positive floats keep their order. As unsigned integers,
    negative floats exceed all others and are ordered by magnitude.
    """
    size = bits(x.type.element)
    compare: Callable[[str, Any, Any], Any] = b.fcmp_ordered
    if end >= 0 if sign == ">" else end < 0:
        x = b.bitcast(x, vector(ir.IntType(size), x.type.count))
        compare, sign = b.icmp_signed if sign == ">" else b.icmp_unsigned, ">"
    most = fold_halves(b, x, lambda one, two: b.select(compare(sign, one, two), one, two), VECTOR_BITS // size)
    limit = ir.Constant(vector(F32 if size == 32 else F64, most.type.count), [end] * most.type.count)
    mask = compare(sign, most, b.bitcast(limit, most.type))
    met = b.bitcast(mask, ir.IntType(most.type.count))
    return b.icmp_unsigned("!=", met, ir.Constant(met.type, 0))


def guard_of(v: Values, symbol: Symbol, index: Index) -> Any | None:
    """Return a condition that holds wherever a lane of an overflow flag is set, or None.

    It exists if the flag's clip was written with one.
    """
    node = symbol.node
    if node.op == "and":
        found = [guard_of(v, arg, index) for arg in node.args]
        return next((each for each in found if each is not None), None)
    if node.op == "ne":
        left, right = node.args
        clip = find_clip(left.node)
        places = v.indices(left, index) if clip is not None and is_same_view(clip.x, right) else None
        return None if places is None else v.scopes[-1].known.get((left.node, places, "guard"))
    return None


def takes_scale(v: Values, symbol: Symbol, lane: Lane) -> bool:
    """Return True if a factor can be moved into the parameters of a value."""
    node = symbol.node
    if node.op in ("param", "const"):
        return True
    if node.op == "number":
        return True
    if node.uniform or node.boolean or not node.args or node in v.stored or v.lane(node) != lane:
        return False
    if node.op == "mul":
        return any(takes_scale(v, arg, lane) for arg in node.args)
    if node.op in ("add", "sub", "sum"):
        return all(takes_scale(v, arg, lane) for arg in node.args)
    return node.op == "shl" and takes_scale(v, node.args[0], lane)


def plan_scales(v: Values, nodes: list[Node]) -> None:
    """Choose the scale at which each sum over a loop is gathered.

    It is the scale of the rounding after the sum, if there is only one.
    """
    wanted: dict[Node, set[int]] = {}

    def push(symbol: Symbol, scale: int, lane: Lane) -> None:
        node = symbol.node
        if is_reduction(node):
            wanted.setdefault(node, set()).add(scale if takes_scale(v, node.args[0], lane) else 0)
        elif node.op in ("add", "sub") and takes_scale(v, symbol, lane):
            for arg in node.args:
                push(arg, scale, lane)
        elif node.op == "shl" and takes_scale(v, symbol, lane):
            push(node.args[0], scale + node.args[1].node.value, lane)

    for node in nodes:
        if node.op == "rz" and v.lane(node) in FLOATS:
            push(node.args[0], -node.value, v.lane(node))
    v.scales = {node: next(iter(found)) for node, found in wanted.items() if len(found) == 1}


def from_integers(v: Values, integers: Any, lane: Lane, shift: int = 0) -> Any:
    """Return ``integers * 2**shift`` in float lanes.

    In float64 they are added to the bits of a float64 whose last place is worth 2**shift. This takes two operations on
    ports that are idle. The processor's own conversion takes more operations, on busy ports. In float32 the conversion
    is one operation, and the following addition contains the factor.
    """
    b = v.b
    if lane == Lane.F32:
        wide = integers if integers.type.element == I32 else b.sext(integers, vector(I32, v.lanes))
        return v.times(b.sitofp(wide, vector(F32, v.lanes)), lane, shift)
    lanes = vector(I64, v.lanes)
    base = math.ldexp(MAGIC, shift)
    magic = b.add(b.sext(integers, lanes), ir.Constant(lanes, [MAGIC_BITS + (shift << 52)] * v.lanes))
    return b.fsub(b.bitcast(magic, vector(F64, v.lanes)), v.literal(base, Lane.F64, 0))
