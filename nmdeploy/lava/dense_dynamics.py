"""Integer arithmetic of real states with a dense coupling."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nmdeploy.lava.dynamics import FACTOR_BITS, States, check_dynamics
from nmdeploy.lava.rounding import Integers, integers, rz, sat


@dataclass(frozen=True, eq=False)
class DenseDynamics:
    """Real states with a dense A: ``x <- A x + B a``, ``y = C x + D a + bias`` (`dense_state_space`).

    Parameters
    ----------
    a : array of int, shape (neurons, states, states)
        Codes of A with `frac_a` fraction bits.
    b : array of int, shape (neurons, states, inputs)
        Codes of B with `frac_b` fraction bits.
    c : array of int, shape (neurons, outputs, states)
        Codes of C with `frac_c` fraction bits.
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
        Width to which x is clipped, at most 32.
    r : array of int, shape (neurons, states, outputs)
        Reset codes in units of the state.
    m : array of int, shape (neurons, states, states)
        Reset factors with 12 fraction bits; `scale` uses the diagonal.
    rectify_states : bool
        A state that would fall below 0 in an update becomes 0.

    Raises
    ------
    ValueError
        A shape is wrong, a code exceeds 32 bits, or a field exceeds its limits.
    """

    a: Any
    b: Any
    c: Any
    d: Any
    bias: Any
    frac_a: int
    frac_b: int
    frac_c: int
    frac_d: int
    rounding: str = "per-product"
    state_bits: int = 24
    r: Any = 0
    m: Any = 0
    input_bias: Any = 0
    rectify_states: bool = False
    registers: ClassVar[tuple[str, ...]] = ("x",)

    def __post_init__(self) -> None:
        if (np.ndim(self.a), np.ndim(self.b), np.ndim(self.c)) != (3, 3, 3):
            raise ValueError("a, b, c must be (H, states, states), (H, states, inputs) and (H, outputs, states)")
        check_dynamics(self)
        (size, states), inputs, outputs = np.shape(self.a)[:2], np.shape(self.b)[2], np.shape(self.c)[1]
        shapes = {
            "a": (size, states, states),
            "b": (size, states, inputs),
            "c": (size, outputs, states),
            "d": (size, outputs, inputs),
            "bias": (size, outputs),
            "input_bias": (size, inputs),
            "r": (size, states, outputs),
            "m": (size, states, states),
        }
        for key, shape in shapes.items():
            object.__setattr__(self, key, integers(key, getattr(self, key), shape))

    @property
    def neurons(self) -> int:
        """Number of neurons, H."""
        return int(self.a.shape[0])

    @property
    def states(self) -> int:
        """Number of states per neuron, N."""
        return int(self.a.shape[1])

    @property
    def inputs(self) -> int:
        """Number of inputs per neuron, q."""
        return int(self.b.shape[2])

    @property
    def outputs(self) -> int:
        """Number of outputs per neuron, p."""
        return int(self.c.shape[1])

    def update(self, states: States, a: Integers) -> States:
        """Return the next x (H, N), clipped to `state_bits`, for the inputs `a` (H, q)."""
        coupled, fed = self.a * states[0][:, np.newaxis], self.b * a[:, np.newaxis]
        if self.rounding == "per-sum":
            new = rz(coupled.sum(-1) + (fed.sum(-1) << (self.frac_a - self.frac_b)), self.frac_a)
        else:
            new = rz(coupled, self.frac_a).sum(-1) + rz(fed, self.frac_b).sum(-1)
        if self.rectify_states:
            new = np.where(new < 0, 0, new)
        return (sat(new, self.state_bits),)

    def output(self, states: States, a: Integers) -> Integers:
        """Return ``y = C x + D a + bias``, (H, p), of the new states."""
        seen, through = self.c * states[0][:, np.newaxis], self.d * a[:, np.newaxis]
        if self.rounding == "per-sum":
            y = rz(seen.sum(-1) + (through.sum(-1) << (self.frac_c - self.frac_d)), self.frac_c)
        else:
            y = rz(seen, self.frac_c).sum(-1) + rz(through, self.frac_d).sum(-1)
        return np.asarray(y + self.bias)

    def reset(self, action: str, states: States, feedback: Integers) -> States:
        """Return every neuron's x after the reset `action`, with `feedback` of shape (H, p)."""
        (x,) = states
        if action == "hard":
            return (self.r[..., 0],)
        if action == "scale":
            x = rz(np.diagonal(self.m, axis1=1, axis2=2) * x, FACTOR_BITS)
        elif action == "linear":
            x = rz(self.m * x[:, np.newaxis], FACTOR_BITS).sum(-1)
        if action in ("soft", "linear"):
            x = x - (self.r * feedback[:, np.newaxis]).sum(-1)
        return (sat(x, self.state_bits),)
