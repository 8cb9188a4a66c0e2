"""NumPy's operations on symbols, simplified if the result is certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nmdeploy.engine.trace.symbols import (
    HANDLERS,
    Node,
    NotTraceable,
    Symbol,
    constant,
    identity_places,
    is_same_view,
    shows_whole_node,
)
from nmdeploy.engine.trace.views import align, compose, index_view, reshape_view

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
LOGIC = ("and", "or", "xor", "not")
ARITHMETIC = ("add", "sub", "mul", "div", "min", "max", "abs", "sign", "trunc", "ceil", "tanh", "shl", "shr", "mod")
BOOLEAN = {"add": "or", "mul": "and", "min": "and", "max": "or"}
IDENTITIES = {"add": 0, "sub": 0, "mul": 1, "shl": 0, "shr": 0, "or": 0, "xor": 0}
ABSORBING = {"mul": 0, "and": 0}
LITERAL: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "shl": lambda a, b: a << b,
    "shr": lambda a, b: a >> b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
    "abs": abs,
    "not": lambda a: not a,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def apply(op: str, *operands: Any) -> Symbol:
    """Return the symbol of an elementwise operation; operands broadcast as NumPy's do."""
    symbols = align(operands)
    if all(s.node.boolean for s in symbols):
        op = BOOLEAN.get(op, op)
    elif op in LOGIC or op in COMPARISONS or op in ARITHMETIC:
        symbols = [number(s) for s in symbols]
    return _as_result(operate(op, symbols), symbols)


def select(condition: Any, yes: Any, no: Any) -> Symbol:
    """Return `yes` where `condition` holds, else `no`."""
    symbols = align((condition, yes, no))
    if not symbols[0].node.boolean:
        symbols[0] = operate("ne", [symbols[0], constant(0)])
    return _as_result(operate("select", symbols), symbols)


def number(symbol: Symbol) -> Symbol:
    """Return a boolean as 0 or 1."""
    return _as_result(operate("number", [symbol]), [symbol]) if symbol.node.boolean else symbol


def operate(op: str, symbols: Sequence[Symbol]) -> Symbol:
    """Return the result of an operation on operands of one layout, simplified if the result is certain."""
    found = simplification(op, symbols)
    return node_of(op, symbols) if found is None else found


def node_of(op: str, symbols: Sequence[Symbol], value: Any = None) -> Symbol:
    """Return the symbol of a new node."""
    ranked = [s for s in symbols if s.rank]
    sizes = ranked[0].sizes if ranked else ()
    boolean = op in COMPARISONS or ((op in LOGIC or op == "select") and all(s.node.boolean for s in symbols[-2:]))
    real = not boolean and any(s.node.real for s in symbols)
    node = Node(op, tuple(symbols), sizes, any(s.node.laned for s in symbols), boolean, value, real)
    return _as_result(Symbol(node, 0, sizes, identity_places(len(sizes)), 0), symbols)


def _as_result(symbol: Symbol, symbols: Sequence[Symbol]) -> Symbol:
    """Return the symbol over the axes of an operation's result."""
    ranked = [s for s in symbols if s.rank]
    if not ranked:
        return symbol
    neurons = max(s.neurons for s in symbols)
    return Symbol(
        symbol.node,
        neurons,
        ranked[0].sizes,
        symbol.places,
        max(s.rank for s in symbols),
        any(s.merged for s in ranked),
    )


def simplification(op: str, symbols: Sequence[Symbol]) -> Symbol | None:
    """Return the simpler result of an operation if the form of its operands alone decides it, else None."""
    literals = [s.node.value if s.node.op == "const" else None for s in symbols]
    if op == "mul" and (rounded := _toward_zero(*symbols)) is not None:
        return rounded
    if op in IDENTITIES:
        for neutral, other in ((0, 1), (1, 0)):
            if literals[neutral] == IDENTITIES[op] and not (neutral == 0 and op in ("sub", "shl", "shr")):
                return symbols[other]
    if op in ABSORBING:
        for at in (0, 1):
            if literals[at] is not None and literals[at] == ABSORBING[op]:
                return symbols[at]
    if op in ("and", "or") and all(s.node.boolean for s in symbols) and any(value is True for value in literals):
        return constant(True, boolean=True) if op == "or" else symbols[1 if literals[0] is True else 0]
    if op == "not" and symbols[0].node.op == "not":
        return symbols[0].node.args[0] if shows_whole_node(symbols[0]) else None
    if op == "number" and literals[0] is not None:
        return constant(literals[0])
    if op == "ne" and literals[1] == 0 and symbols[0].node.op == "number" and shows_whole_node(symbols[0]):
        return symbols[0].node.args[0]
    if op in ("eq", "ne", "lt", "gt", "le", "ge", "sub") and is_same_view(symbols[0], symbols[1]):
        return constant(op in ("eq", "le", "ge"), boolean=op != "sub")
    if op == "rz" and literals[0] == 0:
        return symbols[0]
    if op == "select":
        return _select_simplification(symbols, literals)
    if op in ("shl", "ne", "eq") and symbols[0].node.op == "shl" and literals[1] is not None:
        inner, by = compose(symbols[0], symbols[0].node.args[0]), symbols[0].node.args[1].node
        if by.op == "const" and op == "shl":
            return operate("shl", [inner, constant(by.value + literals[1])])
        if by.op == "const" and literals[1] == 0:
            return operate(op, [inner, symbols[1]])
    if all(value is not None for value in literals) and op in LITERAL:
        value = LITERAL[op](*literals)
        return constant(value, boolean=isinstance(value, bool))
    return None


def _select_simplification(symbols: Sequence[Symbol], literals: Sequence[Any]) -> Symbol | None:
    condition, yes, no = symbols
    if literals[0] is not None:
        chosen = yes if literals[0] else no
        return number(chosen) if not (yes.node.boolean and no.node.boolean) else chosen
    if is_same_view(yes, no):
        return yes
    booleans = [s.node.boolean for s in (yes, no)]
    if all(booleans):
        if literals[1] == 0:
            return operate("and", [operate("not", [condition]), no])
        if literals[2] == 0:
            return operate("and", [condition, yes])
        if literals[1] == 1:
            return operate("or", [condition, no])
        return None
    if any(booleans):
        other = literals[2] if booleans[0] else literals[1]
        if other in (0, 1):  # remains a boolean until an operation uses it as a number
            parts = [s if s.node.boolean else constant(bool(other), boolean=True) for s in (yes, no)]
            return number(operate("select", [condition, *parts]))
        return operate("select", [condition, number(yes), number(no)])
    return None


def _toward_zero(*symbols: Symbol) -> Symbol | None:
    """Return ``sign(x) * (abs(x) >> k)`` as one operation, if the operands have this form; x itself without a shift."""
    if not all(shows_whole_node(symbol) for symbol in symbols):
        return None
    for sign, shifted in (symbols, symbols[::-1]):
        if sign.node.op == "sign" and shifted.node.op == "abs":
            return sign.node.args[0] if is_same_view(sign.node.args[0], shifted.node.args[0]) else None
        if sign.node.op == "sign" and shifted.node.op == "shr":
            size, by = shifted.node.args
            if size.node.op == "abs" and by.node.op == "const" and is_same_view(sign.node.args[0], size.node.args[0]):
                return node_of("rz", [sign.node.args[0]], by.node.value)
    return None


def astype(symbol: Symbol, dtype: Any) -> Symbol:
    """Convert to a boolean or to an integer."""
    if np.dtype(dtype).kind == "b":
        return symbol if symbol.node.boolean else apply("ne", symbol, 0)
    return number(symbol)


def invert(symbol: Symbol) -> Symbol:
    """Return ``~x``."""
    return operate("not", [symbol]) if symbol.node.boolean else apply("sub", -1, symbol)


def logical(op: str, *operands: Any) -> Symbol:
    """Apply one of NumPy's logical functions; a number counts as true if it is not zero."""
    return apply(op, *(astype(o, bool) if isinstance(o, Symbol) else np.asarray(o, bool) for o in operands))


def take(table: Any, index: Symbol) -> Symbol:
    """Return ``table[..., index]``, for a table (K,) or (H, K) of constants and a symbol as index."""
    real = np.asarray(table).dtype.kind == "f"
    array = np.asarray(table, np.float64 if real else np.int64)
    values = array if array.ndim == 2 else array[None]
    param = Node("param", dims=values.shape[1:], laned=len(values) > 1, value=values, real=real)
    held = Symbol(param, len(values), values.shape[1:], identity_places(1), 3)
    node = Node("take", (held, index), index.sizes, index.node.laned or param.laned, real=real)
    rank = max(index.rank, 2 * param.laned)
    return Symbol(node, max(index.neurons, len(values)), index.sizes, identity_places(len(index.sizes)), rank)


def _reduce(op: str, symbol: Symbol, axis: int, keepdims: bool) -> Symbol:
    if axis not in (-1, symbol.ndim - 1) or symbol.merged or not symbol.sizes:
        raise NotTraceable(f"{op} over axis {axis} of a value of shape {symbol.shape}")
    operand = symbol
    if op == "any" and not operand.node.boolean:
        operand = apply("ne", operand, 0)
    sizes = operand.sizes[:-1]
    if operand.sizes[-1] == 1:
        kept = operand[..., 0]
        kept = kept if op == "any" else number(kept)
    else:
        node = Node(op, (operand,), sizes, operand.node.laned, op == "any", real=op == "sum" and operand.node.real)
        kept = Symbol(node, operand.neurons, sizes, identity_places(len(sizes)), 2 + len(sizes))
    return kept[..., None] if keepdims else kept


def _clip(symbol: Symbol, low: float, high: float) -> Symbol:
    if not symbol.node.real:
        raise NotTraceable("numpy.clip of integers")
    return apply("min", apply("max", symbol, low), high)


def _like(value: int) -> Callable[..., Symbol]:
    def made(symbol: Symbol, dtype: Any = None) -> Symbol:
        boolean = symbol.node.boolean if dtype is None else np.dtype(dtype).kind == "b"
        literal = constant(float(value) if symbol.node.real and dtype is None else value, boolean)
        return Symbol(literal.node, symbol.neurons, symbol.sizes, (), symbol.rank, symbol.merged)

    return made


def _full_like(symbol: Symbol, fill: Any) -> Symbol:
    if isinstance(fill, Symbol) and fill.rank == 0:
        return fill.astype(symbol.dtype)
    return apply("add", _like(0)(symbol, np.int64), fill).astype(symbol.dtype)


ELEMENTWISE = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "right_shift": "shr",
    "left_shift": "shl",
    "remainder": "mod",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "minimum": "min",
    "maximum": "max",
    "absolute": "abs",
    "sign": "sign",
}
OF_REALS = {"divide": "div", "trunc": "trunc", "ceil": "ceil", "tanh": "tanh"}


def _elementwise(op: str) -> Callable[..., Symbol]:
    return lambda *operands: apply(op, *operands)


def _of_reals(name: str) -> Callable[..., Symbol]:
    """Return an operation of float steps; integer steps have none of its name."""

    def handler(*operands: Any) -> Symbol:
        symbols = align(operands)
        if not any(symbol.node.real for symbol in symbols):
            raise NotTraceable(f"numpy.{name} of integers")
        return apply(OF_REALS[name], *operands)

    return handler


def _logical(op: str) -> Callable[..., Symbol]:
    return lambda *operands: logical(op, *operands)


HANDLERS |= {name: _elementwise(op) for name, op in ELEMENTWISE.items()}
HANDLERS |= {name: _of_reals(name) for name in OF_REALS}
HANDLERS |= {f"logical_{op}": _logical(op) for op in ("and", "or", "xor", "not")}
HANDLERS |= {
    "negative": lambda x: apply("sub", 0, x),
    "invert": invert,
    "where": select,
    "take": take,
    "getitem": index_view,
    "reshape": reshape_view,
    "astype": astype,
    "zeros_like": _like(0),
    "ones_like": _like(1),
    "full_like": _full_like,
    "clip": _clip,
    "shape": lambda symbol: symbol.shape,
    "ndim": lambda symbol: symbol.ndim,
    "sum": lambda symbol, axis: _reduce("sum", symbol, axis, False),
    "any": lambda symbol, axis, keepdims=False: _reduce("any", symbol, axis, keepdims),
}
