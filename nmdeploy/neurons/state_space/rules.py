"""Integer step of a spiking state-space neuron, as small branch-free functions (docs/arithmetic.md).

A function works on one lane, which is a state or an output of a neuron. Between the functions, the caller sums over
states, inputs and coupled states (`nmdeploy.neurons.state_space.integer`).
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
    """One rounding rule; every function also takes the `Fractions` f as last argument.

    The caller sums ``input_product(b, a)`` and ``feedthrough_product(d, a)`` over the inputs. It sums
    ``output_product(c, x)`` over the states, and ``coupling_product(a, x)`` over the states that A couples.
    ``combine(coupled, entered)`` is the new state and ``output_sum(left, through)`` is y, both before saturation and
    bias.
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
    """Return a register after its update, saturated, or unchanged while held; also return where it saturated."""
    clipped, overflows = saturate(moved, limit)
    return select(held, old, clipped), overflows & ~held


def update_soma(v: Any, y: Any, held: Any, leak: Any, rectify: Any, limit: Any) -> tuple[Any, Any]:
    """Return the soma's membrane, and where it saturated."""
    drive = select(rectify, np.maximum(y, 0), y)
    return update_register(held, v, rz(leak * v, FACTOR_FRAC) + drive, limit)


def decay_adaptation(w: Any, held: Any, leak: Any) -> Any:
    """Return the adaptation of the threshold after its decay."""
    return select(held, w, rz(leak * w, FACTOR_FRAC))


def raise_adaptation(w: Any, s: Any, height: Any, limit: Any) -> tuple[Any, Any]:
    """Raise the adaptation by a spike; also return where it saturated."""
    return saturate(w + height * s, limit)


class Firing(NamedTuple):
    """Inputs of a spiking function beside the membrane: threshold, graded format, random bits, new and old Im."""

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
    """Return the silent steps that remain."""
    return select(restarts, steps, counter - (counter != 0))


def reset_hard(x: Any, acts: Any, target: Any) -> Any:
    """Set x to the target where the reset acts."""
    return select(acts, target, x)


def reset_modulo(v: Any, acts: Any, exponent: Any) -> Any:
    """Remove whole thresholds ``2**exponent`` down to the last one that v exceeds or meets, so v > 0 stays above 0."""
    return select(acts, ((v - 1) & ((1 << exponent) - 1)) + 1, v)


def scale_state(m: Any, x: Any) -> Any:
    """Return one product of the reset's matrix, rounded towards zero."""
    return rz(m * x, FACTOR_FRAC)


def h32(x: Any) -> Any:
    """Return 32 well mixed bits of a 32-bit x, elementwise.

    >>> h32(0), h32(1)
    (0, 824515495)
    """
    x = (((x >> 16) ^ x) * FACTOR) & MASK
    x = (((x >> 16) ^ x) * FACTOR) & MASK
    return (x >> 16) ^ x


def random16(seed: int, index: Any, step: int) -> Any:
    """Return uniform integers 0 to 65535, ``h32(h32(h32(seed) ^ index) ^ step) >> 16``.

    Parameters
    ----------
    seed : int, 0 to 2**32 - 1
        Seed of the population.
    index : int or array of int
        Index of the output.
    step : int
        The population's own step.
    """
    return h32(h32(h32(seed) ^ np.asarray(index, np.int64)) ^ step) >> 16
