"""In which lanes each value of a step is computed: float32, float64 or int64. docs/engine.md says why each is exact.

Twice as many float32 fit into a vector. A population's values are computed in them if its registers and its roundings
allow it; what is too large for them there, a sum of many states, is computed in float64 lanes all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from nmdeploy.engine.bounds.clips import clipped
from nmdeploy.engine.bounds.interval_arithmetic import EXACT, SINGLE, Bounds, order, seen
from nmdeploy.engine.lower.schedule import schedule
from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, NotTraceable, Symbol

FLOATS = ("f", "s")
BITWISE = ("and", "or", "xor", "mod", "take")


class Kinds:
    """Kinds of values: ``s`` float32, ``f`` float64, ``i`` int64, ``b`` a condition; ``n`` int32, for some sums only.

    Parameters
    ----------
    step : what is computed
    bounds : of every node
    single : bool
        Whether the machine can round products towards zero, which float32 lanes need.
    """

    def __init__(self, step: Step, bounds: Bounds, single: bool) -> None:
        self.bounds = bounds
        olds = [register.old.node for register in step.registers.values()]
        self.nodes = order(step.roots)
        self.chosen = _chosen(self.nodes, step.roots, bounds)
        self.stored = {node for loop in schedule(step, traced=True).loops for node in loop.stored}
        self._known: dict[Node, str] = {}
        self.narrow = single
        roundings = [node for node in self.nodes if node.op == "rz"]
        if not single or not all(self.kind(node) == "s" for node in roundings or olds if not node.boolean):
            self.narrow = False
            self._known.clear()

    def kind(self, node: Node) -> str:
        """In which lanes a value is computed.

        Raises
        ------
        NotTraceable
            It can exceed 64 bits.
        """
        if node not in self._known:
            self._known[node] = self._kind(node)
        return self._known[node]

    def together(self, symbols: Iterable[Symbol]) -> str:
        """In which lanes values are compared."""
        most = max(self.bounds[each.node].magnitude for each in symbols)
        return "s" if self.narrow and most <= SINGLE else "f" if most <= EXACT else "i"

    def rounds_product(self, node: Node) -> bool:
        """Whether `rz` of a product is found in float32 lanes, where the product itself may not fit."""
        inner = node.args[0].node
        # What is stored was computed before: the registers it is made of may have changed since.
        here = self.narrow and inner.op == "mul" and inner not in self.stored
        return here and all(self._fits(arg.node, SINGLE) for arg in inner.args)

    def _kind(self, node: Node) -> str:
        if node.boolean:
            return "b"
        if node.op in BITWISE or (node.op in ("shl", "shr") and node.args[1].node.op != "const"):
            return self._fits_64(node)
        if self.narrow and self._is_single(node):
            return "s"
        return "f" if self._reaches(node) <= EXACT else self._fits_64(node)

    def _is_single(self, node: Node) -> bool:
        if node.op == "rz" and self.chosen[node] <= SINGLE:
            return self.rounds_product(node) or self.kind(node.args[0].node) == "s"
        return self._reaches(node) <= SINGLE

    def _fits(self, node: Node, most: float) -> bool:
        return node.boolean or self.bounds[node].magnitude <= most

    def _reaches(self, node: Node) -> float:
        """Largest magnitude that computing a value meets: its own, its operands', of a sum that of all its terms."""
        operands = () if node.op == "select" else node.args  # a side of a choice may be wrong where it is not taken
        met = [self.chosen.get(node, self.bounds[node].magnitude)]
        met += [self.bounds[arg.node].magnitude for arg in operands if not arg.node.boolean]
        clip = clipped(node)
        if clip is not None:  # both ends at once
            met.append(self.bounds[clip.x.node].magnitude)
        return max(*met, self._terms(node)) if node.op == "sum" else max(met)

    def _terms(self, node: Node) -> float:
        """The sum of the magnitudes that a sum adds."""
        inner = seen(node.args[0], self.bounds[node.args[0].node])
        each = np.maximum(np.abs(inner.low), np.abs(inner.high))
        spread = 1 if each.shape[-1] == node.args[0].sizes[-1] else node.args[0].sizes[-1]
        return float(each.sum(-1).max(initial=0)) * spread

    def adds_words(self, node: Node) -> bool:
        """Whether a sum of float32 values is gathered in 32-bit integers, which reach further and are added faster."""
        return node.op == "sum" and self.kind(node.args[0].node) == "s" and self._terms(node) < 2.0**31

    def _fits_64(self, node: Node) -> str:
        if self.bounds[node].magnitude >= 2.0**63:
            raise NotTraceable("a value that can exceed 64 bits")
        return "i"


def _chosen(nodes: list[Node], roots: list[Symbol], bounds: Bounds) -> Mapping[Node, float]:
    """Largest magnitude of each value where it matters: one that is read only as a side of choices is theirs."""
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
