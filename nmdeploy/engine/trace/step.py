"""Integer step of a population, run once on symbols."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.trace.operations import apply, number, select
from nmdeploy.engine.trace.symbols import NotTraceable, Symbol, leaf, order, time_symbol
from nmdeploy.engine.trace.views import align
from nmdeploy.neurons.base import IntArray, QuantizedNeuron, StepTime
from nmdeploy.synapses.base import QuantizedSynapse

STEP, STEPS = "step", "steps"


@dataclass(frozen=True, eq=False)
class Register:
    """Value carried from step to step: the leaf that is read, its start (H or 1, *dims), and its next value."""

    old: Symbol
    start: npt.NDArray[Any]
    new: Symbol


@dataclass(frozen=True, eq=False)
class Step:
    """The graph of one step of a population.

    Parameters
    ----------
    neurons : int
        Number of neurons, H.
    registers : mapping of str to Register
        Registers by name.
    sums : mapping of str to Symbol
        Leaves (1, H q): the matrix products that arrive, by synapse.
    output : Symbol
        Output of the step.
    active : Symbol
        True for each neuron that receives or sends something.
    flags : mapping of str to Symbol
        Overflow flags by metric.
    recorded : mapping of str to Symbol
        Recorded states by name.
    """

    neurons: int
    registers: Mapping[str, Register]
    sums: Mapping[str, Symbol]
    output: Symbol
    active: Symbol
    flags: Mapping[str, Symbol]
    recorded: Mapping[str, Symbol]

    @property
    def roots(self) -> list[Symbol]:
        """Values that the step computes."""
        news = [register.new for register in self.registers.values()]
        return [*news, self.output, self.active, *self.flags.values(), *self.recorded.values()]


def trace(neuron: QuantizedNeuron, synapses: Mapping[str, QuantizedSynapse]) -> Step:
    """Run a population's step on symbols.

    Raises
    ------
    NotTraceable
        The step branches on values, mixes neurons, or calls a function that has no meaning on symbols.
    """
    size, width = neuron.size, neuron.input_size // max(neuron.size, 1)
    dims, merged = ((width,), True) if width > 1 else ((), False)
    # A synapse may have any name, that of a register (a number) or of the time, too.
    sums = {name: leaf(f"sum {name}", size, dims, merged=merged) for name in synapses}
    finished = [synapse.finish(sums[name]) for name, synapse in synapses.items()]
    nothing = apply("mul", leaf("", size, dims, merged=merged), 0)
    a = functools.reduce(operator.add, finished, nothing)
    if neuron.output_latency:  # after the last step nothing arrives
        a = select(time_symbol(STEP) < time_symbol(STEPS), a, 0)
    blocks, rest = neuron.start(1)
    olds = [_register(index, np.asarray(start), size) for index, start in enumerate((*blocks, *rest))]
    before = (tuple(olds[: len(blocks)]), tuple(olds[len(blocks) :]))
    try:
        after, output, flags = neuron.advance(before, a, StepTime(time_symbol(STEP), time_symbol(STEPS)))  # type: ignore[arg-type]
        recorded = neuron.recorded_states(after)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        # A symbol lacks some methods of an array and is not a number, which raises one of these.
        raise NotTraceable(f"{type(error).__name__}: {error}") from None
    step = Step(
        neurons=size,
        registers={
            f"{index}": Register(old, _start(start, size), _as_kind(as_symbol(new, old), old))
            for index, (old, start, new) in enumerate(zip(olds, (*blocks, *rest), (*after[0], *after[1]), strict=True))
        },
        sums=sums,
        output=as_symbol(output, leaf("", size)),
        active=_active(neuron, a, output),
        flags={name: as_symbol(flag, leaf("", size)) for name, flag in zip(neuron.flags, flags, strict=True)},
        recorded={name: as_symbol(value, leaf("", size)) for name, value in recorded.items()},
    )
    for node in order(step.roots):
        if node.real:
            raise NotTraceable(f"a constant or a result of type float64 ({node.op}) in an integer step")
    return step


def _register(index: int, start: Any, size: int) -> Symbol:
    if start.shape[:2] != (1, size):
        raise NotTraceable(f"a register of shape {start.shape}: it needs an axis of samples, then one of neurons")
    return leaf(f"{index}", size, start.shape[2:], boolean=start.dtype.kind == "b")


def _start(start: Any, size: int) -> IntArray:
    inner = np.asarray(start, np.int64)[0]
    return np.asarray(inner[:1] if size and (inner == inner[:1]).all() else inner)


def as_symbol(value: Any, like: Symbol) -> Symbol:
    """Return a result as a symbol; a constant takes the shape of `like` if it has fewer axes."""
    symbol = value if isinstance(value, Symbol) else align([like, np.asarray(value)])[1]
    return symbol if symbol.rank else Symbol(symbol.node, like.neurons, like.sizes, symbol.places, like.rank)


def _as_kind(symbol: Symbol, old: Symbol) -> Symbol:
    if symbol.shape != old.shape:
        raise NotTraceable(f"a register of shape {old.shape} becomes one of shape {symbol.shape}")
    return symbol.astype(bool) if old.node.boolean else number(symbol)


def _active(neuron: QuantizedNeuron, a: Symbol, output: Any) -> Symbol:
    """Return which neurons are active: they receive or send something (docs/metrics.md)."""
    values = [a, output] if neuron.feeds_synapses else [a]
    return functools.reduce(operator.or_, [_any(value, neuron.size) for value in values])


def _any(value: Any, size: int) -> Symbol:
    symbol = apply("ne", as_symbol(value, leaf("", size)), 0)
    if symbol.merged:
        return symbol.reshape(1, size, symbol.sizes[0]).any(-1)
    return symbol
