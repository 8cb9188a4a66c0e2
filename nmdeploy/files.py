"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from nmdeploy.errors import BadFile


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Put `content` at `path` in one step: a reader sees the old file or the new one, never a part.

    Raises
    ------
    BadFile
        The folder is missing or not writable, the disk is full, ...; nothing is left behind.
    """
    target = _target(path)
    draft = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        raise _unwritable(path, error, len(content)) from None
    finally:
        with suppress(OSError):
            draft.unlink()


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
        raise _unwritable(path, error, 0) from None


def _target(path: str | os.PathLike[str]) -> Path:
    """The file behind a path: what a link leads to, and neither a folder nor a device."""
    try:
        target = Path(path).resolve()
        if target.is_dir():
            raise BadFile(f"{path}: is a folder: give the name of a file in it")
        if target.exists() and not target.is_file():
            raise BadFile(f"{path}: is no regular file: choose another path")
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(path, error, 0) from None
    return target


def _unwritable(path: str | os.PathLike[str], error: Exception, size: int) -> BadFile:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    space = f" with {size} bytes to spare" if size else ""
    return BadFile(f"{path}: cannot be written ({reason}): choose a path in a writable folder{space}")
