"""LLVM's compiler with a cache on disk: text in, callable code out.

No signal handler runs inside llvmlite: an object of it that an exception leaves half made fails when it is freed.
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
    """Return the folder of compiled kernels: `NMDEPLOY_CACHE`, or the user's cache folder; it need not exist."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "nmdeploy"
        return (Path(base) if base else Path.home() / ".cache") / "nmdeploy"
    except RuntimeError:  # no home folder: nothing is kept, as in any folder that cannot be written
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
    """Return LLVM's name of the target that code is made for."""
    return str(llvm.get_default_triple())


@cache
@defer_signals()
def _processor() -> str:
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


@cache
@defer_signals()
def has(feature: str) -> bool:
    """Return True if the processor has a feature, by LLVM's name."""
    return bool(llvm.get_host_cpu_features().get(feature, False))


@cache
def can_set_rounding() -> bool:
    """Return True if code can choose the rounding of products.

    LLVM is known to set the processor's mode on x86-64 and on 64-bit ARM.
    """
    return triple().split("-")[0] in ("x86_64", "aarch64", "arm64")


def identity(text: str) -> str:
    """Return the name of a compiled object: a digest of its text, the compiler and the processor."""
    return hashlib.sha256(f"{text}\0{target()}".encode()).hexdigest()


def target() -> str:
    """Return the compiler's versions and the processor that code is made for."""
    return "\0".join((llvmlite.__version__, str(llvm.llvm_version_info), _processor(), __version__, str(SPEED)))


def is_compiled(text: str) -> bool:
    """Return True if the code of a module is in the cache."""
    return read_cached(_path(text)) is not None


def compile_module(text: str, *, lasting: bool = False) -> bytes:
    """Return the object code of a module's text, from the cache, or compiled now and stored there.

    Raises
    ------
    OSError
        The code is to be `lasting`, and the cache cannot be written.
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
    """Return the parsed and optimized module."""
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
    """Return the assembly that the processor runs."""
    return str(_machine().emit_assembly(optimize(text)))


def read_cached(path: Path) -> bytes | None:
    """Return a file's content, which follows its digest; None if the file is missing or damaged."""
    with suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
            return content[DIGEST:]
    return None


def write_cached(path: Path, content: bytes) -> None:
    """Write a file as its digest and then its content, as a whole or not at all."""
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
    """Return the addresses of a module's functions."""
    key = identity(text)
    with _linking:
        if key not in _linked:
            library = llvm.JITLibraryBuilder().add_object_img(compile_module(text)).add_current_process()
            for name in names:
                library.export_symbol(name)
            _linked[key] = library.link(_jit(), key)
    return [int(_linked[key][name]) for name in names]


def callable_at(address: int, *arguments: Any) -> Any:
    """Return a C function without result; the interpreter's lock is free while it runs."""
    return ctypes.CFUNCTYPE(None, *arguments)(address)


def kernel_at(address: int) -> Any:
    """Return a population's kernel as a function of its arguments' address, first and last step, and steps."""
    return callable_at(address, ctypes.c_void_p, *[ctypes.c_int64] * 3)
