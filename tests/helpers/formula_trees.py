"""Random expressions as trees of (operation, operands), which NumPy and the engine evaluate by the same function."""

from __future__ import annotations

from typing import Any

import numpy as np
from formula_neuron import Formula, Given
from hypothesis import strategies as st

from nmdeploy.neurons.ops import rz, saturate

Tree = tuple[Any, ...]
NUMBERS = ("x", "y", "a", "p", "t")
MOST = 2.0**55


def value(tree: Tree, e: Given) -> Any:
    """Return a tree's value, of shape (samples, H, N or 1), or of no shape at all."""
    op, *args = tree
    if op == "leaf":
        found = {"x": e.x, "y": e.y[..., None], "a": e.a[..., :1], "p": e.x * 0 + e.p, "t": e.t, "flag": e.flag}
        return found[args[0]]
    if op == "literal":
        return args[0]
    parts = [value(arg, e) if isinstance(arg, tuple) else arg for arg in args]
    return OPERATIONS[op](*parts)


OPERATIONS: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "min": np.minimum,
    "max": np.maximum,
    "shl": lambda a, k: a << k,
    "shr": lambda a, k: a >> k,
    "rz": lambda a, k: rz(a, k),
    "mod": lambda a, k: a % (k + 1),
    "abs": lambda a: np.abs(a),
    "sign": lambda a: np.sign(a),
    "low bits": lambda a: a & 1023,
    "saturate": lambda a, k: saturate(a, 1 << k)[0],
    "where": lambda c, a, b: np.where(c, a, b),
    "total": lambda a: a.sum(-1)[..., None],
    "one": lambda a: a[..., 0][..., None],
    "number": lambda c: c * 1,
    "lt": lambda a, b: a < b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "clips": lambda a, k: saturate(a, 1 << k)[1],
    "both": lambda c, d: c & d,
    "either": lambda c, d: c | d,
    "added": lambda c, d: c + d,
    "times": lambda c, d: c * d,
    "unlike": lambda c, d: c ^ d,
    "not": lambda c: ~c,
    "some": lambda c: c.any(-1, keepdims=True),
}
SHIFTS = st.integers(0, 12)


def magnitude(tree: Tree) -> float:
    """Return a number that no value of a tree of numbers, nor of its parts, exceeds."""
    op, *args = tree
    if op == "leaf":
        return 1000.0
    if op == "literal":
        return float(abs(args[0]))
    inner = [magnitude(arg) for arg in args if isinstance(arg, tuple)]
    most = max(inner, default=1.0)
    grown = {
        "add": sum(inner),
        "sub": sum(inner),
        "mul": float(np.prod(inner)),
        "shl": most * 2.0**12,
        "total": most * 16,
    }
    return max(most, grown.get(op, most), 4096.0)


@st.composite
def numbers(draw: st.DrawFn, depth: int) -> Tree:
    """Draw a tree of numbers."""
    if depth == 0 or (depth < 3 and draw(st.booleans())):
        name = draw(st.sampled_from(NUMBERS))
        return ("literal", draw(st.integers(-70, 70))) if name == "t" and draw(st.booleans()) else ("leaf", name)
    op = draw(
        st.sampled_from(["add", "sub", "mul", "min", "max", "shl", "shr", "rz", "mod", "abs", "sign"])
        | st.sampled_from(["low bits", "saturate", "where", "where", "total", "one", "number", "add", "mul"])
    )
    below = numbers(depth - 1)
    if op in ("add", "sub", "mul", "min", "max"):
        tree: Tree = (op, draw(below), draw(below))
    elif op in ("shl", "shr", "rz", "mod", "saturate"):
        tree = (op, draw(below), draw(SHIFTS))
    elif op == "where":
        tree = (op, draw(conditions(depth - 1)), draw(below), draw(below))
    elif op == "number":
        tree = (op, draw(conditions(depth - 1)))
    elif op in ("total", "one"):
        tree = (op, ("add", ("leaf", "x"), draw(below)))
    else:
        tree = (op, draw(below))
    return tree if magnitude(tree) < MOST else ("leaf", "x")


@st.composite
def conditions(draw: st.DrawFn, depth: int) -> Tree:
    """Draw a tree of booleans."""
    if depth == 0:
        return ("leaf", "flag")
    op = draw(st.sampled_from(["lt", "ge", "eq", "ne", "clips", "both", "either", "added", "times", "unlike", "not"]))
    if op in ("lt", "ge", "eq", "ne"):
        return (op, ("sub", ("leaf", "x"), draw(numbers(depth - 1))), draw(numbers(depth - 1)))
    if op == "clips":
        return (op, draw(numbers(depth - 1)), draw(SHIFTS))
    below = conditions(depth - 1)
    return (op, draw(below)) if op == "not" else (op, draw(below), draw(below))


def tree_formula(tree: Tree) -> Formula:
    """Return a tree as a formula over all states."""
    return lambda e: np.where(e.flag, 0, 0) + value(tree, e)
