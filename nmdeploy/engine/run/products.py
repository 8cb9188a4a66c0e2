"""Integer matrix products by a library: what dense input is multiplied with, where that is faster than its events.

onnxruntime if it is installed; torch if the program has imported it already (importing it takes longer than most runs);
else none, and events do all. Both give exact 32-bit sums.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.llvm.machine import has

MODEL = Path(__file__).with_name("matmul_integer.onnx")
MIDDLE = 128


def library() -> str | None:
    """Name of the library that multiplies, if there is one."""
    if importlib.util.find_spec("onnxruntime"):
        return "onnxruntime"
    return "torch" if "torch" in sys.modules else None


def is_exact(weights: npt.NDArray[Any]) -> bool:
    """Whether the libraries' products are exact here.

    Processors without a dot product of bytes add pairs of products in 16 bits, and saturate them: those must fit.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or has("avx512vnni") or has("avxvnni"):
        return True
    wide = np.abs(weights.astype(np.int32)).max(initial=0)
    return bool(2 * 255 * wide < 1 << 15)


def sums(codes: npt.NDArray[Any], weights: npt.NDArray[np.int8], name: str) -> npt.NDArray[np.int32]:
    """``codes @ weights`` by a library: codes (M, K) from -128 to 255, weights (K, N)."""
    return PRODUCTS[name](codes, weights)


def _by_onnxruntime(codes: npt.NDArray[Any], weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    # Bytes without sign are several times faster there than with one.
    shift = MIDDLE if codes.min(initial=0) < 0 else 0
    shifted = (codes.astype(np.int16) + shift).astype(np.uint8) if shift else codes.astype(np.uint8, copy=False)
    found = _session().run(None, {"a": shifted, "b": weights})[0]
    return np.asarray(found - shift * weights.sum(0, dtype=np.int32) if shift else found)


def _by_torch(codes: npt.NDArray[Any], weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    import torch

    shift = MIDDLE if codes.max(initial=0) > 127 else 0
    shifted = (codes.astype(np.int16) - shift).astype(np.int8) if shift else codes.astype(np.int8, copy=False)
    found = torch._int_mm(torch.from_numpy(shifted), torch.from_numpy(weights)).numpy()
    return np.asarray(found + shift * weights.sum(0, dtype=np.int32) if shift else found)


@cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # the engine has threads of its own
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(MODEL.read_bytes(), options, providers=["CPUExecutionProvider"])


PRODUCTS: dict[str, Callable[[npt.NDArray[Any], npt.NDArray[np.int8]], npt.NDArray[np.int32]]] = {
    "onnxruntime": _by_onnxruntime,
    "torch": _by_torch,
}
