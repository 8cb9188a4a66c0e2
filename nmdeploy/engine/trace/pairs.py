"""NumPy's operations on complex values of a float step, each a pair of symbols."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.engine.trace.symbols import PAIR_HANDLERS, NotTraceable, Pair, is_complex


def _parts(value: Any) -> tuple[Any, Any]:
    """Return the real and the imaginary part; that of a real value is 0."""
    return (value.real, value.imag) if is_complex(value) else (value, 0.0)


def _add(x: Any, y: Any) -> Pair:
    (a, b), (c, d) = _parts(x), _parts(y)
    return Pair(a + c, b + d)


def _subtract(x: Any, y: Any) -> Pair:
    (a, b), (c, d) = _parts(x), _parts(y)
    return Pair(a - c, b - d)


def _multiply(x: Any, y: Any) -> Pair:
    if not is_complex(x) or not is_complex(y):  # no product with 0
        (a, b), factor = (_parts(x), y) if is_complex(x) else (_parts(y), x)
        return Pair(a * factor, b * factor)
    (a, b), (c, d) = _parts(x), _parts(y)
    return Pair(a * c - b * d, a * d + b * c)


def _divide(x: Any, y: Any) -> Pair:
    if isinstance(y, Pair):
        raise NotTraceable("a division by a complex value")
    return _multiply(x, 1 / y)


def _where(condition: Any, yes: Any, no: Any) -> Pair:
    (a, b), (c, d) = _parts(yes), _parts(no)
    return Pair(np.where(condition, a, c), np.where(condition, b, d))


PAIR_HANDLERS |= {"add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "where": _where}
