"""Scales of an integer state-space population: fraction bits of its states, of y, and of their coefficients.

A linear system keeps its output if a state is divided by a number and its C multiplied by it. Every state is divided by
the largest B of its inputs, so that the input enters by (almost) a shift. It is then scaled to use its width on the
calibration data, with one bit of headroom. Every output gets the scale that uses the width of its coefficients C, or
that of its soma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.errors import DoesNotFit
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig, QuantizationContext, power_below
from nmdeploy.neurons.ops import rz
from nmdeploy.neurons.scales import Limit, Scales, Table, tightest
from nmdeploy.neurons.state_space.float import Array, Spiking

UNLIMITED_EXPONENT = 1000  # an exponent that nothing limits
UNREACHABLE_THRESHOLD = (1 << 31) - 1  # a threshold that y cannot reach: the proof keeps y under 2**31
FACTOR = 4096.0  # factors of leaks and resets have 12 fraction bits
FRAC_MAX = 31
SOMA = "soma"


@dataclass(frozen=True)
class Coefficients:
    """Coefficients in units of their codes, as real numbers before rounding.

    `scale` (H, 1) is the factor on a neuron's inputs. The others are `b` (H, N, q), `c` (H, p, N), `d` (H, p, q) and
    `input_bias` (H, q).
    """

    scale: FloatArray
    b: Array
    c: Array
    d: FloatArray
    input_bias: FloatArray


def coefficient_limit(config: QuantizationConfig) -> int:
    """Return the largest coefficient code."""
    return (1 << (config.coefficient_bits - 1)) - 1


def choose(
    n: Spiking,
    context: QuantizationContext,
    config: QuantizationConfig,
    enters: Array,
    leaves: Array,
    reset: Any,
    *,
    shared: bool,
) -> Scales:
    """Choose the scales of a population.

    Parameters
    ----------
    n : Spiking
        The float population.
    context : QuantizationContext
        Scale of its inputs, ranges and limits.
    config : QuantizationConfig
        Widths and rounding rules.
    enters : (H, N, q)
        B in units of the largest B of each state.
    leaves : (H, p, N)
        C for states in those units.
    reset : (H, N) or 0
        Magnitude of a reset's target or amount, in those units.
    shared : bool
        True if all states of a neuron need one scale, because A couples them.
    """
    scale, scales = _input_scales(n, context.scale)
    states = _state_limits(context, config, scale, reset, shared, n.grows())
    frac_x = tightest(states)
    sums = _sum_limits(n.input_bias * scales, context, config, frac_x)
    frac_in = tightest(sums)
    b, c, d = _unit_coefficients(n, context.scale, frac_x, frac_in, enters, leaves)
    limit = coefficient_limit(config)
    outputs = _output_limits(n, c, d, context, config)
    frac_y, frac_c, frac_d = output_scales(n, outputs, d, config, limit)
    fracs = {
        "frac_a": config.coefficient_frac,
        "frac_b": _input_frac(b, enters, frac_in - frac_x, config, limit),
        "frac_c": frac_c,
        "frac_d": frac_d,
        "frac_in": frac_in,
        "frac_x": frac_x,
        "frac_y": frac_y,
        "frac_out": -int(np.log2(n.graded_step)) if n.spike == "graded" else 0,
    }
    return Scales(context.scale, fracs, {"frac_in": sums, "frac_x": states, "frac_y": outputs})


def coefficients(n: Spiking, s: Scales, enters: Array, leaves: Array) -> Coefficients:
    """Return the coefficients in units of their codes."""
    frac_in, frac_x, frac_y = s.frac_in, s.fracs["frac_x"], s.fracs["frac_y"]
    scale, scales = _input_scales(n, s.scale)
    b, c, d = _unit_coefficients(n, s.scale, frac_x, frac_in, enters, leaves)
    return Coefficients(
        scale=scale,
        b=b * 2.0 ** s.fracs["frac_b"],
        c=c * np.ldexp(1.0, s.fracs["frac_c"] + frac_y)[..., None],
        d=np.ldexp(d, s.fracs["frac_d"] + np.asarray(frac_y)[..., None]),
        input_bias=np.ldexp(n.input_bias * scales, frac_in),
    )


def _input_scales(n: Spiking, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the factor of each neuron (H, 1), and those of its inputs (H, q)."""
    scales = scale.reshape(n.size, n.inputs)
    # The smallest, so that no input's share of B exceeds 1.
    return scales.min(1)[:, None], scales


def _unit_coefficients(
    n: Spiking, input_scale: FloatArray, frac_x: Any, frac_in: int, enters: Array, leaves: Array
) -> tuple[Array, Array, FloatArray]:
    """Return B, C and D between codes of the sums, codes of the states, and y in its own unit."""
    scale, scales = _input_scales(n, input_scale)
    b = np.ldexp(1.0, frac_x - frac_in)[..., None] * enters * (scale / scales)[:, None]
    c = np.ldexp(1.0, -frac_x)[:, None] * leaves / scale[..., None]
    return b, c, np.ldexp(n.d / scales[:, None], -frac_in)


def _sum_limits(
    input_bias: FloatArray, context: QuantizationContext, config: QuantizationConfig, frac_x: IntArray
) -> Table:
    """Return the limits on the fraction bits of the synaptic sum."""
    # With fewer, B would exceed its width in the state with the most fraction bits.
    needed = int(frac_x.max()) - (config.coefficient_bits - 2)
    most = int(frac_x.min()) + config.coefficient_frac
    bias = power_below(1 << 29, float(np.abs(input_bias).max(initial=0.0)), default=most)
    return (
        Limit(
            "weights", max(context.frac, needed), f"weights of {config.weight_bits} bits offer no more, B needs no more"
        ),
        Limit("weight exponent", context.frac_max, f"an exponent is at most {config.weight_exp_max}"),
        Limit("states", most, f"B has at most {config.coefficient_frac} fraction bits"),
        Limit("input bias", bias, "an input bias has 30 bits"),
    )


def codes(values: FloatArray) -> IntArray:
    """Round values to integers; the integer population refuses those that exceed 32 bits."""
    # Beyond 2**62 the cast itself would wrap.
    return np.rint(np.clip(values, -(2.0**62), 2.0**62)).astype(np.int64)


def _state_limits(
    context: QuantizationContext,
    config: QuantizationConfig,
    scale: FloatArray,
    reset: Any,
    shared: bool,
    grows: Any = False,
) -> Table:
    """Return the limits on the fraction bits of each state.

    The calibrated magnitude may use half of the state's range, and input coefficients must fit their width. The target
    or amount of a reset counts as a magnitude, even if no spike occurred in the calibration. A state that `grows` by
    itself keeps the fraction bits of the synaptic sum, so that it can start to grow, and saturates.
    """
    half = (1 << (config.state_bits - 2)) - 1
    extent = np.maximum(context.ranges["x"], reset) * scale
    extent = np.where(grows, np.minimum(extent, np.ldexp(half, -context.frac)), extent)
    extent = np.broadcast_to(extent.max(1, keepdims=True), extent.shape) if shared else extent
    peak = np.maximum(extent, np.ldexp(1.0, -context.frac))
    frac = np.floor(np.log2(half / peak)).astype(np.int64)
    entering = min(int(frac.min()), context.frac_max) + config.coefficient_bits - 2
    return (
        Limit("state width", frac, f"a state has {config.state_bits} bits, one of them headroom"),
        Limit("input coefficient", entering, f"a code of B has {config.coefficient_bits} bits"),
    )


def _input_frac(b: Array, enters: Array, needed: IntArray, config: QuantizationConfig, limit: int) -> int:
    """Return the fraction bits of B: those of a power of two if every input enters with 0 or 1 times the unit."""
    least = max(0, int(needed.max()))
    if ((enters == 0) | (enters == 1)).all():
        return least
    most = config.coefficient_frac if config.state_rounding == "per-sum" else FRAC_MAX
    largest = float(np.maximum(np.abs(b.real), np.abs(b.imag)).max(initial=0.0))
    return int(np.clip(power_below(limit, largest, default=least), 0, most))


def _output_limits(
    n: Spiking, c: Array, d: FloatArray, context: QuantizationContext, config: QuantizationConfig
) -> Table:
    """Return the limits on the fraction bits of each y (H, p).

    The largest coefficient C of an output fills its width. It does not if D would then exceed its own width even
    without fraction bits, or if the bias would exceed 30 bits. A soma has the width of a state.
    """
    limit, bits = coefficient_limit(config), config.coefficient_bits
    largest = np.maximum(np.abs(c.real), np.abs(c.imag)).max(-1, initial=0.0)
    limits = (
        Limit("output coefficient", exponents(limit, largest) - (bits - 1), f"a code of C has {bits} bits"),
        Limit("feedthrough", exponents(limit, np.abs(d).max(-1, initial=0.0)), f"a code of D has {bits} bits"),
        Limit("bias", exponents(1 << 30, np.abs(n.bias)), "the bias of y has 30 bits"),
    )
    if not n.soma:
        return limits
    soma = _soma_exponents(n, context, config)
    return (*limits, Limit(SOMA, soma, f"the soma has {config.state_bits} bits, one of them headroom"))


def output_scales(
    n: Spiking, limits: Table, d: FloatArray, config: QuantizationConfig, limit: int
) -> tuple[IntArray, int, int]:
    """Return the fraction bits of each y (H, p), and those of C and D.

    If a soma requires a smaller y, C keeps its width by fraction bits of its own. Graded codes need one scale for all
    outputs.
    """
    base = config.coefficient_bits - 1
    natural = tightest([limit for limit in limits if limit.name != SOMA])
    free = natural > UNLIMITED_EXPONENT // 2
    frac_y = tightest(limits)
    if n.spike == "graded":
        frac_y = np.full_like(frac_y, frac_y.min())
    slack = int((natural - frac_y)[~free].min(initial=FRAC_MAX))
    frac_y = np.where(frac_y > UNLIMITED_EXPONENT // 2, 0, frac_y)
    frac_c = min(FRAC_MAX, base + (0 if free.all() else slack))
    frac_d = power_below(limit, float(np.abs(np.ldexp(d, frac_y[..., None])).max(initial=0.0)), default=frac_c)
    return frac_y, frac_c, min(frac_c, frac_d)


def _soma_exponents(n: Spiking, context: QuantizationContext, config: QuantizationConfig) -> IntArray:
    magnitudes = (context.ranges["v"], np.abs(n.v_threshold), np.abs(n.soma_r), np.abs(n.adaptation_jump))
    return exponents((1 << (config.state_bits - 2)) - 1, np.maximum.reduce(magnitudes))


def exponents(limit: int, magnitudes: FloatArray) -> IntArray:
    """Return the largest e with ``magnitude * 2**e <= limit``, elementwise; `UNLIMITED_EXPONENT` for magnitude 0."""
    found = np.floor(np.log2(limit / np.where(magnitudes > 0, magnitudes, 1.0)))
    return np.where(magnitudes > 0, found, UNLIMITED_EXPONENT).astype(np.int64)


def _thresholds(n: Spiking, unit_y: FloatArray, c: Array, s: Scales) -> IntArray:
    """Return the threshold's codes; y is an integer, so that y >= code is y > code - 1.

    If a neuron that spikes at its threshold reads one state x, the code is that of the rounded C at the x whose exact y
    is the threshold.
    """
    found = codes(np.clip(n.v_threshold * unit_y, -UNREACHABLE_THRESHOLD, UNREACHABLE_THRESHOLD))
    if not n.at_threshold:
        return found
    read, frac_c = np.abs(c).sum(-1) * np.sign(c.real.sum(-1)), s.fracs["frac_c"]
    if not (n.soma or n.bias.any() or n.d.any() or np.iscomplexobj(c)) and (np.count_nonzero(c, -1) == 1).all():
        x = np.rint(np.ldexp(n.v_threshold * unit_y, frac_c) / read)
        at_tie = rz(codes(read) * codes(x), frac_c)
        found = np.where(np.abs(found) == UNREACHABLE_THRESHOLD, found, at_tie)
    return np.where(np.abs(found) == UNREACHABLE_THRESHOLD, found, found - 1)


def mechanism_codes(
    name: str, n: Spiking, s: Scales, scaled: Coefficients, state_unit: FloatArray, config: QuantizationConfig
) -> tuple[dict[str, Any], list[str]]:
    """Return the fields that all integer populations share, and a line for each change that was necessary.

    `state_unit` (H, N) is the number of codes per unit of x.
    """
    frac_y = np.asarray(s.fracs["frac_y"])
    shift = int(frac_y.flat[0]) - s.frac_out if n.spike == "graded" else 0
    if not 0 <= shift <= FRAC_MAX:
        raise DoesNotFit(
            f"node {name!r}: a graded step of {n.graded_step:g} is {'finer' if shift < 0 else 'far coarser'} than y, "
            f"which has {int(frac_y.flat[0])} fraction bits ({s.reason('frac_y')}): choose another graded_step"
        )
    unit_y = np.ldexp(1.0, frac_y)
    magnitude = n.reset_magnitude * (unit_y if n.soma else state_unit)
    fields: dict[str, Any] = {
        "rounding": config.state_rounding,
        "state_bits": config.state_bits,
        "coefficient_bits": config.coefficient_bits,
        **s.fracs,
        "scale": s.scale,
        "input_bias": codes(scaled.input_bias),
        "d": codes(scaled.d),
        "bias": codes(n.bias * unit_y),
        "vth": _thresholds(n, unit_y, scaled.c, s),
        **{key: getattr(n, key) for key in ("soma", "rectify", "adaptation", "spike", "graded_bits", "seed")},
        "leak": codes(FACTOR * n.leak),
        "adaptation_leak": codes(FACTOR * n.adaptation_leak),
        "adaptation_jump": codes(n.adaptation_jump * unit_y),
        "graded_shift": shift,
        "refractory_steps": n.refractory_steps,
        "refractory_mode": n.refractory_mode,
        "reset_condition": n.reset_condition,
        "reset_period": n.reset_period,
        # A magnitude that no code reaches never resets, in either network.
        "reset_magnitude": codes(np.minimum(magnitude, (1 << (config.state_bits - 1)) - 1)),
        "reset_action": n.reset_action,
        "soma_r": codes(n.soma_r * unit_y),
        "soma_m": codes(FACTOR * n.soma_m),
        "modulo_exp": np.log2(n.v_threshold).astype(np.int64) + frac_y if n.reset_action == "modulo" else 0,
    }
    silent = int((np.abs(fields["vth"]) == UNREACHABLE_THRESHOLD).sum())
    notes = [f"node {name!r}: the thresholds of {silent} neurons lie beyond all that y can reach"] if silent else []
    return fields, notes
