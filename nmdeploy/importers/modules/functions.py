"""Signals of the tensors that a module's own code makes between its layers.

Each torch function is known by its name: those that pass values on, add, scale, index, stack and reduce. A tensor from
any other function is lost, with that function's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute, is_instance
from nmdeploy.importers.modules.affine import Affine, numbers
from nmdeploy.importers.modules.signals import (
    ALL,
    ZERO,
    Lost,
    Reduced,
    Signal,
    holds_all_steps,
    stacked,
    summed_steps,
    through,
    total,
    with_steps,
)

Layout = int | str
"""The axis of the steps, or one of these."""
STEP = "step"
"""No axis of steps: the first axis is that of the samples."""
MERGED = "merged"
"""Steps and samples share the first axis."""
FIRST = 0

PASS = {
    *("clone", "detach", "contiguous", "to", "type", "type_as", "requires_grad_", "cpu", "double", "float"),
    *("detach_", "alias", "positive", "as_tensor", "dropout"),
}
SHAPE = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"}
AXES = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t"}
ADD = {"add", "radd", "iadd", "sub", "isub", "rsub", "subtract"}
SCALE = {"mul", "rmul", "imul", "multiply", "div", "idiv", "truediv", "itruediv", "true_divide", "neg"}
REDUCE = {"sum": "sum", "mean": "mean", "max": "max", "amax": "max"}
NUMBERS = {"item", "tolist", "float", "int", "bool", "index", "array", "numpy"}
"""Functions that take numbers or decisions out of a tensor, which are not followed."""
STACK = {"stack", "cat", "concat", "concatenate"}


def mode(tracer: Any) -> Any:
    """Return the torch function mode that gives every new tensor its signal."""
    from torch.overrides import TorchFunctionMode

    class Following(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            name = attribute(func, "__name__", "").strip("_")
            if tracer.double:
                func, args, kwargs = _widened(name, func, args, kwargs)
            if not tracer.inside:
                tracer.zeros = _zeros(tracer, name, args)
            result = func(*args, **kwargs)
            if not tracer.inside:
                follow(tracer, name, args, kwargs, result)
            return result

    return Following()


def _zeros(tracer: Any, name: str, args: Sequence[Any]) -> list[Any]:
    """Return the tensors without a signal that hold zeros before a sum, which may write into them."""
    if name not in ADD:
        return []
    return [value for value in args if _is_tensor(value) and tracer.of(value) is None and not bool(value.any())]


def _widened(name: str, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """Return the call with float64 in place of float32: the run is in float64, whatever type the module names."""
    import torch

    def wide(value: Any) -> Any:
        if value is torch.FloatTensor or (isinstance(value, str) and value == "torch.FloatTensor"):
            return torch.DoubleTensor
        return torch.float64 if value is torch.float32 else value

    if name == "float":
        return torch.Tensor.double, args, kwargs
    return func, tuple(wide(value) for value in args), {key: wide(value) for key, value in kwargs.items()}


def follow(tracer: Any, name: str, args: Sequence[Any], kwargs: Any, result: Any) -> None:
    """Give the tensors of a result their signals."""
    tensors = [value for value in _flat([*args, *kwargs.values()]) if _is_tensor(value)]
    known = [found for tensor in tensors if (found := tracer.of(tensor)) is not None]
    results = [value for value in _flat([result]) if _is_tensor(value)]
    if name == "setitem" and known:
        _assign(tracer, *args)
    if name in NUMBERS and known and not results:
        tracer.trace.numbers.add(name)
    if not known or not results:
        return
    signal, layout = known[0]
    if name == "get":  # an attribute, as .data
        same = args[0].shape == results[0].shape
        tracer.mark(results[0], signal if same else Lost("an attribute of a tensor"), layout)
        return
    rule = _rule(name)
    if rule is None:
        for value in results:
            tracer.mark(value, Lost(f"torch's {name}()"))
        return
    rule(tracer, name, args, kwargs, result, signal, layout)


def _rule(name: str) -> Callable[..., None] | None:
    bare = name.removesuffix("_")
    groups = ((PASS, _pass), (SHAPE, _shape), (AXES, _axes), (ADD, _add), (SCALE, _scale), (STACK, _stack))
    found = next((rule for names, rule in groups if bare in names or name in names), None)
    others: dict[str, Callable[..., None]] = {
        "getitem": _getitem,
        "select": _select,
        "unbind": _unbind,
        "split": _unbind,
        "chunk": _unbind,
        "iter": _unbind,
        "expand": _expand,
        "expand_as": _expand,
        "repeat": _expand,
        "zeros_like": _nothing,
        **dict.fromkeys(REDUCE, _reduce),
    }
    return found or others.get(bare) or (_nothing if bare in PLAIN else None)


PLAIN = {
    "size",
    "dim",
    "numel",
    "is_floating_point",
    "any",
    "all",
    "item",
    "argmax",
    "ones_like",
    "empty_like",
    "eq",
    "ne",
}


def _nothing(tracer: Any, name: str, *rest: Any) -> None:
    """Leave the result without a signal: it holds no values of a layer."""


def _assign(tracer: Any, target: Any, index: Any, value: Any) -> None:
    """Follow ``target[t] = signal`` or ``target[:, t] = signal`` until all steps are there; any other one is lost."""
    chosen = list(index) if isinstance(index, tuple) else [index]
    while chosen and (chosen[-1] is Ellipsis or (isinstance(chosen[-1], slice) and chosen[-1] == slice(None))):
        chosen.pop()
    axis, step = len(chosen) - 1, _whole_number(chosen[-1]) if chosen else None
    steps = tracer.parts.setdefault(id(target), (target, {}))[1]
    found = tracer.of(value) if _is_tensor(value) else None
    begun = tracer.of(target) is None or bool(steps)
    if found is None or step is None or not begun or any(one != slice(None) for one in chosen[:-1]):
        tracer.mark(target, Lost("an assignment to a part of a tensor: collect the steps with torch.stack"))
        return
    steps[axis, step % target.shape[axis]] = found[0]
    places = [(axis, each) for each in range(tracer.trace.steps)]
    complete = target.shape[axis] == len(places) and steps.keys() == set(places)
    tracer.mark(
        target, stacked([steps[place] for place in places]) if complete else Lost("steps of a tensor, not all"), axis
    )


def _pass(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    tracer.mark(result, signal, layout)


def reshaped(layout: Layout, steps: int, result: Any) -> Layout:
    """Return the layout after a change of shape."""
    if layout == STEP or layout == 1:
        return layout
    first = result.shape[0] if result.dim() else 0
    if layout == FIRST:
        return FIRST if first == steps else MERGED
    return FIRST if result.dim() > 2 and first == steps else MERGED


def _shape(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    tracer.mark(result, signal, reshaped(layout, tracer.trace.steps, result))


def _axes(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    if not isinstance(layout, int):
        tracer.mark(result, Lost(f"torch's {name}() of one step") if layout == MERGED else signal, layout)
        return
    import torch

    strides = torch.zeros(tuple(range(2, 2 + args[0].dim())))  # an axis is found again by its length
    name_of = {"t": "t"}.get(name, name)
    moved = getattr(torch.Tensor, name_of)(strides, *args[1:], **kwargs)
    axis = list(moved.shape).index(2 + layout)
    tracer.mark(result, signal, axis)


def _add(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    sign = {"sub": (1, -1), "isub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1)}.get(name.removesuffix("_"), (1, 1))
    parts: list[Signal] = []
    if kwargs.get("alpha", 1) != 1:
        sign = (sign[0], sign[1] * kwargs["alpha"])
    for value, factor in zip(args[:2], sign, strict=True):
        part, where = _term(tracer, value)
        layout = where if where is not None and layout == STEP else layout
        parts.append(part if factor == 1 else _factor(tracer, part, np.asarray(float(factor))))
    tracer.mark(result, summed_steps(total(parts), tracer.trace.steps), layout)


def _term(tracer: Any, value: Any) -> tuple[Signal, Layout | None]:
    found = tracer.of(value)
    if found is not None:
        signal, layout = found
        return signal, layout
    held_zeros = any(value is one for one in tracer.zeros)
    zero = (held_zeros or not bool(value.any())) if _is_tensor(value) else value == 0
    return (ZERO if zero else Lost("a constant that is added to it")), None


def _factor(tracer: Any, signal: Signal, factor: Any) -> Signal:
    if factor.ndim == 0 and factor == 1:
        return signal
    label = (
        f"* {float(factor)!r}" if factor.ndim == 0 else f"* array {hashlib.sha256(factor.tobytes()).hexdigest()[:8]}"
    )
    tracer.trace.affines[label] = Affine(factor)
    return through(label, signal)


def _scale(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    bare = name.removesuffix("_")
    if bare == "neg":
        tracer.mark(result, _factor(tracer, signal, np.asarray(-1.0)), layout)
        return
    of, by = args[0], args[1]
    divides = "div" in bare
    if tracer.of(of) is None and not divides:
        of, by = by, of
    if tracer.of(of) is None or (_is_tensor(by) and tracer.of(by) is not None):
        tracer.mark(result, Lost("a product of two layers"))
        return
    factor = numbers(by)
    if factor.ndim > 1 and factor.size == factor.shape[-1]:
        factor = factor.ravel()
    if factor.ndim > 1:
        tracer.mark(result, Lost("a product with a matrix"))
        return
    summed = isinstance(signal, Reduced) and signal.rule == "sum"
    if isinstance(signal, Reduced) and summed and divides and factor.size == 1 and factor == tracer.trace.steps:
        tracer.mark(result, Reduced("mean", signal.of), layout)
        return
    tracer.mark(result, _factor(tracer, signal, 1 / factor if divides else factor), layout)


def _stack(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    values = list(args[0])
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    signals = [_term(tracer, value)[0] for value in values]
    whole = with_steps(signals[0], 0, ALL) if len(values) == 1 else stacked(signals)
    axis = axis % result.dim()
    if name != "stack" and values[0].shape[axis] != 1:
        whole = Lost(f"torch's {name}()")
    tracer.mark(result, whole, axis)


def _select(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    _take(tracer, result, signal, layout, args[1], args[2], args[0])


def _take(tracer: Any, result: Any, signal: Signal, layout: Layout, axis: int, index: Any, of: Any) -> None:
    """Mark one index of an axis: a step, if it is the axis of the steps."""
    if isinstance(index, slice):
        kept = index == slice(None) or result.shape == of.shape
        tracer.mark(result, signal if kept else Lost("a slice of a tensor"), layout)
        return
    step = _whole_number(index)
    if layout != axis or step is None:
        tracer.mark(result, Lost("an index that chooses no step"))
        return
    tracer.mark(result, with_steps(signal, ALL, step % of.shape[axis]), STEP)


def _whole_number(index: Any) -> int | None:
    if _is_tensor(index) and index.dim() == 0:
        return int(index)
    return index if isinstance(index, int) else None


def _getitem(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    index = tuple(i for i in index if i is not Ellipsis or i is index[0])
    if index and index[0] is Ellipsis:
        index = (*[slice(None)] * (args[0].dim() - len(index) + 1), *index[1:])
    chosen = (
        [(axis, one) for axis, one in enumerate(index) if one != slice(None)]
        if all(isinstance(one, (int, slice)) or _is_tensor(one) for one in index)
        else None
    )
    if chosen is None or len(chosen) > 1:
        tracer.mark(result, Lost("an index that chooses no step"))
    elif not chosen:
        tracer.mark(result, signal, layout)
    else:
        _take(tracer, result, signal, layout, *chosen[0], args[0])


def _unbind(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    axis = kwargs.get("dim", args[1] if len(args) > 1 and name == "unbind" else 0)
    for step, value in enumerate(result):
        if layout == axis and name in ("unbind", "iter"):
            tracer.mark(value, with_steps(signal, ALL, step), STEP)
        else:
            tracer.mark(value, Lost(f"torch's {name}()"))


def _expand(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    same = tuple(result.shape) == tuple(args[0].shape)
    if (
        not same
        and not holds_all_steps(signal)
        and result.dim() > args[0].dim() - 1
        and (result.shape[0] == tracer.trace.steps)
    ):
        tracer.mark(result, signal, FIRST)  # one value for every step
        return
    tracer.mark(result, signal if same else Lost(f"torch's {name}()"), layout)


def _reduce(tracer: Any, name: str, args: Any, kwargs: Any, result: Any, signal: Signal, layout: Layout) -> None:
    axis = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    axis = axis[0] if isinstance(axis, (tuple, list)) and len(axis) == 1 else axis
    values = next(value for value in _flat([result]) if _is_tensor(value))
    if isinstance(axis, int) and layout == axis % args[0].dim() and holds_all_steps(signal):
        tracer.mark(values, Reduced(REDUCE[name], signal), STEP)
    else:
        tracer.mark(values, Lost(f"torch's {name}()"))


def _is_tensor(value: Any) -> bool:
    return is_instance(value, "torch", "Tensor")


def _flat(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += _flat(value) if isinstance(value, (tuple, list)) else [value]
    return found
