"""Integer matrix products by a library, for dense input if they are faster than its events.

The library is onnxruntime if it is installed. Otherwise it is torch if the program has imported it already: to import
it takes longer than most runs. Without either, all input is processed as events. Both libraries give exact 32-bit sums.
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

MODELS = {"int8": "matmul_signed.onnx", "uint8": "matmul_unsigned.onnx"}
MIDDLE = 128


def library() -> str | None:
    """Return the name of the library that multiplies, or None without one."""
    if importlib.util.find_spec("onnxruntime"):
        return "onnxruntime"
    return "torch" if "torch" in sys.modules else None


def saturates(weights: npt.NDArray[Any]) -> bool:
    """Return True if a product of unsigned with signed bytes can lose values on this processor.

    Processors without a dot product of bytes add pairs of such products in 16 bits and saturate them.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or has("avx512vnni") or has("avxvnni"):
        return False
    wide = np.abs(weights.astype(np.int32)).max(initial=0)
    return bool(2 * 255 * wide >= 1 << 15)


def sums(codes: npt.NDArray[Any], weights: npt.NDArray[np.int8], name: str) -> npt.NDArray[np.int32]:
    """Return ``codes @ weights`` (M, N) by a library: codes (M, K) from -128 to 255, weights (K, N)."""
    return PRODUCTS[name](codes, weights)


def _by_onnxruntime(codes: npt.NDArray[Any], weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    # Unsigned bytes are several times faster there than signed ones.
    shift = MIDDLE if codes.min(initial=0) < 0 else 0
    shifted = (codes.astype(np.int16) + shift).astype(np.uint8) if shift else codes.astype(np.uint8, copy=False)
    if saturates(weights):  # two unsigned factors are added in 32 bits everywhere
        found = _session("uint8").run(None, {"a": shifted, "b": (weights.view(np.uint8) ^ MIDDLE)})[0]
        found -= MIDDLE * shifted.sum(1, dtype=np.int32)[:, None]
    else:
        found = _session("int8").run(None, {"a": shifted, "b": weights})[0]
    return np.asarray(found - shift * weights.sum(0, dtype=np.int32) if shift else found)


def _by_torch(codes: npt.NDArray[Any], weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    import torch

    shift = MIDDLE if codes.max(initial=0) > 127 else 0
    shifted = (codes.astype(np.int16) - shift).astype(np.int8) if shift else codes.astype(np.int8, copy=False)
    found = torch._int_mm(torch.from_numpy(shifted), torch.from_numpy(weights)).numpy()
    return np.asarray(found + shift * weights.sum(0, dtype=np.int32) if shift else found)


@cache
def _session(weights: str) -> Any:
    """Return the session that multiplies unsigned bytes with weights of a type."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # the engine has threads of its own
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        Path(__file__).with_name(MODELS[weights]).read_bytes(), options, providers=["CPUExecutionProvider"]
    )


PRODUCTS: dict[str, Callable[[npt.NDArray[Any], npt.NDArray[np.int8]], npt.NDArray[np.int32]]] = {
    "onnxruntime": _by_onnxruntime,
    "torch": _by_torch,
}
