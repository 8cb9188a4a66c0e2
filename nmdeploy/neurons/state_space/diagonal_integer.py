"""Integer state-space population with a diagonal complex memory: docs/arithmetic.md, ``state_space``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmdeploy.neurons.base import IntArray
from nmdeploy.neurons.state_space.integer import Lanes, QuantizedSpiking, entered, fed_back, passed, summed
from nmdeploy.neurons.state_space.rules import Fractions, Rounding, keep, reset_hard, scaled


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedStateSpace(QuantizedSpiking):
    """Integer population with N complex states a neuron, A diagonal.

    Parameters
    ----------
    a_re, a_im : (H, N) int
    b_re, b_im : (H, N, q) int;  c_re, c_im : (H, p, N) int
        Coefficients; the factor 2 of conjugate pairs is contained in C.
    r_re, r_im : (H, N, p) int;  m_re, m_im : (H, N) int
        Target or amount, and factors (in 1/4096), of the reset.
    """

    a_re: IntArray
    a_im: IntArray
    b_re: IntArray
    b_im: IntArray
    c_re: IntArray
    c_im: IntArray
    r_re: IntArray = 0  # type: ignore[assignment]
    r_im: IntArray = 0  # type: ignore[assignment]
    m_re: IntArray = 0  # type: ignore[assignment]
    m_im: IntArray = 0  # type: ignore[assignment]

    kind: ClassVar[str] = "state_space"
    blocks: ClassVar[tuple[str, ...]] = ("re", "im")
    coefficients: ClassVar[tuple[str, ...]] = ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im", "d")
    reset_codes: ClassVar[tuple[str, ...]] = ("r_re", "r_im")
    reset_factors: ClassVar[tuple[str, ...]] = ("m_re", "m_im")

    def __post_init__(self) -> None:
        h, n = np.shape(self.a_re)
        b, c = np.asarray(self.b_re), np.asarray(self.c_re)
        q, p = b.shape[2] if b.ndim == 3 else 1, c.shape[1] if c.ndim == 3 else 1
        shapes = {"a": (h, n), "b": (h, n, q), "c": (h, p, n), "r": (h, n, p), "m": (h, n)}
        for name, shape in shapes.items():
            for part in (f"{name}_re", f"{name}_im"):
                self._freeze(part, widened(getattr(self, part), name), np.int64, shape)
        self._freeze_common()
        self._check_common()

    @property
    def dims(self) -> tuple[int, int, int, int]:
        h, n, q = self.b_re.shape
        return h, n, q, self.c_re.shape[1]

    @property
    def unstable(self) -> bool:
        """Whether the code of a pole lies outside of the unit circle."""
        return bool((self.a_re.astype(float) ** 2 + self.a_im.astype(float) ** 2 > 4.0**self.frac_a).any())

    def remember(self, block: Lanes, a: Any, held: Any) -> tuple[Lanes, Any, list[Any]]:
        (re, im), f, rule = block, self.fractions, self.rule
        new_re, new_im = rotated(rule, f, self.a_re, self.a_im, re, im)
        new_re = rule.settle(new_re, entered(rule, f, self.b_re, a), f)
        new_im = rule.settle(new_im, entered(rule, f, self.b_im, a), f)
        re, clipped_re = keep(held, re, new_re, self.limit)
        im, clipped_im = keep(held, im, new_im, self.limit)
        lanes = rule.leave(self.c_re, re[:, :, None], f) - rule.leave(self.c_im, im[:, :, None], f)
        y = rule.output(summed(lanes), passed(rule, f, self.d, a), f) + self.bias
        return (re, im), y, [clipped_re, clipped_im]

    def reset_memory(self, block: Lanes, acts: Any, f: Any) -> tuple[Lanes, list[Any]]:
        re, im = block
        if self.reset_action == "hard":
            return (reset_hard(re, acts, self.r_re[..., 0]), reset_hard(im, acts, self.r_im[..., 0])), []
        new_re, new_im = re, im
        if self.reset_action != "soft":
            m_im = self.m_im if self.reset_action == "linear" else 0
            new_re = scaled(self.m_re, re) - scaled(m_im, im)
            new_im = scaled(m_im, re) + scaled(self.m_re, im)
        if self.reset_action != "scale":
            new_re, new_im = new_re - fed_back(self.r_re, f), new_im - fed_back(self.r_im, f)
        re, clipped_re = self.settled(re, new_re, acts)
        im, clipped_im = self.settled(im, new_im, acts)
        return (re, im), [clipped_re, clipped_im]

    def prove(self, name: str, a_max: IntArray) -> None:
        codes = (np.abs(getattr(self, code).astype(object)) for code in self.coefficients)
        a_re, a_im, b_re, b_im, c_re, c_im, d = codes
        a = self.arriving_max(name, a_max)
        inner = (a_re + a_im) * self.limit + ((np.maximum(b_re, b_im) * a).sum(-1) << max(0, self.frac_a - self.frac_b))
        outer = (c_re + c_im).sum(-1) * self.limit + ((d * a).sum(-1) << max(0, self.frac_c - self.frac_d))
        self.prove_common(name, inner.max(initial=0), outer)

    @property
    def footprint_bits(self) -> int:
        h, n, q, p = self.dims
        reset = {"none": 0, "scale": 1, "linear": 2 + 2 * p}.get(self.reset_action, 2 * p) * (not self.soma)
        per_state = (2 + reset) * self.state_bits + (2 + 2 * q + 2 * p) * self.coefficient_bits
        return h * (n * per_state + self.mechanism_bits)


def rotated(rule: Rounding, f: Fractions, a_re: Any, a_im: Any, re: Any, im: Any) -> tuple[Any, Any]:
    """``A x`` of a complex state, under a rounding rule."""
    new_re = rule.couple(a_re, re, f) - rule.couple(a_im, im, f)
    return new_re, rule.couple(a_im, re, f) + rule.couple(a_re, im, f)


def widened(value: Any, name: str) -> Any:
    """The short shapes of one input and one output, in full: b (H, N, 1), c (H, 1, N), r (H, N, 1)."""
    array = np.asarray(value)
    if array.ndim == 2 and name in "br":
        return array[..., None]
    return array[:, None] if array.ndim == 2 and name == "c" else array
