"""Values of a step as statements, each in the lanes that `LaneChoice` chose.

In float lanes integers are exact and `rz` is one operation. A power of two that multiplies a value is moved into the
parameters of the value (`scale`), where it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nmdeploy.engine.lower import statements as st
from nmdeploy.engine.lower.floats import from_integers, in_words, planned_scales
from nmdeploy.engine.lower.lanes import FLOATS, Lane, LaneChoice
from nmdeploy.engine.lower.operations import broadcast, in_own_lanes, look_up
from nmdeploy.engine.lower.positions import Element, Index, Indices, indices, linear
from nmdeploy.engine.lower.schedule import UNROLL_MAX, is_reduction
from nmdeploy.engine.lower.slots import Slots
from nmdeploy.engine.lower.statements import Memory
from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol


@dataclass
class Scope:
    """Statements under construction, of a block, a step or a loop; its values are known to all that is inside of it."""

    statements: list[st.Statement] = field(default_factory=list)
    known: dict[Any, st.Operand] = field(default_factory=dict)


class Values:
    """Values of a step on demand, each computed once, in the outermost scope in which it is constant.

    Attributes
    ----------
    state, held : mapping of (str, int) to int
        Slot of each register in the state, and variable of each element of a register without a loop.
    stored : mapping of Node to int
        First slot of the values that are already in scratch memory.
    """

    def __init__(self, step: Step, choice: LaneChoice) -> None:
        self.choice, self.bounds, self.lane = choice, choice.bounds, choice.lane
        self.sums = {symbol.node.value: name for name, symbol in step.sums.items()}
        self.slots, self.scopes = Slots(), [Scope()]
        self.state: dict[str, int] = {}
        self.held: dict[tuple[str, Index], int] = {}
        self.stored: dict[Node, int] = {}
        self._depths: list[int] = []
        self._values, self._variables = len(st.ARGUMENTS), 0
        self.scales = planned_scales(self, choice.nodes)

    # -- statements

    def put(self, statement: st.Statement) -> None:
        """Add a statement to the current scope."""
        self.scopes[-1].statements.append(statement)

    def new(self, lane: Lane, uniform: bool = False) -> st.Value:
        """Return a value that the next statement computes."""
        self._values += 1
        return st.Value(self._values - 1, lane, uniform)

    def apply(self, lane: Lane, op: str, *args: st.Operand, uniform: bool = False) -> st.Value:
        """Compute a value; `uniform` if its operands are."""
        result = self.new(lane, uniform)
        self.put(st.Apply(op, result, args))
        return result

    def times(self, value: st.Operand, lane: Lane, scale: int) -> st.Operand:
        """Return a float value times a power of two."""
        return self.apply(lane, "mul", value, st.literal(1, lane, scale)) if scale and lane in FLOATS else value

    def convert(self, value: st.Operand, lane: Lane) -> st.Operand:
        """Return a value in other lanes."""
        if isinstance(value, st.Literal):
            return st.literal(value.value, lane)
        return value if value.lane == lane else self.apply(lane, "convert", value, uniform=value.uniform)

    def splat(self, value: st.Operand) -> st.Operand:
        """Return one number in every lane."""
        return self.apply(value.lane, "splat", value) if value.uniform else value

    def load(self, lane: Lane, memory: Memory, place: int | str, element: Index = 0) -> st.Operand:
        """Load a value, in every lane."""
        result = self.new(lane, memory is Memory.SHARED)
        self.put(st.Load(result, memory, place, element))
        return self.splat(result)

    def variable(self) -> int:
        """Return the number of a new variable."""
        self._variables += 1
        return self._variables - 1

    # -- scopes

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """Open a scope inside of the current one."""
        self.scopes.append(Scope())
        yield self.scopes[-1]
        self.scopes.pop()

    @contextmanager
    def loop(self, size: int) -> Iterator[Element]:
        """Write a loop over an axis."""
        number = len(self._depths)
        with self.scope() as body:
            self._depths.append(len(self.scopes) - 1)
            yield Element(0, ((number, 1),))
        self.put(st.Loop(number, size, tuple(body.statements)))

    @contextmanager
    def at_depth(self, depth: int) -> Iterator[dict[Any, st.Operand]]:
        """Write in an outer scope, before the loops that are open in it; yields what is known there."""
        scopes, self.scopes = self.scopes, self.scopes[: depth + 1]
        yield self.scopes[-1].known
        self.scopes = scopes

    def known(self, key: Any) -> st.Operand | None:
        """Return a value that is already computed, or None."""
        return next((scope.known[key] for scope in reversed(self.scopes) if key in scope.known), None)

    # -- reading

    def read(self, symbol: Symbol, index: Indices, lane: Lane | None = None, scale: int = 0) -> st.Operand:
        """Return a view's element in the given `lane`, by default the lane of its node."""
        return self.element(symbol.node, indices(symbol, index), lane or self.lane(symbol.node), scale)

    def element(self, node: Node, index: Indices, lane: Lane, scale: int = 0) -> st.Operand:
        """Return a node's element times ``2**scale``."""
        if node.op == "const":
            return st.literal(node.value, lane, scale)
        key = (node, index, lane, scale)
        found = self.known(key)
        if found is None:
            with self.at_depth(self._depth(node, index)) as known:
                found = known[key] = self._compute(node, index, lane, scale)
        return found

    def is_integer_sum(self, node: Node) -> bool:
        """Return True for what a synapse adds up, which is in memory as 32-bit integers unless it is real."""
        return node.op == "leaf" and node.value in self.sums and not node.real

    def _depth(self, node: Node, index: Indices) -> int:
        """Return the scope of a value: 0 is the block, 1 the step, and a higher number a loop."""
        loops = (loop for i in index if isinstance(i, Element) for loop, _ in i.factors)
        return max([0 if node.op == "param" else 1, *(self._depths[loop] for loop in loops)])

    def _compute(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        if self.is_integer_sum(node):
            return self._sum(node, index, lane, scale)
        if lane == Lane.I32:
            return in_words(self, node, index)
        if node.uniform:
            return broadcast(self, node, lane, scale)
        if node.op == "param":
            return self._parameter(node, index, lane, scale)
        own = self.lane(node)
        if lane != own:
            return self._in_other_lanes(node, index, own, lane, scale)
        if node in self.stored or node.op == "leaf":
            return self.times(self._from_memory(node, linear(node.dims, index), own), own, scale)
        if is_reduction(node):
            if scale == 0:
                raise NotTraceable("a sum over a loop that is needed before it")
            return self.times(self.element(node, index, own), own, scale)
        return look_up(self, node, index) if node.op == "take" else in_own_lanes(self, node, index, own, scale)

    def _in_other_lanes(self, node: Node, index: Indices, own: Lane, lane: Lane, scale: int) -> st.Operand:
        if lane == Lane.MASK:
            raise NotTraceable("a number as a condition")
        value = self.element(node, index, own)
        if own == Lane.MASK:
            return self.apply(lane, "select", value, st.literal(1, lane, scale), st.literal(0, lane))
        return self.times(self.convert(value, lane), lane, scale)

    def _parameter(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        if lane == Lane.MASK:
            raise NotTraceable("a parameter as a condition")
        own, slot = self.slots.of(node, scale if lane in FLOATS else 0, lane)
        return self.load(lane, Memory.OWN if own else Memory.SHARED, slot, linear(node.dims, index))

    def _sum(self, node: Node, index: Indices, lane: Lane, scale: int) -> st.Operand:
        if lane == Lane.I32:
            return self.load(lane, Memory.SUMS, self.sums[node.value], linear(node.dims, index))
        raw = self.element(node, index, Lane.I32)
        return self.times(from_integers(self, raw, lane), lane, scale) if lane in FLOATS else self.convert(raw, lane)

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
        variable = self.variable()
        self.put(st.Store(Memory.HELD, variable, 0, st.literal(0, lane)))
        with self.loop(arg.sizes[-1]) as i:
            before = self.load(lane, Memory.HELD, variable)
            total = self.apply(lane, op, before, self.read(arg, (*index, i), lane, scale))
            self.put(st.Store(Memory.HELD, variable, 0, total))
        return self.load(lane, Memory.HELD, variable)


GATHER = {"sum": "add", "any": "or"}
"""Operation by which each reduction adds an element."""
