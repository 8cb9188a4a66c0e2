"""Opening HDF5 files for reading, with one line for whatever is wrong with them."""

from __future__ import annotations

import itertools
import mmap
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmdeploy._util.hdf5_guard import has_endless_heap
from nmdeploy.errors import BadFile

LONGEST_REASON = 100
DAMAGED = (
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Exceptions that h5py raises for damaged files, and Python for files that are laid out otherwise."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_images = itertools.count()


def hdf5_holds(path: str | os.PathLike[str], name: str) -> bool:
    """Return True for a file that is HDF5 by its content and has a group or dataset of this name at its top.

    HDF5 lets other bytes come first: its signature is at 0, 512, 1024, 2048 and so on.

    Raises
    ------
    BadFile
        The file has the signature, but is damaged.
    """
    if not _is_hdf5(Path(path)):
        return False
    with open_hdf5(path) as file:
        return name in file


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            size, place = file.seek(0, os.SEEK_END), 0
            while place < size:
                file.seek(place)
                if file.read(len(SIGNATURE)) == SIGNATURE:
                    return True
                place = max(512, 2 * place)
    except OSError:
        pass  # whoever reads the file names the reason
    return False


@contextmanager
def open_hdf5(
    path: str | os.PathLike[str],
    content: bytes | None = None,
    *,
    kind: str = "HDF5 file",
    remedy: str = "copy or make it again",
    holds_texts: bool = False,
    cache_bytes: int | None = None,
) -> Iterator[Any]:
    """Open an HDF5 file for reading, as an `h5py.File`.

    Parameters
    ----------
    path : file, named in the error
    content : bytes, optional
        The bytes of the file, if they have been read already.
    kind, remedy : str
        What the file should be, and what the user can do, for the error.
    holds_texts : bool
        True if texts of variable length are going to be read: then the heaps that hold them are checked first.
    cache_bytes : int, optional
        Memory for unpacked chunks.

    Raises
    ------
    BadFile
        The file is missing, is not HDF5, or is damaged: now, or when the block reads it.
    """
    import h5py

    article = "an" if kind.startswith("HDF5") else "a"
    cache = {} if cache_bytes is None else {"rdcc_nbytes": cache_bytes}
    try:
        if holds_texts:
            _check_heaps(path, content)
        with h5py.File(path if content is None else _image(content), "r", **cache) as file:
            yield file
    except DAMAGED as error:
        raise BadFile(f"{path}: is damaged or not {article} {kind} ({one_line(error)}): {remedy}") from None


def _check_heaps(path: str | os.PathLike[str], content: bytes | None) -> None:
    if content is None:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            endless = has_endless_heap(mapped)
    else:
        endless = has_endless_heap(content)
    if endless:
        raise ValueError("one of its texts never ends")


def _image(content: bytes) -> Any:
    """Open the bytes of a file by HDF5.

    If it read a Python object instead, it would call it for every few bytes.
    """
    import h5py

    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    access.set_file_image(content)
    # HDF5 takes images of one name for one file.
    return h5py.h5f.open(f"memory {next(_images)}".encode(), h5py.h5f.ACC_RDONLY, access)


def one_line(error: Exception) -> str:
    """Return a library's reason in a few words; of HDF5's, the words in parentheses after the operation's name."""
    text = " ".join(str(error).strip("'\"").split()) or type(error).__name__
    inner = re.fullmatch(r"Unable to [\w ]+ \((.+)\)", text)
    return textwrap.shorten(inner[1] if inner else text, LONGEST_REASON, placeholder=" ...")
