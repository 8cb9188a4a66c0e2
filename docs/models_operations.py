"""What a step of a quantized population costs, counted from its coefficients: `docs/models/*.md` show it.

A coefficient of 0 costs nothing, a power of two a shift, any other a multiplication. Each product is added; so is each
bias, reset or jump that is not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# How often each coefficient is multiplied with in a step; a complex product takes four real ones.
DIAGONAL = {"a_re": 2, "a_im": 2, "b_re": 1, "b_im": 1, "c_re": 1, "c_im": 1, "d": 1}
SOMA = {"leak": 1, "adaptation_leak": 1, "soma_m": 1}
PRODUCTS: dict[str, dict[str, int]] = {
    "state_space": DIAGONAL | SOMA | {"m_re": 2, "m_im": 2},
    "coupled_state_space": {"a": 1, "b": 1, "c": 1, "d": 1, "m": 1} | SOMA,
    "windowed_state_space": DIAGONAL,
    "lif": {},
}
SUMMANDS = ("bias", "bias_mant", "r", "r_re", "r_im", "soma_r", "adaptation_jump")
SIGNED = ("ternary", "graded")


def step_operations(neuron: Any) -> dict[str, float]:
    """Operations a neuron and step, means over the population, and bits of parameters and states a neuron."""
    used = PRODUCTS[neuron.kind]
    codes = [np.asarray(getattr(neuron, name)) for name, times in used.items() for _ in range(times)]
    if neuron.kind == "windowed_state_space":
        codes.append(neuron.kernel[:, :1])  # one of its entries a step
    if neuron.kind == "lif":
        codes += [4095 - neuron.du, 4096 - neuron.dv, np.full(neuron.size, 64)]
    nonzero = sum(int(np.count_nonzero(code)) for code in codes)
    shifts = sum(int(np.count_nonzero(_power_of_two(code))) for code in codes)
    held = [np.asarray(getattr(neuron, name)) for name in SUMMANDS if hasattr(neuron, name)]
    summed = sum(int(np.count_nonzero(value)) for value in held) + neuron.size * (neuron.kind == "lif")  # u into v
    counts = {
        "multiplications": nonzero - shifts,
        "shifts": shifts,
        "additions": nonzero + summed,
        "comparisons": _comparisons(neuron),
        "bits": neuron.footprint_bits,
    }
    return {name: count / neuron.size for name, count in counts.items()}


def _power_of_two(codes: Any) -> Any:
    magnitude = np.abs(codes).astype(np.int64)
    return (magnitude > 0) & (magnitude & (magnitude - 1) == 0)


def _comparisons(neuron: Any) -> float:
    """Against thresholds: once a window, both signs of a signed spike, every register of a reset by magnitude."""
    if neuron.kind == "windowed_state_space":
        return float(neuron.size) / float(neuron.window)
    each = 2 if getattr(neuron, "spike", "binary") in SIGNED else 1
    by_magnitude = getattr(neuron, "reset_condition", "never") == "magnitude"
    return float(each * neuron.output_size + (2 * np.size(neuron.reset_magnitude) if by_magnitude else 0))
