"""The integer step of a spiking state-space neuron, as small branch-free functions: docs/arithmetic.md.

A function works on one lane: a state of a neuron, or an output of it. Sums over states, inputs and coupled states are
the caller's, between the functions (`nmdeploy.neurons.state_space.integer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nmdeploy.neurons.ops import rz, saturate, select

MASK = (1 << 32) - 1
FACTOR = 0x45D9F3B
FACTOR_FRAC = 12


class Fractions(NamedTuple):
    """Fraction bits of the coefficients A, B, C, D."""

    a: Any
    b: Any
    c: Any
    d: Any


class Rounding(NamedTuple):
    """One rounding rule.

    ``enter(b, a)``, ``leave(c, x)``, ``through(d, a)`` are products that the caller sums over inputs, states, inputs;
    ``couple(a, x)`` one that is summed over the states that meet; ``settle(coupled, entered)`` is the new state and
    ``output(left, through)`` is y, both before saturation and bias.
    """

    input_product: Callable[..., Any]
    coupling_product: Callable[..., Any]
    combine: Callable[..., Any]
    output_product: Callable[..., Any]
    feedthrough_product: Callable[..., Any]
    output_sum: Callable[..., Any]


ROUNDINGS = {
    "per-product": Rounding(
        input_product=lambda b, a, f: rz(b * a, f.b),
        coupling_product=lambda a, x, f: rz(a * x, f.a),
        combine=lambda coupled, entered, f: coupled + entered,
        output_product=lambda c, x, f: rz(c * x, f.c),
        feedthrough_product=lambda d, a, f: rz(d * a, f.d),
        output_sum=lambda left, through, f: left + through,
    ),
    "per-sum": Rounding(
        input_product=lambda b, a, f: b * a,
        coupling_product=lambda a, x, f: a * x,
        combine=lambda coupled, entered, f: rz(coupled + (entered << (f.a - f.b)), f.a),
        output_product=lambda c, x, f: c * x,
        feedthrough_product=lambda d, a, f: d * a,
        output_sum=lambda left, through, f: rz(left + (through << (f.c - f.d)), f.c),
    ),
}


def update_register(held: Any, old: Any, moved: Any, limit: Any) -> tuple[Any, Any]:
    """A register after its update: saturated, or as it was while held; also says where it saturated."""
    clipped, overflows = saturate(moved, limit)
    return select(held, old, clipped), overflows & ~held


def update_soma(v: Any, y: Any, held: Any, leak: Any, rectify: Any, limit: Any) -> tuple[Any, Any]:
    """The soma's membrane; also says where it saturated."""
    drive = select(rectify, np.maximum(y, 0), y)
    return update_register(held, v, rz(leak * v, FACTOR_FRAC) + drive, limit)


def decay_adaptation(w: Any, held: Any, leak: Any) -> Any:
    """The adaptation of the threshold decays."""
    return select(held, w, rz(leak * w, FACTOR_FRAC))


def raise_adaptation(w: Any, s: Any, height: Any, limit: Any) -> tuple[Any, Any]:
    """A spike raises the adaptation; also says where it saturated."""
    return saturate(w + height * s, limit)


class Firing(NamedTuple):
    """What a spiking function sees beside the membrane: threshold, format of graded codes, random bits, old phase."""

    vth: Any
    shift: Any
    graded_limit: Any
    random16: Any
    im: Any
    im_before: Any


SPIKE: dict[str, Callable[[Any, Firing], Any]] = {
    "binary": lambda mu, f: mu > f.vth,
    "ternary": lambda mu, f: select(mu > f.vth, 1, select(mu < -f.vth, -1, 0)),
    "graded": lambda mu, f: select(np.abs(mu) > f.vth, saturate(rz(mu, f.shift), f.graded_limit)[0], 0),
    "stochastic": lambda mu, f: mu > ((f.vth * f.random16) >> 16),
    "phase": lambda mu, f: (mu >= f.vth) & (f.im >= 0) & (f.im_before < 0),
}


def count_down(counter: Any, restarts: Any, steps: Any) -> Any:
    """Silent steps left."""
    return select(restarts, steps, counter - (counter != 0))


def reset_hard(x: Any, acts: Any, target: Any) -> Any:
    """Set to the target."""
    return select(acts, target, x)


def reset_modulo(v: Any, acts: Any, exponent: Any) -> Any:
    """Remove whole thresholds ``2**exponent`` down to the last one that v exceeds or meets: v > 0 stays above 0."""
    return select(acts, ((v - 1) & ((1 << exponent) - 1)) + 1, v)


def scale_state(m: Any, x: Any) -> Any:
    """One product of the reset's matrix."""
    return rz(m * x, FACTOR_FRAC)


def h32(x: Any) -> Any:
    """32 well mixed bits of a 32-bit x, elementwise.

    >>> h32(0), h32(1)
    (0, 824515495)
    """
    x = (((x >> 16) ^ x) * FACTOR) & MASK
    x = (((x >> 16) ^ x) * FACTOR) & MASK
    return (x >> 16) ^ x


def random16(seed: int, index: Any, step: int) -> Any:
    """Uniform integers 0 to 65535: ``h32(h32(h32(seed) ^ index) ^ step) >> 16``.

    Parameters
    ----------
    seed : int, 0 to 2**32 - 1
        Of the population.
    index : int or array of int
        Of the output.
    step : int
        The population's own.
    """
    return h32(h32(h32(seed) ^ np.asarray(index, np.int64)) ^ step) >> 16
