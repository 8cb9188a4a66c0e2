"""What state-space dynamics is to the Processes that hold one, and what all of them check."""

from typing import Any, ClassVar, Protocol

from nmdeploy.lava.periodic import check_state_bits
from nmdeploy.lava.rounding import Integers

ROUNDING = ("per-product", "per-sum")
FACTOR_BITS = 12
States = tuple[Integers, ...]


class Dynamics(Protocol):
    """Linear states of H neurons (docs/arithmetic.md, `Dynamics`): integers in, integers out, nothing kept.

    Attributes
    ----------
    registers : tuple of str
        Names of the state arrays, each (neurons, states).
    neurons, states, inputs, outputs : int
        H, N, q and p.
    state_bits : int
        Width of the states.
    input_bias : array of int, shape (neurons, inputs)
        Added to the inputs, before they reach `update` and `output`.
    """

    registers: ClassVar[tuple[str, ...]]

    @property
    def neurons(self) -> int:
        """H."""

    @property
    def states(self) -> int:
        """N."""

    @property
    def inputs(self) -> int:
        """Inputs q of a neuron."""

    @property
    def outputs(self) -> int:
        """Outputs p of a neuron."""

    @property
    def state_bits(self) -> int:
        """Width of the states."""

    @property
    def input_bias(self) -> Integers:
        """(H, q)."""

    def update(self, states: States, a: Integers) -> States:
        """Next states for the inputs `a`, (H, q)."""

    def output(self, states: States, a: Integers) -> Integers:
        """``y``, (H, p), of the new states."""

    def reset(self, action: str, states: States, feedback: Integers) -> States:
        """States after the reset `action`, were it to act everywhere, with `feedback` (H, p)."""


def check_dynamics(dynamics: Any) -> None:
    """Refuse a width, a rounding or fractions that no rule covers.

    Raises
    ------
    ValueError
        Names the field and its limit.
    """
    check_state_bits(dynamics.state_bits)
    if dynamics.rounding not in ROUNDING:
        raise ValueError(f"rounding is {dynamics.rounding!r}; known are {', '.join(ROUNDING)}")
    if dynamics.rounding == "per-sum" and (dynamics.frac_b > dynamics.frac_a or dynamics.frac_d > dynamics.frac_c):
        raise ValueError("per-sum needs frac_b <= frac_a and frac_d <= frac_c")
