"""Views of symbols by broadcasting, indexing and reshaping, and constants as symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nmdeploy.engine.trace.symbols import Node, NotTraceable, Place, Symbol, constant, identity_places


def align(operands: Sequence[Any]) -> list[Symbol]:
    """Return the operands as symbols of one rank and layout."""
    given = [o for o in operands if isinstance(o, Symbol)]
    rank = max((s.rank for s in given), default=0)
    neurons = max((s.neurons for s in given), default=0)
    for operand in operands if rank == 0 else ():
        if not isinstance(operand, Symbol) and np.ndim(operand) >= 2 and np.shape(operand)[0] == 1:
            # A constant with an axis of samples shows by itself which axis is the neurons'.
            rank, neurons = np.ndim(operand), np.shape(operand)[1]
    merged = next((s for s in given if s.merged), None)
    symbols = []
    for operand in operands:
        if isinstance(operand, Symbol):
            if operand.rank not in (0, rank) or (merged is not None and operand.rank and not operand.merged):
                raise NotTraceable(f"shapes {[_shape(o) for o in operands]} in one operation")
            symbols.append(operand)
        else:
            symbols.append(parameter(np.asarray(operand), rank, neurons, merged))
    return _broadcast(symbols)


def _shape(operand: Any) -> tuple[int, ...]:
    return operand.shape if isinstance(operand, Symbol) else np.shape(operand)


def parameter(array: Any, rank: int, neurons: int, merged: Symbol | None) -> Symbol:
    """Return a constant of the step: a literal if all its values are 0 or one power of two, else an array in memory.

    Literals simplify.
    """
    if array.dtype.kind not in "biuf":
        raise NotTraceable(f"a constant of type {array.dtype}")
    boolean, real = array.dtype.kind == "b", array.dtype.kind == "f"
    first: Any = (float if real else int)(array.flat[0]) if array.size else 0
    if array.ndim == 0 or array.size == 0 or ((array == first).all() and abs(np.frexp(first)[0]) in (0, 0.5)):
        # NumPy would broadcast it: only its value counts, unless it is larger than the other operands.
        literal = constant(first, boolean)
        if array.ndim == 0:
            return literal
        sizes = _without_samples(array, rank, neurons, merged).shape[1:]
        return Symbol(literal.node, neurons, tuple(sizes), (), rank, merged is not None)
    inner = _without_samples(array.astype(np.float64 if real else np.int64), rank, neurons, merged)
    if inner.shape[0] > 1 and (inner == inner[:1]).all():
        inner = inner[:1]
    node = Node("param", dims=inner.shape[1:], laned=inner.shape[0] > 1, value=inner, real=real)
    symbol = Symbol(node, neurons, inner.shape[1:], identity_places(inner.ndim - 1), rank, merged is not None)
    if not boolean:
        return symbol
    nonzero = Node("ne", (symbol, constant(0)), symbol.sizes, node.laned, True)
    return replace(symbol, node=nonzero)


def _without_samples(array: Any, rank: int, neurons: int, merged: Symbol | None) -> Any:
    """Return the array as (H or 1, *dims)."""
    if array.ndim > rank or rank == 0:
        raise NotTraceable(f"a constant of shape {array.shape} beside values of {rank} axes")
    shape = (1,) * (rank - array.ndim) + array.shape
    if shape[0] != 1:
        raise NotTraceable(f"a constant of shape {array.shape} that differs between samples")
    inner = array.reshape(shape[1:])
    if merged is not None and rank >= 2:
        width = merged.sizes[0]
        if inner.shape[0] == 1:
            return inner.reshape(1, 1, *inner.shape[1:])
        return inner.reshape(neurons, width, *inner.shape[1:])
    if inner.shape[0] not in (1, neurons):
        raise NotTraceable(f"a constant of shape {array.shape} beside {neurons} neurons")
    return inner


def _broadcast(symbols: list[Symbol]) -> list[Symbol]:
    """Return every operand over the axes of the result; an axis of size 1 is read at one index."""
    ranked = [s for s in symbols if s.rank]
    if not ranked:
        return symbols
    wide = max(len(s.sizes) for s in ranked)
    if any(len(s.sizes) != wide for s in ranked):
        raise NotTraceable(f"shapes {[s.shape for s in ranked]} in one operation")
    sizes = tuple(max(s.sizes[axis] for s in ranked) for axis in range(wide))
    found = []
    for s in symbols:
        if s.rank and any(size not in (1, full) for size, full in zip(s.sizes, sizes, strict=True)):
            raise NotTraceable(f"shapes {[s.shape for s in ranked]} in one operation")
        places = tuple(
            place if isinstance(place, int) or sizes[place[0]] == s.sizes[place[0]] else place[1] for place in s.places
        )
        found.append(Symbol(s.node, s.neurons, sizes if s.rank else (), places, s.rank, s.merged) if s.rank else s)
    return found


def index_view(symbol: Symbol, key: tuple[Any, ...]) -> Symbol:
    """Apply slices, single indices, new axes and ``...`` to the axes after the axis of the neurons."""
    if symbol.rank == 0:
        return symbol  # one number per step: new axes change nothing
    key = _without_ellipsis(key, symbol.ndim)
    if symbol.merged:
        return _unmerged_slice(symbol, key)
    first, second, rest = key[0], key[1] if len(key) > 1 else slice(None), key[2:]
    if first != slice(None) or second != slice(None):
        raise NotTraceable("an index on the axis of samples or neurons")
    sizes: list[int] = []
    moved: dict[int, Place] = {}
    axis = 0
    for item in (*rest, *[slice(None)] * (len(symbol.sizes) - sum(i is not None for i in rest))):
        if item is None:
            sizes.append(1)
            continue
        size = symbol.sizes[axis]
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            if step < 0:
                raise NotTraceable("a slice that goes backwards")
            moved[axis] = (len(sizes), start, step)
            sizes.append(len(range(start, stop, step)))
        else:
            moved[axis] = range(size)[int(item)]
        axis += 1
    places = tuple(_map_place(place, moved) for place in symbol.places)
    return Symbol(symbol.node, symbol.neurons, tuple(sizes), places, 2 + len(sizes))


def compose(view: Symbol, inner: Symbol) -> Symbol:
    """Return `view` of a node as a view of another node, in which `inner` shows the first."""
    moved = dict(enumerate(view.places))
    places = tuple(_map_place(place, moved) for place in inner.places)
    return Symbol(inner.node, view.neurons, view.sizes, places, view.rank, view.merged)


def _map_place(place: Place, moved: dict[int, Place]) -> Place:
    if isinstance(place, int):
        return place
    axis, start, step = place
    to = moved[axis]
    return start + step * to if isinstance(to, int) else (to[0], start + step * to[1], step * to[2])


def _without_ellipsis(key: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    at = next((index for index, item in enumerate(key) if item is Ellipsis), None)
    if at is None:
        return key
    given = sum(item is not None for item in key) - 1
    return (*key[:at], *[slice(None)] * (ndim - given), *key[at + 1 :])


def _unmerged_slice(symbol: Symbol, key: tuple[Any, ...]) -> Symbol:
    """Return ``a[:, j::q]``, which is input j of each neuron."""
    width = symbol.sizes[0]
    if len(key) != 2 or key[0] != slice(None) or not isinstance(key[1], slice):
        raise NotTraceable("an index on the axis of inputs")
    start, stop, step = key[1].indices(symbol.neurons * width)
    if step != width or start >= width or stop != symbol.neurons * width:
        raise NotTraceable("a slice across neurons")
    return index_view(
        Symbol(symbol.node, symbol.neurons, symbol.sizes, symbol.places, symbol.rank + 1),
        (slice(None), slice(None), start),
    )


def reshape_view(symbol: Symbol, shape: Sequence[int]) -> Symbol:
    """Reshape (1, H q) <-> (1, H, q), or add or drop axes of size 1: each neuron's values stay together."""
    if symbol.rank == 0:
        return symbol
    total = int(np.prod(symbol.shape))
    known = int(np.prod([size for size in shape if size != -1]))
    wanted = tuple(total // max(known, 1) if size == -1 else int(size) for size in shape)
    if wanted == symbol.shape:
        return symbol
    split = Symbol(symbol.node, symbol.neurons, symbol.sizes, symbol.places, 2 + len(symbol.sizes))
    if wanted == split.shape:
        return split
    width = int(np.prod(symbol.sizes))
    if wanted == (1, symbol.neurons * width) and len(symbol.sizes) == 1:
        if width == 1:
            return split[:, :, 0]
        return Symbol(symbol.node, symbol.neurons, symbol.sizes, symbol.places, 2, True)
    if wanted == (1, symbol.neurons, 1) and not symbol.sizes:
        return symbol[:, :, None]
    raise NotTraceable(f"a reshape of {symbol.shape} to {tuple(shape)}")
