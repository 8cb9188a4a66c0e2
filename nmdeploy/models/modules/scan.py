"""Scan of the step over time: a loop, compiled chunks, or the loop of `soma_scan` with its own backward pass."""

from __future__ import annotations

import os
import shutil
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmdeploy.errors import BadOption
from nmdeploy.models.modules.mechanisms import Coefficients, Mechanisms, Norm, Now, State, advance, initial_state
from nmdeploy.models.modules.soma_scan import soma_scan
from nmdeploy.neurons.state_space.rules import random16

COMPILERS = ("g++", "clang++", "c++")
CHUNK = 8  # steps compiled as one: more take longer to compile and gain little
RESET_SOMAS = [Mechanisms(soma=True, reset_condition="each", reset_action=action) for action in ("soft", "hard")]
"""Mechanisms of `soma_scan`."""


def identity(y: Tensor) -> Tensor:
    """Return y without normalization."""
    return y


def scan(
    m: Mechanisms,
    p: Coefficients,
    a: Tensor,
    *,
    norm: Norm = identity,
    compiled: bool = False,
    bits: Tensor | None = None,
) -> Tensor:
    """Run all steps in turn, a (batch, steps, H*q) -> s (batch, steps, H*p).

    Parameters
    ----------
    norm : callable
        Normalization of the dynamics' y (batch, steps, H*p), an affine map per step.
    compiled : bool
        Compile chunks of steps. It needs `norm` to be `identity`. The first calls take seconds, later calls less time.
    bits : (steps, H*p), optional
        Random bits of stochastic spikes.
    """
    batch, steps, _ = a.shape
    h, outputs = p["v_threshold"].shape

    def normalized(y: Tensor) -> Tensor:
        return norm(y.reshape(batch, 1, h * outputs)).view_as(y)

    if norm is identity and not compiled and m in RESET_SOMAS:
        leak, threshold, r = (p[name].flatten() for name in ("leak", "v_threshold", "soma_r"))
        return soma_scan(a, leak, threshold, r, hard=m.reset_action == "hard")
    state = initial_state(m, p, batch)
    due = torch.arange(steps, device=a.device) % m.reset_period == m.reset_period - 1
    drawn = a.new_zeros(steps, h, outputs) if bits is None else bits.view(steps, h, outputs).to(a.dtype)
    arriving = a.reshape(batch, steps, h, -1)
    if compiled and norm is identity:
        chunk = _compiled_chunk(m)
    else:
        chunk = _chunk(m, identity if norm is identity else normalized)
    spikes = []
    # `split` has one gradient for all chunks; that of a slice is as large as all steps.
    for now in zip(torch.split(arriving, CHUNK, 1), torch.split(due, CHUNK), torch.split(drawn, CHUNK), strict=True):
        state, s = chunk(p, state, *now)
        spikes.append(s)
    return torch.cat(spikes, 1).reshape(batch, steps, h * outputs)


def _chunk(m: Mechanisms, norm: Norm) -> Any:
    def run(p: Coefficients, state: State, a: Tensor, due: Tensor, bits: Tensor) -> tuple[State, Tensor]:
        spikes = []
        for now in zip(a.unbind(1), due.unbind(0), bits.unbind(0), strict=True):
            state, s = advance(m, p, norm, state, Now(*now))
            spikes.append(s)
        return state, torch.stack(spikes, 1)

    return run


def find_compiler() -> str | None:
    """Return the path of the C++ compiler for scans: that of $CXX, else the first of `COMPILERS` in PATH, else None."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))), None)


def require_compiler() -> str:
    """Return the compiler of `find_compiler`; raise `BadOption` if there is none."""
    found = find_compiler()
    if found is None:
        known = ", ".join(COMPILERS)
        raise BadOption(
            f"compiled = True: 0 C++ compilers ({known}) in PATH, needs 1: install one, or compiled = False"
        )
    return found


@cache
def _compiled_chunk(m: Mechanisms) -> Any:
    # By default torch tries only $CXX or g++.
    options: dict[str, Any] = {"cpp.cxx": (require_compiler(),)}
    return torch.compile(_chunk(m, identity), options=options)


def deployed_bits(seed: int, p: Coefficients, steps: int) -> Tensor:
    """Return the random bits that every backend draws, (steps, H*p)."""
    outputs = np.arange(p["v_threshold"].numel())
    return torch.from_numpy(np.stack([random16(seed, outputs, step) for step in range(steps)]))
