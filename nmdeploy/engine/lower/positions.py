"""Positions of elements, which may depend on the loops around them."""

from __future__ import annotations

from dataclasses import dataclass

from nmdeploy.engine.trace.symbols import Symbol


@dataclass(frozen=True)
class Element:
    """Number that depends on loops: `start`, and for each loop a factor of its index."""

    start: int
    factors: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        terms = [f"n{loop}" if factor == 1 else f"{factor} n{loop}" for loop, factor in self.factors]
        return " + ".join(terms + [f"{self.start}"] * bool(self.start))


Index = int | Element
Indices = tuple[Index, ...]


def affine(start: int, *terms: tuple[Index, int]) -> Index:
    """Return `start` plus each term's index times its factor."""
    factors: dict[int, int] = {}
    for index, factor in terms:
        if isinstance(index, int):
            start += factor * index
            continue
        start += factor * index.start
        for loop, by in index.factors:
            factors[loop] = factors.get(loop, 0) + factor * by
    return Element(start, tuple(factors.items())) if factors else start


def indices(symbol: Symbol, index: Indices) -> Indices:
    """Return the position of the view's element in its node."""
    return tuple(
        place if isinstance(place, int) else affine(place[1], (index[place[0]], place[2])) for place in symbol.places
    )


def linear(dims: tuple[int, ...], index: Indices) -> Index:
    """Return the number of an element."""
    total: Index = 0
    for size, i in zip(dims, index, strict=True):
        total = affine(0, (total, size), (i, 1))
    return total
