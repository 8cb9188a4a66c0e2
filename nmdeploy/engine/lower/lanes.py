"""Choice of the lanes in which each value of a step is computed: float32, float64 or int64.

docs/engine.md proves that each choice is exact. A vector holds twice as many float32. A population's values are
computed in float32 lanes if these hold most of its roundings. A value that is too large for them, such as a sum of many
states, is then computed in float64 lanes all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import numpy as np

from nmdeploy.engine.bounds.fixed_point import STEPS_MAX
from nmdeploy.engine.bounds.interval_arithmetic import F32_EXACT, F64_EXACT, Bound, Bounds, evaluate, view_bound
from nmdeploy.engine.lower.schedule import loop_sizes, schedule
from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol, order, shows_whole_node


class Lane(Enum):
    """Types of a vector's lanes.

    ``F32`` and ``F64`` hold integers that are exact in them, ``I64`` other integers, ``MASK`` conditions. ``I32`` holds
    some sums only.
    """

    F32 = "float32"
    F64 = "float64"
    I32 = "int32"
    I64 = "int64"
    MASK = "mask"


FLOATS = (Lane.F64, Lane.F32)
BITWISE = ("and", "or", "xor", "mod")


class LaneChoice:
    """The `Lane` of each value of a step.

    Parameters
    ----------
    step : Step
        The traced step.
    bounds : mapping of Node to Bound
        Bounds of every node.
    single : bool
        True if the machine can round products towards zero, which float32 lanes need.
    """

    def __init__(self, step: Step, bounds: Bounds, single: bool) -> None:
        self.bounds = bounds
        olds = [register.old.node for register in step.registers.values()]
        self.nodes = order(step.roots)
        self.chosen = _chosen(self.nodes, step.roots, bounds)
        self.stored = {node for loop in schedule(step, traced=True).loops for node in loop.stored}
        self._known: dict[Node, Lane] = {}
        self.narrow = single
        if not single or not self._mostly_single([node for node in self.nodes if node.op == "rz"] or olds):
            self.narrow = False
            self._known.clear()

    def _mostly_single(self, nodes: list[Node]) -> bool:
        """Return True if float32 holds more of the values than it does not; those in loops decide, if there are any."""
        work = [node for node in nodes if loop_sizes(node.dims)] or nodes
        single = [node.boolean or self.lane(node) == Lane.F32 for node in work]
        return 2 * sum(single) >= len(single)

    def lane(self, node: Node) -> Lane:
        """Return the lanes in which a value is computed.

        Raises
        ------
        NotTraceable
            The value can exceed 64 bits.
        """
        if node not in self._known:
            self._known[node] = self._choose(node)
        return self._known[node]

    def comparison_lane(self, symbols: Iterable[Symbol]) -> Lane:
        """Return the lanes in which values are compared."""
        most = max(self.bounds[each.node].magnitude for each in symbols)
        return Lane.F32 if self.narrow and most <= F32_EXACT else Lane.F64 if most <= F64_EXACT else Lane.I64

    def rounds_product(self, node: Node) -> bool:
        """Return True if `rz` of a product is computed in float32 lanes, which may not hold the product itself."""
        inner = node.args[0].node
        # A stored product was computed before: its registers may have changed since.
        here = self.narrow and inner.op == "mul" and inner not in self.stored
        return here and all(self._fits(arg.node, F32_EXACT * self._factor(arg.node)) for arg in inner.args)

    def _choose(self, node: Node) -> Lane:
        if node.boolean:
            return Lane.MASK
        if node.op in BITWISE or (node.op in ("shl", "shr") and node.args[1].node.op != "const"):
            return self._fits_64(node)
        if node.op == "take":
            return Lane.F32 if self.narrow and self._fits(node, F32_EXACT) else self._fits_64(node)
        if self.narrow and self._is_single(node):
            return Lane.F32
        return Lane.F64 if self._reaches(node) <= F64_EXACT else self._fits_64(node)

    def _is_single(self, node: Node) -> bool:
        if node.op == "rz" and self.chosen[node] <= F32_EXACT:
            return self.rounds_product(node) or self.lane(node.args[0].node) == Lane.F32
        return self._reaches(node) <= F32_EXACT

    def _fits(self, node: Node, most: float) -> bool:
        return node.boolean or self.bounds[node].magnitude <= most

    def _reaches(self, node: Node) -> float:
        """Return the largest magnitude in the computation of a value: its own, its operands', all terms of a sum."""
        operands = () if node.op == "select" else node.args  # a side of a choice may be wrong where it is not taken
        met = [self.chosen.get(node, self.bounds[node].magnitude)]
        met += [self.bounds[arg.node].magnitude for arg in operands if not arg.node.boolean]
        clip = find_clip(node)
        if clip is not None:  # both ends at once
            met.append(self.bounds[clip.x.node].magnitude)
        return max(*met, self._terms(node)) if node.op == "sum" else max(met) / self._factor(node)

    def _factor(self, node: Node) -> float:
        """Return a power of two that divides a value: a float holds it exactly if it holds the quotient.

        Sums of 8-bit weights that a synapse shifts are such values.
        """
        if node.op == "shl" and node.args[1].node.op == "const":
            return float(np.ldexp(self._factor(node.args[0].node), node.args[1].node.value))
        if node.op in ("add", "sub"):
            return min(self._factor(arg.node) for arg in node.args)
        return 1.0

    def _terms(self, node: Node) -> float:
        """Return the sum of the magnitudes of a sum's terms."""
        inner = view_bound(node.args[0], self.bounds[node.args[0].node])
        each = np.maximum(np.abs(inner.low), np.abs(inner.high))
        spread = 1 if each.shape[-1] == node.args[0].sizes[-1] else node.args[0].sizes[-1]
        return float(each.sum(-1).max(initial=0)) * spread

    def adds_words(self, node: Node) -> bool:
        """Return True if a sum of float32 values is gathered in 32-bit integers.

        These reach further and are added faster.
        """
        return node.op == "sum" and self.lane(node.args[0].node) == Lane.F32 and self._terms(node) < 2.0**31

    def _fits_64(self, node: Node) -> Lane:
        if self.bounds[node].magnitude >= 2.0**63:
            raise NotTraceable("a value that can exceed 64 bits")
        return Lane.I64


class RealLanes(LaneChoice):
    """Lanes of a float step: float64 for every number, except integers that follow from the time and parameters."""

    def __init__(self, step: Step) -> None:
        self.nodes = order(step.roots)
        times = {n: Bound(np.zeros(1), np.full(1, STEPS_MAX)) for n in self.nodes if n.op == "leaf" and n.uniform}
        self.whole: set[Node] = set()
        for node in self.nodes:
            fixed = node in times or node.op in ("const", "param") or node.args
            if fixed and not node.real and all(arg.node in self.whole for arg in node.args):
                self.whole.add(node)
        self.bounds = evaluate([node for node in self.nodes if node in self.whole], times)
        self.stored = {node for loop in schedule(step, traced=True).loops for node in loop.stored}
        self.narrow = False

    def lane(self, node: Node) -> Lane:
        if node.boolean:
            return Lane.MASK
        if node in self.whole and node.args:
            return Lane.I64
        if node.op in (*BITWISE, "shl", "shr", "rz"):
            raise NotTraceable(f"the operation {node.op} of a float step")
        return Lane.F64

    def comparison_lane(self, symbols: Iterable[Symbol]) -> Lane:
        return Lane.F64


def _chosen(nodes: list[Node], roots: list[Symbol], bounds: Bounds) -> Mapping[Node, float]:
    """Return the largest magnitude of each value where it matters.

    A value that is read only as a side of choices has the magnitude of these choices.
    """
    open_ended = {root.node for root in roots}
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for place, arg in enumerate(node.args):
            if node.op == "select" and place:
                users.setdefault(arg.node, []).append(node)
            else:
                open_ended.add(arg.node)
    found: dict[Node, float] = {}
    for node in reversed(nodes):  # users first
        most = bounds[node].magnitude
        if node not in open_ended:
            most = min(most, max(found[user] for user in users[node]))
        found[node] = most
    return found


class Clip(NamedTuple):
    """Clip ``min(max(x, low), high)``; an end that does not exist is None."""

    x: Symbol
    low: float | None
    high: float | None


def find_clip(node: Node) -> Clip | None:
    """Return the clip that a node is, if its ends are literal, else None."""
    if node.op not in ("min", "max") or node.args[1].node.op != "const":
        return None
    end, inner = float(node.args[1].node.value), node.args[0]
    if node.op == "max":
        return Clip(inner, end, None)
    below = find_clip(inner.node) if inner.node.op == "max" and shows_whole_node(inner) else None
    return Clip(inner, None, end) if below is None else Clip(below.x, below.low, end)
