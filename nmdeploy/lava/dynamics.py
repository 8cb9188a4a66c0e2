"""The interface of state-space dynamics, and the checks that all of them share."""

from typing import Any, ClassVar, Protocol

from nmdeploy.lava.periodic import check_state_bits
from nmdeploy.lava.rounding import Integers

ROUNDING = ("per-product", "per-sum")
FACTOR_BITS = 12
States = tuple[Integers, ...]


class Dynamics(Protocol):
    """Linear states of H neurons (docs/arithmetic.md, `Dynamics`), as pure functions of integers.

    Attributes
    ----------
    registers : tuple of str
        Names of the state arrays, each (neurons, states).
    neurons, states, inputs, outputs : int
        Sizes H, N, q and p.
    state_bits : int
        Width of the states.
    input_bias : array of int, shape (neurons, inputs)
        Bias of the inputs. The caller adds it before `update` and `output`.
    """

    registers: ClassVar[tuple[str, ...]]

    @property
    def neurons(self) -> int:
        """Number of neurons, H."""

    @property
    def states(self) -> int:
        """Number of states per neuron, N."""

    @property
    def inputs(self) -> int:
        """Number of inputs per neuron, q."""

    @property
    def outputs(self) -> int:
        """Number of outputs per neuron, p."""

    @property
    def state_bits(self) -> int:
        """Width of the states."""

    @property
    def input_bias(self) -> Integers:
        """Bias of the inputs, (H, q)."""

    def update(self, states: States, a: Integers) -> States:
        """Return the next states for the inputs `a`, (H, q)."""

    def output(self, states: States, a: Integers) -> Integers:
        """Return ``y``, (H, p), of the new states."""

    def reset(self, action: str, states: States, feedback: Integers) -> States:
        """Return every neuron's states after the reset `action`, with `feedback` of shape (H, p)."""


def check_dynamics(dynamics: Any) -> None:
    """Refuse a width, a rounding or fraction bits outside of their limits.

    Raises
    ------
    ValueError
        A field exceeds its limit; the message names both.
    """
    check_state_bits(dynamics.state_bits)
    if dynamics.rounding not in ROUNDING:
        raise ValueError(f"rounding is {dynamics.rounding!r}; known are {', '.join(ROUNDING)}")
    if dynamics.rounding == "per-sum" and (dynamics.frac_b > dynamics.frac_a or dynamics.frac_d > dynamics.frac_c):
        raise ValueError("per-sum needs frac_b <= frac_a and frac_d <= frac_c")
