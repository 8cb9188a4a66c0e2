"""One run of a torch module that records what each layer receives and sends, and where it comes from.

Layers are the modules that this package knows: the neurons of the frameworks and stateless layers. Hooks record them.
All that the module's own code does between them passes a torch function mode, which gives each new tensor its `Signal`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nmdeploy._util.foreign import attribute, class_in
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.modules import functions
from nmdeploy.importers.modules.affine import Affine, affine, is_stateless
from nmdeploy.importers.modules.signals import ALL, ZERO, Lost, Sent, Signal, through
from nmdeploy.neurons.base import FloatArray

BUILDER = "describe the network with NetworkBuilder (docs/builder.md)"


class Returned(NamedTuple):
    """A tensor that a module returned: its signal, its values, and the axis of its steps or another layout."""

    signal: Signal
    values: FloatArray
    layout: functions.Layout


@dataclass
class Calls:
    """The calls of one neuron layer: signal, input and outputs of each."""

    signals: list[Signal] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    membranes: list[Any] = field(default_factory=list)


@dataclass
class Trace:
    """A run of a module.

    Parameters
    ----------
    calls : dict of layer to Calls
    affines : dict of stateless layer or factor to Affine, or None if it changes nothing
    returned : tensors that the module returned
    numbers : functions by which the module took numbers out of tensors
    """

    framework: ModuleType
    leaves: dict[str, Any]
    calls: dict[str, Calls] = field(default_factory=dict)
    affines: dict[str, Affine | None] = field(default_factory=dict)
    returned: list[Returned] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    steps: int = 0


class WrongForm(Exception):
    """The module was called in a form that is not its own: with all steps in place of one, or one in place of all."""


def copied(module: Any, double: bool) -> Any:
    """Return a copy in evaluation mode, its states detached from the graph that training left."""
    memo: dict[int, Any] = {}
    for _, part in module.named_modules():
        held = [*vars(part).values(), *part._buffers.values(), *attribute(part, "_memories", {}).values()]
        for value in held:
            if attribute(value, "grad_fn") is not None:
                memo[id(value)] = value.detach().clone()
    made = copy.deepcopy(module, memo).eval()
    return made.double() if double else made.float()


class Tracer:
    """Records a run; `with` it around the calls of the module."""

    def __init__(self, module: Any, framework: ModuleType, steps: int, double: bool) -> None:
        self.trace = Trace(framework, dict(_leaves(module, framework)), steps=steps)
        self.signals: dict[int, tuple[Any, Signal, functions.Layout]] = {}
        self.parts: dict[int, tuple[Any, dict[tuple[int, int], Signal]]] = {}
        self.zeros: list[Any] = []
        self.inside = 0
        self.double = double

    def mark(self, tensor: Any, signal: Signal, layout: functions.Layout = functions.STEP) -> None:
        """Give a tensor its signal."""
        self.signals[id(tensor)] = (tensor, signal, layout)

    def of(self, tensor: Any) -> tuple[Signal, functions.Layout] | None:
        """Return the signal of a tensor; None if it has none."""
        found = self.signals.get(id(tensor))
        return None if found is None or found[0] is not tensor else found[1:]

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Follow nothing in the block."""
        self.inside += 1
        yield
        self.inside -= 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record what the module does in the block."""
        import torch

        hooks = []
        for name, leaf in self.trace.leaves.items():
            hooks.append(leaf.register_forward_pre_hook(self._enter(), with_kwargs=True))
            hooks.append(leaf.register_forward_hook(self._leave(name), with_kwargs=True))
            if self.trace.framework.is_neuron(leaf):
                self.trace.framework.forget(leaf)
        before = torch.get_default_dtype()
        try:
            torch.set_default_dtype(torch.float64 if self.double else torch.float32)
            with torch.no_grad(), functions.mode(self):
                yield
        finally:
            torch.set_default_dtype(before)
            for hook in hooks:
                hook.remove()

    def _enter(self) -> Callable[..., None]:
        def enter(leaf: Any, args: Any, kwargs: Any) -> None:
            self.inside += 1

        return enter

    def _leave(self, name: str) -> Callable[..., None]:
        def leave(leaf: Any, args: Any, kwargs: Any, result: Any) -> None:
            self.inside -= 1
            if self.inside:
                return
            given = args[0] if args else next(iter(kwargs.values()))
            found = self.of(given)
            if found is None:
                found = (ZERO if not given.any() else Lost("a tensor of its own"), functions.STEP)
            if self.trace.framework.is_neuron(leaf):
                self._neuron(name, leaf, given, found, result)
            else:
                self._stateless(name, leaf, found, result)

        return leave

    def _stateless(self, name: str, leaf: Any, found: tuple[Signal, functions.Layout], result: Any) -> None:
        signal, layout = found
        if name not in self.trace.affines:
            self.trace.affines[name] = _affine(name, leaf, self.trace.framework)
        if self.trace.affines[name] is None:
            layout = functions.reshaped(layout, self.trace.steps, result)
        else:
            signal = through(name, signal)
        self.mark(result, signal, layout)

    def _neuron(self, name: str, leaf: Any, given: Any, found: tuple[Signal, functions.Layout], result: Any) -> None:
        signal, layout = found
        sequence = self.trace.framework.takes_sequence(leaf)
        whole = layout != functions.STEP
        if whole != sequence and not isinstance(signal, Lost):
            raise WrongForm(f"layer {name!r} takes {'all steps' if sequence else 'one step'} per call")
        axis = self.trace.framework.STEPS_AXIS
        if sequence and layout != axis:
            raise WrongForm(f"layer {name!r} takes the steps on axis {axis}")
        calls = self.trace.calls.setdefault(name, Calls())
        step = ALL if sequence else len(calls.signals)
        calls.signals.append(signal)
        calls.inputs.append(given)
        parts = list(result) if isinstance(result, (tuple, list)) else [result]
        spikes = parts[0]
        calls.outputs.append(spikes.detach().clone())
        self.mark(spikes, Sent(name, step), layout)
        if len(parts) > 1 and attribute(parts[-1], "shape") is not None and parts[-1] is not spikes:
            calls.membranes.append(parts[-1].detach().clone())
            self.mark(parts[-1], Sent(name, step, membrane=True), layout)


def _leaves(module: Any, framework: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the layers by their attribute names; what lies in a neuron is a part of it."""
    inside: tuple[str, ...] = ()
    if framework.is_neuron(module):
        yield type(module).__name__.lower(), module
        return
    for name, part in module.named_modules():
        if any(name.startswith(f"{outer}.") for outer in inside):
            continue
        if framework.is_neuron(part) or is_stateless(part) or own_map(part, framework):
            inside = (*inside, name)
            yield name, part


def own_map(leaf: Any, framework: ModuleType) -> Callable[[Any], Affine | None] | None:
    """Return the function that reads a stateless layer of the framework's own; None for any other layer."""
    found: Callable[[Any], Affine | None] | None = framework.STATELESS.get(class_in(leaf, framework.PACKAGE))
    return found


def _affine(name: str, leaf: Any, framework: ModuleType) -> Affine | None:
    own = own_map(leaf, framework)
    return affine(name, leaf) if own is None else own(leaf)


def all_steps(trace: Trace, name: str, which: str) -> FloatArray:
    """Return what a layer sent or received as (samples, steps, values), float."""
    held = [one.cpu().numpy() for one in getattr(trace.calls[name], which)]
    sequence = trace.framework.takes_sequence(trace.leaves[name])
    array = np.moveaxis(held[0], trace.framework.STEPS_AXIS, 1) if sequence else np.stack(held, 1)
    return array.reshape(*array.shape[:2], -1)


def refuse(name: str, by: str) -> UnsupportedParameter:
    """Return the error for a layer whose input cannot be followed."""
    return UnsupportedParameter(f"layer {name!r}: its input comes from {by}, which cannot be followed: {BUILDER}")
