"""Mechanisms after a neuron's dynamics, by name: spiking function, reset condition, reset action, refractory period.

Each is chosen independently. `require_meaning` refuses the combinations that mean nothing (docs/arithmetic.md).

Source: Karilanova, Dey, Ozcelikkale, IEEE Journal of Selected Topics in Signal Processing 19(6), 2025: spiking
function, reset condition and reset action as separate mechanisms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import Emits, refractory_losses

EMITS: Mapping[str, Emits] = {
    "binary": "binary",
    "ternary": "signed",
    "graded": "graded",
    "stochastic": "binary",
    "phase": "binary",
}
SPIKES = tuple(EMITS)
CONDITIONS = ("never", "any", "each", "magnitude", "every")
ACTIONS = ("none", "hard", "soft", "scale", "linear", "modulo")
REFRACTORY_MODES = ("hold", "mask", "mask-raw")
SIGNED = ("ternary", "graded")
ONE_SIDED = ("ternary", "graded", "stochastic")


class Mechanisms(Protocol):
    """Fields that float and integer populations share."""

    @property
    def kind(self) -> str: ...
    @property
    def spike(self) -> str: ...
    @property
    def soma(self) -> bool: ...
    @property
    def rectify(self) -> bool: ...
    @property
    def adaptation(self) -> bool: ...
    @property
    def reset_condition(self) -> str: ...
    @property
    def reset_action(self) -> str: ...
    @property
    def refractory_mode(self) -> str: ...
    @property
    def refractory_steps(self) -> int: ...
    @property
    def states_per_neuron(self) -> int: ...
    @property
    def outputs(self) -> int: ...


def readable_membrane(n: Mechanisms) -> str | None:
    """Return the recorded state from which a readout gets the membrane of before the reset; None if none gives it.

    y is not reset. A soma's v is known again where a spike resets it, but not where something else does.
    """
    if not n.soma:
        return "y"
    return "v" if n.reset_action == "none" or n.reset_condition in ("any", "each") else None


def nir_losses(n: Mechanisms) -> Iterator[str]:
    """Name the mechanisms that NIR's primitives do not say, with what other readers do instead."""
    yield from refractory_losses(n.refractory_steps)
    if n.reset_action != "none":
        yield f"its {n.reset_action} reset has no primitive: in other readers a spike leaves the states as they are"
    if n.spike != "binary":
        yield f"its {n.spike} spikes have no primitive: other readers see a threshold"
    if n.rectify:
        yield "its rectification has no primitive: other readers pass negative sums on"
    if n.adaptation:
        yield "its adaptive threshold has no primitive: other readers have a fixed threshold"


def require_meaning(n: Mechanisms) -> None:
    """Raise `BadOption`, with the reason, for a name that does not exist or a combination without meaning."""
    named = (
        ("spike", SPIKES),
        ("reset_condition", CONDITIONS),
        ("reset_action", ACTIONS),
        ("refractory_mode", REFRACTORY_MODES),
    )
    for name, known in named:
        if getattr(n, name) not in known:
            raise BadOption(f"{n.kind}: {name} {getattr(n, name)!r} is unknown: choose one of {known}")
    for reason in _objections(n):
        raise BadOption(f"{n.kind}: {reason}")


def _objections(n: Mechanisms) -> Iterator[str]:
    condition, action, signed = n.reset_condition, n.reset_action, n.spike in SIGNED
    if (condition == "never") != (action == "none"):
        yield f"reset action {action!r} with condition {condition!r} has no effect: choose both or neither"
    if condition == "each" and action in ("hard", "scale", "linear") and n.outputs > 1 and not n.soma:
        yield (
            f"reset {action!r} acts on the whole neuron, condition 'each' leaves open which of {n.outputs} outputs "
            "causes it: choose 'any'"
        )
    if condition == "any" and action in ("soft", "linear") and signed:
        yield (
            f"reset {action!r} feeds a {n.spike} spike back, condition 'any' loses its sign, states would grow: "
            "choose 'each'"
        )
    if (n.rectify or n.adaptation) and not n.soma:
        yield "rectification and adaptation act on a soma: give soma"
    if action == "modulo":
        yield from _against_modulo(n, signed)
    if n.spike == "phase" and (n.soma or n.kind != "state_space" or n.states_per_neuron != 1 or n.outputs != 1):
        yield "spike 'phase' reads one complex state: give state_space with N = 1, one output and no soma"


def _against_modulo(n: Mechanisms, signed: bool) -> Iterator[str]:
    if not n.soma:
        yield "reset 'modulo' removes whole thresholds from a soma: give one, or choose 'soft'"
    if signed:
        yield f"reset 'modulo' counts thresholds, which a {n.spike} spike crosses both ways: choose 'soft'"
    if n.reset_condition != "each" and (n.reset_condition != "any" or n.outputs > 1):
        yield "reset 'modulo' follows the spike that crossed the threshold: choose condition 'each'"
