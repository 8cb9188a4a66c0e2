"""Integer arithmetic of complex states with a diagonal coupling."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmdeploy.lava.dynamics import FACTOR_BITS, States, check_dynamics
from nmdeploy.lava.rounding import Integers, integers, rz, sat


@dataclass(frozen=True, eq=False)
class DiagonalDynamics:
    """States x = re + i im with a diagonal A: ``x <- A x + B a``, ``y = Re(C x) + D a + bias`` (`state_space`).

    Parameters
    ----------
    a_re, a_im : array of int, shape (neurons, states)
        Codes of A with `frac_a` fraction bits.
    b_re, b_im : array of int, shape (neurons, states, inputs)
        Codes of B with `frac_b` fraction bits.
    c_re, c_im : array of int, shape (neurons, outputs, states)
        Codes of C with `frac_c` fraction bits. `c_im` enters with a minus sign. The codes contain a factor 2
        of pairs.
    d : array of int, shape (neurons, outputs, inputs)
        Feedthrough with `frac_d` fraction bits.
    bias : array of int, shape (neurons, outputs)
        Bias of y, in the units of y.
    input_bias : array of int, shape (neurons, inputs)
        Bias of the inputs a.
    frac_a, frac_b, frac_c, frac_d : int
        Fraction bits.
    rounding : {'per-product', 'per-sum'}
        Round each product towards zero, or each sum of products once. `per-sum` needs ``frac_b <= frac_a`` and
        ``frac_d <= frac_c``.
    state_bits : int
        Width to which re and im are clipped, at most 32.
    r_re, r_im : array of int, shape (neurons, states, outputs)
        Reset codes in units of the state.
    m_re, m_im : array of int, shape (neurons, states)
        Reset factors with 12 fraction bits.

    Raises
    ------
    ValueError
        A shape is wrong, a code exceeds 32 bits, or a field exceeds its limits.
    """

    a_re: Any
    a_im: Any
    b_re: Any
    b_im: Any
    c_re: Any
    c_im: Any
    d: Any
    bias: Any
    frac_a: int
    frac_b: int
    frac_c: int
    frac_d: int
    rounding: str = "per-product"
    state_bits: int = 24
    r_re: Any = 0
    r_im: Any = 0
    m_re: Any = 0
    m_im: Any = 0
    input_bias: Any = 0
    registers: ClassVar[tuple[str, ...]] = ("re", "im")

    def __post_init__(self) -> None:
        if (np.ndim(self.a_re), np.ndim(self.b_re), np.ndim(self.c_re)) != (2, 3, 3):
            raise ValueError("a_re, b_re, c_re must be (H, states), (H, states, inputs) and (H, outputs, states)")
        check_dynamics(self)
        (size, states), inputs, outputs = np.shape(self.a_re), np.shape(self.b_re)[2], np.shape(self.c_re)[1]
        shapes: dict[str, tuple[int, ...]] = {
            "d": (size, outputs, inputs),
            "bias": (size, outputs),
            "input_bias": (size, inputs),
        }
        for part in ("re", "im"):
            shapes |= {f"a_{part}": (size, states), f"b_{part}": (size, states, inputs)}
            shapes |= {f"c_{part}": (size, outputs, states), f"r_{part}": (size, states, outputs)}
            shapes |= {f"m_{part}": (size, states)}
        for key, shape in shapes.items():
            object.__setattr__(self, key, integers(key, getattr(self, key), shape))

    @property
    def neurons(self) -> int:
        """Number of neurons, H."""
        return int(self.a_re.shape[0])

    @property
    def states(self) -> int:
        """Number of complex states per neuron, N."""
        return int(self.a_re.shape[1])

    @property
    def inputs(self) -> int:
        """Number of inputs per neuron, q."""
        return int(self.b_re.shape[2])

    @property
    def outputs(self) -> int:
        """Number of outputs per neuron, p."""
        return int(self.c_re.shape[1])

    def update(self, states: States, a: Integers) -> States:
        """Return the next re and im (H, N), clipped to `state_bits`, for the inputs `a` (H, q)."""
        re, im = states
        fed_re, fed_im = self.b_re * a[:, np.newaxis], self.b_im * a[:, np.newaxis]
        if self.rounding == "per-sum":
            align = self.frac_a - self.frac_b
            new_re = rz(self.a_re * re - self.a_im * im + (fed_re.sum(-1) << align), self.frac_a)
            new_im = rz(self.a_im * re + self.a_re * im + (fed_im.sum(-1) << align), self.frac_a)
        else:
            new_re = rz(self.a_re * re, self.frac_a) - rz(self.a_im * im, self.frac_a) + rz(fed_re, self.frac_b).sum(-1)
            new_im = rz(self.a_im * re, self.frac_a) + rz(self.a_re * im, self.frac_a) + rz(fed_im, self.frac_b).sum(-1)
        return sat(new_re, self.state_bits), sat(new_im, self.state_bits)

    def output(self, states: States, a: Integers) -> Integers:
        """Return ``y = Re(C x) + D a + bias``, (H, p), of the new states."""
        seen_re, seen_im = self.c_re * states[0][:, np.newaxis], self.c_im * states[1][:, np.newaxis]
        through = self.d * a[:, np.newaxis]
        if self.rounding == "per-sum":
            total = (seen_re - seen_im).sum(-1) + (through.sum(-1) << (self.frac_c - self.frac_d))
            y = rz(total, self.frac_c)
        else:
            y = (rz(seen_re, self.frac_c) - rz(seen_im, self.frac_c)).sum(-1) + rz(through, self.frac_d).sum(-1)
        return np.asarray(y + self.bias)

    def reset(self, action: str, states: States, feedback: Integers) -> States:
        """Return every neuron's re and im after the reset `action`, with `feedback` of shape (H, p)."""
        re, im = states
        if action == "hard":
            return self.r_re[..., 0], self.r_im[..., 0]
        if action == "scale":
            re, im = rz(self.m_re * re, FACTOR_BITS), rz(self.m_re * im, FACTOR_BITS)
        elif action == "linear":
            re, im = (
                rz(self.m_re * re, FACTOR_BITS) - rz(self.m_im * im, FACTOR_BITS),
                rz(self.m_im * re, FACTOR_BITS) + rz(self.m_re * im, FACTOR_BITS),
            )
        if action in ("soft", "linear"):
            re = re - (self.r_re * feedback[:, np.newaxis]).sum(-1)
            im = im - (self.r_im * feedback[:, np.newaxis]).sum(-1)
        return sat(re, self.state_bits), sat(im, self.state_bits)
