"""Inputs of a module that was given none, and the number format of inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute, is_instance
from nmdeploy.errors import BadData
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.modules.forms import find
from nmdeploy.importers.modules.tracing import Trace, own_map
from nmdeploy.network.graph import BINARY
from nmdeploy.neurons.base import FloatArray

DENSITIES = (0.1, 0.3, 0.6, 0.9)
ERROR_MAX = 0.01
BITS_MAX = 24


def binary(values: FloatArray) -> bool:
    """Return True for values that are 0 and 1 only."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def random_samples(module: Any, framework: Any, samples: int, steps: int) -> tuple[str, Trace, FloatArray]:
    """Return a module's form, its run, and the random spikes of the density at which most of its layers spike."""
    channels = _channels(module, framework)
    rng = np.random.default_rng(0)
    best: tuple[str, Trace, FloatArray] | None = None
    most = -1
    for density in DENSITIES:
        values = (rng.random((samples, steps, channels)) < density).astype(np.float64)
        form, trace = find(module, framework, values)
        live = sum(any(bool(output.any()) for output in calls.outputs) for calls in trace.calls.values())
        if live > most:
            best, most = (form, trace, values if form != "static" else values[:, :1]), live
    assert best is not None
    return best


def _channels(module: Any, framework: Any) -> int:
    for _, part in module.named_modules():
        own = own_map(part, framework)
        weights = None if own is None else own(part)
        size = attribute(part, "in_features") if is_instance(part, "torch.nn", "Linear") else None
        if weights is not None:
            size = weights.weight.shape[-1]
        elif size is None and framework.is_neuron(part):
            size = attribute(part, "input_size")
        if size is not None:
            return int(size)
    raise BadData(f"module {type(module).__name__}: its number of input channels is unknown: give a sample (--data)")


def format_of(values: FloatArray, bits: int | None, frac: int | None) -> FixedPoint:
    """Return the format of inputs: binary for spikes, else the coarsest that changes each channel's norm by 1 %."""
    if bits is None and frac is None and binary(values):
        return BINARY
    signed, largest = bool((values < 0).any()), float(np.abs(values).max(initial=1.0))
    whole = math.ceil(math.log2(largest)) + 1 + signed  # values that are rounded up may reach that power of two
    if frac is None:
        frac = bits - whole if bits is not None else _fraction(values, whole)
    if bits is None:
        low, high = (int(np.rint(np.ldexp(float(end), frac))) for end in (values.min(), max(values.max(), 1.0)))
        bits = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + signed
    return FixedPoint(bits, frac, signed)


def _fraction(values: FloatArray, whole: int) -> int:
    channels = values.reshape(-1, values.shape[-1])
    norms = np.linalg.norm(channels, axis=0)
    for frac in range(1 - whole, BITS_MAX - whole):
        lost = np.linalg.norm(np.ldexp(np.rint(np.ldexp(channels, frac)), -frac) - channels, axis=0)
        if (lost <= ERROR_MAX * norms).all():
            return frac
    return BITS_MAX - whole
