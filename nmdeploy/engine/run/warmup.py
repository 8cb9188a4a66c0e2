"""Planning and compilation of a network's kernels in advance, so that no run waits for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmdeploy.engine.llvm import machine
from nmdeploy.engine.run import plan_cache
from nmdeploy.errors import BadOption
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import TRACES

INPUT_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "i8")


@dataclass(frozen=True)
class KernelCount:
    """Number of kernels that were compiled now, and of those that were available already."""

    compiled: int
    available: int

    def __add__(self, other: KernelCount) -> KernelCount:
        return KernelCount(self.compiled + other.compiled, self.available + other.available)


def warm(network: QuantizedNetwork, traces: tuple[str, ...] = TRACES) -> KernelCount:
    """Compile the kernels of a network for each trace level and type of input.

    Raises
    ------
    NotTraceable
        The network cannot be compiled.
    BadOption
        The cache cannot be written.
    """
    texts: dict[str, None] = {plan_cache.driver_text(): None}
    for trace in traces:
        made = plan_cache.program(network, trace)
        texts |= dict.fromkeys(made.texts)
        binary = not made.wires[network.input_name].coded
    texts |= dict.fromkeys(plan_cache.input_text(np.dtype(kind), binary) for kind in INPUT_TYPES)
    available = sum(machine.is_compiled(text) for text in texts)
    try:
        for text in texts:
            machine.compile_module(text, lasting=True)
    except OSError as error:
        raise BadOption(
            f"{machine.cache_folder()}: kernels cannot be kept there ({error.strerror or error}): "
            f"free disk space, or name a writable folder in {machine.VARIABLE}"
        ) from None
    return KernelCount(len(texts) - available, available)
