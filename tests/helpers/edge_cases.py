"""Networks whose values lie exactly on the edges of the arithmetic: wraps, clips, thresholds, roundings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from edge_cases_base import around, driven
from edge_cases_windowed import windowed_edges
from mechanisms import ONE_SIDED, legal
from networks_build import Case
from networks_neurons import mechanism_codes

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.state_space.dense import QuantizedDenseStateSpace
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

SMALL_CASES = 60
SMALL = sorted(legal(), key=lambda m: m.name)
PHASE = [m for m in SMALL if m.spike == "phase"]


def lif_edges() -> list[Case]:
    """Return cases with u at its wrap, v at its clip and at the threshold, and biases at their ends.

    They also take one step of decay at every magnitude.
    """
    powers = around(*(1 << k for k in range(2, 17)), (1 << 17) - 1, 1 << 17)
    wrap = QuantizedLIF(du=4095, dv=4095, vth=VTH_MAX, bias_mant=np.zeros(len(powers), int), bias_exp=0)
    slow = replace(wrap, du=np.zeros_like(wrap.du), dv=np.zeros_like(wrap.dv))
    middle = replace(wrap, du=wrap.du * 0 + 2047, dv=wrap.dv * 0 + 2048, vth=wrap.vth * 0 + 77)
    top = [(1 << 17) - 1] * 8 + [-(1 << 17) + 1] * 8
    bias = [0, 1, 62, 63, 64, 65, 4095, 127, 0, -1, -62, -63, -64, -65, -4096, -127]
    clip = QuantizedLIF(du=4095, dv=0, vth=VTH_MAX, bias_mant=bias, bias_exp=0)
    shifted = replace(clip, bias_exp=np.arange(16) % 8)
    level = QuantizedLIF(du=4095, dv=0, vth=[0, 1, 2, 3, 4, 5, 6, 7], bias_mant=[0] * 4 + [64] * 4, bias_exp=0)
    cases = [
        driven("u at its wrap", wrap, powers),
        driven("no decay but the least", slow, np.asarray(powers) >> 5),
        driven("half a decay", middle, powers),
        driven("v at its clip", clip, top),
        driven("bias exponents", shifted, top),
        driven("v at its threshold", level, [1, 1, 2, 1, 0, 1, 1, 2]),
    ]
    cases += [
        driven(f"refractory {r}", replace(level, refractory_steps=r), [4, 1, 3, 2, 1, 9, 1, 2]) for r in range(1, 6)
    ]
    return cases


def small_population(seed: int) -> Case:
    """Return a population of small numbers, in which mu often equals the threshold and states reach their ends."""
    rng = np.random.default_rng(seed)
    m = PHASE[seed // 12 * 7 % len(PHASE)] if seed % 12 == 0 else SMALL[seed * len(SMALL) // SMALL_CASES]
    n = 1 if m.spike == "phase" else 1 + seed % 3
    h, q, p, bits = 16, 1 + seed % 2, m.outputs, 6
    draw = lambda low, high, s: rng.integers(low, high, s, endpoint=True)  # noqa: E731
    shared = {
        "rounding": ("per-product", "per-sum")[seed % 2],
        "state_bits": bits,
        "coefficient_bits": 8,
        "frac_a": 2,
        "frac_c": int(draw(1, 2, ())),
        "frac_b": int(draw(0, 2, ())),
        "frac_d": int(draw(0, 1, ())),
        "d": draw(-3, 3, (h, p, q)),
        "bias": draw(-2, 2, (h, p)),
        "vth": draw(0 if m.spike in ONE_SIDED else -3, 6, (h, p)),
        **mechanism_codes(rng, m, (h, n, q, p), bits),
        **m.fields,
        "refractory_steps": seed % 4,
        "graded_bits": 2 + seed % 3,
        "graded_shift": seed % 3,
    }
    neuron: Any
    if m.kind == "state_space":
        b = {name: draw(-5, 5, (h, n, q)) for name in ("b_re", "b_im")}
        c = {name: draw(-5, 5, (h, p, n)) for name in ("c_re", "c_im")}
        neuron = QuantizedStateSpace(**shared, **{name: draw(-5, 5, (h, n)) for name in ("a_re", "a_im")}, **b, **c)
    else:
        parts = {"a": draw(-5, 5, (h, n, n)), "b": draw(-5, 5, (h, n, q)), "c": draw(-5, 5, (h, p, n))}
        neuron = QuantizedDenseStateSpace(**shared, **parts)
    nodes = {
        "input": Input((3,), FixedPoint(2, 0, signed=False)),
        "s": QuantizedDense(draw(-4, 4, (h * q, 3)), 8, 0, "mixed", -1),
        "n": neuron,
    }
    edges = (Edge("input", "s"), Edge("s", "n"))
    return Case(f"small {m.name} {seed}", QuantizedNetwork(nodes, edges, 1e-3, "n"), draw(0, 3, (1, 60, 3)))


def loud_populations() -> list[Case]:
    """Return loud populations; the first resets by a factor, on states so large that every bit of the factor shows."""
    chosen = [seed for seed in range(SMALL_CASES) if "-scale-" in small_population(seed).name]
    dynamics = [case for case in map(small_population, chosen) if not case.network.nodes["n"].soma]
    return [loud(case) for case in dynamics]


def loud(case: Case) -> Case:
    """Return a case with states of 16 bits and sums that fill them."""
    nodes = dict(case.network.nodes)
    nodes |= {"n": replace(nodes["n"], state_bits=16), "s": replace(nodes["s"], weight_exp=9)}
    return replace(case, name=f"loud {case.name}", network=replace(case.network, nodes=nodes))


def integrator_edges() -> list[Case]:
    """Return cases with v at the clip of its width, and every end of the decay."""
    decay = [0, 1, 2048, 4095, 4096, 0, 1, 4096]
    narrow = QuantizedIntegrator(dv=decay, bias=[0, 0, 0, 0, 0, 1, -1, 3], state_bits=8)
    wide = replace(narrow, state_bits=24, bias=narrow.bias * 0 - 5)
    return [
        driven("narrow integrator", narrow, [127, 60, -127, -1, 1, 63, -64, 128]),
        driven("wide integrator", wide, [1 << 17, -(1 << 17), 5, -5, 1, -1, 77, 1000], np.ones(80, int)),
    ]


def driven_cases() -> list[Case]:
    """Return populations on exact sums, or of few windows."""
    return [*lif_edges(), *integrator_edges(), *windowed_edges()]


def small_cases() -> list[Case]:
    """Return populations over all mechanisms, on the same input node."""
    return [*(small_population(seed) for seed in range(SMALL_CASES)), *loud_populations()]


def edge_cases() -> list[Case]:
    """Return all edge cases."""
    return [*driven_cases(), *small_cases()]
