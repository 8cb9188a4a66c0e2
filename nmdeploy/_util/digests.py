"""Digests of values made of frozen dataclasses, arrays, texts and numbers, independent of their file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def content_sha256(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of a value: its types, the names of its fields, its texts, numbers and arrays.

    Arrays count by type, shape and little-endian bytes. Mappings count in their order. Fields that are not compared do
    not count.

    >>> content_sha256({"a": np.arange(3)}) == content_sha256({"a": np.arange(3)})
    True
    >>> content_sha256(1) == content_sha256(1.0)
    False
    """
    sha = hashlib.sha256()
    for part in _parts(value):
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    yield type(value).__qualname__.encode()
    if is_dataclass(value) and not isinstance(value, type):
        for field in (field for field in fields(value) if field.compare):
            yield field.name.encode()
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        yield f"{little.dtype.str} {value.shape}".encode()
        yield little.tobytes()
    elif isinstance(value, Mapping):
        for key, held in value.items():
            yield from _parts(key)
            yield from _parts(held)
        yield b"end"
    elif isinstance(value, (tuple, list)):
        for held in value:
            yield from _parts(held)
        yield b"end"
    else:
        yield repr(value).encode()
