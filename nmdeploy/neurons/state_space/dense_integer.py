"""Integer state-space population with a dense real memory: docs/arithmetic.md, ``coupled_state_space``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmdeploy.neurons.base import IntArray
from nmdeploy.neurons.state_space.diagonal_integer import widened
from nmdeploy.neurons.state_space.integer import Lanes, QuantizedSpiking, entered, fed_back, passed, summed
from nmdeploy.neurons.state_space.rules import keep, reset_hard, scaled


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedCoupledStateSpace(QuantizedSpiking):
    """Integer population with N real states a neuron that all meet each other.

    Parameters
    ----------
    a : (H, N, N) int;  b : (H, N, q) int;  c : (H, p, N) int
    r : (H, N, p) int;  m : (H, N, N) int
        Target or amount, and matrix (in 1/4096; `scale` uses its diagonal), of the reset.
    """

    a: IntArray
    b: IntArray
    c: IntArray
    r: IntArray = 0  # type: ignore[assignment]
    m: IntArray = 0  # type: ignore[assignment]

    kind: ClassVar[str] = "coupled_state_space"
    blocks: ClassVar[tuple[str, ...]] = ("x",)
    coefficients: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")
    reset_codes: ClassVar[tuple[str, ...]] = ("r",)
    reset_factors: ClassVar[tuple[str, ...]] = ("m",)

    def __post_init__(self) -> None:
        h, n, _ = np.shape(self.a)
        b, c = np.asarray(self.b), np.asarray(self.c)
        q, p = b.shape[2] if b.ndim == 3 else 1, c.shape[1] if c.ndim == 3 else 1
        shapes = {"a": (h, n, n), "b": (h, n, q), "c": (h, p, n), "r": (h, n, p), "m": (h, n, n)}
        for name, shape in shapes.items():
            self._freeze(name, widened(getattr(self, name), name), np.int64, shape)
        self._freeze_common()
        self._check_common()

    @property
    def dims(self) -> tuple[int, int, int, int]:
        h, n, q = self.b.shape
        return h, n, q, self.c.shape[1]

    @property
    def unstable(self) -> bool:
        """Whether an eigenvalue of a neuron's A lies outside of the unit circle."""
        radius = np.abs(np.linalg.eigvals(self.a / 2.0**self.frac_a)).max()
        return bool(radius > 1 + 2.0**-self.frac_a)

    def remember(self, block: Lanes, a: Any, held: Any) -> tuple[Lanes, Any, list[Any]]:
        (x,), f, rule = block, self.fractions, self.rule
        coupled = summed(rule.couple(self.a, x[:, :, None], f))
        x, clipped = keep(held, x, rule.settle(coupled, entered(rule, f, self.b, a), f), self.limit)
        left = summed(rule.leave(self.c, x[:, :, None], f))
        return (x,), rule.output(left, passed(rule, f, self.d, a), f) + self.bias, [clipped]

    def reset_memory(self, block: Lanes, acts: Any, f: Any) -> tuple[Lanes, list[Any]]:
        (x,) = block
        if self.reset_action == "hard":
            return (reset_hard(x, acts, self.r[..., 0]),), []
        new = x
        if self.reset_action == "scale":
            new = scaled(np.diagonal(self.m, axis1=1, axis2=2), x)
        elif self.reset_action == "linear":
            new = summed(scaled(self.m, x[:, :, None]))
        if self.reset_action != "scale":
            new = new - fed_back(self.r, f)
        x, clipped = self.settled(x, new, acts)
        return (x,), [clipped]

    def prove(self, name: str, a_max: IntArray) -> None:
        a, b, c, d = (np.abs(getattr(self, code).astype(object)) for code in self.coefficients)
        arriving = self.arriving_max(name, a_max)
        inner = a.sum(-1) * self.limit + ((b * arriving).sum(-1) << max(0, self.frac_a - self.frac_b))
        outer = c.sum(-1) * self.limit + ((d * arriving).sum(-1) << max(0, self.frac_c - self.frac_d))
        self.prove_common(name, inner.max(initial=0), outer)

    @property
    def footprint_bits(self) -> int:
        h, n, q, p = self.dims
        reset = {"none": 0, "scale": 1, "linear": n + p}.get(self.reset_action, p) * (not self.soma)
        per_state = (1 + reset) * self.state_bits + (n + q + p) * self.coefficient_bits
        return h * (n * per_state + self.mechanism_bits)
