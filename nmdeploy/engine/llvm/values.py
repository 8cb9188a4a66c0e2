"""Writer of the values of a step as vector instructions, each in the lanes that `LaneChoice` chose.

In float lanes integers are exact and `rz` is one instruction. A power of two that multiplies a value is moved into the
parameters of the value (`scale`), where it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.llvm.code import (
    F32,
    F64,
    I1,
    I32,
    I64,
    at,
    i64,
    inside,
    load,
    loop,
    splat,
    store,
    variable,
    vector,
)
from nmdeploy.engine.llvm.floats import FUSED, from_integers, in_floats, in_words
from nmdeploy.engine.llvm.integers import boolean, broadcast, in_integers
from nmdeploy.engine.llvm.look_up import look_up
from nmdeploy.engine.lower.lanes import FLOATS, Lane, LaneChoice
from nmdeploy.engine.lower.schedule import UNROLL_MAX, is_reduction, loop_sizes
from nmdeploy.engine.lower.slots import Slots, slots_of
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol

Index = tuple[Any, ...]
SCALAR = {Lane.F64: F64, Lane.F32: F32, Lane.I64: I64, Lane.I32: I32, Lane.MASK: I1}


@dataclass
class Scope:
    """A place that dominates all code written after it: the block's prologue, the step, a loop in it."""

    block: Any
    known: dict[Any, Any] = field(default_factory=dict)


@dataclass
class Places:
    """Pointers of the block of neurons that the code is written for."""

    own: Any
    shared: Any
    state: Any
    scratch: Any
    step: Any = None
    steps: Any = None
    sums: dict[str, Callable[[int], tuple[Any, Any]]] = field(default_factory=dict)
    variables: dict[tuple[str, int], Any] = field(default_factory=dict)


class Values:
    """Writer of values on demand, each once per scope in which it is valid."""

    def __init__(self, b: ir.IRBuilder, lanes: int, choice: LaneChoice, slots: Slots) -> None:
        self.b, self.lanes, self.slots = b, lanes, slots
        self.choice, self.bounds, self.lane = choice, choice.bounds, choice.lane
        self.scopes: list[Scope] = []
        self.depths: dict[Any, int] = {}
        self.scratch: dict[Any, int] = {}
        self.scratch_size = 0
        self.stored: set[Node] = set()
        self.state: dict[str, int] = {}
        self.scales: dict[Node, int] = {}
        self.places: Places

    # -- scopes

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """Open a scope: code written inside is valid inside only."""
        opened = Scope(self.b.block)
        self.scopes.append(opened)
        yield opened
        self.scopes.pop()

    @contextmanager
    def loop(self, size: int) -> Iterator[Any]:
        """Write a loop over an axis, with its scope."""
        self.scopes[-1].block = self.b.block
        with loop(self.b, i64(0), i64(size), "n") as index, self.scope():
            self.depths[index] = len(self.scopes) - 1
            yield index
        self.scopes[-1].block = self.b.block

    @contextmanager
    def at_depth(self, depth: int) -> Iterator[Scope]:
        """Write in an outer scope."""
        if depth == len(self.scopes) - 1:
            yield self.scopes[depth]
            return
        inner = self.scopes[depth + 1 :]
        del self.scopes[depth + 1 :]
        with inside(self.b, self.scopes[depth].block):
            yield self.scopes[depth]
        self.scopes.extend(inner)

    # -- reading

    def read(self, symbol: Symbol, index: Index, lane: Lane | None = None, scale: int = 0) -> Any:
        """Return a view's element as a vector in the given `lane`, by default the lane of its node."""
        return self.element(symbol.node, self.indices(symbol, index), lane or self.lane(symbol.node), scale)

    def indices(self, symbol: Symbol, index: Index) -> Index:
        """Return the position of the view's element in its node."""
        found: list[Any] = []
        for place in symbol.places:
            if isinstance(place, int):
                found.append(place)
                continue
            axis, start, step = place
            i = index[axis]
            if isinstance(i, int):
                found.append(start + step * i)
            else:
                if step != 1:
                    i = self._derive(self.b.mul(i, i64(step)), i)
                found.append(self._derive(self.b.add(i, i64(start)), i) if start else i)
        return tuple(found)

    def _derive(self, value: Any, index: Any) -> Any:
        self.depths[value] = self.depths[index]
        return value

    def element(self, node: Node, index: Index, lane: Lane, scale: int = 0) -> Any:
        """Return a node's element."""
        if node.op == "const":
            return self.literal(node.value, lane, scale)
        key = (node, index, lane, scale)
        for scope in reversed(self.scopes):
            if key in scope.known:
                return scope.known[key]
        depth = self._depth(node, index)
        with self.at_depth(depth) as scope:
            value = self._compute(node, index, lane, scale)
            scope.known[key] = value
        return value

    def _depth(self, node: Node, index: Index) -> int:
        """Return the scope of a value: 0 is the block, 1 the step, and a higher number a loop."""
        fixed = node.op == "param"
        return max([0 if fixed else 1, *(self.depths[i] for i in index if not isinstance(i, int))])

    def literal(self, value: Any, lane: Lane, scale: int) -> Any:
        """Return a constant in every lane."""
        number = float(np.ldexp(float(value), scale)) if lane in FLOATS else int(value)
        return ir.Constant(vector(SCALAR[lane], self.lanes), [number] * self.lanes)

    def _compute(self, node: Node, index: Index, lane: Lane, scale: int) -> Any:
        if lane == Lane.I32:
            return in_words(self, node, index)
        if node.uniform:
            return broadcast(self, node, lane, scale)
        if node.op == "param":
            return self._parameter(node, index, lane, scale)
        if node.op == "leaf" and node.value in self.places.sums:
            return self.times(self._sum(node, index, lane), lane, scale)
        own = self.lane(node)
        if lane != own:
            return self._convert(node, index, own, lane, scale)
        if node in self.stored:
            return self.times(self._load(self.places.scratch, self.scratch[node] + 0, node, index, own), own, scale)
        if node.op == "leaf":
            return self.times(self._leaf(node, index, own), own, scale)
        if is_reduction(node):
            if scale == 0:
                raise NotTraceable("a sum over a loop that is needed before it")
            return self.times(self.element(node, index, own), own, scale)
        if node.op == "take":
            return self.times(look_up(self, node, index), own, scale)
        if own in FLOATS:
            return in_floats(self, node, index, own, scale)
        return in_integers(self, node, index) if own == Lane.I64 else boolean(self, node, index)

    def times(self, value: Any, lane: Lane, scale: int) -> Any:
        """Return a float value times a power of two."""
        if scale == 0 or lane not in FLOATS:
            return value
        return self.b.fmul(value, self.literal(1, lane, scale), flags=FUSED)

    def _convert(self, node: Node, index: Index, own: Lane, lane: Lane, scale: int) -> Any:
        if own == Lane.MASK:
            mask = self.element(node, index, Lane.MASK)
            return self.b.select(mask, self.literal(1, lane, scale), self.literal(0, lane, 0))
        if lane == Lane.MASK:
            raise NotTraceable("a number as a condition")
        value = self.element(node, index, own)
        return self.times(self.convert_lanes(value, own, lane), lane, scale)

    def convert_lanes(self, value: Any, own: Lane, lane: Lane) -> Any:
        """Convert a vector from its own lanes to others."""
        lanes = vector(SCALAR[lane], self.lanes)
        if lane == Lane.I64:
            return self.b.fptosi(value, lanes)
        if own in (Lane.I64, Lane.I32):
            return self.b.sitofp(value, lanes)
        return self.b.fpext(value, lanes) if lane == Lane.F64 else self.b.fptrunc(value, lanes)

    # -- memory

    def linear(self, dims: tuple[int, ...], index: Index) -> Any:
        """Return the number of an element."""
        total: Any = 0
        for size, i in zip(dims, index, strict=True):
            if isinstance(total, int) and isinstance(i, int):
                total = total * size + i
            else:
                wide = i64(total * size) if isinstance(total, int) else self.b.mul(total, i64(size))
                total = self.b.add(wide, i64(i) if isinstance(i, int) else i)
        return total

    def address(self, base: Any, slot: int, dims: tuple[int, ...], index: Index, lane: Lane) -> Any:
        """Return the address of a vector in a block's memory."""
        element = self.linear(dims, index)
        if isinstance(element, int):
            return at(self.b, base, (slot + element * slots_of(lane)) * self.lanes, I32)
        line = self.b.add(self.b.mul(element, i64(slots_of(lane))), i64(slot))
        return at(self.b, base, self.b.mul(line, i64(self.lanes)), I32)

    def _load(self, base: Any, slot: int, node: Node, index: Index, lane: Lane) -> Any:
        place = self.address(base, slot, node.dims, index, lane)
        value = load(self.b, place, vector(I64 if lane == Lane.MASK else SCALAR[lane], self.lanes))
        return self.b.icmp_signed("!=", value, self.literal(0, Lane.I64, 0)) if lane == Lane.MASK else value

    def store(self, base: Any, slot: int, dims: tuple[int, ...], index: Index, value: Any, lane: Lane) -> None:
        """Store a vector."""
        if lane == Lane.MASK:
            value = self.b.zext(value, vector(I64, self.lanes))
        store(self.b, value, self.address(base, slot, dims, index, lane))

    def _parameter(self, node: Node, index: Index, lane: Lane, scale: int) -> Any:
        if lane == Lane.MASK:
            raise NotTraceable("a parameter as a condition")
        own, slot = self.slots.of(node, scale if lane in FLOATS else 0, lane)
        scalar = SCALAR[lane]
        if own:
            place = self.address(self.places.own, slot, node.dims, index, lane)
            return load(self.b, place, vector(scalar, self.lanes))
        element = self.linear(node.dims, index)
        place = slot + element if isinstance(element, int) else self.b.add(element, i64(slot))
        return splat(self.b, load(self.b, at(self.b, self.places.shared, place, I64), scalar), self.lanes)

    def _sum(self, node: Node, index: Index, lane: Lane) -> Any:
        raw = self.raw(node, index)
        if node.real:
            return raw
        return from_integers(self, raw, lane) if lane in FLOATS else self.b.sext(raw, vector(I64, self.lanes))

    def _leaf(self, node: Node, index: Index, lane: Lane) -> Any:
        if loop_sizes(node.dims):
            return self._load(self.places.state, self.state[node.value], node, index, lane)
        return self.b.load(self.places.variables[node.value, self.linear(node.dims, index)])

    def raw(self, node: Node, index: Index) -> Any:
        """Return a synapse's sum as in memory."""
        pointer, lane = self.places.sums[node.value](self.linear(node.dims, index))
        return load(self.b, pointer, vector(lane, self.lanes))

    @contextmanager
    def unlikely(self, condition: Any) -> Iterator[None]:
        """Write code that runs if a condition holds, or if a lane of a mask is set, which is expected to be rare."""
        if condition.type != I1:
            bits = self.b.bitcast(condition, ir.IntType(self.lanes))
            condition = self.b.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
        with self.b.if_then(condition, likely=False):
            yield
        self.scopes[-1].block = self.b.block

    def sum_last_axis(self, node: Node, index: Index, lane: Lane, scale: int) -> Any:
        """Return a sum or `any` over the last axis, written out or as a loop inside the current one."""
        arg = node.args[0]
        size = arg.sizes[-1]
        gather = self.gather(node, lane)
        if size <= UNROLL_MAX:
            parts = [self.read(arg, (*index, i), lane, scale) for i in range(size)]
            total = parts[0]
            for part in parts[1:]:
                total = gather(total, part)
            return total
        if self.b.block is not self.scopes[-1].block and self.b.block.is_terminated:
            raise NotTraceable("a sum within a loop that is needed in another")
        total = variable(self.b, vector(SCALAR[lane], self.lanes), self.literal(0, lane, 0))
        with self.loop(size) as i:
            self.b.store(gather(self.b.load(total), self.read(arg, (*index, i), lane, scale)), total)
        return self.b.load(total)

    def gather(self, node: Node, lane: Lane) -> Callable[[Any, Any], Any]:
        """Return the function by which a sum or `any` adds an element."""
        if node.op == "any":
            return lambda a, c: self.b.or_(a, c)
        return (lambda a, c: self.b.fadd(a, c, flags=FUSED)) if lane in FLOATS else lambda a, c: self.b.add(a, c)
