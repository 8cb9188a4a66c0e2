"""The bytes of a ``.nir`` file: the seal in its user block, and its HDF5 tree.

HDF5 lets a file start with a user block that its readers skip. nmdeploy's block has 512 bytes: a magic line, the
SHA-256 of all bytes after the block, and zeros. A changed bit anywhere in such a file is found before HDF5 reads it.
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
    """Return the bytes of a file; raise `BadFile` if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise BadFile(f"{path}: is a folder: give the model file inside it") from None
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file: check the path") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: cannot be read ({reason(error)}): check the path and its permissions") from None


def with_user_block(content: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the HDF5 file `content` after an empty user block, with `arrays` added, each by its path.

    Large arrays are packed. Packing small ones would take more room and time.
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
    """Return `content`, which starts with a user block, with that block filled in."""
    return _block(content) + content[BLOCK:]


def _block(content: bytes) -> bytes:
    digest = hashlib.sha256(memoryview(content)[BLOCK:]).hexdigest().encode()
    return (MAGIC + digest + b"\n").ljust(BLOCK, b"\0")


def is_sealed(content: bytes) -> bool:
    """Return True if the file claims to be written by nmdeploy."""
    return content.startswith(MAGIC)


def check_seal(path: str | os.PathLike[str], content: bytes) -> None:
    """Raise `BadFile` unless every byte of a sealed file is unchanged."""
    if content[:BLOCK] != _block(content):
        raise BadFile(f"{path}: damaged: its {len(content)} bytes do not match its SHA-256: copy or export it again")


def read_tree(path: str | os.PathLike[str], content: bytes, *, only: str | None = None) -> Tree:
    """Return groups and datasets of an HDF5 file as nested dicts, texts as str, numbers as arrays.

    Parameters
    ----------
    path : str or path
        Name of the file in errors.
    content : bytes
        The file.
    only : str, optional
        Path of the one dataset or group to read. It is returned under the key "".

    Raises
    ------
    BadFile
        The bytes are not HDF5, are damaged, or hold links, types or sizes that no NIR file has.
    """
    if not (content.startswith(HDF5) or is_sealed(content) or HDF5 in content[BLOCK : 1 << 14]):
        kind = "is empty" if not content else f"({len(content)} bytes) is not an HDF5 file"
        raise BadFile(f"{path}: {kind}, and a .nir file is HDF5: check the path, or copy it again")
    remedy = "copy or export it again"
    with open_hdf5(path, content, kind="NIR file", remedy=remedy, holds_texts=True) as file:
        import h5py

        walk, root = Walk(str(path), content), h5py.h5g.open(file.id, b"/")
        return {"": walk.entry(root, only)} if only else walk.group(root)
