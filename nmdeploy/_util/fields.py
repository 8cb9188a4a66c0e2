"""Conversion of frozen dataclasses into the plain values and arrays of a file, and back."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
PLAIN = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
ARRAYS = {"i": "an array of integers", "f": "an array of numbers"}


class BadField(ValueError):
    """Field that is unknown, missing or of another type; the message names it and what it should be."""


def split(node: Any) -> tuple[dict[str, Any], Arrays]:
    """Separate the fields of a dataclass into plain values and arrays.

    A field that is None is left out, unless its default is another value. A field that is a dataclass is split too. Its
    kind, if it has one, and plain values are a mapping, its arrays are named "field.array".
    """
    plain: dict[str, Any] = {}
    arrays: Arrays = {}
    for name, value, default in ((f.name, getattr(node, f.name), f.default) for f in fields(node)):
        if isinstance(value, np.ndarray):
            arrays[name] = narrowest(value)
        elif is_dataclass(value):
            held, inner = split(value)
            plain[name] = _kind(value) | held
            arrays |= {f"{name}.{key}": array for key, array in inner.items()}
        elif value is not None or not (default is None or default is MISSING):
            plain[name] = value.item() if isinstance(value, np.generic) else value
    return plain, arrays


def _kind(part: Any) -> dict[str, Any]:
    """Return the kind of a part, or of its class, if it has one."""
    kind = getattr(part, "kind", None)
    return {} if kind is None else {"kind": kind}


def build(kind: type, values: Mapping[str, Any]) -> Any:
    """Build a dataclass from its fields, given by name, as `split` names them.

    Raises
    ------
    BadField
        A field is unknown, has no default and is missing, or is not of its type.
    """
    hints, known = _hints(kind), {f.name: f for f in fields(kind)}
    given = _nested(hints, values)
    for name in given:
        if name not in known:
            raise BadField(f"field {name!r} is unknown here: update nmdeploy")
    for name, f in known.items():
        if name not in given and f.default is MISSING and f.default_factory is MISSING:
            raise BadField(f"field {name!r} is missing: export it again")
    return kind(**{name: _checked(name, value, hints[name]) for name, value in given.items()})


def _nested(hints: Mapping[str, tuple[Any, ...]], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, those of fields that are dataclasses built."""
    inner = {name: hint[0] for name, hint in hints.items() if isinstance(hint[0], type) and is_dataclass(hint[0])}
    found = {name: value for name, value in values.items() if name.partition(".")[0] not in inner}
    for name, kind in inner.items():
        arrays = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")}
        plain = values.get(name, {})
        if not isinstance(plain, Mapping):
            raise BadField(f"field {name!r} = {_shown(plain)}: is not an object of fields: export it again")
        expected = _kind(kind)
        if {**expected, **plain}.get("kind") != expected.get("kind"):
            other = expected.get("kind", "none")
            raise BadField(f"field {name!r} is of kind {plain['kind']!r}, not {other!r}: export it again")
        given = {key: value for key, value in plain.items() if key != "kind"} | arrays
        if given:
            found[name] = build(kind, given)
    return found


def narrowest(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return integers in the narrowest type that holds them all; other arrays are unchanged.

    >>> narrowest(np.array([-1, 127])).dtype, narrowest(np.array([0, 128])).dtype, narrowest(np.array([1 << 31])).dtype
    (dtype('int8'), dtype('uint8'), dtype('uint32'))
    """
    if array.dtype.kind not in "iu":
        return array
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    found = next(t for t in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8") if _holds(np.dtype(t), low, high))
    return array.astype(found)


def _holds(dtype: np.dtype[Any], low: int, high: int) -> bool:
    info = np.iinfo(dtype)
    return bool(info.min <= low and high <= info.max)


@cache
def _hints(kind: type) -> dict[str, tuple[Any, ...]]:
    """Return the types that each field may have."""
    found = get_type_hints(kind)
    return {f.name: _alternatives(found[f.name]) for f in fields(kind)}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _checked(name: str, value: Any, hint: tuple[Any, ...]) -> Any:
    """Return the value if it has one of the types of `hint`.

    A value that is neither plain nor an array is checked by its class.
    """
    wanted = [text for each in hint if (text := _wanted(each)) is not None]
    if wanted and not any(_is(value, each) for each in hint):
        raise BadField(f"field {name!r} = {_shown(value)}: is not {' or '.join(wanted)}: export it again")
    return value


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def _wanted(hint: Any) -> str | None:
    return ARRAYS.get(_array_kind(hint)) or PLAIN.get(hint)


def _array_kind(hint: Any) -> str:
    """Return NumPy's letter for the values of an array type, or "" for another type."""
    if get_origin(hint) is not np.ndarray:
        return ""
    (scalar,) = get_args(get_args(hint)[1])
    return "" if scalar is Any else np.dtype(scalar).kind


def _is(value: Any, hint: Any) -> bool:
    kind = _array_kind(hint)
    if kind:
        return isinstance(value, np.ndarray) and value.dtype.kind in ("iu" if kind == "i" else "f")
    return type(value) is hint or (hint is float and type(value) is int)
