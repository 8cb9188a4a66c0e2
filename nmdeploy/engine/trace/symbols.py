"""Symbols on which a neuron's integer step runs, and the graph of operations that this produces.

A `Symbol` looks like the NumPy array that the reference would pass for one sample. Its shape is (1, H, ...), (1, H), or
() if all neurons share the value. It records the operations on it (`nmdeploy.engine.trace.operations`). The axis of the
H neurons represents the vector lanes: a step must not combine values across it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from nmdeploy.errors import NmdeployError
from nmdeploy.neurons.ops import take_at

Place = int | tuple[int, int, int]
"""Position at which an axis of a node is read: one index, or (axis of the view, start, step)."""
HANDLERS: dict[str, Callable[..., Any]] = {}
PAIR_HANDLERS: dict[str, Callable[..., Any]] = {}
"""Functions for each NumPy function and for the methods of a symbol: of numbers, and where any of them is complex."""


class NotTraceable(NmdeployError):
    """Step that does something without meaning on symbols; the reference can still run it."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Parameters
    ----------
    op : str
        ``const``, ``param``, ``leaf`` (a register, a synaptic sum, a time), or the operation's name.
    args : tuple of Symbol
        Operands.
    dims : tuple of int
        Sizes after the axis of the neurons.
    laned : bool
        True if it differs between neurons.
    boolean : bool
        True if its values are booleans.
    value : number, array or str
        Number of a const, (H or 1, *dims) array of a param, name of a leaf, or an operation's constant.
    real : bool
        True if its values are real numbers, as in a float step; else they are integers.
    """

    op: str
    args: tuple[Symbol, ...] = ()
    dims: tuple[int, ...] = ()
    laned: bool = False
    boolean: bool = False
    value: Any = None
    real: bool = False

    @property
    def uniform(self) -> bool:
        """True if it is one integer per step."""
        return not self.laned and not self.dims and not self.real and self.op not in ("const", "param")


@dataclass(frozen=True, eq=False)
class Symbol(NDArrayOperatorsMixin):
    """A view of a node: each axis of the node is read at one index, or along an axis of the view.

    With ``merged``, the axis of the neurons and the first axis after it appear as one, (1, H q).
    """

    node: Node
    neurons: int
    sizes: tuple[int, ...] = ()
    places: tuple[Place, ...] = ()
    rank: int = 0
    merged: bool = False

    __hash__ = object.__hash__

    @property
    def shape(self) -> tuple[int, ...]:
        if self.rank == 0:
            return ()
        if self.merged:
            return (1, self.neurons * self.sizes[0], *self.sizes[1:])
        return (1, self.neurons, *self.sizes)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(bool if self.node.boolean else np.float64 if self.node.real else np.int64)

    @property
    def real(self) -> Symbol:
        """Itself: complex values are a `Pair`."""
        return self

    @property
    def imag(self) -> Symbol:
        """Zero."""
        found: Symbol = HANDLERS["zeros_like"](self)
        return found

    def __len__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        raise NotTraceable("a branch on a value: write it with `select`")

    def __iter__(self) -> Any:
        raise NotTraceable("a loop over a value: write it over whole arrays")

    def __index__(self) -> int:
        raise NotTraceable("a value as index: write it with `take`")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotTraceable("a value turned into an array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handlers = PAIR_HANDLERS if any(map(is_complex, inputs)) else HANDLERS
        if method != "__call__" or kwargs or ufunc.__name__ not in handlers:
            raise NotTraceable(f"numpy.{ufunc.__name__} ({method})")
        return handlers[ufunc.__name__](*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        handlers = PAIR_HANDLERS if any(map(is_complex, args)) else HANDLERS
        if function.__name__ not in handlers:
            raise NotTraceable(f"numpy.{function.__name__}")
        return handlers[function.__name__](*args, **kwargs)

    def __getitem__(self, key: Any) -> Symbol:
        found: Symbol = HANDLERS["getitem"](self, key if isinstance(key, tuple) else (key,))
        return found

    def astype(self, dtype: Any) -> Symbol:
        """Convert to a boolean or to an unbounded integer."""
        found: Symbol = HANDLERS["astype"](self, dtype)
        return found

    def reshape(self, *shape: Any) -> Symbol:
        """Reshape, if each neuron's values stay together."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        found: Symbol = HANDLERS["reshape"](self, wanted)
        return found

    def sum(self, axis: int) -> Symbol:
        """Sum over the last axis."""
        found: Symbol = HANDLERS["sum"](self, axis)
        return found

    def max(self, axis: int) -> Symbol:
        """Return the largest over the samples: of one sample, itself."""
        if axis != 0 or not self.node.real:
            raise NotTraceable(f"max over axis {axis} of a value of shape {self.shape}")
        return self

    def any(self, axis: int, keepdims: bool = False) -> Symbol:
        """Return 1 where any value along the last axis is not 0."""
        found: Symbol = HANDLERS["any"](self, axis, keepdims)
        return found


@dataclass(frozen=True, eq=False)
class Pair(NDArrayOperatorsMixin):
    """Complex values of a float step: two symbols, the real and the imaginary part."""

    real: Symbol
    imag: Symbol

    __hash__ = object.__hash__
    __array_ufunc__ = Symbol.__array_ufunc__
    __array_function__ = Symbol.__array_function__

    @property
    def shape(self) -> tuple[int, ...]:
        return self.real.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.complex128)

    def __getitem__(self, key: Any) -> Pair:
        return Pair(self.real[key], self.imag[key])

    def astype(self, dtype: Any) -> Pair:
        """Return itself, as complex values."""
        if np.dtype(dtype).kind != "c":
            raise NotTraceable(f"a complex value as {np.dtype(dtype)}")
        return self

    def sum(self, axis: int) -> Pair:
        """Sum over the last axis."""
        return Pair(self.real.sum(axis), self.imag.sum(axis))


def is_complex(value: Any) -> bool:
    """Return True for complex arrays and pairs."""
    return isinstance(value, (Pair, np.ndarray, np.generic)) and value.dtype.kind == "c"


@take_at.register
def _take_at(index: Symbol, table: Any) -> Symbol:
    found: Symbol = HANDLERS["take"](table, index)
    return found


def constant(value: float, boolean: bool = False) -> Symbol:
    """Return a literal."""
    real = isinstance(value, float)
    number = bool(value) if boolean else float(value) if real else int(value)
    return Symbol(Node("const", value=number, boolean=boolean, real=real and not boolean), 0)


def leaf(
    name: str,
    neurons: int,
    dims: tuple[int, ...] = (),
    boolean: bool = False,
    merged: bool = False,
    real: bool = False,
) -> Symbol:
    """Return a value from outside: (1, H, *dims), or (1, H dims) if merged."""
    node = Node("leaf", dims=dims, laned=True, boolean=boolean, value=name, real=real)
    return Symbol(node, neurons, dims, identity_places(len(dims)), 2 + len(dims) - merged, merged)


def time_symbol(name: str) -> Symbol:
    """Return a number that all neurons share: the step, or the steps of the sample."""
    return Symbol(Node("leaf", value=name), 0)


def identity_places(axes: int) -> tuple[Place, ...]:
    """Return places that read each axis unchanged."""
    return tuple((axis, 0, 1) for axis in range(axes))


def shows_whole_node(symbol: Symbol) -> bool:
    """Return True if the symbol shows its node unchanged."""
    return symbol.places == identity_places(len(symbol.node.dims)) and symbol.sizes == symbol.node.dims


def is_same_view(a: Symbol, b: Symbol) -> bool:
    """Return True if two views show the same values."""
    return a.node is b.node and a.sizes == b.sizes and _canonical_places(a) == _canonical_places(b)


def _canonical_places(symbol: Symbol) -> tuple[Place, ...]:
    """Return the places, with an axis of size 1 as its one index."""
    return tuple(place if isinstance(place, int) or symbol.sizes[place[0]] > 1 else place[1] for place in symbol.places)


def order(symbols: Any) -> list[Node]:
    """Return the nodes that symbols depend on, operands first."""
    done: dict[Node, None] = {}
    stack = [symbol.node for symbol in symbols]
    while stack:
        node = stack[-1]
        waiting = [arg.node for arg in node.args if arg.node not in done]
        if node in done or not waiting:
            done[stack.pop()] = None
        else:
            stack.extend(waiting)
    return list(done)
