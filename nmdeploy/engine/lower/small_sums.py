"""A second form of a step, for steps whose synaptic sums are small: more of its values are in float32 lanes.

A sum reaches its bound if all its inputs send at once, with the signs that add up. Nearly all steps stay far below. A
kernel holds both forms, and each step of a block takes the second one if all sums of the block are within its limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nmdeploy.engine.bounds.interval_arithmetic import Bound, Bounds, evaluate
from nmdeploy.engine.lower.lanes import Lane, LaneChoice
from nmdeploy.engine.trace.operations import apply
from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, Symbol, identity_places, order
from nmdeploy.neurons.base import FloatArray

SHARES = (0.5, 0.25, 0.125, 0.0625)
"""Limits of the sums that are tried, as parts of their bounds."""
WORTH = 0.75
"""A second form has at most this part of the first one's float64 values: it doubles the code."""


@dataclass(frozen=True, eq=False)
class SmallSums:
    """Conditions of the sums, each true where one is beyond its limit, and the lanes if none is."""

    beyond: tuple[Symbol, ...]
    choice: LaneChoice


def small_sums(step: Step, choice: LaneChoice) -> SmallSums | None:
    """Return the second form, with the largest limits; None if few values gain by it, or a register's lanes change."""
    most = _doubles(choice)
    if not choice.narrow or not most:
        return None
    tried = [_limits(step, choice, share) for share in SHARES]
    found = [(limits, LaneChoice(step, _bounds(choice, limits), True)) for limits in tried]
    least = min(_doubles(each) for _, each in found)
    if least > WORTH * most:
        return None
    limits, small = next(pair for pair in found if _doubles(pair[1]) == least)
    registers = [register.old.node for register in step.registers.values()]
    if any(small.lane(each) != choice.lane(each) for each in registers):
        return None
    beyond = tuple(_beyond(node, limit, step.neurons) for node, limit in limits.items())
    choice.bounds = evaluate(order(beyond), choice.bounds)
    return SmallSums(beyond, small)


def _doubles(choice: LaneChoice) -> int:
    """Return how many values per neuron are in float64 lanes, of those that each state has one of.

    A product counts when it is rounded.
    """
    states = [node for node in choice.nodes if node.op != "mul" and not node.boolean and np.prod(node.dims) > 1]
    return sum(int(np.prod(node.dims)) for node in states if choice.lane(node) == Lane.F64)


def _limits(step: Step, choice: LaneChoice, share: float) -> dict[Node, FloatArray]:
    used = [each.node for each in step.sums.values() if each.node in choice.bounds]
    return {node: np.floor(share * _magnitudes(choice.bounds[node])) for node in used}


def _magnitudes(bound: Bound) -> FloatArray:
    return np.maximum(np.abs(bound.low), np.abs(bound.high))


def _bounds(choice: LaneChoice, limits: Mapping[Node, FloatArray]) -> Bounds:
    """Return the bounds of every value if sums are within their limits; registers and times keep theirs."""
    found = {node: known for node, known in choice.bounds.items() if node.op == "leaf" and node not in limits}
    for node, most in limits.items():
        known = choice.bounds[node]
        found[node] = Bound(np.maximum(known.low, -most), np.minimum(known.high, most))
    for node in choice.nodes:
        if node not in found:
            known, now = choice.bounds[node], evaluate([node], found)[node]
            found[node] = Bound(np.maximum(known.low, now.low), np.minimum(known.high, now.high))
    return found


def _beyond(node: Node, limit: FloatArray, neurons: int) -> Symbol:
    """Return the condition that a sum's magnitude exceeds its limit."""
    rank = 2 + len(node.dims)
    places = identity_places(len(node.dims))
    dims = limit.shape[1:]
    sums = Symbol(node, neurons, node.dims, places, rank)
    param = Node("param", dims=dims, laned=len(limit) > 1, value=limit.astype(np.int64))
    most = Symbol(param, neurons, dims, identity_places(len(dims)), rank)
    return apply("gt", apply("abs", sums), most)
