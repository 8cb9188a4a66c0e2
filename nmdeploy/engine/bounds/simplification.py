"""Simplification of a step by its bounds: clips, corrections and counters that never act are dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nmdeploy.engine.bounds.interval_arithmetic import Bound, Bounds, constant_bound, evaluate, view_bound
from nmdeploy.engine.trace.operations import node_of, operate
from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, Symbol, constant, order, shows_whole_node
from nmdeploy.engine.trace.views import compose

LITERAL_SECOND = ("shl", "shr", "mod", "min", "max")
"""Operations that are written in another way if their second operand is a literal."""


def simplify(step: Step, bounds: Bounds) -> tuple[Step, dict[Node, Bound]]:
    """Return an equal step without idle operations, and the bounds of its nodes."""
    nodes = order(step.roots)
    became: dict[Node, Symbol] = {}
    known: dict[Node, Bound] = {}
    for node in nodes:
        became[node] = _simplify_node(node, became, bounds)
        target = became[node].node
        if target.op == "const":
            known.setdefault(target, constant_bound(target))
        elif shows_whole_node(became[node]) and target.dims == node.dims:
            known.setdefault(target, bounds[node])  # a view of another node keeps the bound of that node

    def now(symbol: Symbol) -> Symbol:
        return compose(symbol, became[symbol.node])

    made = replace(
        step,
        registers={name: replace(r, new=now(r.new)) for name, r in step.registers.items()},
        output=now(step.output),
        active=now(step.active),
        flags={name: now(flag) for name, flag in step.flags.items()},
        recorded={name: now(value) for name, value in step.recorded.items()},
    )
    for root in (r.old for r in made.registers.values()):
        known.setdefault(root.node, bounds.get(root.node, Bound(np.zeros(1), np.zeros(1))))
    # A rebuilt operation may contain nodes that the analysis did not meet.
    return made, evaluate(order(made.roots), known)


def _simplify_node(node: Node, became: dict[Node, Symbol], bounds: Bounds) -> Symbol:
    known = _only_value(bounds[node])
    if node.op != "const" and known is not None:
        return _value(known, node)
    if not node.args:
        return _identity_view(node)
    args = [compose(arg, became[arg.node]) for arg in node.args]
    second = _only_value(bounds[node.args[1].node]) if node.op in LITERAL_SECOND else None
    if second is not None and args[1].node.op != "const":
        args[1] = constant(second)
    if node.op in ("min", "max"):
        a, b = (view_bound(arg, bounds[arg.node]) for arg in node.args)
        lower = 0 if (a.high <= b.low).all() else 1 if (b.high <= a.low).all() else None
        if lower is not None:
            return args[lower if node.op == "min" else 1 - lower]
    if all(arg.node is old.node and arg.places == old.places for arg, old in zip(args, node.args, strict=True)):
        return _identity_view(node)
    if node.op in ("sum", "any", "take", "rz"):
        return _rebuild(node, args)
    return operate(node.op, args)


def _only_value(bound: Bound) -> int | None:
    """Return the one value that a bound leaves, for all neurons alike, or None."""
    low, high = bound
    first = float(low.flat[0]) if low.size else 0.0
    single = abs(first) < 2.0**53 and (low == first).all() and (high == first).all()
    return int(first) if single else None


def _value(value: int, node: Node) -> Symbol:
    """Return a value that never changes: a literal if it may simplify an operation, else a parameter in memory.

    Populations of one shape, whose parameters alone differ, then have the same code.
    """
    if node.boolean or value == 0 or abs(value) & (abs(value) - 1) == 0:
        return constant(value, boolean=node.boolean)
    dims = (1,) * len(node.dims)
    param = Node("param", dims=dims, value=np.full((1, *dims), value, np.int64))
    return Symbol(param, 0, node.dims, (0,) * len(dims), 2 + len(dims) if node.laned or node.dims else 0)


def _identity_view(node: Node) -> Symbol:
    places = tuple((axis, 0, 1) for axis in range(len(node.dims)))
    return Symbol(node, 0, node.dims, places, 2 + len(node.dims) if node.laned or node.dims else 0)


def _rebuild(node: Node, args: list[Symbol]) -> Symbol:
    if node.op == "rz":
        return operate("rz", args) if node.value == 0 else node_of("rz", args, node.value)
    return _identity_view(replace(node, args=tuple(args)))
