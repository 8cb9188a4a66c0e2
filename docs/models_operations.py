"""Cost of a step of a quantized population, counted from its coefficients, for `docs/models/*.md`.

A coefficient of 0 costs nothing, a power of two costs a shift, any other a multiplication. A sum of n terms that are
not 0 costs n - 1 additions. The subtraction of a reset is one of them in every step. Comparisons are those with
thresholds and with 0. Roundings and saturations are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Multiplications with each coefficient per step; a complex product takes four real ones.
DIAGONAL = {"a_re": 2, "a_im": 2, "b_re": 1, "b_im": 1, "c_re": 1, "c_im": 1, "d": 1}
SOMA = {"leak": 1, "adaptation_leak": 1, "soma_m": 1}
PRODUCTS: dict[str, dict[str, int]] = {
    "state_space": DIAGONAL | SOMA | {"m_re": 2, "m_im": 2},
    "dense_state_space": {"a": 1, "b": 1, "c": 1, "d": 1, "m": 1} | SOMA,
    "windowed_state_space": DIAGONAL,
    "lif": {},
}
COMPARED = {"ternary": 2, "phase": 3}
HASHES = 3  # of random16, per output


def step_operations(neuron: Any) -> dict[str, float]:
    """Return operations per neuron and step, and bits of parameters and states per neuron, as population means."""
    stochastic = getattr(neuron, "spike", "binary") == "stochastic"
    codes = [np.asarray(getattr(neuron, name)) for name, times in PRODUCTS[neuron.kind].items() for _ in range(times)]
    if stochastic:
        codes.append(neuron.vth)
    if neuron.kind == "lif":
        codes += [4095 - neuron.du, 4096 - neuron.dv, np.full(neuron.size, 64)]
    nonzero, shifts = (float(sum(map(count, codes))) for count in (np.count_nonzero, _powers_of_two))
    additions = float(sum(np.maximum(terms - 1, 0).sum() for terms in _sums(neuron)))
    if neuron.kind == "windowed_state_space":  # one entry of the kernel per step
        nonzero += np.count_nonzero(neuron.kernel) / neuron.window
        shifts += _powers_of_two(neuron.kernel) / neuron.window
        additions += np.maximum(_some(neuron.kernel).sum(-1) - 1, 0).sum() / neuron.window
    counts = {
        "multiplications": nonzero - shifts,
        "shifts": shifts,
        "additions": additions,
        "comparisons": _comparisons(neuron),
        "hashes": HASHES * neuron.output_size * stochastic,
        "bits": neuron.footprint_bits,
    }
    return {name: float(count / neuron.size) for name, count in counts.items()}


def _some(codes: Any) -> Any:
    return (np.asarray(codes) != 0).astype(np.int64)


def _powers_of_two(codes: Any) -> int:
    magnitude = np.abs(codes).astype(np.int64)
    return int(np.count_nonzero((magnitude > 0) & (magnitude & (magnitude - 1) == 0)))


def _sums(n: Any) -> Iterator[Any]:
    """Yield the numbers of terms that the sums of a step have, kind by kind."""
    if n.kind == "lif":
        yield _some(4095 - n.du) + 1
        yield _some(4096 - n.dv) + 1 + _some(n.bias_mant)
        return
    if n.kind == "dense_state_space":
        yield _some(n.a).sum(-1) + _some(n.b).sum(-1)
        read = _some(n.c).sum(-1)
    else:
        turned = _some(n.a_re) + _some(n.a_im)
        yield turned + _some(n.b_re).sum(-1)
        yield turned + _some(n.b_im).sum(-1)
        read = _some(n.c_re).sum(-1) + _some(n.c_im).sum(-1)
    yield read + _some(n.d).sum(-1) + _some(n.bias)
    if n.kind != "windowed_state_space":
        yield 1 + _some(n.input_bias)
        yield from _mechanism_sums(n)


def _mechanism_sums(n: Any) -> Iterator[Any]:
    """Yield the same for soma, adaptation and reset; a term that always exists counts as the 1."""
    if n.soma:
        yield 1 + _some(n.leak)
    if n.adaptation:
        yield np.full(n.output_size, 2)  # v - w
        yield _some(n.adaptation_leak) + _some(n.adaptation_jump)
    if n.reset_action == "modulo":
        yield np.full((n.output_size, 2), 2)  # - 1 before the mask, + 1 after it
    elif n.reset_action in ("soft", "linear"):
        yield from _reset_sums(n, n.reset_action == "linear")


def _reset_sums(n: Any, linear: bool) -> Iterator[Any]:
    if n.soma:
        yield (_some(n.soma_m) if linear else 1) + _some(n.soma_r)
    elif n.kind == "dense_state_space":
        yield (_some(n.m).sum(-1) if linear else 1) + _some(n.r).sum(-1)
    else:
        kept = _some(n.m_re) + _some(n.m_im) if linear else 1
        yield from (kept + _some(codes).sum(-1) for codes in (n.r_re, n.r_im))


def _comparisons(n: Any) -> float:
    """Count comparisons: with thresholds (once per window), of the rectification, of registers of a magnitude reset."""
    if n.kind == "windowed_state_space":
        return float(n.size) / float(n.window)
    if n.kind == "lif":
        return float(n.size)
    registers = 1 if n.soma or n.kind == "dense_state_space" else 2
    by_magnitude = registers * np.size(n.reset_magnitude) if n.reset_condition == "magnitude" else 0
    return float((COMPARED.get(n.spike, 1) + n.rectify) * n.output_size + by_magnitude)
