"""Groups and datasets of an open HDF5 file as nested dicts.

A model has hundreds of small datasets. h5py's low-level handles read all of it, with few calls for each.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from nmdeploy.errors import BadFile

Tree: TypeAlias = dict[str, Any]

DEEPEST = 16
EXPANSION = 1100
"""Most bytes of numbers per byte of the file (gzip), and the price of a text, which is never packed."""
SPARE = 1 << 20


class _Type(NamedTuple):
    """A type as stored, as NumPy's dtype, and as HDF5's type in memory."""

    stored: Any
    dtype: np.dtype[Any]
    in_memory: Any
    is_text: bool
    is_long: bool
    """True for a text of any length, which lies elsewhere in the file."""


class Walk:
    """Reader of a tree of bounded size and depth.

    A damaged file may claim any shape, and link a group into itself.

    Parameters
    ----------
    path : str
        Name of the file in errors.
    content : bytes
        Its bytes.
    """

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.content = content
        self.budget = EXPANSION * len(content) + SPARE
        self.seen: set[int] = set()
        self.types: list[_Type] = []

    def group(self, group: Any, depth: int = 0) -> Tree:
        """Return all that a group holds."""
        import h5py

        address = int(h5py.h5o.get_info(group).addr)
        if address in self.seen or depth > DEEPEST:
            raise BadFile(
                f"{self.path}: {_name(group)}: groups are nested in a loop or over {DEEPEST} deep: export it again"
            )
        self.seen.add(address)
        found: Tree = {}
        for name, kind in _links(group):
            child = self._child(group, name, kind)
            is_group = isinstance(child, h5py.h5g.GroupID)
            found[name.decode("utf-8")] = self.group(child, depth + 1) if is_group else self._value(child)
        return found

    def entry(self, group: Any, name: str) -> Any:
        """Return the content of one dataset or group, named by its path."""
        import h5py

        for part in name.encode().split(b"/"):
            known = isinstance(group, h5py.h5g.GroupID) and group.links.exists(part)
            group = self._child(group, part, group.links.get_info(part).type if known else None)
        return self.group(group) if isinstance(group, h5py.h5g.GroupID) else self._value(group)

    def _child(self, group: Any, name: bytes, kind: int | None) -> Any:
        """Return the group or dataset of a hard link; links into other files and loops of soft links are refused."""
        import h5py

        if kind != h5py.h5l.TYPE_HARD:
            where = f"{_name(group).rstrip('/')}/{name.decode('utf-8')}"
            raise BadFile(f"{self.path}: {where}: is missing or a link, which no NIR file holds: export it again")
        child = h5py.h5o.open(group, name)
        if not isinstance(child, (h5py.h5g.GroupID, h5py.h5d.DatasetID)):
            raise BadFile(f"{self.path}: {_name(group)}: holds what no NIR file holds: export it again")
        return child

    def _value(self, dataset: Any) -> Any:
        """Return the content of a dataset."""
        import h5py

        shape = None if isinstance(dataset, h5py.h5g.GroupID) else _plain_shape(dataset)
        if shape is None:
            raise BadFile(f"{self.path}: {_name(dataset)}: is no plain dataset: export it again")
        kind, size = self._type(dataset.get_type()), math.prod(shape)
        self.budget -= size * (EXPANSION if kind.is_text else kind.dtype.itemsize)
        if self.budget < 0:
            raise BadFile(f"{self.path}: {_name(dataset)}: claims more data than the file can hold: export it again")
        if kind.in_memory is None:
            raise BadFile(f"{self.path}: {_name(dataset)}: has type {kind.dtype}: NIR files hold numbers and texts")
        if kind.is_long:
            self._check_lengths(dataset, size)
        values = np.empty(shape, kind.dtype)
        if size:
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values, kind.in_memory)
        return _text(values[()]) if kind.is_text else values

    def _type(self, stored: Any) -> _Type:
        """Return the known facts of a type.

        h5py would determine them for each dataset, and a file has few types.
        """
        import h5py

        for known in self.types:
            if known.stored.equal(stored):
                return known
        dtype = stored.dtype
        text = h5py.check_string_dtype(dtype)
        in_memory = h5py.h5t.py_create(dtype) if text or dtype.kind in "fiub" else None
        found = _Type(stored, dtype, in_memory, text is not None, text is not None and text.length is None)
        self.types.append(found)
        return found

    def _check_lengths(self, dataset: Any, size: int) -> None:
        """Refuse texts longer than the file.

        Texts lie as (length, address, index) of 4, 8 and 4 bytes. HDF5 would allocate any length.
        """
        offset = dataset.get_offset()
        if offset is not None:
            end = min(offset + 16 * size, len(self.content)) - 15
            longest = max((_number(self.content, place) for place in range(offset, end, 16)), default=0)
            if longest > len(self.content):
                raise BadFile(
                    f"{self.path}: {_name(dataset)}: a text of {longest} bytes, over the file's: export again"
                )


def _links(group: Any) -> list[tuple[bytes, int]]:
    """Return names and kinds of a group's links.

    They are in the order of creation if the group keeps it, else sorted.
    """
    found: list[tuple[int, bytes, int]] = []
    group.links.iterate(
        lambda name, link: found.append((link.corder if link.corder_valid else 0, name, link.type)), info=True
    )
    return [(name, kind) for _, name, kind in sorted(found, key=lambda link: link[0])]


def _plain_shape(dataset: Any) -> tuple[int, ...] | None:
    """Return the shape of a dataset; None if it has none, or its values are not in this file."""
    import h5py

    if dataset.get_offset() is None:  # Otherwise it lies in this file in one piece, and the properties cost more.
        properties = dataset.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
            return None
    space = dataset.get_space()
    return None if space.get_simple_extent_type() == h5py.h5s.NULL else tuple(space.get_simple_extent_dims())


def _number(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 4], "little")


def _name(handle: Any) -> str:
    import h5py

    return str(h5py.h5i.get_name(handle).decode("utf-8"))


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return [_text(item) for item in value]
