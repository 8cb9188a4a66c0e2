"""Float values that the integers of a state-space population hold, the inverse of `scales` and of rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.neurons.rounded import RoundedPopulation, RoundedTensor
from nmdeploy.neurons.state_space.float import Array, Spiking
from nmdeploy.neurons.state_space.integer import QuantizedSpiking
from nmdeploy.neurons.state_space.scales import FACTOR, UNREACHABLE_THRESHOLD


def restored(n: Spiking, q: QuantizedSpiking, a: Array, b: Array, c: Array, r: Array, m: Array) -> RoundedPopulation:
    """Return the tensors of a population whose integers are `q`; `a` to `m` are codes in the shapes of the float ones.

    A state's code counts ``unit / (scale * 2**frac_x)``, with the unit by which the quantizer divided it.
    """
    scales = q.scale.reshape(n.size, n.inputs)
    scale = scales.min(1)[:, None]
    unit = np.broadcast_to(n.unit(), q.frac_x.shape)
    per_code = unit / (scale * np.ldexp(1.0, q.frac_x))
    per_y = np.ldexp(1.0, -q.frac_y)
    entered = np.ldexp(1.0, q.frac_in - q.frac_b) * scales[:, None] * per_code[..., None]
    left = np.ldexp(1.0, -q.frac_c) * per_y[..., None] / per_code[:, None]
    fed = np.ldexp(1.0, q.frac_in - q.frac_d) * scales[:, None] * per_y[..., None]
    known: Any = n
    tensors = {
        "a": RoundedTensor(known.a, a * 2.0**-q.frac_a, "decay" if known.a.ndim == 2 else "coefficient"),
        "b": RoundedTensor(known.b, b * entered, "coefficient"),
        "c": RoundedTensor(known.c, c * left, "coefficient"),
        "d": RoundedTensor(n.d, q.d * fed, "coefficient"),
        "input_bias": RoundedTensor(n.input_bias, np.ldexp(1.0, -q.frac_in) * q.input_bias / scales, "bias"),
        "bias": RoundedTensor(n.bias, q.bias * per_y, "bias"),
        "v_threshold": _threshold(n, q, per_y),
    }
    if n.soma:
        tensors |= _soma(n, q, per_y)
    elif n.reset_action != "none":
        tensors["r"] = RoundedTensor(known.r, r * per_code[..., None], "coefficient")
        tensors["m"] = RoundedTensor(known.m, m / FACTOR, "coefficient")
    return RoundedPopulation(tensors, n.v_threshold.max(1))


def _threshold(n: Spiking, q: QuantizedSpiking, per_y: Array) -> RoundedTensor:
    """Return the thresholds; a code that y cannot reach is as good as the exact value."""
    held = np.where(np.abs(q.vth) >= UNREACHABLE_THRESHOLD, n.v_threshold, q.vth * per_y)
    return RoundedTensor(n.v_threshold, held, "threshold")


def _soma(n: Spiking, q: QuantizedSpiking, per_y: Array) -> dict[str, RoundedTensor]:
    found = {"leak": RoundedTensor(n.leak, q.leak / FACTOR, "decay")}
    if n.adaptation:
        found["adaptation_leak"] = RoundedTensor(n.adaptation_leak, q.adaptation_leak / FACTOR, "decay")
        found["adaptation_jump"] = RoundedTensor(n.adaptation_jump, q.adaptation_jump * per_y, "coefficient")
    if n.reset_action not in ("none", "modulo"):
        found["soma_r"] = RoundedTensor(n.soma_r, q.soma_r * per_y, "coefficient")
        found["soma_m"] = RoundedTensor(n.soma_m, q.soma_m / FACTOR, "coefficient")
    return found
