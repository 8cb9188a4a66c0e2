"""Frozen dataclasses with read-only arrays and equality by value."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from nmdeploy.errors import BadOption


def same(a: Any, b: Any) -> bool:
    """Return True if two values are equal, arrays compared by shape, type and content."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


class Frozen:
    """Mixin of the frozen dataclasses (declare them with ``eq=False``): equality by value, arrays included."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.compare)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> tuple[dict[str, Any], list[str]]:
        """Return the fields, and the names of those that are read-only arrays.

        Values computed from the fields are left out: they would be wrong in a copy that is changed. A copy of a
        read-only array is writable, so the names are kept.
        """
        state = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return state, [n for n, value in state.items() if isinstance(value, np.ndarray) and not value.flags.writeable]

    def __setstate__(self, state: tuple[dict[str, Any], list[str]]) -> None:
        values, frozen = state
        for name in frozen:
            values[name].setflags(write=False)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _freeze(self, name: str, value: Any, dtype: Any, shape: tuple[int, ...] | None = None) -> None:
        """Store `value` as a read-only array of `dtype`, broadcast to `shape`; `BadOption` if it does not fill it."""
        array = np.array(value, dtype=dtype)
        if shape is not None:
            try:
                array = np.array(np.broadcast_to(array, shape))
            except ValueError:
                raise BadOption(
                    f"{type(self).__name__}: {name} has shape {array.shape}, which does not fill {shape}: give one "
                    "number, or an array of that shape"
                ) from None
        array.setflags(write=False)
        object.__setattr__(self, name, array)
