"""The origin of a tensor of a running module: outputs of layers, through stateless layers and sums.

The tracer gives every tensor such a `Signal`. The steps tell a loop from a chain: what a layer reads in its step t from
step t - d of another arrives with delay d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

ALL = -1
"""The step of a tensor that holds all steps."""
STATIC = -2
"""The step of an input that every step receives."""
INPUT = ""
"""The source's name of the module's input."""
NO_LAYER = "values that come from no layer"


@dataclass(frozen=True)
class Sent:
    """One step of a layer's output, or all steps; `membrane` if it is no spikes."""

    source: str
    step: int
    membrane: bool = False


@dataclass(frozen=True)
class Through:
    """A signal after a stateless layer or a factor, by its name in the tracer's table."""

    layer: str
    of: Signal


@dataclass(frozen=True)
class Total:
    """A sum of signals; the empty one is 0."""

    of: tuple[Signal, ...] = ()


@dataclass(frozen=True)
class Reduced:
    """A signal over all steps, reduced by a readout rule."""

    rule: str
    of: Signal


@dataclass(frozen=True)
class Lost:
    """A tensor that cannot be followed, and the function that made it so."""

    by: str


Signal = Sent | Through | Total | Reduced | Lost
ZERO = Total()


class Path(NamedTuple):
    """One way from a source to a layer: through stateless layers, the first one first, after `delay` steps."""

    layers: tuple[str, ...]
    source: str
    delay: int
    membrane: bool


def total(parts: list[Signal]) -> Signal:
    """Return the sum of signals, which is lost if one of them is."""
    flat: list[Signal] = []
    for part in parts:
        if isinstance(part, (Lost, Reduced)):
            return part if isinstance(part, Lost) else Lost("a sum of values that are reduced over the steps")
        flat += part.of if isinstance(part, Total) else [part]
    return flat[0] if len(flat) == 1 else Total(tuple(flat))


def through(layer: str, of: Signal) -> Signal:
    """Return a signal after a stateless layer."""
    if isinstance(of, Lost):
        return of
    return replace(of, of=through(layer, of.of)) if isinstance(of, Reduced) else Through(layer, of)


def sent(signal: Signal) -> Iterator[Sent]:
    """Yield all that a signal is made of."""
    if isinstance(signal, Sent):
        yield signal
    elif isinstance(signal, (Through, Reduced)):
        yield from sent(signal.of)
    elif isinstance(signal, Total):
        for part in signal.of:
            yield from sent(part)


def lost(signal: Signal) -> str | None:
    """Return the function that lost the signal, or None."""
    return signal.by if isinstance(signal, Lost) else None


def holds_all_steps(signal: Signal) -> bool:
    """Return True if the signal holds all steps."""
    return any(part.step == ALL for part in sent(signal))


def with_steps(signal: Signal, before: int, after: int) -> Signal:
    """Return the signal with one step replaced by another."""
    if isinstance(signal, Sent):
        return replace(signal, step=after) if signal.step == before else signal
    if isinstance(signal, (Through, Reduced)):
        return replace(signal, of=with_steps(signal.of, before, after))
    if isinstance(signal, Total):
        return Total(tuple(with_steps(part, before, after) for part in signal.of))
    return signal


def stacked(steps: list[Signal]) -> Signal:
    """Return the signal of all steps that the steps are, one by one."""
    if not steps:
        return Lost("an empty stack")
    whole = with_steps(steps[0], 0, ALL)
    if all(with_steps(whole, ALL, step) == signal for step, signal in enumerate(steps)):
        return whole
    return next((signal for signal in steps if isinstance(signal, Lost)), Lost("a stack of different signals"))


def summed_steps(signal: Signal, steps: int) -> Signal:
    """Return the sum over all steps, if the signal is one; else the signal itself."""
    if isinstance(signal, Total) and len(signal.of) == steps > 1:
        whole = stacked(list(signal.of))
        return signal if isinstance(whole, Lost) else Reduced("sum", whole)
    return signal


def paths(signal: Signal, call: int, after: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield every way into a layer's call; `after` are the stateless layers that follow."""
    if isinstance(signal, Sent):
        delay = call - signal.step if signal.step >= 0 else 0
        yield Path(after, signal.source, delay, signal.membrane)
    elif isinstance(signal, Through):
        yield from paths(signal.of, call, (signal.layer, *after))
    elif isinstance(signal, Total):
        for part in signal.of:
            yield from paths(part, call, after)
