"""Operations of a step in float lanes that move powers of two into parameters, and its clips (docs/engine.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmdeploy.engine.bounds.clips import Clip, find_clip
from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.positions import Indices, indices
from nmdeploy.engine.lower.schedule import is_reduction
from nmdeploy.engine.trace.symbols import Node, Symbol, is_same_view

if TYPE_CHECKING:
    from nmdeploy.engine.lower.values import Values


def scaled(v: Values, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand | None:
    """Return a value times ``2**scale``, if its operation can contain the factor or is a rounding, else None."""
    op, args = node.op, node.args
    if op == "rz":
        return v.times(v.apply(lane, "trunc", _quotient(v, node, index, lane)), lane, scale)
    if op == "mul" and any(takes_scale(v, arg, lane) for arg in args):
        scales = (scale, 0) if takes_scale(v, args[0], lane) else (0, scale)
        return v.apply(lane, op, *(v.read(arg, index, lane, s) for arg, s in zip(args, scales, strict=True)))
    if op == "shl":
        x, by = args[0], args[1].node.value
        if x.node.op == "leaf" and x.node.value in v.sums and scale == 0 and v.bounds[node].magnitude < 2.0**31:
            return from_integers(v, v.read(x, index, Lane.I32), lane, by)
        return _times_power(v, x, index, lane, scale + by)
    if op in ("add", "sub", "sum"):
        if scale and not all(takes_scale(v, arg, lane) for arg in args):
            return v.times(v.element(node, index, lane), lane, scale)
        if op == "sum":
            return v.sum_last_axis(node, index, lane, scale)
        return v.apply(lane, op, *(v.read(arg, index, lane, scale) for arg in args))
    return None


def in_words(v: Values, node: Node, index: Indices) -> st.Operand:
    """Return a float32 value as 32-bit integers.

    A value that is truncated anyway is truncated directly into them.
    """
    here = v.lane(node) == Lane.F32 and node not in v.stored and not node.uniform
    if here and node.op == "rz":
        return v.convert(_quotient(v, node, index, Lane.F32), Lane.I32)
    if here and node.op in ("add", "sub") and all(v.lane(arg.node) == Lane.F32 for arg in node.args):
        return v.apply(Lane.I32, node.op, *(v.read(arg, index, Lane.I32) for arg in node.args))
    return v.convert(v.element(node, index, Lane.F32), Lane.I32)


def _quotient(v: Values, node: Node, index: Indices, lane: Lane) -> st.Operand:
    """Return the value that `rz` truncates.

    It is exact, or it is a product of float32 that is itself rounded towards zero.
    """
    x, by = node.args[0], -node.value
    if lane == Lane.F32 and v.choice.rounds_product(node):
        places = indices(x, index)
        first, second = sorted(x.node.args, key=lambda arg: not takes_scale(v, arg, lane))
        return v.apply(lane, "mul_rz", v.read(first, places, lane, by), v.read(second, places, lane))
    return _times_power(v, x, index, lane, by)


def _times_power(v: Values, x: Symbol, index: Indices, lane: Lane, scale: int) -> st.Operand:
    if takes_scale(v, x, lane):
        return v.read(x, index, lane, scale)
    return v.times(v.read(x, index, lane), lane, scale)


def clipped(v: Values, node: Node, clip: Clip, index: Indices, lane: Lane) -> st.Operand:
    """Clip a value.

    Clips seldom act, so one comparison decides if any lane needs one.
    """
    x, low, high = v.read(clip.x, index, lane), *_ends(clip, lane)
    beyond, result = v.new(Lane.MASK, uniform=True), v.new(lane)
    v.put(st.Beyond(beyond, x, low, high))
    v.put(st.Clip(result, x, beyond, low, high))
    v.scopes[-1].known[node, index, "beyond"] = beyond
    return result


def clip_mask(v: Values, node: Node, clip: Clip, index: Indices) -> st.Operand:
    """Return a mask of the lanes that a clip changes."""
    found = v.known((node, index, "mask"))
    if found is None:
        lane = v.lane(node)
        x, low, high = v.read(clip.x, index, lane), *_ends(clip, lane)
        if low and high and high.value == -low.value:
            x, low = v.apply(lane, "abs", x), None
        masks = [v.apply(Lane.MASK, op, x, end) for op, end in (("lt", low), ("gt", high)) if end]
        found = masks[0] if len(masks) == 1 else v.apply(Lane.MASK, "or", *masks)
        v.scopes[-1].known[node, index, "mask"] = found
    return found


def _ends(clip: Clip, lane: Lane) -> list[st.Literal | None]:
    return [None if end is None else st.literal(end, lane) for end in (clip.low, clip.high)]


def beyond_of(v: Values, symbol: Symbol, index: Indices) -> st.Operand | None:
    """Return a condition that holds if any lane of an overflow flag is set, or None if its clip was not written."""
    node = symbol.node
    if node.op == "and":
        found = [beyond_of(v, arg, index) for arg in node.args]
        return next((each for each in found if each is not None), None)
    clip = find_clip(node.args[0].node) if node.op == "ne" else None
    if clip is not None and is_same_view(clip.x, node.args[1]):
        return v.known((node.args[0].node, indices(node.args[0], index), "beyond"))
    return None


def takes_scale(v: Values, symbol: Symbol, lane: Lane) -> bool:
    """Return True if a factor can be moved into the parameters of a value."""
    node = symbol.node
    if node.op in ("param", "const", "number"):
        return True
    if node.uniform or node.boolean or not node.args or node in v.stored or v.lane(node) != lane:
        return False
    if node.op == "mul":
        return any(takes_scale(v, arg, lane) for arg in node.args)
    if node.op in ("add", "sub", "sum"):
        return all(takes_scale(v, arg, lane) for arg in node.args)
    return node.op == "shl" and takes_scale(v, node.args[0], lane)


def planned_scales(v: Values, nodes: list[Node]) -> dict[Node, int]:
    """Return the scale at which each sum over a loop is gathered.

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
    return {node: next(iter(found)) for node, found in wanted.items() if len(found) == 1}


def from_integers(v: Values, integers: st.Operand, lane: Lane, shift: int = 0) -> st.Operand:
    """Return 32-bit integers times ``2**shift`` in float lanes.

    In float64 the conversion contains the factor. In float32 the addition that follows contains it.
    """
    if lane == Lane.F32:
        return v.times(v.convert(integers, lane), lane, shift)
    return v.apply(lane, "ldexp", integers, st.literal(shift, Lane.I32))
