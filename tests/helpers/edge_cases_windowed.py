"""Edges of windows and gates: u at 32 bits and at its threshold, partial windows, the ends of the sigmoid's table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from edge_cases_base import PATTERN, around, driven
from networks_build import Case
from windows import quantized_windowed

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.gated_linear_unit import QuantizedGatedLinearUnit
from nmdeploy.neurons.state_space.windowed import U_LIMIT
from nmdeploy.synapses.dense import QuantizedDense


def wide_sums() -> list[Case]:
    """Return cases with u one below, at and beyond its 32 bits, both ways.

    Thresholds are at the last code and one below.
    """
    bias = np.array([(1 << 30) - 1, 1 << 30, (1 << 30) - 1, -(1 << 30), 1 - (1 << 30), 1 << 29, 1 << 30, 5])
    zero = np.zeros((len(bias), 1), int)
    neuron = quantized_windowed(
        rounding="per-product",
        state_bits=16,
        coefficient_bits=16,
        **dict.fromkeys(("frac_a", "frac_b", "frac_c", "frac_d", "frac_k"), 0),
        **dict.fromkeys(("a_re", "a_im", "b_re", "b_im", "c_re", "c_im", "d"), zero),
        bias=bias,
        window=3,
        kernel=np.array([[1, 1, 1], [1, 1, 0], [2, 0, 1], [1, 1, 1], [2, 0, 0], [3, 1, -1], [-1, -1, 0], [1, 0, 0]]),
        vth=[U_LIMIT, U_LIMIT - 1, U_LIMIT - 2, -U_LIMIT, -U_LIMIT, U_LIMIT - 1, -U_LIMIT, 5],
    )
    return [
        driven("u at its 32 bits", neuron, [0] * len(bias)),
        driven("halves of u", replace(neuron, frac_k=1, kernel=neuron.kernel * 3), [0] * len(bias)),
    ]


def small_windows(seed: int) -> Case:
    """Return a case of small numbers in which u often equals its threshold, with windows of 1 to 4 steps.

    The last window is not full.
    """
    rng = np.random.default_rng(seed)
    h, n, window = 12, 1 + seed % 3, 1 + seed % 4
    draw = lambda low, high, s: rng.integers(low, high, s, endpoint=True)  # noqa: E731
    dynamics = {name: draw(-5, 5, (h, n)) for name in ("a_re", "a_im")}
    dynamics |= {name: draw(-5, 5, (h, n, 1)) for name in ("b_re", "b_im")}
    dynamics |= {name: draw(-5, 5, (h, 1, n)) for name in ("c_re", "c_im")}
    neuron = quantized_windowed(
        **dynamics,
        rounding=("per-product", "per-sum")[seed // 2 % 2],
        state_bits=6,
        coefficient_bits=8,
        frac_a=2,
        frac_b=1,
        frac_c=1,
        frac_d=0,
        d=draw(-3, 3, (h, 1, 1)),
        bias=draw(-2, 2, (h, 1)),
        window=window,
        kernel=draw(-4, 4, (h, window)),
        frac_k=seed % 3,
        vth=draw(-4, 4, h),
        send_once=seed % 5 == 4,
    )
    nodes = {
        "input": Input((3,), FixedPoint(2, 0, signed=False)),
        "s": QuantizedDense(draw(-4, 4, (h, 3)), 8, 0, "mixed", -1),
        "n": neuron,
    }
    edges = (Edge("input", "s"), Edge("s", "n"))
    return Case(f"small windows {seed}", QuantizedNetwork(nodes, edges, 1e-3, "n"), draw(0, 3, (1, 22, 3)))


def gate_edges() -> list[Case]:
    """Return arguments at, next to and beyond the ends of the table, and at its knots; products that floor and clip."""
    rng = np.random.default_rng(0)
    arguments = [*around(1 << 15, 1 << 14, 1024, 3000, 0), 1, 7, 1023, 1 << 17, -(1 << 17)]
    values = np.tile([5, -5, 127, -127, 1 << 12, -(1 << 12), 1, -1], 5)[: len(arguments)]
    sums = np.stack([values, arguments], 1).ravel()
    falling: Any = rng.integers(0, (1 << 15) + 1, 65)  # any table is allowed: this one rises and falls
    gate = QuantizedGatedLinearUnit(neurons=len(arguments), table=falling, gate_shift=13, output_bits=8, frac_in=12)
    exact = replace(gate, gate_shift=0, output_bits=32)
    loud = np.stack([np.where(values > 0, 4099, -4099), arguments], 1).ravel()
    once = replace(gate, send_once=True, window=3, output_bits=10)
    return [
        driven("gate", gate, sums),
        driven("gate without a shift", exact, loud),
        driven("gate with more fraction bits", replace(gate, frac_in=15, gate_shift=11, output_bits=12), sums),
        driven("gate with fewer fraction bits", replace(gate, frac_in=9), sums, PATTERN[::-1]),
        driven("gate that sends once", once, sums, np.ones(11, int)),
    ]


def windowed_edges() -> list[Case]:
    """Return all edges of windows and gates."""
    return [*wide_sums(), *gate_edges(), *(small_windows(seed) for seed in range(10))]
