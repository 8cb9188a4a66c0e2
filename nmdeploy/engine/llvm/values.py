"""Writes the values of a step as vector instructions, each in the lanes that `Kinds` says.

In float lanes integers are exact and `rz` is one instruction. A power of two that a value is to be multiplied by is
moved into the parameters it is made of (`scale`), where it costs nothing.
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
from nmdeploy.engine.llvm.integers import boolean, in_integers, spread
from nmdeploy.engine.lower.kinds import FLOATS, Kinds
from nmdeploy.engine.lower.schedule import UNROLLED, extents, is_reduction
from nmdeploy.engine.lower.slots import Slots, slots_of
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol

Index = tuple[Any, ...]
SCALAR = {"f": F64, "s": F32, "i": I64, "n": I32, "b": I1}


@dataclass
class Scope:
    """A place that dominates what is written behind it: the block's prologue, the step, a loop in it."""

    block: Any
    known: dict[Any, Any] = field(default_factory=dict)


@dataclass
class Places:
    """Pointers of the block of neurons that is being written for."""

    own: Any
    shared: Any
    state: Any
    scratch: Any
    step: Any = None
    steps: Any = None
    sums: dict[str, Callable[[int], tuple[Any, Any]]] = field(default_factory=dict)
    variables: dict[tuple[str, int], Any] = field(default_factory=dict)


class Values:
    """Writes values on demand, each once where it is valid."""

    def __init__(self, b: ir.IRBuilder, lanes: int, kinds: Kinds, slots: Slots) -> None:
        self.b, self.lanes, self.slots = b, lanes, slots
        self.kinds, self.bounds, self.kind = kinds, kinds.bounds, kinds.kind
        self.scopes: list[Scope] = []
        self.depths: dict[Any, int] = {}
        self.scratch: dict[Any, int] = {}
        self.scratch_size = 0
        self.kept: set[Node] = set()
        self.state: dict[str, int] = {}
        self.scales: dict[Node, int] = {}
        self.places: Places

    # -- scopes

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """What is written inside is valid inside only."""
        opened = Scope(self.b.block)
        self.scopes.append(opened)
        yield opened
        self.scopes.pop()

    @contextmanager
    def loop(self, size: int) -> Iterator[Any]:
        """A loop over an axis, with its scope."""
        self.scopes[-1].block = self.b.block
        with loop(self.b, i64(0), i64(size), "n") as index, self.scope():
            self.depths[index] = len(self.scopes) - 1
            yield index
        self.scopes[-1].block = self.b.block

    @contextmanager
    def within(self, depth: int) -> Iterator[Scope]:
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

    def read(self, symbol: Symbol, index: Index, kind: str | None = None, scale: int = 0) -> Any:
        """A view's element as a vector: `kind` as of `Kinds`; of its own kind by default."""
        return self.of(symbol.node, self.indices(symbol, index), kind or self.kind(symbol.node), scale)

    def indices(self, symbol: Symbol, index: Index) -> Index:
        """Where the view's element stands in its node."""
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
                    i = self._derived(self.b.mul(i, i64(step)), i)
                found.append(self._derived(self.b.add(i, i64(start)), i) if start else i)
        return tuple(found)

    def _derived(self, value: Any, index: Any) -> Any:
        self.depths[value] = self.depths[index]
        return value

    def of(self, node: Node, index: Index, kind: str, scale: int = 0) -> Any:
        """A node's element."""
        if node.op == "const":
            return self.literal(node.value, kind, scale)
        key = (node, index, kind, scale)
        for scope in reversed(self.scopes):
            if key in scope.known:
                return scope.known[key]
        depth = self._depth(node, index)
        with self.within(depth) as scope:
            value = self._made(node, index, kind, scale)
            scope.known[key] = value
        return value

    def _depth(self, node: Node, index: Index) -> int:
        """The scope a value belongs to: 0 the block, 1 the step, further in a loop's."""
        fixed = node.op == "param"
        return max([0 if fixed else 1, *(self.depths[i] for i in index if not isinstance(i, int))])

    def literal(self, value: Any, kind: str, scale: int) -> Any:
        """A constant in every lane."""
        number = float(np.ldexp(float(value), scale)) if kind in FLOATS else int(value)
        return ir.Constant(vector(SCALAR[kind], self.lanes), [number] * self.lanes)

    def _made(self, node: Node, index: Index, kind: str, scale: int) -> Any:
        if kind == "n":
            return in_words(self, node, index)
        if node.uniform:
            return spread(self, node, kind, scale)
        if node.op == "param":
            return self._parameter(node, index, kind, scale)
        if node.op == "leaf" and node.value in self.places.sums:
            return self.times(self._sum(node, index, kind), kind, scale)
        own = self.kind(node)
        if kind != own:
            return self._converted(node, index, own, kind, scale)
        if node in self.kept:
            return self.times(self._load(self.places.scratch, self.scratch[node] + 0, node, index, own), own, scale)
        if node.op == "leaf":
            return self.times(self._leaf(node, index, own), own, scale)
        if is_reduction(node):
            if scale == 0:
                raise NotTraceable("a sum over a loop that is needed before it")
            return self.times(self.of(node, index, own), own, scale)
        if own in FLOATS:
            return in_floats(self, node, index, own, scale)
        return in_integers(self, node, index) if own == "i" else boolean(self, node, index)

    def times(self, value: Any, kind: str, scale: int) -> Any:
        """A float value times a power of two."""
        if scale == 0 or kind not in FLOATS:
            return value
        return self.b.fmul(value, self.literal(1, kind, scale), flags=FUSED)

    def _converted(self, node: Node, index: Index, own: str, kind: str, scale: int) -> Any:
        if own == "b":
            mask = self.of(node, index, "b")
            return self.b.select(mask, self.literal(1, kind, scale), self.literal(0, kind, 0))
        if kind == "b":
            raise NotTraceable("a number as a condition")
        value = self.of(node, index, own)
        return self.times(self.between(value, own, kind), kind, scale)

    def between(self, value: Any, own: str, kind: str) -> Any:
        lanes = vector(SCALAR[kind], self.lanes)
        if kind == "i":
            return self.b.fptosi(value, lanes)
        if own in ("i", "n"):
            return self.b.sitofp(value, lanes)
        return self.b.fpext(value, lanes) if kind == "f" else self.b.fptrunc(value, lanes)

    # -- memory

    def linear(self, dims: tuple[int, ...], index: Index) -> Any:
        """Number of an element."""
        total: Any = 0
        for size, i in zip(dims, index, strict=True):
            if isinstance(total, int) and isinstance(i, int):
                total = total * size + i
            else:
                wide = i64(total * size) if isinstance(total, int) else self.b.mul(total, i64(size))
                total = self.b.add(wide, i64(i) if isinstance(i, int) else i)
        return total

    def address(self, base: Any, slot: int, dims: tuple[int, ...], index: Index, kind: str) -> Any:
        """Of a vector in a block's memory."""
        element = self.linear(dims, index)
        if isinstance(element, int):
            return at(self.b, base, (slot + element * slots_of(kind)) * self.lanes, I32)
        line = self.b.add(self.b.mul(element, i64(slots_of(kind))), i64(slot))
        return at(self.b, base, self.b.mul(line, i64(self.lanes)), I32)

    def _load(self, base: Any, slot: int, node: Node, index: Index, kind: str) -> Any:
        place = self.address(base, slot, node.dims, index, kind)
        value = load(self.b, place, vector(I64 if kind == "b" else SCALAR[kind], self.lanes))
        return self.b.icmp_signed("!=", value, self.literal(0, "i", 0)) if kind == "b" else value

    def keep(self, base: Any, slot: int, dims: tuple[int, ...], index: Index, value: Any, kind: str) -> None:
        """Store a vector."""
        if kind == "b":
            value = self.b.zext(value, vector(I64, self.lanes))
        store(self.b, value, self.address(base, slot, dims, index, kind))

    def _parameter(self, node: Node, index: Index, kind: str, scale: int) -> Any:
        if kind == "b":
            raise NotTraceable("a parameter as a condition")
        own, slot = self.slots.of(node, scale if kind in FLOATS else 0, kind)
        scalar = SCALAR[kind]
        if own:
            place = self.address(self.places.own, slot, node.dims, index, kind)
            return load(self.b, place, vector(scalar, self.lanes))
        element = self.linear(node.dims, index)
        place = slot + element if isinstance(element, int) else self.b.add(element, i64(slot))
        return splat(self.b, load(self.b, at(self.b, self.places.shared, place, I64), scalar), self.lanes)

    def _sum(self, node: Node, index: Index, kind: str) -> Any:
        raw = self.raw(node, index)
        return from_integers(self, raw, kind) if kind in FLOATS else self.b.sext(raw, vector(I64, self.lanes))

    def _leaf(self, node: Node, index: Index, kind: str) -> Any:
        if extents(node.dims):
            return self._load(self.places.state, self.state[node.value], node, index, kind)
        return self.b.load(self.places.variables[node.value, self.linear(node.dims, index)])

    def raw(self, node: Node, index: Index) -> Any:
        """A synapse's sum as it stands in memory."""
        pointer, kind = self.places.sums[node.value](self.linear(node.dims, index))
        return load(self.b, pointer, vector(kind, self.lanes))

    @contextmanager
    def seldom(self, condition: Any) -> Iterator[None]:
        """Written for the case that a condition holds, or a lane of a mask is set, which is thought to be rare."""
        if condition.type != I1:
            bits = self.b.bitcast(condition, ir.IntType(self.lanes))
            condition = self.b.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
        with self.b.if_then(condition, likely=False):
            yield
        self.scopes[-1].block = self.b.block

    def summed(self, node: Node, index: Index, kind: str, scale: int) -> Any:
        """A sum or `any` over the last axis: written out, or a loop of its own within the one that is being written."""
        arg = node.args[0]
        size = arg.sizes[-1]
        gather = self.gather(node, kind)
        if size <= UNROLLED:
            parts = [self.read(arg, (*index, i), kind, scale) for i in range(size)]
            total = parts[0]
            for part in parts[1:]:
                total = gather(total, part)
            return total
        if self.b.block is not self.scopes[-1].block and self.b.block.is_terminated:
            raise NotTraceable("a sum within a loop that is needed in another")
        total = variable(self.b, vector(SCALAR[kind], self.lanes), self.literal(0, kind, 0))
        with self.loop(size) as i:
            self.b.store(gather(self.b.load(total), self.read(arg, (*index, i), kind, scale)), total)
        return self.b.load(total)

    def gather(self, node: Node, kind: str) -> Callable[[Any, Any], Any]:
        """How a sum or `any` takes up an element."""
        if node.op == "any":
            return lambda a, c: self.b.or_(a, c)
        return (lambda a, c: self.b.fadd(a, c, flags=FUSED)) if kind in FLOATS else lambda a, c: self.b.add(a, c)
