"""The bytes of a ``.nir`` file: the seal in its user block, and its HDF5 tree.

HDF5 lets a file start with a user block that its readers skip. Ours is 512 bytes: a magic line, the SHA-256 of
everything behind the block, and zeros; so a changed bit anywhere in a file of ours is found before HDF5 sees it.

Source: HDF5 file format specification 3.0, section II.A (the superblock is searched at 0, 512, 1024, ...).
"""

from __future__ import annotations

import hashlib
import math
import os
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

from nmdeploy.errors import BadFile
from nmdeploy.hdf5_heap import has_endless_heap

Tree: TypeAlias = dict[str, Any]

BLOCK = 512
MAGIC = b"nmdeploy-model\n"
HDF5 = b"\x89HDF\r\n\x1a\n"
DEEPEST = 16
EXPANSION = 1100
"""Most bytes of numbers that a byte of the file can hold (gzip), and the price of a text, which is never packed."""
SPARE = 1 << 20
HDF5_FAILURES = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, OverflowError)


def load_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file; `BadFile` where there is none to read."""
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise BadFile(f"{path}: is a folder: give the model file inside it") from None
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file: check the path") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: cannot be read ({_why(error)}): check the path and its permissions") from None


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


def with_user_block(content: bytes) -> bytes:
    """The HDF5 file `content` with an empty user block before it."""
    import h5py

    target = BytesIO()
    with h5py.File(BytesIO(content), "r") as old, h5py.File(target, "w", userblock_size=BLOCK) as new:
        for name in old:
            old.copy(name, new, name)
    return target.getvalue()


def seal(content: bytes) -> bytes:
    """`content`, which starts with a user block, with that block filled in."""
    return _block(content) + content[BLOCK:]


def _block(content: bytes) -> bytes:
    digest = hashlib.sha256(content[BLOCK:]).hexdigest().encode()
    return (MAGIC + digest + b"\n").ljust(BLOCK, b"\0")


def is_sealed(content: bytes) -> bool:
    """Whether the file claims to be one of ours."""
    return content.startswith(MAGIC)


def check_seal(path: str | os.PathLike[str], content: bytes) -> None:
    """`BadFile` unless every byte of a file of ours is as it was written."""
    if content[:BLOCK] != _block(content):
        raise BadFile(f"{path}: damaged: its {len(content)} bytes do not match its SHA-256: copy or export it again")


def read_tree(path: str | os.PathLike[str], content: bytes, *, only: str | None = None) -> Tree:
    """Groups and datasets of an HDF5 file as nested dicts; texts as str, numbers as arrays.

    Parameters
    ----------
    path : names the file in errors
    content : bytes
    only : str, optional
        Read this one dataset; it is returned under the key "".

    Raises
    ------
    BadFile
        The bytes are no HDF5, are damaged, or hold links, types or sizes that no NIR file has.
    """
    if not (content.startswith(HDF5) or is_sealed(content) or HDF5 in content[BLOCK : 1 << 14]):
        kind = "is empty" if not content else f"({len(content)} bytes) is no HDF5 file"
        raise BadFile(f"{path}: {kind}, which a .nir file is: check the path, or copy it again")
    if has_endless_heap(content):
        raise BadFile(f"{path}: damaged: its texts have no end: copy or export it again")
    import h5py

    try:
        with h5py.File(BytesIO(content), "r") as file:
            walk = _Walk(str(path), content)
            return {"": walk.dataset(file, only)} if only else walk.group(file, 0)
    except BadFile:
        raise
    except (*HDF5_FAILURES, MemoryError, RecursionError) as error:
        raise BadFile(f"{path}: damaged, or no NIR file ({_why(error)}): copy or export it again") from None


class _Walk:
    """Reads a tree of bounded size and depth: a damaged file may claim any shape, and link a group into itself."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.content = content
        self.budget = EXPANSION * len(content) + SPARE
        self.seen: set[int] = set()

    def group(self, group: Any, depth: int) -> Tree:
        import h5py

        address = int(h5py.h5o.get_info(group.id).addr)
        if address in self.seen or depth > DEEPEST:
            raise BadFile(
                f"{self.path}: {group.name}: groups are nested in a loop or over {DEEPEST} deep: export it again"
            )
        self.seen.add(address)
        found: Tree = {}
        for name in group.id:
            child = self._child(group, name)
            is_group = isinstance(child, h5py.h5g.GroupID)
            found[name.decode("utf-8")] = self.group(h5py.Group(child), depth + 1) if is_group else self._value(child)
        return found

    def dataset(self, file: Any, name: str) -> Any:
        import h5py

        *groups, last = (part.encode() for part in name.split("/"))
        for part in groups:
            file = h5py.Group(self._child(file, part))
        return self._value(self._child(file, last))

    def _child(self, group: Any, name: bytes) -> Any:
        """The group or dataset behind a hard link; links into other files and loops of soft links are refused."""
        import h5py

        if name not in group.id or group.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            where = f"{group.name.rstrip('/')}/{name.decode('utf-8')}"
            raise BadFile(f"{self.path}: {where}: is missing or a link, which no NIR file holds: export it again")
        child = h5py.h5o.open(group.id, name)
        if not isinstance(child, (h5py.h5g.GroupID, h5py.h5d.DatasetID)):
            raise BadFile(f"{self.path}: {group.name}: holds what no NIR file holds: export it again")
        return child

    def _value(self, dataset: Any) -> Any:
        """The content of a dataset by its low-level handle: a model has hundreds of small ones."""
        import h5py
        import numpy as np

        if isinstance(dataset, h5py.h5g.GroupID) or not _is_plain(dataset):
            raise BadFile(f"{self.path}: {_name(dataset)}: is no plain dataset: export it again")
        dtype, shape = dataset.dtype, dataset.shape
        size = math.prod(shape)
        is_text = h5py.check_string_dtype(dtype) is not None
        self.budget -= size * (EXPANSION if is_text else dtype.itemsize)
        if self.budget < 0:
            raise BadFile(f"{self.path}: {_name(dataset)}: claims more data than the file can hold: export it again")
        if is_text:
            self._check_lengths(h5py.Dataset(dataset))
            return _text(h5py.Dataset(dataset)[()])
        if dtype.kind not in "fiub":
            raise BadFile(f"{self.path}: {_name(dataset)}: has type {dtype}: NIR files hold numbers and texts")
        values = np.empty(shape, dtype)
        if size:
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values

    def _check_lengths(self, dataset: Any) -> None:
        """Texts lie as (length, address, index) of 4, 8 and 4 bytes; HDF5 would allocate any length."""
        import h5py
        import numpy as np

        offset = dataset.id.get_offset()
        if offset is not None and h5py.check_string_dtype(dataset.dtype).length is None:
            stored = self.content[offset : offset + 16 * dataset.size]
            lengths = np.frombuffer(stored[: len(stored) // 16 * 16], "<u4")[::4]
            if lengths.max(initial=0) > len(self.content):
                raise BadFile(
                    f"{self.path}: {dataset.name}: a text of {lengths.max()} bytes, over the file's: export again"
                )


def _is_plain(dataset: Any) -> bool:
    """Whether a dataset has a shape, and its values in this file."""
    import h5py

    properties = dataset.get_create_plist()
    stored = properties.get_layout() != h5py.h5d.VIRTUAL and not properties.get_external_count()
    return bool(stored and dataset.get_space().get_simple_extent_type() != h5py.h5s.NULL)


def _name(handle: Any) -> str:
    import h5py

    return str(h5py.h5i.get_name(handle).decode("utf-8"))


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return [_text(item) for item in value]
