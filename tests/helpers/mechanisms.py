"""Every combination of the mechanisms of docs/arithmetic.md, and the combinations that the document refuses.

`refusals` is written from the document's list, not from the package: tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

KINDS = ("state_space", "dense_state_space")
SPIKES = ("binary", "ternary", "graded", "stochastic", "phase")
CONDITIONS = ("never", "any", "each", "magnitude", "every")
ACTIONS = ("none", "hard", "soft", "scale", "linear", "modulo")
MODES = ("hold", "mask", "mask-raw")
SIGNED = ("ternary", "graded")
ONE_SIDED = ("ternary", "graded", "stochastic")


@dataclass(frozen=True)
class Mechanisms:
    """A choice of each mechanism; `outputs` is p, `states` is N."""

    kind: str
    spike: str
    condition: str
    action: str
    mode: str
    soma: bool
    adaptation: bool = False
    outputs: int = 1
    states: int = 1

    @property
    def name(self) -> str:
        """Name of a population with this choice."""
        inner = "adaptive-" if self.adaptation else "soma-" if self.soma else ""
        dynamics = self.kind.partition("_")[0]
        return f"{dynamics}-{inner}{self.spike}-{self.condition}-{self.action}-{self.mode}-{self.outputs}"

    @property
    def fields(self) -> dict[str, Any]:
        """Return the choice as a population's fields."""
        return {
            "spike": self.spike,
            "reset_condition": self.condition,
            "reset_action": self.action,
            "refractory_mode": self.mode,
            "soma": self.soma,
            "adaptation": self.adaptation,
        }


def refusals(m: Mechanisms) -> list[tuple[str, ...]]:
    """Return, for every reason to refuse the combination, the words that an explanation must contain."""
    found: list[tuple[str, ...]] = []
    if m.action != "none" and m.condition == "never":
        found.append((m.action, "condition"))
    if m.action == "none" and m.condition != "never":
        found.append((m.condition, "action"))
    if m.action in ("hard", "scale", "linear") and m.condition == "each" and m.outputs > 1 and not m.soma:
        found.append((m.action, "each", "output"))
    if m.action in ("soft", "linear") and m.condition == "any" and m.spike in SIGNED:
        found.append((m.spike, "any", "sign"))
    if m.action == "modulo" and not m.soma:
        found.append(("modulo", "soma"))
    if m.action == "modulo" and m.spike in SIGNED:
        found.append(("modulo", m.spike))
    if m.action == "modulo" and not (m.condition == "each" or (m.condition == "any" and m.outputs == 1)):
        found.append(("modulo", "condition"))
    if m.spike == "phase" and (m.soma or m.kind != "state_space" or m.states != 1 or m.outputs != 1):
        found.append(("phase",))
    if m.adaptation and not m.soma:
        found.append(("adaptation", "soma"))
    return found


def combinations(outputs: tuple[int, ...] = (1, 2)) -> Iterator[Mechanisms]:
    """Yield every combination of spiking function, condition, action, mode, soma, dynamics and outputs per neuron.

    The soma is none, plain or adaptive.
    """
    inner = ((False, False), (True, False), (True, True))
    for kind, spike, condition, action, mode, (soma, adaptation), p in product(
        KINDS, SPIKES, CONDITIONS, ACTIONS, MODES, inner, outputs
    ):
        states = 1 if spike == "phase" and kind == "state_space" else 2
        yield Mechanisms(kind, spike, condition, action, mode, soma, adaptation, p, states)


def legal(outputs: tuple[int, ...] = (1, 2)) -> list[Mechanisms]:
    """Return the combinations that have a meaning."""
    return [m for m in combinations(outputs) if not refusals(m)]
