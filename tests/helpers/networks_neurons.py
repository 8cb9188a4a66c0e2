"""Random populations: LIF, and state-space populations over all combinations of mechanisms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from mechanisms import ONE_SIDED, Mechanisms, legal
from networks_build import Draft, Family, Rng

from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.state_space.dense import QuantizedDenseStateSpace
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace

ROUNDINGS = ("per-product", "per-sum")
UNIT = 4096
LEGAL = {
    (kind, outputs): [m for m in legal((outputs,)) if m.kind == kind]
    for kind in ("state_space", "dense_state_space")
    for outputs in (1, 2)
}


def random_lif(rng: Rng, size: int, _inputs: int) -> Draft:
    """Draw decays at their edges or random; one of four populations has decays and thresholds per neuron."""
    mixed = rng.random() < 0.25
    shape = (size,) if mixed else (1,)
    decay = lambda: rng.choice([0, 1, 4095, int(rng.integers(0, 4096)), int(rng.integers(100, 2000))], shape)  # noqa: E731
    mant = rng.integers(-4096, 4096, size) * (rng.random(size) < 0.5)
    neuron = QuantizedLIF(
        du=decay(),
        dv=decay(),
        vth=np.full(shape, VTH_MAX),
        bias_mant=mant * (rng.random() < 0.6) + np.zeros(size, int),
        bias_exp=rng.integers(0, 8, size),
        refractory_steps=int(rng.integers(0, 6)) if rng.random() < 0.5 else 0,
    )
    return Draft(lambda level: replace(neuron, vth=np.full_like(neuron.vth, level)), 0, VTH_MAX)


def formats(rng: Rng) -> dict[str, Any]:
    """Draw a rounding rule and number formats."""
    return {
        "rounding": str(rng.choice(ROUNDINGS)),
        "state_bits": int(rng.choice([12, 16, 24])),
        "coefficient_bits": 16,
        "frac_a": 12,
        "frac_b": int(rng.integers(0, 9)),
        "frac_c": 15,
        "frac_d": int(rng.integers(0, 12)),
    }


def refractory(rng: Rng, share: float = 0.6) -> int:
    """Draw 0 or 1 to 5 silent steps."""
    return int(rng.integers(1, 6)) if rng.random() < share else 0


def codes(rng: Rng, limit: int, shape: tuple[int, ...]) -> Any:
    """Draw uniform codes of a magnitude up to `limit`."""
    return rng.integers(-limit, limit, shape, endpoint=True)


def diagonal_dynamics(rng: Rng, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """Draw poles inside, on and slightly outside of the unit circle, and coefficients over most of their range."""
    h, n, q, p = shape
    radius = rng.choice([0.5, 0.9, 0.99, 1.0, 1.02], (h, n)) * UNIT
    angle = rng.uniform(-np.pi, np.pi, (h, n))
    return {
        "a_re": np.rint(radius * np.cos(angle)).astype(int),
        "a_im": np.rint(radius * np.sin(angle)).astype(int),
        **{name: codes(rng, 300, (h, n, q)) for name in ("b_re", "b_im")},
        **{name: codes(rng, 2**15 - 1, (h, p, n)) for name in ("c_re", "c_im")},
        "d": codes(rng, 200, (h, p, q)) * (rng.random() < 0.7),
        "bias": codes(rng, 50, (h, p)),
        "input_bias": codes(rng, 20, (h, q)) * (rng.random() < 0.5),
    }


def dense_dynamics(rng: Rng, shape: tuple[int, int, int, int], radii: tuple[float, ...] = ()) -> dict[str, Any]:
    """Draw dense matrices with a spectral radius below, at and above 1."""
    h, n, q, p = shape
    a = rng.normal(size=(h, n, n))
    radius = rng.choice(radii or (0.5, 0.9, 0.99, 1.0, 1.05), h) / np.abs(np.linalg.eigvals(a)).max(1)
    return {
        "a": np.clip(np.rint(a * radius[:, None, None] * UNIT), -(2**15), 2**15 - 1).astype(int),
        "b": codes(rng, 300, (h, n, q)),
        "c": codes(rng, 2**15 - 1, (h, p, n)),
        "d": codes(rng, 200, (h, p, q)) * (rng.random() < 0.7),
        "bias": codes(rng, 50, (h, p)),
        "input_bias": codes(rng, 20, (h, q)) * (rng.random() < 0.5),
    }


def mechanism_codes(rng: Rng, m: Mechanisms, shape: tuple[int, int, int, int], bits: int) -> dict[str, Any]:
    """Draw codes of every mechanism that a population with `bits` state bits has."""
    h, n, _, p = shape
    part = 2 ** (bits - 2)
    found: dict[str, Any] = {"refractory_steps": refractory(rng), "reset_period": int(rng.integers(1, 8))}
    found |= {"seed": int(rng.integers(0, 2**32)), "graded_bits": int(rng.integers(2, 9))}
    found["reset_magnitude"] = rng.integers(part // 16, part, (h, p if m.soma else n))
    if m.soma:
        found["leak"] = rng.choice([0, UNIT, int(rng.integers(2000, UNIT))], (h, p))
        found["rectify"] = bool(rng.random() < 0.3)
        found |= {"soma_r": codes(rng, part, (h, p)), "soma_m": codes(rng, UNIT * 5 // 4, (h, p))}
        found["modulo_exp"] = rng.integers(0, bits, (h, p))
    if m.adaptation:
        found["adaptation_leak"] = rng.choice([0, UNIT, int(rng.integers(2000, UNIT))], (h, p))
        found["adaptation_jump"] = codes(rng, part, (h, p))
    factor = UNIT * 5 // 4
    if m.kind == "state_space":
        found |= {"r_re": codes(rng, part, (h, n, p)), "r_im": codes(rng, part, (h, n, p))}
        found |= {"m_re": codes(rng, factor, (h, n)), "m_im": codes(rng, factor, (h, n))}
    else:
        found |= {"r": codes(rng, part, (h, n, p)), "m": codes(rng, factor // 2, (h, n, n))}
    return found


def thresholds(rng: Rng, neuron: Any, bits: int) -> Draft:
    """Draw a common level for all outputs, or one spread around it; a graded code is worth part of the threshold."""
    spread = rng.uniform(0.7, 1.3, neuron.vth.shape) if rng.random() < 0.5 else np.ones(neuron.vth.shape)
    steps = int(rng.integers(0, 4))
    top = 1 << min(bits + 4, 29)

    def at(level: int) -> Any:
        shift = max(0, abs(level).bit_length() - 1 - steps)
        return replace(neuron, vth=np.rint(level * spread).astype(int), graded_shift=shift)

    return Draft(at, 0 if neuron.spike in ONE_SIDED else -top, top)


def random_spiking(rng: Rng, kind: str, size: int, inputs: int, m: Mechanisms | None = None) -> Draft:
    """Draw a population with the mechanisms m, or with any legal combination."""
    p = m.outputs if m else int(rng.integers(1, 4))
    m = m or LEGAL[kind, min(p, 2)][int(rng.integers(len(LEGAL[kind, min(p, 2)])))]
    most = 6 if kind == "state_space" else 8
    n = 1 if m.spike == "phase" else int(rng.integers(1, most + 1))
    shape, shared = (size, n, inputs, p), formats(rng)
    dynamics = diagonal_dynamics(rng, shape) if kind == "state_space" else dense_dynamics(rng, shape)
    make: Any = QuantizedStateSpace if kind == "state_space" else QuantizedDenseStateSpace
    chosen = mechanism_codes(rng, m, shape, shared["state_bits"]) | m.fields
    if kind != "state_space":
        chosen["rectify_states"] = int(np.sum(dynamics["a"])) % 3 == 0
    neuron = make(**shared, **dynamics, **chosen, vth=np.zeros((size, p), int))
    return thresholds(rng, neuron, shared["state_bits"])


def random_state_space(rng: Rng, size: int, inputs: int) -> Draft:
    """Draw a population with diagonal dynamics."""
    return random_spiking(rng, "state_space", size, inputs)


def random_dense(rng: Rng, size: int, inputs: int) -> Draft:
    """Draw a population with dense dynamics."""
    return random_spiking(rng, "dense_state_space", size, inputs)


LIF = Family("lif_case", random_lif, (2, 9))
LOUD_LIF = Family("lif_case", random_lif, (8, 13))
STATE_SPACE = Family("state_space_case", random_state_space, inputs=(1, 2, 3))
DENSE_STATES = Family("dense_case", random_dense, inputs=(1, 2, 3))
