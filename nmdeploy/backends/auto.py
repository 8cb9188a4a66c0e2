"""The default backend: the compiled engine, or the reference if that is sooner or the only way.

Both give the same values. The recording names the one that ran.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy.typing as npt

from nmdeploy.backends import Stream, compiled, reference
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import UNKNOWN_STEPS, IntArray
from nmdeploy.recording.types import Recording

NAMES = ("auto",)
THREADS = True
# Seconds of the reference: for a population's step of a batch, and for a state's step. Seconds of the engine before its
# first step: with a full cache, and for each population to compile. `python benchmarks/small.py` measures them.
STEP_SECONDS, STATE_SECONDS = 1.2e-4, 2.5e-8
START_SECONDS, COMPILE_SECONDS = 0.1, 0.05


def choose(network: QuantizedNetwork, samples: int, steps: int, trace: str) -> tuple[ModuleType, str | None]:
    """Choose the backend of a job; the note, if any, is for the user.

    The reference runs what it finishes before the engine could begin, and what cannot be compiled. The small jobs of a
    network count together: the engine begins once they have taken as long as its start.
    """
    from nmdeploy.engine.trace.symbols import NotTraceable

    if not compiled.is_loaded(network, trace) and _is_small(network, samples, steps, trace):
        return reference, None
    try:
        compiled.engine(network, trace)
    except NotTraceable as error:
        return reference, f"{str(error).rpartition(':')[0]}: the reference runs the network"
    return compiled, None


def _is_small(network: QuantizedNetwork, samples: int, steps: int, trace: str) -> bool:
    """Return True if the reference finishes before the engine could begin, with what its cache holds."""
    spent: dict[str, float] = vars(network).setdefault("_reference_seconds", {})
    seconds = spent.get(trace, 0.0) + _reference_seconds(network, samples, steps)
    if START_SECONDS <= seconds < START_SECONDS + COMPILE_SECONDS * len(network.populations):
        from nmdeploy.engine.run.plan_cache import is_planned

        small = not is_planned(network, trace)
    else:
        small = seconds < START_SECONDS
    if small:
        spent[trace] = seconds
    return small


def _reference_seconds(network: QuantizedNetwork, samples: int, steps: int) -> float:
    """Estimate the seconds of a job of the reference."""
    populations = network.populations.values()
    states = sum(neuron.size * max(neuron.real_states, 1) for neuron in populations)
    batches = -(-samples // reference.BATCH)
    return steps * (batches * len(populations) * STEP_SECONDS + samples * states * STATE_SECONDS)


def stream(network: QuantizedNetwork) -> Stream:
    """Return a run of one sample that arrives step by step: compiled, unless the network cannot be compiled."""
    chosen, note = choose(network, 1, UNKNOWN_STEPS, "none")
    if note:
        warnings.warn(note, RuntimeWarning, stacklevel=3)
    found: Stream = chosen.stream(network)
    return found


def run(
    network: QuantizedNetwork,
    inputs: npt.NDArray[Any],
    *,
    lengths: IntArray | None = None,
    trace: str = "none",
    threads: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Recording:
    """Run a quantized network on input codes; parameters as for the reference, any integer type.

    `threads` is the most threads that run samples, by default one per processor.
    """
    samples, steps = inputs.shape[:2]
    chosen, _ = choose(network, samples, steps, trace)
    options: dict[str, Any] = {"lengths": lengths, "trace": trace, "on_progress": on_progress}
    if chosen is compiled:
        options["threads"] = threads
    recording: Recording = chosen.run(network, inputs, **options)
    return recording
