"""Networks whose values sit exactly on the edges of the arithmetic: wraps, clips, thresholds, roundings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from networks import Case

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network import Edge, Input, QuantizedNetwork
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.state_space_integer import QuantizedStateSpace
from nmdeploy.synapses.dense import QuantizedDense

PATTERN = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0])


def driven(name: str, neuron: Any, sums: Any, pattern: Any = PATTERN) -> Case:
    """A population whose synaptic sums are exactly `sums` wherever the pattern has a 1."""
    sums = np.asarray(sums, np.int64)
    high, low = sums >> 10, (sums & 1023)[:, None]
    parts = {
        "excitatory": QuantizedDense(np.clip(high, 0, 255)[:, None], 8, 0, "excitatory", 10),
        "inhibitory": QuantizedDense(np.clip(high, -255, 0)[:, None], 8, 0, "inhibitory", 10),
        "middle": QuantizedDense(low >> 4, 8, 0, "mixed", 4),
        "low": QuantizedDense(low & 15, 8, 0, "mixed", 0),
    }
    nodes = {"input": Input((1,)), **parts, "n": neuron}
    edges = [Edge("input", part) for part in parts] + [Edge(part, "n") for part in parts]
    return Case(name, QuantizedNetwork(nodes, tuple(edges), 1e-3, "n"), np.asarray(pattern)[None, :, None])


def around(*values: int) -> list[int]:
    """Each value, its neighbours, and all of their negatives."""
    near = [v + d for v in values for d in (-1, 0, 1)]
    return near + [-v for v in near]


def lif_edges() -> list[Case]:
    """u at its wrap, v at its clip and at the threshold, biases at their ends, one step of decay at every magnitude."""
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


def small_state_space(seed: int) -> Case:
    """A population of small numbers: its y meets the threshold exactly, its states their ends, again and again."""
    rng = np.random.default_rng(seed)
    shape, bits = (16, 1 + seed % 3), 6
    draw = lambda low, high, s: rng.integers(low, high, s, endpoint=True)  # noqa: E731
    neuron = QuantizedStateSpace(
        rounding=("per-product", "per-sum")[seed % 2],
        state_bits=bits,
        coefficient_bits=8,
        frac_a=2,
        frac_b=int(draw(0, 2, ())),
        frac_c=int(draw(1, 2, ())),
        frac_d=int(draw(0, 1, ())),
        **{name: draw(-5, 5, shape) for name in ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im")},
        d=draw(-3, 3, 16),
        bias=draw(-2, 2, 16),
        vth=draw(-3, 6, 16),
        reset_action=("none", "hard", "soft")[seed // 2 % 3],
        r_re=draw(-20, 20, shape),
        r_im=draw(-20, 20, shape),
        refractory_steps=seed % 4,
        refractory_mode=("hold", "mask")[seed // 4 % 2],
    )
    weight = draw(-4, 4, (16, 3))
    nodes = {
        "input": Input((3,), FixedPoint(2, 0, signed=False)),
        "s": QuantizedDense(weight, 8, 0, "mixed", -1),
        "n": neuron,
    }
    edges = (Edge("input", "s"), Edge("s", "n"))
    return Case(f"small state space {seed}", QuantizedNetwork(nodes, edges, 1e-3, "n"), draw(0, 3, (1, 60, 3)))


def integrator_edges() -> list[Case]:
    """v at the clip of its width; every end of the decay."""
    decay = [0, 1, 2048, 4095, 4096, 0, 1, 4096]
    narrow = QuantizedIntegrator(dv=decay, bias=[0, 0, 0, 0, 0, 1, -1, 3], state_bits=8)
    wide = replace(narrow, state_bits=24, bias=narrow.bias * 0 - 5)
    return [
        driven("narrow integrator", narrow, [127, 60, -127, -1, 1, 63, -64, 128]),
        driven("wide integrator", wide, [1 << 17, -(1 << 17), 5, -5, 1, -1, 77, 1000], np.ones(80, int)),
    ]


def edge_cases() -> list[Case]:
    """All of them."""
    return [*lif_edges(), *integrator_edges(), *(small_state_space(seed) for seed in range(12))]
