"""Scales of an integer state-space population: fraction bits of its states, of y, and of what surrounds them.

A linear system keeps its output when a state is divided by a number and its C multiplied by it. Every state is divided
by the largest B of its inputs, so that the input enters by (almost) a shift, and scaled to use its width on the
calibration data, with one bit of headroom; every output gets the scale that uses the width of its coefficients C, or
that of its soma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.errors import DoesNotFit
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig, QuantizationContext, power_below
from nmdeploy.neurons.state_space.float import Array, Spiking

UNLIMITED_EXPONENT = 1000  # an exponent that nothing limits
UNREACHABLE_THRESHOLD = (1 << 31) - 1  # a threshold that y cannot reach: the proof keeps y under 2**31
FACTOR = 4096.0  # factors of leaks and resets have 12 fraction bits
FRAC_MAX = 31


@dataclass(frozen=True)
class Plan:
    """Scales and scaled coefficients (real numbers, not yet rounded) of one population.

    `scale` (H, 1) is the factor on a neuron's inputs; `b` (H, N, q), `c` (H, p, N), `d` (H, p, q) are in units of
    a code.
    """

    config: QuantizationConfig
    scale: FloatArray
    frac_a: int
    frac_b: int
    frac_c: int
    frac_d: int
    frac_in: int
    frac_x: IntArray
    frac_y: IntArray
    b: Array
    c: Array
    d: FloatArray
    input_scale: FloatArray
    input_bias: FloatArray

    @property
    def limit(self) -> int:
        """Largest coefficient code."""
        return (1 << (self.config.coefficient_bits - 1)) - 1


def plan(
    n: Spiking,
    context: QuantizationContext,
    config: QuantizationConfig,
    enters: Array,
    leaves: Array,
    reset: Any,
    *,
    shared: bool,
) -> Plan:
    """Choose the scales.

    Parameters
    ----------
    n : Spiking
    context : QuantizationContext
    config : QuantizationConfig
    enters : (H, N, q)
        B in units of the states' largest.
    leaves : (H, p, N)
        C for states in those units.
    reset : (H, N) or 0
        Magnitude of what a reset sets or subtracts, in those units.
    shared : bool
        Whether all states of a neuron need one scale, because A couples them.
    """
    bits, limit = config.coefficient_bits, (1 << (config.coefficient_bits - 1)) - 1
    scales = context.scale.reshape(n.size, n.inputs)
    # the smallest, so that no input's share of B exceeds 1
    scale = scales.min(1)[:, None]
    frac_x = state_scales(context, config, scale, reset, shared, n.grows())
    least, most = int(frac_x.max()) - (bits - 2), int(frac_x.min()) + config.coefficient_frac
    input_bias = n.input_bias * scales
    room = power_below(1 << 29, float(np.abs(input_bias).max(initial=0.0)), default=most)
    frac_in = min(max(context.frac, least), context.frac_max, most, room)
    b = np.ldexp(1.0, frac_x - frac_in)[..., None] * enters * (scale / scales)[:, None]
    frac_b = _input_frac(b, enters, frac_in - frac_x, config, limit)
    c = np.ldexp(1.0, -frac_x)[:, None] * leaves / scale[..., None]
    d = np.ldexp(n.d / scales[:, None], -frac_in)
    frac_y, frac_c, frac_d = output_scales(n, c, d, context, config, limit)
    return Plan(
        config=config,
        scale=scale,
        frac_a=config.coefficient_frac,
        frac_b=frac_b,
        frac_c=frac_c,
        frac_d=frac_d,
        frac_in=frac_in,
        frac_x=frac_x,
        frac_y=frac_y,
        b=b * 2.0**frac_b,
        c=c * np.ldexp(1.0, frac_c + frac_y)[..., None],
        d=np.ldexp(d, frac_d + frac_y[..., None]),
        input_scale=context.scale,
        input_bias=np.ldexp(input_bias, frac_in),
    )


def codes(values: FloatArray) -> IntArray:
    """Rounded values; what exceeds 32 bits is refused by the integer population."""
    # Beyond 2**62 the cast itself would wrap.
    return np.rint(np.clip(values, -(2.0**62), 2.0**62)).astype(np.int64)


def state_scales(
    context: QuantizationContext,
    config: QuantizationConfig,
    scale: FloatArray,
    reset: Any,
    shared: bool,
    grows: Any = False,
) -> IntArray:
    """Fraction bits of each state: half of its width at the calibrated magnitude, input coefficients within theirs.

    What a reset sets or subtracts counts as a magnitude, whether or not a spike occurred in the calibration. A state
    that `grows` by itself keeps the fraction bits of the synaptic sum, so that it can start to grow, and saturates.
    """
    half = (1 << (config.state_bits - 2)) - 1
    extent = np.maximum(context.ranges["x"], reset) * scale
    extent = np.where(grows, np.minimum(extent, np.ldexp(half, -context.frac)), extent)
    extent = np.broadcast_to(extent.max(1, keepdims=True), extent.shape) if shared else extent
    peak = np.maximum(extent, np.ldexp(1.0, -context.frac))
    frac = np.floor(np.log2(half / peak)).astype(np.int64)
    return np.asarray(np.minimum(frac, min(int(frac.min()), context.frac_max) + config.coefficient_bits - 2))


def _input_frac(b: Array, enters: Array, needed: IntArray, config: QuantizationConfig, limit: int) -> int:
    """Fraction bits of B: none but for powers of two, where every input enters with 0 or 1 times the unit."""
    least = max(0, int(needed.max()))
    if ((enters == 0) | (enters == 1)).all():
        return least
    most = config.coefficient_frac if config.state_rounding == "per-sum" else FRAC_MAX
    largest = float(np.maximum(np.abs(b.real), np.abs(b.imag)).max(initial=0.0))
    return int(np.clip(power_below(limit, largest, default=least), 0, most))


def output_scales(
    n: Spiking, c: Array, d: FloatArray, context: QuantizationContext, config: QuantizationConfig, limit: int
) -> tuple[IntArray, int, int]:
    """Fraction bits of each y (H, p), and those of C and D.

    The largest coefficient C of an output fills its width, unless its D would then exceed its own even without
    fraction, or its bias 30 bits. A soma has the width of a state: where that asks for a smaller y, C keeps its width
    by fraction bits of its own. Graded codes need one scale for all.
    """
    base = config.coefficient_bits - 1
    largest = np.maximum(np.abs(c.real), np.abs(c.imag)).max(-1, initial=0.0)
    natural = np.minimum(exponents(limit, largest) - base, exponents(limit, np.abs(d).max(-1, initial=0.0)))
    natural = np.minimum(natural, exponents(1 << 30, np.abs(n.bias)))
    free = natural > UNLIMITED_EXPONENT // 2
    frac_y = np.minimum(natural, _soma_exponents(n, context, config))
    if n.spike == "graded":
        frac_y = np.full_like(frac_y, frac_y.min())
    slack = int((natural - frac_y)[~free].min(initial=FRAC_MAX))
    frac_y = np.where(frac_y > UNLIMITED_EXPONENT // 2, 0, frac_y)
    frac_c = min(FRAC_MAX, base + (0 if free.all() else slack))
    frac_d = power_below(limit, float(np.abs(np.ldexp(d, frac_y[..., None])).max(initial=0.0)), default=frac_c)
    return frac_y, frac_c, min(frac_c, frac_d)


def _soma_exponents(n: Spiking, context: QuantizationContext, config: QuantizationConfig) -> IntArray:
    if not n.soma:
        return np.full(n.v_threshold.shape, UNLIMITED_EXPONENT)
    magnitudes = (context.ranges["v"], np.abs(n.v_threshold), np.abs(n.soma_r), np.abs(n.adaptation_jump))
    return exponents((1 << (config.state_bits - 2)) - 1, np.maximum.reduce(magnitudes))


def exponents(limit: int, magnitudes: FloatArray) -> IntArray:
    """The largest e with ``magnitude * 2**e <= limit``, element by element; `FREE` for a magnitude of 0."""
    found = np.floor(np.log2(limit / np.where(magnitudes > 0, magnitudes, 1.0)))
    return np.where(magnitudes > 0, found, UNLIMITED_EXPONENT).astype(np.int64)


def mechanism_codes(name: str, n: Spiking, s: Plan, state_unit: FloatArray) -> tuple[dict[str, Any], list[str]]:
    """The fields that all integer populations share, and what had to be changed.

    `state_unit` (H, N) is what a code counts of the states: codes a unit of x.
    """
    step_frac = -int(np.log2(n.graded_step)) if n.spike == "graded" else 0
    shift = int(s.frac_y.flat[0]) - step_frac if n.spike == "graded" else 0
    if not 0 <= shift <= FRAC_MAX:
        raise DoesNotFit(
            f"node {name!r}: a graded step of {n.graded_step:g} is {'finer' if shift < 0 else 'far coarser'} than y, "
            f"which has {int(s.frac_y.flat[0])} fraction bits: choose another graded_step"
        )
    unit_y = np.ldexp(1.0, s.frac_y)
    magnitude = n.reset_magnitude * (unit_y if n.soma else state_unit)
    fields: dict[str, Any] = {
        "rounding": s.config.state_rounding,
        "state_bits": s.config.state_bits,
        "coefficient_bits": s.config.coefficient_bits,
        **{key: getattr(s, key) for key in ("frac_a", "frac_b", "frac_c", "frac_d", "frac_in", "frac_x", "frac_y")},
        "scale": s.input_scale,
        "input_bias": codes(s.input_bias),
        "d": codes(s.d),
        "bias": codes(n.bias * unit_y),
        "vth": codes(np.clip(n.v_threshold * unit_y, -UNREACHABLE_THRESHOLD, UNREACHABLE_THRESHOLD)),
        **{key: getattr(n, key) for key in ("soma", "rectify", "adaptation", "spike", "graded_bits", "seed")},
        "leak": codes(FACTOR * n.leak),
        "adaptation_leak": codes(FACTOR * n.adaptation_leak),
        "adaptation_jump": codes(n.adaptation_jump * unit_y),
        "graded_shift": shift,
        "frac_out": step_frac,
        "refractory_steps": n.refractory_steps,
        "refractory_mode": n.refractory_mode,
        "reset_condition": n.reset_condition,
        "reset_period": n.reset_period,
        # A magnitude that no code reaches never resets, in either network.
        "reset_magnitude": codes(np.minimum(magnitude, (1 << (s.config.state_bits - 1)) - 1)),
        "reset_action": n.reset_action,
        "soma_r": codes(n.soma_r * unit_y),
        "soma_m": codes(FACTOR * n.soma_m),
        "modulo_exp": np.log2(n.v_threshold).astype(np.int64) + s.frac_y if n.reset_action == "modulo" else 0,
    }
    silent = int((np.abs(fields["vth"]) == UNREACHABLE_THRESHOLD).sum())
    notes = [f"node {name!r}: the thresholds of {silent} neurons lie beyond all that y can reach"] if silent else []
    return fields, notes
