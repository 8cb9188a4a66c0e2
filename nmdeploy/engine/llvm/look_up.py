"""Look-up of a table's values, at an index of its own for each lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.bounds.interval_arithmetic import Bound
from nmdeploy.engine.llvm.code import F32, F64, I32, I64, at, i64, load, splat, vector
from nmdeploy.engine.llvm.integers import reached, scalar
from nmdeploy.engine.llvm.machine import has
from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.engine.trace.symbols import Node

if TYPE_CHECKING:
    from nmdeploy.engine.llvm.values import Index, Values

ENTRIES, CHUNK = 64, 16
"""Entries of a table that four vectors hold, and the lanes of one."""
PERMUTE = "llvm.x86.avx512.vpermi2var.ps.512"
KINDS = {Lane.F64: F64, Lane.F32: F32, Lane.I64: I64}


def look_up(v: Values, node: Node, index: Index) -> Any:
    """Return a table's values, in the lanes of the node, at the index of each lane."""
    table, place = node.args
    lane = Lane.F64 if node.real else v.lane(node)
    bound = reached(v, node)
    if lane == Lane.F32 and not table.node.laned and not place.node.uniform and _permutes(v, bound):
        return _permuted(v, node, index, int(bound.low.min()))
    b, kind = v.b, KINDS[lane]
    own, slot = v.slots.of(table.node, 0, lane)
    if own:
        base, width = at(b, v.places.own, slot * v.lanes, I32), kind
    else:
        base, width = at(b, v.places.shared, slot, I64), I64  # a shared slot has 64 bits
    if place.node.uniform:
        element = scalar(v, place.node)
        if own:
            return load(b, at(b, base, b.mul(element, i64(v.lanes)), kind), vector(kind, v.lanes))
        return splat(b, load(b, at(b, base, element, width), kind), v.lanes)
    at_lanes = v.read(place, index, Lane.I64)
    found = ir.Constant(vector(kind, v.lanes), ir.Undefined)
    for at_lane in range(v.lanes):
        element = b.extract_element(at_lanes, ir.Constant(I32, at_lane))
        if own:
            element = b.add(b.mul(element, i64(v.lanes)), i64(at_lane))
        found = b.insert_element(found, load(b, at(b, base, element, width), kind), ir.Constant(I32, at_lane))
    return found


def _permutes(v: Values, bound: Bound) -> bool:
    """Return True if the processor takes 16 of 32 values by one instruction, and two of these reach every entry."""
    return bool(bound.high.max() - bound.low.min() < ENTRIES) and v.lanes % CHUNK == 0 and has("avx512f")


def _permuted(v: Values, node: Node, index: Index, first: int) -> Any:
    """Return the values by permutations of vectors that hold the whole table.

    Entry e is at position e modulo 64. The instruction reads the lower five bits of an index, and bit 5 chooses between
    the two halves of the table.
    """
    b, numbers = v.b, v.read(node.args[1], index, Lane.I32)
    parts = _table(v, node.args[0].node, first)
    parts_of_half = parts[:2], parts[2:]
    kind = ir.FunctionType(parts[0].type, [parts[0].type, vector(I32, CHUNK), parts[0].type])
    permute = b.module.globals.get(PERMUTE) or ir.Function(b.module, kind, PERMUTE)
    found = []
    for start in range(0, v.lanes, CHUNK):
        at_lanes = _slice(b, numbers, start)
        low, high = (b.call(permute, [one, at_lanes, two]) for one, two in parts_of_half)
        bit = b.and_(at_lanes, ir.Constant(at_lanes.type, [ENTRIES // 2] * CHUNK))
        found.append(b.select(b.icmp_signed("!=", bit, ir.Constant(bit.type, [0] * CHUNK)), high, low))
    return _joined(b, found)


def _table(v: Values, table: Node, first: int) -> list[Any]:
    """Return the vectors that hold the entries from `first` on, which are loaded once per block of neurons."""
    with v.at_depth(0) as scope:
        key = ("table", table, first)
        if key not in scope.known:
            entries = np.arange(first, min(first + ENTRIES, table.dims[-1]))
            placed = np.zeros((1, ENTRIES), np.int64)
            placed[0, entries % ENTRIES] = table.value.reshape(-1)[entries]
            param = Node("param", dims=(ENTRIES,), value=placed)
            _, slot = v.slots.of(param, 0, Lane.F32)
            wide = load(v.b, at(v.b, v.places.shared, slot, I64), vector(I64, ENTRIES))
            values = v.b.bitcast(v.b.trunc(wide, vector(I32, ENTRIES)), vector(F32, ENTRIES))
            scope.known[key] = [_slice(v.b, values, start) for start in range(0, ENTRIES, CHUNK)]
        found: list[Any] = scope.known[key]
        return found


def _slice(b: ir.IRBuilder, values: Any, start: int) -> Any:
    numbers = ir.Constant(vector(I32, CHUNK), [*range(start, start + CHUNK)])
    return b.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), numbers)


def _joined(b: ir.IRBuilder, parts: list[Any]) -> Any:
    """Return one vector of the lanes of all parts, whose number is a power of two."""
    while len(parts) > 1:
        lanes = ir.Constant(vector(I32, 2 * parts[0].type.count), [*range(2 * parts[0].type.count)])
        parts = [b.shuffle_vector(one, two, lanes) for one, two in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
