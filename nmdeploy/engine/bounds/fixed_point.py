"""Bounds of every value of every step of a population, from those of what arrives: docs/engine.md."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from nmdeploy.engine.bounds.interval_arithmetic import SINGLE, TOP, Bound, Bounds, evaluate, joined, order, seen, within
from nmdeploy.engine.trace.step import STEP, STEPS, Step
from nmdeploy.engine.trace.symbols import Node, Symbol, whole

MOST_STEPS = 2.0**31
WARM_UP = 8
SATURATED = 2.0**45
WIDER = (1, 16, None, None, 16, 16, 16, 16, 2**12, 2**12)


def analyse(step: Step, sums: Mapping[str, Bound]) -> dict[Node, Bound]:
    """Bounds of every value in every step of every sample.

    Parameters
    ----------
    sums : the bound of each synapse's matrix product, as (H, *dims) arrays

    Notes
    -----
    The registers' bounds R are an invariant: they hold the start, and ``next(R)`` lies in R. However R was guessed
    (from the first steps, and from what the step itself enforces by saturating), it is checked before it is used.
    """
    roots = [register.new for register in step.registers.values()]
    nodes = order(step.roots)
    fixed = {symbol.node: sums[name] for name, symbol in step.sums.items()}
    for node in nodes:
        if node.op == "leaf" and node.value in (STEP, STEPS):
            fixed[node] = Bound(np.zeros(1), np.full(1, MOST_STEPS))
        elif node.op == "leaf" and node.value == "":
            fixed[node] = Bound(np.zeros(1), np.zeros(1))
    olds = [register.old.node for register in step.registers.values()]
    moving = order(roots)

    def following(registers: list[Bound], fresh: bool = False) -> list[Bound]:
        bounds = evaluate(moving, fixed | dict(zip(olds, registers, strict=True)))
        return [
            _fresh(root, old, bounds) if fresh else seen(root, bounds[root.node])
            for root, old in zip(roots, olds, strict=True)
        ]

    starts = [Bound(r.start.astype(np.float64), r.start.astype(np.float64)) for r in step.registers.values()]
    registers = invariant(starts, following)
    every = {r.old.node: b for r, b in zip(step.registers.values(), registers, strict=True)}
    return evaluate(nodes, fixed | every)


def _fresh(symbol: Symbol, old: Node, bounds: Bounds) -> Bound:
    """The bound of a register's next value where it is not just kept."""
    node = symbol.node
    if node.op == "select" and whole(symbol):
        sides = [side for side in node.args[1:] if side.node is not old]
        if len(sides) == 1:
            return _fresh(sides[0], old, bounds)
        return functools.reduce(joined, [_fresh(side, old, bounds) for side in sides])
    return seen(symbol, bounds[node])


def invariant(starts: list[Bound], following: Callable[..., list[Bound]]) -> list[Bound]:
    """Bounds that hold `starts` and that `following` does not leave."""
    top = [Bound(start.low - TOP, start.high + TOP) for start in starts]
    saturated = top
    for _ in range(2):
        saturated = [joined(s, b) for s, b in zip(starts, following(saturated, fresh=True), strict=True)]
    trail = [starts]
    for _ in range(WARM_UP):
        found = [joined(old, new) for old, new in zip(trail[-1], following(trail[-1]), strict=True)]
        trail.append(found)
        if all(within(new, old) for new, old in zip(found, trail[-2], strict=True)):
            return found
    guess = [_limit(*parts) for parts in zip(*trail[-3:], saturated, strict=True)]
    for wider in WIDER:
        after = [joined(start, new) for start, new in zip(starts, following(guess), strict=True)]
        if all(within(new, old) for new, old in zip(after, guess, strict=True)):
            return _narrowed(after, starts, following)
        if wider is None:  # all that saturates does so from now on: the rest (a counter, ...) settles around it
            guess = [_saturating(*parts) for parts in zip(guess, after, saturated, strict=True)]
        else:
            guess = [_failed(*parts, wider) for parts in zip(guess, after, saturated, strict=True)]
    return top


def _narrowed(registers: list[Bound], starts: list[Bound], following: Callable[..., list[Bound]]) -> list[Bound]:
    """The part of an invariant that fits float32 lanes, if that is one too: a slow decay may be guessed too wide."""
    if all(bound.magnitude <= SINGLE for bound in registers):
        return registers
    guess = [Bound(*(np.clip(end, -SINGLE, SINGLE) for end in bound)) for bound in registers]
    after = [joined(start, new) for start, new in zip(starts, following(guess), strict=True)]
    return after if all(within(new, old) for new, old in zip(after, guess, strict=True)) else registers


def _saturating(guess: Bound, after: Bound, saturated: Bound) -> Bound:
    both = joined(guess, after)
    return Bound(
        np.where(saturated.low > -SATURATED, saturated.low, both.low),
        np.where(saturated.high < SATURATED, saturated.high, both.high),
    )


def _limit(first: Bound, second: Bound, third: Bound, enforced: Bound) -> Bound:
    """Where a geometric growth ends, a little beyond; never beyond what is enforced."""
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


def _failed(guess: Bound, after: Bound, saturated: Bound, wider: float) -> Bound:
    """What the check refuted is tried again as it came out, then wider, but not wider than it saturates."""
    low, high = np.maximum(wider * after.low, saturated.low), np.minimum(wider * after.high, saturated.high)
    return Bound(np.where(after.low < guess.low, low, guess.low), np.where(after.high > guess.high, high, guess.high))
