"""Writing files so that nobody ever sees half of one."""

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
        The folder is missing or not writable, the disk is full, ...; nothing is left behind.
    """
    try:
        with atomic_write(path) as file:
            _write_all(file, content)
    except OSError as error:
        raise unwritable(path, error, len(content)) from None


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[FileIO]:
    """An empty file beside `path` that takes its place when the block ends well, and is gone when it does not.

    Raises
    ------
    BadFile
        It cannot be made, or cannot take its place. What the block raises is passed on.
    """
    target = _target(path)
    name = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        with _explain_write_errors(path):
            file = FileIO(name, "x+")
        # A signal between two bytecodes of a `with` statement can keep its end from being run.
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
    """A file for a library that does not recover from a write that fails: it never sees one.

    The first failure is kept in `error`, and nothing is written from then on. Whoever uses the library looks at `error`
    after each call, and gives up: HDF5 may hang or crash at the end where it could not write.

    Parameters
    ----------
    file : FileIO
        Opened for reading and writing.
    """

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.error: BaseException | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        return self.file.seek(offset, whence)

    def write(self, content: Any) -> int:
        """Write all of it, or keep why not."""
        if self.error is None:
            try:
                _write_all(self.file, content)
            except OSError as error:
                self.error = error
        return len(content)

    def readinto(self, buffer: Any) -> int:
        """Read; what the file does not hold is zero."""
        rest = buffer
        while rest and (got := self.file.readinto(rest)):
            rest = rest[got:]
        rest[:] = bytes(len(rest))
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or keep why not."""
        if self.error is None:
            try:
                self.file.truncate(size)
            except OSError as error:
                self.error = error
        return size or 0

    def flush(self) -> None:
        """Nothing is held back."""


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file as a whole or not at all."""
    write_bytes(path, text.encode())


def require_suffix(path: str | os.PathLike[str], suffix: str) -> None:
    """`BadFile` unless the name ends as other commands expect it."""
    if Path(path).suffix != suffix and not Path(path).is_dir():
        raise BadFile(f"{path}: commands know such a file by its ending: give -o a name that ends in {suffix}")


def require_writable(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """`BadFile` unless a file can be written at `path`, which is none of `inputs`: said before the work, not after."""
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
    """The file behind a path: what a link leads to, and neither a folder nor a device."""
    try:
        target = Path(path).resolve()
        if target.is_dir():
            raise BadFile(f"{path}: is a folder: give the name of a file in it")
        if target.exists() and not target.is_file():
            raise BadFile(f"{path}: is no regular file: choose another path")
    except (OSError, RuntimeError, ValueError) as error:
        raise unwritable(path, error) from None
    return target


def unwritable(path: str | os.PathLike[str], error: Exception, size: int = 0) -> BadFile:
    """Why a file cannot be written, and how many bytes it needs."""
    space = f" with {size} bytes to spare" if size else ""
    return BadFile(f"{path}: cannot be written ({reason(error)}): choose a path in a writable folder{space}")
