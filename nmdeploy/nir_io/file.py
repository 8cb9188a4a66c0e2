"""The bytes of a ``.nir`` file: the seal in its user block, and its HDF5 tree.

HDF5 lets a file start with a user block that its readers skip. Ours is 512 bytes: a magic line, the SHA-256 of
everything behind the block, and zeros; so a changed bit anywhere in a file of ours is found before HDF5 sees it.

Source: HDF5 file format specification 3.0, section II.A (the superblock is searched at 0, 512, 1024, ...).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nmdeploy._util.open_file import open_hdf5
from nmdeploy._util.system import reason
from nmdeploy.errors import BadFile
from nmdeploy.nir_io.tree import Tree, Walk

BLOCK = 512
PACKED_BYTES = 1 << 12
MAGIC = b"nmdeploy-model\n"
HDF5 = b"\x89HDF\r\n\x1a\n"


def load_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file; `BadFile` where there is none to read."""
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise BadFile(f"{path}: is a folder: give the model file inside it") from None
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file: check the path") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: cannot be read ({reason(error)}): check the path and its permissions") from None


def with_user_block(content: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the HDF5 file `content` behind an empty user block, with `arrays` added, each by its path.

    Arrays of some size are packed; for small ones it would take more room, and time.
    """
    import h5py

    target = BytesIO()
    with h5py.File(BytesIO(content), "r") as old, h5py.File(target, "w", userblock_size=BLOCK) as new:
        for name in old:
            old.copy(name, new, name)
        for path, array in arrays.items():
            packed = {"compression": "gzip", "shuffle": True} if array.nbytes > PACKED_BYTES else {}
            new.create_dataset(path, data=array.astype(array.dtype.newbyteorder("<"), copy=False), **packed)
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
        Read this one dataset or group; it is returned under the key "".

    Raises
    ------
    BadFile
        The bytes are no HDF5, are damaged, or hold links, types or sizes that no NIR file has.
    """
    if not (content.startswith(HDF5) or is_sealed(content) or HDF5 in content[BLOCK : 1 << 14]):
        kind = "is empty" if not content else f"({len(content)} bytes) is no HDF5 file"
        raise BadFile(f"{path}: {kind}, which a .nir file is: check the path, or copy it again")
    remedy = "copy or export it again"
    with open_hdf5(path, content, kind="NIR file", remedy=remedy, holds_texts=True) as file:
        import h5py

        walk, root = Walk(str(path), content), h5py.h5g.open(file.id, b"/")
        return {"": walk.entry(root, only)} if only else walk.group(root)
