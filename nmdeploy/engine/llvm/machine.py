"""LLVM: text in, callable code out, kept on disk so that it is compiled once.

No signal's handler runs inside of llvmlite: an object of it that an exception leaves half made complains when it goes.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from nmdeploy import __version__
from nmdeploy._util.locks import held_across_forks
from nmdeploy._util.signals import defer_signals

VARIABLE = "NMDEPLOY_CACHE"
SPEED = 3
DIGEST = 32


def cache_folder() -> Path:
    """Where compiled kernels are kept: `NMDEPLOY_CACHE`, or the user's cache folder; need not exist."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "nmdeploy"
        return (Path(base) if base else Path.home() / ".cache") / "nmdeploy"
    except RuntimeError:  # no home: nothing is kept, as in any folder that cannot be written
        return Path(os.devnull) / "nmdeploy"


@cache
@defer_signals()
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=SPEED,
        reloc="pic",
        codemodel="small",
    )


@cache
@defer_signals()
def triple() -> str:
    """What code is made for."""
    return str(llvm.get_default_triple())


@cache
@defer_signals()
def _processor() -> str:
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


@cache
@defer_signals()
def has(feature: str) -> bool:
    """Whether the processor has a feature, by LLVM's name."""
    return bool(llvm.get_host_cpu_features().get(feature, False))


@cache
def can_set_rounding() -> bool:
    """Whether code can choose how products are rounded: where LLVM is known to set the processor's mode."""
    return triple().split("-")[0] in ("x86_64", "aarch64", "arm64")


def identity(text: str) -> str:
    """Names a compiled object: what it was made from, by what, for which processor."""
    return hashlib.sha256(f"{text}\0{target()}".encode()).hexdigest()


def target() -> str:
    """By what, and for which processor, code is made."""
    return "\0".join((llvmlite.__version__, str(llvm.llvm_version_info), _processor(), __version__, str(SPEED)))


def is_compiled(text: str) -> bool:
    """Whether the code of a module is at hand."""
    return read_cached(_path(text)) is not None


def compile_module(text: str, *, lasting: bool = False) -> bytes:
    """The object code of a module's text, from the cache or compiled now and kept there.

    A cache that cannot be written is an error only where the code is to be `lasting`.
    """
    code = read_cached(_path(text))
    if code is None:
        code = _object(text)
        try:
            write_cached(_path(text), code)
        except OSError:
            if lasting:
                raise
    return code


def _path(text: str) -> Path:
    return cache_folder() / f"{identity(text)}.o"


@defer_signals()
def _object(text: str) -> bytes:
    return bytes(_machine().emit_object(optimize(text)))


@defer_signals()
def optimize(text: str) -> Any:
    """The parsed and optimized module."""
    machine = _machine()
    module = llvm.parse_assembly(text)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=SPEED)
    tuning.loop_vectorization = False  # vectors are written, not found
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


@defer_signals()
def assembly(text: str) -> str:
    """What the processor runs."""
    return str(_machine().emit_assembly(optimize(text)))


def read_cached(path: Path) -> bytes | None:
    """A file's content behind its digest; None where it is missing or damaged."""
    with suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
            return content[DIGEST:]
    return None


def write_cached(path: Path, content: bytes) -> None:
    """Write a file behind its digest, as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(hashlib.sha256(content).digest() + content)
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink()


@cache
@defer_signals()
def _jit() -> Any:
    _machine()
    return llvm.create_lljit_compiler(
        llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=SPEED, jit=True
        )
    )


_linked: dict[str, Any] = {}
_linking = held_across_forks()


@defer_signals()
def functions(text: str, names: Sequence[str]) -> list[int]:
    """Addresses of a module's functions."""
    key = identity(text)
    with _linking:
        if key not in _linked:
            library = llvm.JITLibraryBuilder().add_object_img(compile_module(text)).add_current_process()
            for name in names:
                library.export_symbol(name)
            _linked[key] = library.link(_jit(), key)
    return [int(_linked[key][name]) for name in names]


def callable_at(address: int, *arguments: Any) -> Any:
    """A C function without result; the interpreter's lock is free while it runs."""
    return ctypes.CFUNCTYPE(None, *arguments)(address)
