"""Statements of a population's step: the lowered form between its bounds and its code, which leaves nothing to decide.

A value is a vector of one number per neuron of a block, or one number for all neurons. It has a `Lane` and is computed
once. `str` of a `Lowered` is its text, one statement per line. `nmdeploy.engine.llvm.population` writes it as code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from typing import Any

from nmdeploy.engine.lower.lanes import FLOATS, Lane
from nmdeploy.engine.lower.layout import Layout


@dataclass(frozen=True)
class Value:
    """Result of a statement: a vector, or one number for all neurons if `uniform`."""

    number: int
    lane: Lane
    uniform: bool = False

    def __str__(self) -> str:
        return ("step", "steps", "valid")[self.number] if self in ARGUMENTS else f"v{self.number}"


@dataclass(frozen=True)
class Literal:
    """Number that is part of a statement."""

    value: float
    lane: Lane
    uniform: bool = False

    def __str__(self) -> str:
        return f"{self.value:.17g}"


@dataclass(frozen=True)
class Element:
    """Number that depends on values, as the indices of loops: `start`, and for each value a factor."""

    start: int
    factors: tuple[tuple[Value, int], ...]

    def __str__(self) -> str:
        terms = [f"{value}" if factor == 1 else f"{factor} {value}" for value, factor in self.factors]
        return " + ".join(terms + [f"{self.start}"] * bool(self.start))


Index = int | Element
Indices = tuple[Index, ...]
Operand = Value | Literal
STEP_NUMBER = Value(0, Lane.I64, uniform=True)
STEP_COUNT = Value(1, Lane.I64, uniform=True)
VALID = Value(2, Lane.MASK)
ARGUMENTS = (STEP_NUMBER, STEP_COUNT, VALID)
"""Values that need no statement: the step, the steps of the sample, and the lanes that hold a neuron."""


class Memory(Enum):
    """Memory of a kernel.

    Parameters per neuron (``OWN``) and of all neurons (``SHARED``), registers (``STATE``), and values for a later loop
    (``SCRATCH``) lie in slots. ``HELD`` are numbered variables: registers without a loop, then sums over a loop.
    ``SUMS`` and ``TRACE`` are what arrives and what is recorded in the step, by name.
    """

    OWN = "own"
    SHARED = "shared"
    STATE = "state"
    SCRATCH = "scratch"
    HELD = "held"
    SUMS = "sums"
    TRACE = "trace"


@dataclass(frozen=True)
class Apply:
    """Operation on values in the lanes of the operands.

    `op` is ``add``, ``sub``, ``mul``, ``div``, ``rem`` (with the sign of the first operand), ``min``, ``max``, ``abs``,
    ``trunc``, ``floor``, ``ceil`` or ``tanh``; ``mul_rz``, the product rounded towards zero; ``shl`` or ``shr``;
    ``and``, ``or``, ``xor`` or ``not``; a comparison ``eq``, ``ne``, ``lt``, ``le``, ``gt`` or ``ge``; ``select``;
    ``convert`` to the lane of the result, cut off towards zero; ``ldexp``, an integer times a power of two in float64;
    or ``splat``, one number in every lane.
    """

    result: Value
    op: str
    args: tuple[Operand, ...]


@dataclass(frozen=True)
class Load:
    """Value from an element of what lies at a place in memory."""

    result: Value
    memory: Memory
    place: int | str
    element: Index = 0


@dataclass(frozen=True)
class Store:
    """Value into memory, if the condition `only` holds."""

    memory: Memory
    place: int | str
    element: Index
    value: Operand
    only: Operand | None = None


@dataclass(frozen=True)
class LookUp:
    """Value of a table of shared parameters at the index of each lane.

    With `entries`, a power of two, the table has so many, and the index counts modulo their number.
    """

    result: Value
    place: int
    index: Value
    entries: int | None = None


@dataclass(frozen=True)
class Beyond:
    """Condition that any lane of the block is below `low` or above `high`."""

    result: Value
    value: Operand
    low: Literal | None = None
    high: Literal | None = None


@dataclass(frozen=True)
class Clip:
    """Value between `low` and `high`, given its `Beyond`, which seldom holds."""

    result: Value
    value: Operand
    beyond: Value
    low: Literal | None = None
    high: Literal | None = None


@dataclass(frozen=True)
class Loop:
    """Statements for each index from 0 to `size` - 1."""

    index: Value
    size: int
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Choice:
    """Statements of one form of a step or of another: of `large` if a lane of the condition is set, which is seldom.

    `large` may also run if no lane is set.
    """

    condition: Value
    large: tuple[Statement, ...]
    small: tuple[Statement, ...]


@dataclass(frozen=True)
class Count:
    """Set lanes of a mask, added to a counter if the condition `only` holds.

    `seldom` is a condition, or a mask with a lane set, wherever the mask has a lane set. It seldom holds.
    """

    counter: str
    mask: Operand
    only: Operand | None = None
    seldom: Operand | None = None


@dataclass(frozen=True)
class Send:
    """Outputs of the step, one value per output of a neuron, and their counts."""

    values: tuple[Operand, ...]


Statement = Apply | Load | Store | LookUp | Beyond | Clip | Loop | Choice | Count | Send


@dataclass(frozen=True)
class Lowered:
    """A population's kernel as statements: those of each block of neurons, and those of each of its steps.

    `held` are the slot in the state and the lane of each variable that is a register, and `sums` the numbers per neuron
    that each synapse adds up.
    """

    block: tuple[Statement, ...]
    step: tuple[Statement, ...]
    held: tuple[tuple[int, Lane], ...]
    sums: Mapping[str, int]
    layout: Layout

    def __str__(self) -> str:
        return "\n".join(["block:", *_lines(self.block, "  "), "step:", *_lines(self.step, "  "), ""])


def literal(value: float, lane: Lane, scale: int = 0, uniform: bool = False) -> Literal:
    """Return the literal ``value * 2**scale``; only floats are scaled."""
    return Literal(float(value) * 2.0**scale if lane in FLOATS else int(value), lane, uniform)


def affine(start: int, *terms: tuple[Index, int]) -> Index:
    """Return `start` plus each term's index times its factor."""
    factors: dict[Value, int] = {}
    for index, factor in terms:
        element = Element(index, ()) if isinstance(index, int) else index
        start += factor * element.start
        for value, by in element.factors:
            factors[value] = factors.get(value, 0) + factor * by
    return Element(start, tuple(factors.items())) if factors else start


def _lines(statements: Sequence[Statement], indent: str) -> Iterator[str]:
    for each in statements:
        if isinstance(each, Loop):
            yield f"{indent}loop {each.index} below {each.size}"
            yield from _lines(each.body, f"{indent}  ")
            continue
        if isinstance(each, Choice):
            yield f"{indent}if any {each.condition}"
            yield from _lines(each.large, f"{indent}  ")
            yield f"{indent}else"
            yield from _lines(each.small, f"{indent}  ")
            continue
        words = [] if isinstance(each, Apply) else [type(each).__name__.lower()]
        for field in fields(each):
            value = getattr(each, field.name)
            if field.name != "result" and value != field.default:
                words.append(_word(field.name, value, field.default is not MISSING))
        if isinstance(each, Apply | Load | LookUp | Beyond | Clip):
            words.insert(0, f"{each.result}: {'one ' * each.result.uniform}{each.result.lane.value} =")
        yield indent + " ".join(words)


def _word(name: str, value: Any, optional: bool) -> str:
    if name == "element":
        return f"[{value}]"
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{name} {text}" if optional else value.value if isinstance(value, Memory) else text
