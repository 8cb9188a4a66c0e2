"""Parts that the simulated populations share: elementary operations, and a count of clips."""

from __future__ import annotations

from collections import Counter
from typing import Any

Record = dict[str, list[Any]]


def rz(x: int, k: int) -> int:
    """Divide by 2**k and round towards zero."""
    return (x >> k) if x >= 0 else -((-x) >> k)


def shift(x: int, e: int) -> int:
    """Multiply by 2**e; floor for e < 0."""
    return x << e if e >= 0 else x >> -e


def wrap24(x: int) -> int:
    """Correct once by 2**24."""
    return x - 2**24 if x > 2**23 else x + 2**24 if x <= -(2**23) else x


class Population:
    """A population's fields `p`, its numbers of sums and outputs, and its overflows."""

    spiking = True
    window = 1

    def __init__(self, node: dict[str, Any], inputs: int, outputs: int) -> None:
        self.p, self.inputs, self.outputs = node, inputs, outputs
        self.overflows: Counter[str] = Counter()

    def sat(self, x: int, bits: int, flag: str) -> int:
        """Clip into the symmetric range of `bits` bits, and count it."""
        limit = 2 ** (bits - 1) - 1
        if abs(x) > limit:
            self.overflows[flag] += 1
        return max(-limit, min(limit, x))

    def step(self, a: list[int], t: int) -> list[int]:
        """Run own step t on the synaptic sums a, and return the output."""
        raise NotImplementedError

    def aligned(self, steps: int) -> list[list[int]]:
        """Return the outputs of each step of a window of `steps` steps that just ended."""
        raise NotImplementedError

    def recorded(self) -> dict[str, Any]:
        """Return the registers after the step, by name."""
        raise NotImplementedError
