"""Float values that the integers of a state-space population hold, the inverse of `scales` and of rounding."""

from __future__ import annotations

import numpy as np

from nmdeploy.neurons.rounded import HeldTensor
from nmdeploy.neurons.state_space.float import Array, Spiking
from nmdeploy.neurons.state_space.integer import QuantizedSpiking
from nmdeploy.neurons.state_space.scales import FACTOR, UNREACHABLE_THRESHOLD


def restored(
    q: QuantizedSpiking, source: Spiking | None, a: Array, b: Array, c: Array, r: Array, m: Array
) -> dict[str, HeldTensor]:
    """Return the tensors of a population whose integers are `q`; `a` to `m` are codes in the shapes of the float ones.

    A state's code counts ``unit / (scale * 2**frac_x)``, with the unit by which the quantizer divided it. Without the
    float population, the unit is 1.
    """
    scales = q.scale.reshape(q.size, q.inputs)
    scale = scales.min(1)[:, None]
    unit = np.broadcast_to(1.0 if source is None else source.unit(), q.frac_x.shape)
    per_code = unit / (scale * np.ldexp(1.0, q.frac_x))
    per_y = np.ldexp(1.0, -q.frac_y)
    per_a, per_input = 2.0**-q.frac_a, np.ldexp(1.0, -q.frac_in) / scales
    entered = np.ldexp(1.0, q.frac_in - q.frac_b) * scales[:, None] * per_code[..., None]
    left = np.ldexp(1.0, -q.frac_c) * per_y[..., None] / per_code[:, None]
    fed = np.ldexp(1.0, q.frac_in - q.frac_d) * scales[:, None] * per_y[..., None]
    tensors = {
        "a": HeldTensor(a * per_a, "decay" if a.ndim == 2 else "coefficient", per_a),
        "b": HeldTensor(b * entered, "coefficient", np.abs(entered)),
        "c": HeldTensor(c * left, "coefficient", np.abs(left)),
        "d": HeldTensor(q.d * fed, "coefficient", np.abs(fed)),
        "input_bias": HeldTensor(q.input_bias * per_input, "bias", per_input),
        "bias": HeldTensor(q.bias * per_y, "bias", per_y),
        "v_threshold": _threshold(q, source, per_y),
    }
    if q.soma:
        tensors |= _soma(q, per_y)
    elif q.reset_action != "none":
        per_r = per_code[..., None]
        tensors["r"] = HeldTensor(r * per_r, "coefficient", np.abs(per_r))
        tensors["m"] = HeldTensor(m / FACTOR, "coefficient", 1 / FACTOR)
    return tensors


def _threshold(q: QuantizedSpiking, source: Spiking | None, per_y: Array) -> HeldTensor:
    """Return the thresholds; a code that y cannot reach is as good as the exact value."""
    held = q.vth * per_y
    if source is not None:
        held = np.where(np.abs(q.vth) >= UNREACHABLE_THRESHOLD, source.v_threshold, held)
    return HeldTensor(held, "threshold", per_y)


def _soma(q: QuantizedSpiking, per_y: Array) -> dict[str, HeldTensor]:
    found = {"leak": HeldTensor(q.leak / FACTOR, "decay", 1 / FACTOR)}
    if q.adaptation:
        found["adaptation_leak"] = HeldTensor(q.adaptation_leak / FACTOR, "decay", 1 / FACTOR)
        found["adaptation_jump"] = HeldTensor(q.adaptation_jump * per_y, "coefficient", per_y)
    if q.reset_action not in ("none", "modulo"):
        found["soma_r"] = HeldTensor(q.soma_r * per_y, "coefficient", per_y)
        found["soma_m"] = HeldTensor(q.soma_m / FACTOR, "coefficient", 1 / FACTOR)
    return found
