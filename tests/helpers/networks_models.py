"""Random networks with the mechanisms of each named model, by name in `MODELS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from mechanisms import legal
from networks_build import Case, Draft, Family, Rng, random_case
from networks_neurons import (
    LIF,
    UNIT,
    codes,
    dense_dynamics,
    diagonal_dynamics,
    formats,
    mechanism_codes,
    refractory,
    thresholds,
)
from networks_windowed import windowed_case

from nmdeploy.neurons.state_space.dense import QuantizedDenseStateSpace
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace

Shape = tuple[int, int, int, int]
ONE = 1 << 14  # 1.0 of codes with 14 fraction bits


def unit(rng: Rng) -> dict[str, Any]:
    """Return a QuantizationConfig in which 1.0 is a code of C and D."""
    return formats(rng) | {"frac_c": 14, "refractory_steps": refractory(rng, 0.3)}


def plain(shape: Shape) -> dict[str, Any]:
    """Return fields without feedthrough, bias and threshold."""
    h, _, q, p = shape
    return {"d": np.zeros((h, p, q), int), "bias": np.zeros((h, p), int), "vth": np.zeros((h, p), int)}


def within(neuron: Any, level: int) -> int:
    """Return a level that also fits a state."""
    return min(level, int(neuron.limit))


def lif_soft(rng: Rng, size: int, _q: int, integrating: bool = False) -> Draft:
    """Draw x <- a x + b s, minus the threshold at a spike; a = 1 without a leak."""
    shape, shared = (size, 1, 1, 1), unit(rng)
    neuron = QuantizedDenseStateSpace(
        **shared,
        **plain(shape),
        a=np.full((size, 1, 1), UNIT if integrating else int(rng.integers(3000, UNIT))),
        b=np.full((size, 1, 1), int(rng.integers(1, 3)) << shared["frac_b"]),
        c=np.full((size, 1, 1), ONE),
        reset_condition="each",
        reset_action="soft",
        refractory_mode=str(rng.choice(["hold", "mask"])),
    )

    def at(level: int) -> Any:
        vth = within(neuron, level)
        return replace(neuron, vth=np.full((size, 1), vth), r=np.full((size, 1, 1), vth))

    return Draft(at, 0, 1 << shared["state_bits"])


def alif(rng: Rng, size: int, _q: int) -> Draft:
    """Draw membrane and adaptive threshold: y = v - beta w, soft reset of v, jump of w."""
    shape, shared = (size, 2, 1, 1), unit(rng)
    a = np.zeros((size, 2, 2), int)
    a[:, 0, 0], a[:, 1, 1] = int(rng.integers(3000, UNIT)), rng.integers(3900, UNIT, size)
    neuron = QuantizedDenseStateSpace(
        **shared,
        **plain(shape),
        a=a,
        b=np.stack([np.full(size, 1 << shared["frac_b"]), np.zeros(size, int)], 1)[..., None],
        c=np.stack([np.full(size, ONE), -rng.integers(ONE // 8, 2 * ONE, size)], 1)[:, None],
        reset_condition="each",
        reset_action="soft",
    )
    falls, jump = bool(rng.random() < 0.7), float(rng.uniform(0.02, 0.5))

    def at(level: int) -> Any:
        vth = within(neuron, level)
        r = np.stack([np.full(size, vth * falls), np.full(size, -int(jump * vth))], 1)[..., None]
        return replace(neuron, vth=np.full((size, 1), vth), r=r)

    return Draft(at, 0, 1 << shared["state_bits"])


def rf(rng: Rng, size: int, _q: int) -> Draft:
    """Draw resonate-and-fire neurons, which spike where the phase passes zero and the real part is at the threshold."""
    shape, shared = (size, 1, 1, 1), unit(rng)
    radius, angle = rng.uniform(0.85, 1.0, (size, 1)) * UNIT, rng.uniform(0.05, 2.0, (size, 1))
    action = str(rng.choice(["none", "hard", "soft"]))
    neuron = QuantizedStateSpace(
        **shared,
        **plain(shape),
        a_re=np.rint(radius * np.cos(angle)).astype(int),
        a_im=np.rint(radius * np.sin(angle)).astype(int),
        b_re=np.full((size, 1, 1), 1 << shared["frac_b"]),
        b_im=np.zeros((size, 1, 1), int),
        c_re=np.full((size, 1, 1), ONE),
        c_im=np.zeros((size, 1, 1), int),
        spike="phase",
        reset_condition="never" if action == "none" else "any",
        reset_action=action,
        r_re=codes(rng, 40, (size, 1, 1)) * (action != "none"),
        r_im=codes(rng, 40, (size, 1, 1)) * (action != "none"),
    )
    at = lambda level: replace(neuron, vth=np.full((size, 1), level))  # noqa: E731
    return Draft(at, -(1 << shared["state_bits"]), 1 << shared["state_bits"])


def tc_lif(rng: Rng, size: int, _q: int) -> Draft:
    """Draw two compartments, dendrite and soma, that feed each other; the spike feeds back into both."""
    shape, shared = (size, 2, 1, 1), unit(rng)
    beta = rng.uniform(-0.6, 0.6, (2, size))
    a = np.stack([np.ones(size), beta[0], beta[1], np.ones(size) * rng.uniform(0.5, 0.95)], 1).reshape(size, 2, 2)
    neuron = QuantizedDenseStateSpace(
        **shared,
        **plain(shape),
        a=np.rint(a * 0.9 * UNIT).astype(int),
        b=np.stack([np.full(size, 1 << shared["frac_b"]), np.zeros(size, int)], 1)[..., None],
        c=np.stack([np.zeros(size, int), np.full(size, ONE)], 1)[:, None],
        reset_condition="each",
        reset_action="soft",
    )
    gamma = float(rng.uniform(0.2, 1))

    def at(level: int) -> Any:
        vth = within(neuron, level)
        r = np.stack([np.full(size, int(gamma * vth)), np.full(size, vth)], 1)[..., None]
        return replace(neuron, vth=np.full((size, 1), vth), r=r)

    return Draft(at, 0, 1 << shared["state_bits"])


def with_soma(rng: Rng, size: int, dynamics: dict[str, Any], fields: dict[str, Any], q: int = 1) -> Draft:
    """Draw diagonal dynamics before a soma whose reset subtracts the threshold or sets v to 0."""
    shape, shared = (size, dynamics["a_re"].shape[1], q, 1), formats(rng)
    neuron = QuantizedStateSpace(**plain(shape) | shared | dynamics | {"soma": True} | fields)

    def at(level: int) -> Any:
        vth = within(neuron, level)
        return replace(neuron, vth=np.full((size, 1), vth), soma_r=vth if neuron.reset_action == "soft" else 0)

    return Draft(at, 0, 1 << shared["state_bits"])


def dh_lif(rng: Rng, size: int, q: int) -> Draft:
    """Draw dendrites: a leaky real state per input, whose sum drives a leaky soma."""
    dynamics = {
        "a_re": rng.integers(1000, UNIT, (size, q)),
        "a_im": np.zeros((size, q), int),
        "b_re": rng.integers(50, 300, (size, q, 1)) * np.eye(q, dtype=int),
        "b_im": np.zeros((size, q, q), int),
        "c_re": rng.integers(2**12, 2**15, (size, 1, q)),
        "c_im": np.zeros((size, 1, q), int),
    }
    action = str(rng.choice(["soft", "hard"]))
    reset = {"reset_condition": "each" if action == "soft" else "any", "reset_action": action}
    fields = {"leak": rng.integers(2000, UNIT, (size, 1)), "refractory_steps": refractory(rng, 0.3), **reset}
    return with_soma(rng, size, dynamics, fields, q)


def pmsn(rng: Rng, size: int, _q: int) -> Draft:
    """Draw a soma without leak that integrates positive values and loses whole thresholds, which are powers of two."""
    shape, shared = (size, int(rng.integers(2, 5)), 1, 1), formats(rng)
    neuron = QuantizedStateSpace(
        **shared,
        **diagonal_dynamics(rng, shape) | {"d": np.zeros((size, 1, 1), int)},
        vth=np.zeros((size, 1), int),
        soma=True,
        leak=UNIT,
        rectify=True,
        reset_condition=str(rng.choice(["any", "each"])),
        reset_action="modulo",
    )
    at = lambda level: replace(neuron, vth=1 << level, modulo_exp=level)  # noqa: E731
    return Draft(at, 0, shared["state_bits"] - 1)


def psn_sliding(rng: Rng, size: int, _q: int) -> Draft:
    """Draw a window of the last inputs, shifted by a matrix and weighted by C, without reset."""
    n = int(rng.integers(2, 9))
    shape, shared = (size, n, 1, 1), formats(rng)
    b = np.zeros((size, n, 1), int)
    b[:, 0] = 1 << shared["frac_b"]
    neuron = QuantizedDenseStateSpace(
        **shared | plain(shape),
        a=np.broadcast_to(np.eye(n, k=-1, dtype=int) * UNIT, (size, n, n)),
        b=b,
        c=codes(rng, 2**15 - 1, (size, 1, n)),
    )
    return thresholds(rng, neuron, shared["state_bits"])


def s4d(rng: Rng, size: int, _q: int, **fields: Any) -> Draft:
    """Draw diagonal dynamics that spike without a reset."""
    shape, shared = (size, int(rng.integers(2, 7)), 1, 1), formats(rng)
    dynamics = diagonal_dynamics(rng, shape)
    neuron = QuantizedStateSpace(**shared, **dynamics, vth=np.zeros((size, 1), int), **fields)
    return thresholds(rng, neuron, shared["state_bits"])


def stochastic(rng: Rng, size: int, q: int) -> Draft:
    return s4d(rng, size, q, spike="stochastic", seed=int(rng.integers(0, 2**32)))


def silenced(rng: Rng, size: int, q: int) -> Draft:
    mode = str(rng.choice(["mask", "mask-raw"]))
    return s4d(rng, size, q, refractory_mode=mode, refractory_steps=int(rng.integers(1, 7)))


def spiking_ssm(rng: Rng, size: int, _q: int, adaptation: bool = False) -> Draft:
    """Draw diagonal dynamics before a leaky soma with soft reset, whose threshold may adapt."""
    dynamics = diagonal_dynamics(rng, (size, int(rng.integers(2, 7)), 1, 1))
    fields: dict[str, Any] = {"leak": rng.integers(2000, UNIT, (size, 1)), "adaptation": adaptation}
    fields |= {"reset_condition": "each", "reset_action": "soft", "refractory_steps": refractory(rng, 0.3)}
    if adaptation:
        fields |= {"adaptation_leak": rng.integers(3000, UNIT, (size, 1))}
        fields |= {"adaptation_jump": rng.integers(0, 200, (size, 1))}
    return with_soma(rng, size, dynamics, fields)


SEVERAL = {
    p: [
        m
        for m in legal((min(p, 2),))
        if m.kind == "dense_state_space" and m.spike in ("binary", "ternary", "graded") and not m.soma
    ]
    for p in (2, 3)
}


def multi_output(rng: Rng, size: int, q: int) -> Draft:
    """Draw several inputs and outputs per neuron, with unstable dense dynamics that resets keep in bounds."""
    p = int(rng.integers(2, 4))
    m = SEVERAL[p][int(rng.integers(len(SEVERAL[p])))]
    shape, shared = (size, int(rng.integers(1, 9)), q, p), formats(rng)
    dynamics = dense_dynamics(rng, shape, (1.0, 1.02, 1.1))
    fields = mechanism_codes(rng, m, shape, shared["state_bits"]) | m.fields
    neuron = QuantizedDenseStateSpace(**shared, **dynamics, **fields, vth=np.zeros((size, p), int))
    return thresholds(rng, neuron, shared["state_bits"])


FAMILIES = (
    LIF,
    Family("lif-soft", lif_soft),
    Family("if", partial(lif_soft, integrating=True)),
    Family("alif", alif),
    Family("rf", rf),
    Family("tc-lif", tc_lif),
    Family("dh-lif", dh_lif, inputs=(2, 3)),
    Family("pmsn", pmsn),
    Family("psn-sliding", psn_sliding),
    Family("binary-s4d", s4d),
    Family("p-spike-ssm", stochastic),
    Family("spike-ssm", partial(spiking_ssm, adaptation=True)),
    Family("spiking-ssm", spiking_ssm),
    Family("fixed-refractory-ssm", silenced),
    Family("multi-output", multi_output, inputs=(2, 3)),
)


def case_of(family: Family, seed: int) -> Case:
    """Return a network of a model."""
    return random_case(seed, family)


MODELS: dict[str, Callable[[int], Case]] = {
    "lif" if family is LIF else family.name: partial(case_of, family) for family in FAMILIES
} | {"windowed-ssm": windowed_case}
