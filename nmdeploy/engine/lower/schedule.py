"""Schedule of a step's values: the ones that are unrolled, the ones in loops, and the ones that wait for a loop.

Axes after the neurons up to `UNROLL_MAX` long are written out. Longer ones become loops. A sum over such a loop is
known only after it: values that need it belong to the next *stage*. A value that a loop of another stage or shape needs
is kept in memory (`stored`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nmdeploy.engine.trace.step import Step
from nmdeploy.engine.trace.symbols import Node, Symbol, order

UNROLL_MAX = 4


def loop_axes(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return the positions of the axes that need a loop."""
    return tuple(axis for axis, size in enumerate(dims) if size > UNROLL_MAX)


def loop_sizes(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of the loops."""
    return tuple(dims[axis] for axis in loop_axes(dims))


@dataclass(frozen=True, eq=False)
class Loop:
    """Values that one nest of loops computes; `sizes` are its lengths."""

    stage: int
    sizes: tuple[int, ...]
    reductions: list[Node] = field(default_factory=list)
    stored: list[Node] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Loops in order, and `shadowed` registers, which are read after their next value is known.

    The next value of a shadowed register is kept apart until then.
    """

    loops: list[Loop]
    shadowed: frozenset[str]


def is_reduction(node: Node) -> bool:
    """Return True if a sum or `any` runs over a loop and leaves none."""
    return node.op in ("sum", "any") and node.args[0].sizes[-1] > UNROLL_MAX and not loop_sizes(node.dims)


def schedule(step: Step, traced: bool) -> Schedule:
    """Return the loops of a step; `traced` adds those that only recorded states need."""
    recorded = step.recorded if traced else {}
    roots: list[Symbol] = [r.new for r in step.registers.values()]
    roots += [step.output, step.active, *step.flags.values(), *recorded.values()]
    nodes = order(roots)
    stages = _stages(nodes)
    loops: dict[tuple[int, tuple[int, ...]], Loop] = {}

    def loop(stage: int, sizes: tuple[int, ...]) -> Loop:
        return loops.setdefault((stage, sizes), Loop(stage, sizes))

    for node in nodes:
        if is_reduction(node):
            loop(stages[node.args[0].node], loop_sizes(node.args[0].sizes)).reductions.append(node)
    for node in _values_to_store(nodes, stages, roots):
        loop(stages[node], loop_sizes(node.dims)).stored.append(node)
    for name, register in step.registers.items():
        if loop_sizes(register.old.node.dims):
            loop(stages[register.new.node], loop_sizes(register.old.node.dims)).registers.append(name)
    for kind, items in (("flags", step.flags), ("recorded", recorded)):
        for name, symbol in items.items():
            if loop_sizes(symbol.sizes):
                getattr(loop(stages[symbol.node], loop_sizes(symbol.sizes)), kind).append(name)
    placed = [loops[key] for key in sorted(loops)]
    return Schedule(placed, frozenset(_registers_to_shadow(step, nodes, stages, recorded.values())))


def _stages(nodes: Iterable[Node]) -> dict[Node, int]:
    stages: dict[Node, int] = {}
    for node in nodes:
        stage = 0
        for arg in node.args:
            behind = is_reduction(node) or not _is_available(arg, node)
            stage = max(stage, stages[arg.node] + behind)
        stages[node] = stage
    return stages


def _is_available(arg: Symbol, user: Node) -> bool:
    """Return True if the operand's element is known where the user's is computed: same loops, same indices."""
    node = arg.node
    axes = loop_axes(node.dims)
    if not axes or not node.args:
        return True
    outer = loop_axes(arg.sizes if user.op in ("sum", "any") else user.dims)
    return len(axes) <= len(outer) and all(arg.places[a] == (o, 0, 1) for a, o in zip(axes, outer, strict=False))


def _values_to_store(nodes: list[Node], stages: Mapping[Node, int], roots: list[Symbol]) -> list[Node]:
    """Return the values of a loop that a later stage reads, or that are read in another layout than computed."""
    kept: dict[Node, None] = {}
    for user in nodes:
        for arg in user.args:
            node = arg.node
            here = stages[user] - is_reduction(user)
            if node.args and loop_sizes(node.dims) and (stages[node] < here or not _is_available(arg, user)):
                kept[node] = None
    for root in roots:
        if root.node.args and loop_sizes(root.node.dims) and loop_sizes(root.node.dims) != loop_sizes(root.sizes):
            kept[root.node] = None
    return list(kept)


def _registers_to_shadow(
    step: Step, nodes: list[Node], stages: Mapping[Node, int], recorded: Iterable[Symbol]
) -> Iterable[str]:
    names = {r.old.node: name for name, r in step.registers.items() if loop_sizes(r.old.node.dims)}
    written = {name: stages[r.new.node] for name, r in step.registers.items()}
    for user in nodes:
        for arg in user.args:
            name = names.get(arg.node)
            if name is not None:
                here = stages[user] - is_reduction(user)
                if here > written[name] or not _has_same_axes(arg, user):
                    yield name
    for symbol in (*(r.new for r in step.registers.values()), *recorded, step.output):
        if symbol.node in names:
            yield names[symbol.node]


def _has_same_axes(arg: Symbol, user: Node) -> bool:
    axes = loop_axes(arg.node.dims)
    outer = loop_axes(user.dims)
    return len(axes) == len(outer) and all(arg.places[a] == (o, 0, 1) for a, o in zip(axes, outer, strict=True))
