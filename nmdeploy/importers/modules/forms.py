"""Forms in which a module is called: with all steps, with one step per call, or with one input for all steps.

A form is right if each layer gets what one of its calls takes: one step, or all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nmdeploy._util.foreign import is_instance
from nmdeploy.errors import BadData, NmdeployError
from nmdeploy.importers.modules.functions import FIRST, STEP
from nmdeploy.importers.modules.signals import ALL, INPUT, NO_LAYER, STATIC, Lost, Sent, stacked
from nmdeploy.importers.modules.tracing import Returned, Trace, Tracer, WrongForm, refuse
from nmdeploy.neurons.base import FloatArray

FORMS = ("TNC", "NTC", "steps", "NCT", "static")
"""Axes of the input of one call: steps (T), samples (N), channels (C); "steps" is (N, C) per step, "static" (N, C)."""


def run(module: Any, framework: Any, values: FloatArray, form: str, double: bool) -> Trace:
    """Run a module on (samples, steps, ...) in a form; `WrongForm` if that is not the module's."""
    if form == "static":
        counted = _run(module, framework, values, form, double, 0)
        steps = max(len(calls.signals) for calls in counted.calls.values())
        return _run(module, framework, values, form, double, steps)
    trace = _run(module, framework, values, form, double, values.shape[1])
    for name, calls in trace.calls.items():
        wanted = 1 if framework.takes_sequence(trace.leaves[name]) else trace.steps
        if len(calls.signals) != wanted:
            raise WrongForm(f"layer {name!r} is called {len(calls.signals)} times in {trace.steps} steps")
    return trace


def _run(module: Any, framework: Any, values: FloatArray, form: str, double: bool, steps: int) -> Trace:
    import torch

    tracer = Tracer(module, framework, steps, double)
    x = torch.as_tensor(values, dtype=torch.float64 if double else torch.float32)
    with tracer.running():
        tracer.trace.returned = CALL[form](tracer, module, x)
    if not tracer.trace.calls:
        raise WrongForm("no layer is called")
    return tracer.trace


def _whole(axis: int) -> Callable[[Tracer, Any, Any], list[Returned]]:
    def call(tracer: Tracer, module: Any, x: Any) -> list[Returned]:
        moved = x.movedim(1, axis if axis >= 0 else x.dim() - 1).contiguous()
        tracer.mark(moved, Sent(INPUT, ALL), axis if axis >= 0 else x.dim() - 1)
        return list(_results(tracer, module(moved)))

    return call


def _steps(tracer: Tracer, module: Any, x: Any) -> list[Returned]:
    passes_state = _takes_state(module)
    state, found = None, []
    for step in range(x.shape[1]):
        now = x[:, step].clone()
        tracer.mark(now, Sent(INPUT, step), STEP)
        result = module(now, state) if passes_state else module(now)
        if any(len(calls.signals) > step + 1 for calls in tracer.trace.calls.values()):
            raise WrongForm("a layer is called several times in a step")
        if passes_state and isinstance(result, tuple) and len(result) == 2:
            result, state = result
        found.append([_returned(tracer, tensor) for tensor in _tensors(result)])
    return [
        Returned(stacked([one.signal for one in each]), np.stack([_flat(one.values, len(x)) for one in each], 1), 1)
        for each in zip(*found, strict=True)
    ]


def _static(tracer: Tracer, module: Any, x: Any) -> list[Returned]:
    now = x[:, 0].clone()
    tracer.mark(now, Sent(INPUT, STATIC), STEP)
    return list(_results(tracer, module(now)))


CALL: dict[str, Callable[[Tracer, Any, Any], list[Returned]]] = {
    "TNC": _whole(FIRST),
    "NTC": _whole(1),
    "NCT": _whole(-1),
    "steps": _steps,
    "static": _static,
}


def _takes_state(module: Any) -> bool:
    """Return True if the module takes, after its input, the state that it returned: by default None."""
    given = [p for p in inspect.signature(module.forward).parameters.values() if p.kind != p.VAR_KEYWORD]
    return len(given) == 2 and given[1].default is None


def _returned(tracer: Tracer, tensor: Any) -> Returned:
    signal, layout = tracer.of(tensor) or (Lost(NO_LAYER), STEP)
    with tracer.apart():
        return Returned(signal, tensor.detach().cpu().double().numpy(), layout)


def _flat(values: FloatArray, samples: int) -> FloatArray:
    """Return the values of one step as (samples, values), also if the axis of one sample is gone."""
    return values.reshape(samples, -1) if values.size % samples == 0 else values


def _results(tracer: Tracer, result: Any) -> Iterator[Returned]:
    """Yield the tensors that a module returned; a list of one tensor per step is one of all steps."""
    parts = list(result.values()) if isinstance(result, dict) else result
    if not isinstance(parts, (tuple, list)):
        yield from (_returned(tracer, tensor) for tensor in _tensors(parts))
        return
    held = [_returned(tracer, part) for part in parts if is_instance(part, "torch", "Tensor")]
    if len(held) == len(parts) == tracer.trace.steps > 1 and len({one.values.shape for one in held}) == 1:
        whole = stacked([one.signal for one in held])
        if not isinstance(whole, Lost):
            yield Returned(whole, np.stack([one.values for one in held], 1), 1)
            return
    for part in parts:
        yield from _results(tracer, part)


def _tensors(result: Any) -> Iterator[Any]:
    import torch

    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from _tensors(part)
    elif isinstance(result, dict):
        yield from _tensors(list(result.values()))


def find(module: Any, framework: Any, values: FloatArray, forms: tuple[str, ...] = FORMS) -> tuple[str, Trace]:
    """Return the form of a module, and its run in that form in float64.

    Raises
    ------
    BadData
        The module cannot be run on the values.
    UnsupportedParameter
        The module ran, but the input of a layer cannot be followed.
    """
    failed: list[str] = []
    unfollowed: NmdeployError | None = None
    for form in forms:
        try:
            trace = run(module, framework, values, form, double=True)
        except WrongForm as error:
            failed.append(f"as {form}: {error}")
            continue
        except NmdeployError:
            raise
        except Exception as error:  # the module's own code may raise anything
            failed.append(f"as {form}: {type(error).__name__}: {' '.join(str(error).split())[:120]}")
            continue
        lost = [(name, s.by) for name, calls in trace.calls.items() for s in calls.signals if isinstance(s, Lost)]
        if not lost:
            return form, trace
        unfollowed = unfollowed or refuse(*lost[0])
    if unfollowed is not None:
        raise unfollowed
    shape = "x".join(str(size) for size in np.shape(values))
    raise BadData(
        f"module {type(module).__name__}: cannot be run on samples of shape {shape} (samples, steps, channels) "
        f"({'; '.join(failed)}): give samples that it takes (--data), or describe the network with NetworkBuilder"
    )
