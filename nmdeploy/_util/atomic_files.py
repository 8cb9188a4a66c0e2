"""Atomic writing of files: a reader never sees part of one."""

from __future__ import annotations

import os
import secrets
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any

from nmdeploy._util.system import reason
from nmdeploy.errors import BadFile


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Put `content` at `path` in one step: a reader sees the old file or the new one, never a part.

    Raises
    ------
    BadFile
        The file cannot be written: the folder is missing or not writable, the disk is full, ... Nothing is left there.
    """
    try:
        with atomic_write(path) as file:
            _write_all(file, content)
    except OSError as error:
        raise unwritable(path, error, len(content)) from None


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[FileIO]:
    """Yield an empty file beside `path`, which replaces it if the block ends well and is deleted otherwise.

    Raises
    ------
    BadFile
        The file cannot be made, or cannot replace the other. An exception of the block is passed on.
    """
    target = _target(path)
    name = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        with _explain_write_errors(path):
            file = FileIO(name, "x+")
        # A signal between two bytecodes of a `with` statement can prevent its end from running.
        weakref.finalize(file, _remove, name)
        with file:
            yield file
            with _explain_write_errors(path):
                os.fsync(file.fileno())
        with _explain_write_errors(path):
            name.replace(target)
    finally:
        _remove(name)


def _remove(name: Path) -> None:
    with suppress(OSError):
        name.unlink()


@contextmanager
def _explain_write_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from None


def _write_all(file: FileIO, content: bytes | memoryview) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


class Unfailing(RawIOBase):
    """File for a library that does not recover from a failed write: the library never sees the failure.

    `error` keeps the first failure, and nothing is written after it. The caller of the library checks `error` after
    each call and stops. HDF5 may hang or crash at the end if a write failed.

    Parameters
    ----------
    file : FileIO
        File opened for reading and writing.
    """

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.error: BaseException | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        return self.file.seek(offset, whence)

    def write(self, content: Any) -> int:
        """Write all of `content`, or keep the failure in `error`."""
        if self.error is None:
            try:
                _write_all(self.file, content)
            except OSError as error:
                self.error = error
        return len(content)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; bytes after the end of the file are zero."""
        rest = buffer
        while rest and (got := self.file.readinto(rest)):
            rest = rest[got:]
        rest[:] = bytes(len(rest))
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or keep the failure in `error`."""
        if self.error is None:
            try:
                self.file.truncate(size)
            except OSError as error:
                self.error = error
        return size or 0

    def flush(self) -> None:
        """Do nothing: no bytes are buffered."""


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file as a whole or not at all."""
    write_bytes(path, text.encode())


def require_suffix(path: str | os.PathLike[str], suffix: str) -> None:
    """Raise `BadFile` if the name does not end in `suffix`, by which other commands recognize the file."""
    if Path(path).suffix != suffix and not Path(path).is_dir():
        raise BadFile(f"{path}: commands recognize such a file by its ending: give -o a name that ends in {suffix}")


def require_writable(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """Raise `BadFile` if no file can be written at `path`, or if `path` is one of `inputs`.

    Commands call it before their work, not after it.
    """
    target = _target(path)
    sources = [Path(source) for source in inputs if source is not None]
    if target.exists() and any(source.exists() and target.samefile(source) for source in sources):
        raise BadFile(f"{path}: is also an input: give another path to -o")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise unwritable(path, error) from None


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path or link leads to; raise `BadFile` for a folder or a device."""
    try:
        target = Path(path).resolve()
        if target.is_dir():
            raise BadFile(f"{path}: is a folder: give the name of a file in it")
        if target.exists() and not target.is_file():
            raise BadFile(f"{path}: is not a regular file: choose another path")
    except (OSError, RuntimeError, ValueError) as error:
        raise unwritable(path, error) from None
    return target


def unwritable(path: str | os.PathLike[str], error: Exception, size: int = 0) -> BadFile:
    """Return the error for a file that cannot be written, with the reason and the `size` in bytes that it needs."""
    space = f" with {size} bytes to spare" if size else ""
    return BadFile(f"{path}: cannot be written ({reason(error)}): choose a path in a writable folder{space}")
