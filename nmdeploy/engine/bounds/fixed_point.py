"""Bounds of every value in every step of a population, computed from the bounds of its sums (docs/engine.md)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from nmdeploy.engine.bounds.interval_arithmetic import (
    F32_EXACT,
    TOP,
    Bound,
    Bounds,
    contains,
    evaluate,
    join,
    view_bound,
)
from nmdeploy.engine.trace.step import STEP, STEPS, Step
from nmdeploy.engine.trace.symbols import Node, Symbol, order, shows_whole_node

STEPS_MAX = 2.0**31
WARM_UP_STEPS = 8
SATURATION_MAX = 2.0**45
WIDENING_FACTORS = (1, 16, None, None, 16, 16, 16, 16, 2**12, 2**12)


def analyse(step: Step, sums: Mapping[str, Bound]) -> dict[Node, Bound]:
    """Return the bounds of every value in every step of every sample.

    Parameters
    ----------
    step : Step
        The traced step.
    sums : mapping of str to Bound
        Bound of each synapse's matrix product, as (H, *dims) arrays.

    Notes ----- The registers' bounds R are an invariant: they hold the start, and ``next(R)`` lies in R. R is guessed
    from the first steps and from the step's own saturation. However it was guessed, it is checked before it is used.
    """
    roots = [register.new for register in step.registers.values()]
    nodes = order(step.roots)
    fixed = {symbol.node: sums[name] for name, symbol in step.sums.items()}
    for node in nodes:
        if node.op == "leaf" and node.value in (STEP, STEPS):
            fixed[node] = Bound(np.zeros(1), np.full(1, STEPS_MAX))
        elif node.op == "leaf" and node.value == "":
            fixed[node] = Bound(np.zeros(1), np.zeros(1))
    olds = [register.old.node for register in step.registers.values()]
    moving = order(roots)

    def next_registers(registers: list[Bound], fresh: bool = False) -> list[Bound]:
        bounds = evaluate(moving, fixed | dict(zip(olds, registers, strict=True)))
        return [
            _updated_bound(root, old, bounds) if fresh else view_bound(root, bounds[root.node])
            for root, old in zip(roots, olds, strict=True)
        ]

    starts = [Bound(r.start.astype(np.float64), r.start.astype(np.float64)) for r in step.registers.values()]
    registers = invariant(starts, next_registers)
    every = {r.old.node: b for r, b in zip(step.registers.values(), registers, strict=True)}
    return evaluate(nodes, fixed | every)


def _updated_bound(symbol: Symbol, old: Node, bounds: Bounds) -> Bound:
    """Return the bound of a register's next value, without the case that the register keeps its value."""
    node = symbol.node
    if node.op == "select" and shows_whole_node(symbol):
        sides = [side for side in node.args[1:] if side.node is not old]
        if len(sides) == 1:
            return _updated_bound(sides[0], old, bounds)
        return functools.reduce(join, [_updated_bound(side, old, bounds) for side in sides])
    return view_bound(symbol, bounds[node])


def invariant(starts: list[Bound], next_registers: Callable[..., list[Bound]]) -> list[Bound]:
    """Return bounds that hold `starts` and that `next_registers` does not leave."""
    top = [Bound(start.low - TOP, start.high + TOP) for start in starts]
    saturated = top
    for _ in range(2):
        saturated = [join(s, b) for s, b in zip(starts, next_registers(saturated, fresh=True), strict=True)]
    trail = [starts]
    for _ in range(WARM_UP_STEPS):
        found = [join(old, new) for old, new in zip(trail[-1], next_registers(trail[-1]), strict=True)]
        trail.append(found)
        if all(contains(old, new) for new, old in zip(found, trail[-2], strict=True)):
            return found
    guess = [_extrapolate(*parts) for parts in zip(*trail[-3:], saturated, strict=True)]
    for wider in WIDENING_FACTORS:
        after = [join(start, new) for start, new in zip(starts, next_registers(guess), strict=True)]
        if all(contains(old, new) for new, old in zip(after, guess, strict=True)):
            return _narrow(after, starts, next_registers)
        if wider is None:  # from now on all that saturates does so: the rest (a counter, ...) settles around it
            guess = [_saturate(*parts) for parts in zip(guess, after, saturated, strict=True)]
        else:
            guess = [_widen(*parts, wider) for parts in zip(guess, after, saturated, strict=True)]
    return top


def _narrow(registers: list[Bound], starts: list[Bound], next_registers: Callable[..., list[Bound]]) -> list[Bound]:
    """Return the part of an invariant that fits float32 lanes, if that part is an invariant too.

    A slow decay may be guessed too wide.
    """
    if all(bound.magnitude <= F32_EXACT for bound in registers):
        return registers
    guess = [Bound(*(np.clip(end, -F32_EXACT, F32_EXACT) for end in bound)) for bound in registers]
    after = [join(start, new) for start, new in zip(starts, next_registers(guess), strict=True)]
    return after if all(contains(old, new) for new, old in zip(after, guess, strict=True)) else registers


def _saturate(guess: Bound, after: Bound, saturated: Bound) -> Bound:
    both = join(guess, after)
    return Bound(
        np.where(saturated.low > -SATURATION_MAX, saturated.low, both.low),
        np.where(saturated.high < SATURATION_MAX, saturated.high, both.high),
    )


def _extrapolate(first: Bound, second: Bound, third: Bound, enforced: Bound) -> Bound:
    """Return the end of a geometric growth, a little beyond it, but never beyond the `enforced` bound."""
    ends = []
    for one, two, three, most in zip(first, second, third, enforced, strict=True):
        before, last = two - one, three - two
        ratio = np.divide(last, before, out=np.ones(np.broadcast(last, before).shape), where=before != 0)
        geometric = (ratio < 0.99999) & (ratio >= 0)
        rest = np.where(geometric, last * ratio / np.maximum(1 - ratio, 1e-6), three)
        rest = np.where(last == 0, 0.0, rest * 1.05 + 2 * np.sign(last))
        ends.append((three + rest, most))
    (low, least), (high, most) = ends
    return Bound(np.maximum(low, least), np.minimum(high, most))


def _widen(guess: Bound, after: Bound, saturated: Bound, wider: float) -> Bound:
    """Return the next guess after a failed check: the bounds that came out, times `wider`, within saturation."""
    low, high = np.maximum(wider * after.low, saturated.low), np.minimum(wider * after.high, saturated.high)
    return Bound(np.where(after.low < guess.low, low, guess.low), np.where(after.high > guess.high, high, guess.high))
