"""Float step of a population, run once on symbols, as the integer step is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.trace import pairs as pairs
from nmdeploy.engine.trace.operations import apply, select
from nmdeploy.engine.trace.step import STEP, STEPS, Register, Step, as_symbol
from nmdeploy.engine.trace.symbols import NotTraceable, Pair, Symbol, constant, leaf, order, time_symbol
from nmdeploy.neurons.base import Neuron, StepTime

SUM = "sum"
EXTREME = "extreme "
Recorded = Mapping[str, Callable[[Any], Any]]


def trace_float(neuron: Neuron, observe: bool, recorded: Recorded) -> Step:
    """Run a float population's step on symbols.

    Parameters
    ----------
    neuron : Neuron
        The population.
    observe : bool
        If true, a register per magnitude of `Neuron.observe` holds the largest one so far: its name begins with
        `EXTREME`.
    recorded : mapping of str to callable
        What is recorded of the state after a step, by name.

    Raises
    ------
    NotTraceable
        The step branches on values, mixes neurons, or calls a function that has no meaning on symbols.
    """
    size, width = neuron.size, neuron.input_size // max(neuron.size, 1)
    given = leaf(SUM, size, (width,) if width > 1 else (), merged=width > 1, real=True)
    # After the last step nothing arrives.
    a = select(time_symbol(STEP) < time_symbol(STEPS), given, 0.0) if neuron.output_latency else given
    start = {name: np.asarray(values) for name, values in neuron.start(1).items()}
    before = {name: _old(name, values, size) for name, values in start.items()}
    try:
        after, output = neuron.step(before, a, StepTime(time_symbol(STEP), time_symbol(STEPS)))  # type: ignore[arg-type]
        seen = neuron.observe(after) if observe else {}
        kept = {name: read(after) for name, read in recorded.items()}
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise NotTraceable(f"{type(error).__name__}: {error}") from None
    like = leaf("", size)
    registers: dict[str, Register] = {}
    for name, old in before.items():
        registers |= _registers(name, old, start[name], after[name])
    for name, value in seen.items():
        registers |= _extreme(name, as_symbol(value, like))
    step = Step(
        neurons=size,
        registers=registers,
        sums={SUM: given},
        output=as_symbol(output, like),
        active=constant(False, boolean=True),
        flags={},
        recorded={name: as_symbol(value, like) for name, value in kept.items()},
    )
    return _without_unread(step)


def _old(name: str, start: npt.NDArray[Any], size: int) -> Symbol | Pair:
    if start.shape[:2] != (1, size):
        raise NotTraceable(f"a state of shape {start.shape}: it needs an axis of samples, then one of neurons")

    def symbol(part: str) -> Symbol:
        kind = start.dtype.kind
        return leaf(f"{name}{part}", size, start.shape[2:], boolean=kind == "b", real=kind in "fc")

    return Pair(symbol(".real"), symbol(".imag")) if start.dtype.kind == "c" else symbol("")


def _registers(name: str, old: Symbol | Pair, start: npt.NDArray[Any], new: Any) -> dict[str, Register]:
    olds, starts, news = (_parts(value, isinstance(old, Pair)) for value in (old, start, new))
    found = {}
    for part, held in olds.items():
        symbol = as_symbol(news[part], held)
        if symbol.shape != held.shape:
            raise NotTraceable(f"state {name!r} of shape {held.shape} becomes one of shape {symbol.shape}")
        symbol = symbol.astype(bool if held.node.boolean else np.float64)
        found[held.node.value] = Register(held, np.asarray(starts[part], np.float64)[0], symbol)
    return found


def _parts(value: Any, pair: bool) -> dict[str, Any]:
    """Return a state's parts, by what their registers' names add to its own."""
    return {".real": value.real, ".imag": value.imag} if pair else {"": value}


def _extreme(name: str, value: Symbol) -> dict[str, Register]:
    old = leaf(f"{EXTREME}{name}", value.neurons, value.sizes, real=True)
    start = np.zeros((1, *value.sizes))
    return {old.node.value: Register(old, start, apply("max", old, value))}


def _without_unread(step: Step) -> Step:
    """Return the step without registers that nothing but themselves reads, unless they are extremes."""
    kept = {name: r for name, r in step.registers.items() if name.startswith(EXTREME)}
    while True:
        roots = [*(r.new for r in kept.values()), step.output, *step.recorded.values()]
        read = set(order(roots))
        found = {name: r for name, r in step.registers.items() if name in kept or r.old.node in read}
        if len(found) == len(kept):
            return replace(step, registers=found)
        kept = found
