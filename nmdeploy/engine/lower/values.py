"""Values of a step as statements, each in the lanes that `LaneChoice` chose.

In float lanes integers are exact and `rz` is one operation. A power of two that multiplies a value is moved into the
parameters of the value (`scale`), where it costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nmdeploy.engine.bounds.interval_arithmetic import SHIFT_MAX, Bound, constant_bound, view_bound
from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.lanes import FLOATS, Clip, Lane, LaneChoice, find_clip
from nmdeploy.engine.lower.schedule import UNROLL_MAX, is_reduction
from nmdeploy.engine.lower.slots import Slots
from nmdeploy.engine.lower.statements import Element, Index, Indices, Memory, affine, literal
from nmdeploy.engine.trace.operations import COMPARISONS
from nmdeploy.engine.trace.step import STEP, Step
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol, is_same_view

ONE_STATEMENT = (
    *("add", "sub", "mul", "div", "min", "max", "abs", "trunc", "ceil", "tanh"),
    *("shl", "shr", "and", "or", "xor", "not"),
)
GATHER = {"sum": "add", "any": "or"}
"""Operation by which each reduction adds an element."""
ENTRIES = 64
"""Entries of a table that a look-up in float32 lanes reaches: position e modulo 64 holds entry e."""
Read = Callable[[Symbol, Lane], st.Operand]


@dataclass
class Scope:
    """Statements under construction, of a block, a step or a loop; its values are known to all that is inside of it."""

    statements: list[st.Statement] = field(default_factory=list)
    known: dict[Any, st.Operand] = field(default_factory=dict)


class Values:
    """Values of a step on demand, each computed once, in the outermost scope in which it is constant.

    `state` is the slot of each register, `held` the variable of each element of one without a loop, and `stored` the
    slot of each value that is already in scratch memory.
    """

    def __init__(self, step: Step, choice: LaneChoice) -> None:
        self.choice, self.bounds, self.lane = choice, choice.bounds, choice.lane
        self.sums = {symbol.node.value: name for name, symbol in step.sums.items()}
        self.slots, self.scopes = Slots(), [Scope(), Scope()]
        self.state: dict[str, int] = {}
        self.held: dict[tuple[str, Index], int] = {}
        self.stored: dict[Node, int] = {}
        self._depths: dict[st.Value, int] = {}
        self._values, self.variables = itertools.count(len(st.ARGUMENTS)), itertools.count()
        self.scales = self._planned_scales(choice.nodes)

    def form(self, step: Step, choice: LaneChoice) -> Values:
        """Return the values of the step in other lanes, in the same places."""
        made = Values(step, choice)
        made.slots, made.state, made.held = self.slots, self.state, self.held
        made.scopes, made._values, made.variables = [self.scopes[0], Scope()], self._values, self.variables
        return made

    # -- statements and scopes

    def put(self, statement: st.Statement) -> None:
        """Add a statement to the current scope."""
        self.scopes[-1].statements.append(statement)

    def _new(self, kind: Callable[..., st.Statement], lane: Lane, *fields: Any, uniform: bool = False) -> st.Value:
        """Return the result of a new statement."""
        result = st.Value(next(self._values), lane, uniform)
        self.put(kind(result, *fields))
        return result

    def apply(self, lane: Lane, op: str, *args: st.Operand, uniform: bool = False) -> st.Value:
        """Compute a value; `uniform` if its operands are."""
        return self._new(st.Apply, lane, op, args, uniform=uniform)

    def times(self, value: st.Operand, lane: Lane, scale: int) -> st.Operand:
        """Return a float value times a power of two."""
        return self.apply(lane, "mul", value, literal(1, lane, scale)) if scale and lane in FLOATS else value

    def convert(self, value: st.Operand, lane: Lane) -> st.Operand:
        """Return a value in other lanes."""
        if isinstance(value, st.Literal):
            return literal(value.value, lane)
        return value if value.lane == lane else self.apply(lane, "convert", value, uniform=value.uniform)

    def splat(self, value: st.Operand) -> st.Operand:
        """Return one number in every lane."""
        return self.apply(value.lane, "splat", value) if value.uniform else value

    def load(self, lane: Lane, memory: Memory, place: int | str, element: Index = 0) -> st.Operand:
        """Load a value, in every lane."""
        return self.splat(self._new(st.Load, lane, memory, place, element, uniform=memory is Memory.SHARED))

    @contextmanager
    def loop(self, size: int) -> Iterator[Element]:
        """Write a loop over an axis."""
        index = st.Value(next(self._values), Lane.I64, uniform=True)
        self._depths[index] = len(self.scopes)
        self.scopes.append(Scope())
        yield Element(0, ((index, 1),))
        self.put(st.Loop(index, size, tuple(self.scopes.pop().statements)))

    def known(self, key: Any) -> st.Operand | None:
        """Return a value that is already computed, or None."""
        return next((scope.known[key] for scope in reversed(self.scopes) if key in scope.known), None)

    def _once(self, key: Any, depth: int, compute: Callable[[], st.Operand]) -> st.Operand:
        """Return a value, computed at most once, in an outer scope and before the loops that are open in it."""
        found = self.known(key)
        if found is None:
            scopes, self.scopes = self.scopes, self.scopes[: depth + 1]
            found = self.scopes[-1].known[key] = compute()
            self.scopes = scopes
        return found

    # -- reading

    def read(self, symbol: Symbol, index: Indices, lane: Lane | None = None, scale: int = 0) -> st.Operand:
        """Return a view's element in the given `lane`, by default the lane of its node."""
        return self.element(symbol.node, indices(symbol, index), lane or self.lane(symbol.node), scale)

    def element(self, node: Node, index: Indices, lane: Lane, scale: int = 0) -> st.Operand:
        """Return a node's element times ``2**scale``."""
        if node.op == "const":
            return literal(node.value, lane, scale)
        loops = (loop for i in index if isinstance(i, Element) for loop, _ in i.factors)
        depth = max([0 if node.op == "param" else 1, *(self._depths[loop] for loop in loops)])
        return self._once((node, index, lane, scale), depth, lambda: self._compute(node, index, lane, scale))

    def _is_integer_sum(self, node: Node) -> bool:
        """Return True for what a synapse adds up, which is in memory as 32-bit integers unless it is real."""
        return node.op == "leaf" and node.value in self.sums and not node.real

    def _compute(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        if self._is_integer_sum(node) and lane != Lane.I32:
            return self.times(self._from_integers(self.element(node, index, Lane.I32), lane), lane, scale)
        if lane == Lane.I32 and not self._is_integer_sum(node):
            return self._in_words(node, index)
        if node.uniform:
            return self._broadcast(node, lane, scale)
        if lane == Lane.MASK and not node.boolean:
            raise NotTraceable("a number as a condition")
        if node.op == "param":
            own, slot = self.slots.of(node, scale if lane in FLOATS else 0, lane)
            return self.load(lane, Memory.OWN if own else Memory.SHARED, slot, linear(node.dims, index))
        in_lane = Lane.I32 if self._is_integer_sum(node) else self.lane(node)
        if in_lane == Lane.MASK != lane:
            mask = self.element(node, index, in_lane)
            return self.apply(lane, "select", mask, literal(1, lane, scale), literal(0, lane))
        if lane != in_lane:
            return self.times(self.convert(self.element(node, index, in_lane), lane), lane, scale)
        if node in self.stored or node.op == "leaf":
            return self.times(self._from_memory(node, linear(node.dims, index), lane), lane, scale)
        if is_reduction(node):
            if scale == 0:
                raise NotTraceable("a sum over a loop that is needed before it")
            return self.times(self.element(node, index, lane), lane, scale)
        if node.op == "take":
            return self.times(self.splat(self._taken(node, index)), lane, scale)
        return self._in_own_lanes(node, index, lane, scale)

    def _from_memory(self, node: Node, element: Index, lane: Lane) -> st.Operand:
        if node in self.stored:
            return self.load(lane, Memory.SCRATCH, self.stored[node], element)
        if node.value in self.sums:
            return self.load(lane, Memory.SUMS, self.sums[node.value], element)
        if (node.value, element) in self.held:
            return self.load(lane, Memory.HELD, self.held[node.value, element])
        return self.load(lane, Memory.STATE, self.state[node.value], element)

    def sum_last_axis(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        """Return a sum or `any` over the last axis, written out or as a loop inside the current one."""
        arg, op = node.args[0], GATHER[node.op]
        if arg.sizes[-1] <= UNROLL_MAX:
            total, *parts = (self.read(arg, (*index, i), lane, scale) for i in range(arg.sizes[-1]))
            for part in parts:
                total = self.apply(lane, op, total, part)
            return total
        variable = next(self.variables)
        self.put(st.Store(Memory.HELD, variable, 0, literal(0, lane)))
        with self.loop(arg.sizes[-1]) as i:
            before = self.load(lane, Memory.HELD, variable)
            total = self.apply(lane, op, before, self.read(arg, (*index, i), lane, scale))
            self.put(st.Store(Memory.HELD, variable, 0, total))
        return self.load(lane, Memory.HELD, variable)

    # -- operations in any lanes

    def _in_own_lanes(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        """Return a value times ``2**scale``."""
        if node.op in COMPARISONS:
            return self._compare(node, index)
        if lane in FLOATS:
            return self._in_floats(node, index, lane, scale)
        if node.op in ("sum", "any"):
            return self.sum_last_axis(node, index, lane, 0)
        return self._operation(node, lane, lambda arg, lane: self.read(arg, index, lane))

    def _operation(self, node: Node, lane: Lane, read: Read, uniform: bool = False) -> st.Operand:
        """Return the result of an operation on operands that `read` gives."""
        op = node.op

        def apply(op: str, *args: st.Operand, to: Lane = lane) -> st.Value:
            return self.apply(to, op, *args, uniform=uniform)

        def number(value: int) -> st.Literal:
            return literal(value, lane)

        if op == "select" and lane != Lane.MASK:
            return apply(op, read(node.args[0], Lane.MASK), *(read(side, lane) for side in node.args[1:]))
        args = [read(arg, lane) for arg in node.args]
        if op in ("shl", "shr") and lane not in FLOATS:
            low, high = self._bound(node.args[1])
            if low.min() < 0 or high.max() > SHIFT_MAX:
                raise NotTraceable(f"a shift by less than 0 or more than {SHIFT_MAX} bits")
        if op == "shr" and lane in FLOATS:  # a shift by more leaves 0 or -1 of any lane
            return apply("floor", self.times(args[0], lane, -min(node.args[1].node.value, SHIFT_MAX)))
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
            if self._bound(node.args[1]).low.min() <= 0:
                raise NotTraceable("a remainder by less than 1")
            rest = apply("rem", *args)
            return apply("select", apply("lt", rest, number(0), to=Lane.MASK), apply("add", rest, args[1]), rest)
        if op == "rz":
            up = apply("and", apply("shr", args[0], number(63)), number((1 << node.value) - 1))
            return apply("shr", apply("add", args[0], up), number(node.value))
        raise NotTraceable(f"the operation {op}")

    def _compare(self, node: Node, index: Indices) -> st.Operand:
        left, right = node.args
        if left.node.boolean and right.node.boolean:
            lane = Lane.MASK
        elif right.node.op == "const" and right.node.value == 0 and self._is_integer_sum(left.node):
            lane = Lane.I32
        else:
            lane = self.choice.comparison_lane(node.args)
            clip = find_clip(left.node) if node.op == "ne" and self.lane(left.node) in FLOATS else None
            if clip is not None and is_same_view(clip.x, right):
                return self._once(
                    (left.node, index, "mask"), len(self.scopes) - 1, lambda: self._clip_mask(left.node, clip, index)
                )
        return self.apply(Lane.MASK, node.op, *(self.read(arg, index, lane) for arg in node.args))

    def _bound(self, symbol: Symbol) -> Bound:
        return view_bound(symbol, self.bounds.get(symbol.node) or constant_bound(symbol.node))

    def _taken(self, node: Node, index: Indices) -> st.Operand:
        """Return a table's value at an index per lane, or at one that all neurons share."""
        table, place = node.args
        if place.node.uniform:
            return self._look_up(node, self._scalar(place.node), self.lane(node))
        low, high = self._reached(node)
        if self.lane(node) != Lane.F32 or table.node.laned or high - low >= ENTRIES:
            return self._look_up(node, self.read(place, index, Lane.I64), self.lane(node))
        used = np.arange(low, min(low + ENTRIES, table.node.dims[-1]))
        turned = np.zeros((1, ENTRIES), np.int64)
        turned[0, used % ENTRIES] = table.node.value.reshape(-1)[used]
        _, slot = self.slots.of(Node("param", dims=(ENTRIES,), value=turned), 0, Lane.F32)
        at = self.read(place, index, Lane.I32)
        return self._new(st.LookUp, Lane.F32, slot, at, ENTRIES)

    def _reached(self, node: Node) -> tuple[int, int]:
        """Return the ends of a table's index; refuse one that may lie outside: NumPy would raise or count backwards."""
        low, high = self._bound(node.args[1])
        entries = node.args[0].node.dims[-1]
        if low.min() < 0 or high.max() >= entries:
            raise NotTraceable(f"an index {low.min():.0f} to {high.max():.0f} of a table of {entries}")
        return int(low.min()), int(high.max())

    def _look_up(self, node: Node, index: st.Operand, lane: Lane) -> st.Value:
        """Look up in a table."""
        self._reached(node)
        own, slot = self.slots.of(node.args[0].node, 0, lane)
        memory = Memory.OWN if own else Memory.SHARED
        if isinstance(index, st.Literal) or index.uniform:
            element = int(index.value) if isinstance(index, st.Literal) else Element(0, ((index, 1),))
            return self._new(st.Load, lane, memory, slot, element, uniform=not own)
        if own:
            raise NotTraceable("a table per neuron with an index per neuron")
        return self._new(st.LookUp, lane, slot, index)

    def _scalar(self, node: Node) -> st.Operand:
        """Return a value that all neurons share, as a 64-bit integer or one condition."""
        if node.op == "const":
            return literal(node.value, Lane.MASK if node.boolean else Lane.I64, uniform=True)
        return self._once((node, "scalar"), 0 if node.op == "param" else 1, lambda: self._compute_scalar(node))

    def _compute_scalar(self, node: Node) -> st.Operand:
        if node.op == "leaf":
            return st.STEP_NUMBER if node.value == STEP else st.STEP_COUNT
        if node.op == "param":
            return self._new(st.Load, Lane.I64, Memory.SHARED, self.slots.of(node, 0, Lane.I64)[1], uniform=True)
        if node.op == "take":
            return self._look_up(node, self._scalar(node.args[1].node), Lane.I64)

        def read(arg: Symbol, lane: Lane) -> st.Operand:
            return self.convert(self._scalar(arg.node), lane)

        if node.op in COMPARISONS:
            return self.apply(Lane.MASK, node.op, *(read(arg, Lane.I64) for arg in node.args), uniform=True)
        return self._operation(node, Lane.MASK if node.boolean else Lane.I64, read, uniform=True)

    def _broadcast(self, node: Node, lane: Lane, scale: int) -> st.Operand:
        """Return a number that all neurons share, in every lane."""
        value = self._scalar(node)
        if lane != Lane.MASK:
            value = self.convert(value, Lane.I64)
        elif value.lane != lane:
            value = self.apply(lane, "ne", value, literal(0, Lane.I64), uniform=True)
        return self.times(self.splat(self.convert(value, lane)), lane, scale)

    # -- float lanes

    def _in_floats(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        op, args, clip = node.op, node.args, find_clip(node)
        if op == "rz":
            return self.times(self.apply(lane, "trunc", self._quotient(node, index, lane)), lane, scale)
        if op == "mul" and any(self._takes_scale(arg, lane) for arg in args):
            scales = (scale, 0) if self._takes_scale(args[0], lane) else (0, scale)
            return self.apply(lane, op, *(self.read(arg, index, lane, s) for arg, s in zip(args, scales, strict=True)))
        if op == "shl":
            x, by = args[0], args[1].node.value
            if self._is_integer_sum(x.node) and scale == 0 and self.bounds[node].magnitude < 2.0**31:
                return self._from_integers(self.read(x, index, Lane.I32), lane, by)
            return self._times_power(x, index, lane, scale + by)
        if op in ("add", "sub", "sum"):
            if scale and not all(self._takes_scale(arg, lane) for arg in args):
                return self.times(self.element(node, index, lane), lane, scale)
            if op == "sum":
                return self.sum_last_axis(node, index, lane, scale)
            return self.apply(lane, op, *(self.read(arg, index, lane, scale) for arg in args))
        if clip is not None:
            return self.times(self._clipped(node, clip, index, lane), lane, scale)
        return self.times(self._operation(node, lane, lambda arg, lane: self.read(arg, index, lane)), lane, scale)

    def _in_words(self, node: Node, index: Indices) -> st.Operand:
        """Return a float32 value as 32-bit integers.

        A value that is truncated anyway is truncated directly into them.
        """
        here = self.lane(node) == Lane.F32 and node not in self.stored and not node.uniform
        if here and node.op == "rz":
            return self.convert(self._quotient(node, index, Lane.F32), Lane.I32)
        if here and node.op in ("add", "sub") and all(self.lane(arg.node) == Lane.F32 for arg in node.args):
            return self.apply(Lane.I32, node.op, *(self.read(arg, index, Lane.I32) for arg in node.args))
        return self.convert(self.element(node, index, Lane.F32), Lane.I32)

    def _quotient(self, node: Node, index: Indices, lane: Lane) -> st.Operand:
        """Return the value that `rz` truncates.

        It is exact, or it is a product of float32 that is itself rounded towards zero.
        """
        x, by = node.args[0], -node.value
        if lane == Lane.F32 and self.choice.rounds_product(node):
            places = indices(x, index)
            first, second = sorted(x.node.args, key=lambda arg: not self._takes_scale(arg, lane))
            return self.apply(lane, "mul_rz", self.read(first, places, lane, by), self.read(second, places, lane))
        return self._times_power(x, index, lane, by)

    def _times_power(self, x: Symbol, index: Indices, lane: Lane, scale: int) -> st.Operand:
        if self._takes_scale(x, lane):
            return self.read(x, index, lane, scale)
        return self.times(self.read(x, index, lane), lane, scale)

    def _clipped(self, node: Node, clip: Clip, index: Indices, lane: Lane) -> st.Operand:
        """Clip a value.

        Clips seldom act, so one comparison decides if any lane needs one.
        """
        x, low, high = self.read(clip.x, index, lane), *_ends(clip, lane)
        beyond = self._new(st.Beyond, Lane.MASK, x, low, high, uniform=True)
        self.scopes[-1].known[node, index, "beyond"] = beyond
        return self._new(st.Clip, lane, x, beyond, low, high)

    def _clip_mask(self, node: Node, clip: Clip, index: Indices) -> st.Operand:
        """Return a mask of the lanes that a clip changes."""
        lane = self.lane(node)
        x, low, high = self.read(clip.x, index, lane), *_ends(clip, lane)
        if low and high and high.value == -low.value:
            x, low = self.apply(lane, "abs", x), None
        masks = [self.apply(Lane.MASK, op, x, end) for op, end in (("lt", low), ("gt", high)) if end]
        return masks[0] if len(masks) == 1 else self.apply(Lane.MASK, "or", *masks)

    def beyond_of(self, symbol: Symbol, index: Indices) -> st.Operand | None:
        """Return a condition that holds if any lane of an overflow flag is set, or None if its clip was not written."""
        node = symbol.node
        if node.op == "and":
            found = [self.beyond_of(arg, index) for arg in node.args]
            return next((each for each in found if each is not None), None)
        clip = find_clip(node.args[0].node) if node.op == "ne" else None
        if clip is not None and is_same_view(clip.x, node.args[1]):
            return self.known((node.args[0].node, indices(node.args[0], index), "beyond"))
        return None

    def _takes_scale(self, symbol: Symbol, lane: Lane) -> bool:
        """Return True if a factor can be moved into the parameters of a value."""
        node = symbol.node
        if node.op in ("param", "const", "number"):
            return True
        if node.uniform or node.boolean or not node.args or node in self.stored or self.lane(node) != lane:
            return False
        if node.op == "mul":
            return any(self._takes_scale(arg, lane) for arg in node.args)
        if node.op in ("add", "sub", "sum"):
            return all(self._takes_scale(arg, lane) for arg in node.args)
        return node.op == "shl" and self._takes_scale(node.args[0], lane)

    def _planned_scales(self, nodes: list[Node]) -> dict[Node, int]:
        """Return the scale at which each sum over a loop is gathered.

        It is the scale of the rounding after the sum, if there is only one.
        """
        wanted: dict[Node, set[int]] = {}

        def push(symbol: Symbol, scale: int, lane: Lane) -> None:
            node = symbol.node
            if is_reduction(node):
                wanted.setdefault(node, set()).add(scale if self._takes_scale(node.args[0], lane) else 0)
            elif node.op in ("add", "sub") and self._takes_scale(symbol, lane):
                for arg in node.args:
                    push(arg, scale, lane)
            elif node.op == "shl" and self._takes_scale(symbol, lane):
                push(node.args[0], scale + node.args[1].node.value, lane)

        for node in nodes:
            if node.op == "rz" and self.lane(node) in FLOATS:
                push(node.args[0], -node.value, self.lane(node))
        return {node: next(iter(found)) for node, found in wanted.items() if len(found) == 1}

    def _from_integers(self, integers: st.Operand, lane: Lane, shift: int = 0) -> st.Operand:
        """Return 32-bit integers times ``2**shift`` in other lanes.

        In float64 the conversion contains the factor. In float32 the addition that follows contains it.
        """
        if lane == Lane.F64:
            return self.apply(lane, "ldexp", integers, literal(shift, Lane.I32))
        return self.times(self.convert(integers, lane), lane, shift)


def _ends(clip: Clip, lane: Lane) -> Iterator[st.Literal | None]:
    return (None if end is None else literal(end, lane) for end in clip[1:])


def indices(symbol: Symbol, index: Indices) -> Indices:
    """Return the position of the view's element in its node."""
    return tuple(
        place if isinstance(place, int) else affine(place[1], (index[place[0]], place[2])) for place in symbol.places
    )


def linear(dims: tuple[int, ...], index: Indices) -> Index:
    """Return the number of an element."""
    total: Index = 0
    for size, i in zip(dims, index, strict=True):
        total = affine(0, (total, size), (i, 1))
    return total
