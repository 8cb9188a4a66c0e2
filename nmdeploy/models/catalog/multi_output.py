"""The general neuron: several inputs and outputs, any A, independent mechanisms."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.models.catalog import NeuronModel, Option, Options, Trained, plain
from nmdeploy.models.catalog._folding import softplus
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.neurons.state_space.diagonal import StateSpace

MECHANISMS = (
    "spike",
    "graded_step",
    "graded_bits",
    "reset_condition",
    "reset_action",
    "reset_period",
    "refractory_steps",
    "refractory_mode",
)
TARGETS = ("hard", "soft", "linear")
STEPS = tuple(2.0**-k for k in range(13))


def population(trained: Trained) -> Neuron:
    """Return a `DenseStateSpace` or, with coupling "diagonal", a `StateSpace`."""
    options = trained.options
    diagonal, action = options["coupling"] == "diagonal", options["reset_action"]
    fields: dict[str, Any] = {name: options[name] for name in MECHANISMS}
    fields |= {"d": plain(trained, "d"), "v_threshold": softplus(plain(trained, "threshold_raw"))}
    if options["reset_condition"] == "magnitude":
        fields["reset_magnitude"] = softplus(plain(trained, "magnitude_raw"))
    names = ("b", "c", *(("r",) if action in TARGETS else ()), *(("m",) if action == "linear" else ()))
    read = _complex if diagonal else plain
    values: dict[str, Any] = {name: read(trained, name) for name in names} | {"a": _stable(read(trained, "a"), options)}
    if action == "scale":
        m = plain(trained, "m")
        values["m"] = m if diagonal else m[..., None] * np.eye(m.shape[1])
    if action == "hard":
        # only the first output's entry is read
        values["r"] = np.repeat(values["r"], options["n_outputs"], 2)
    return StateSpace(**values, **fields) if diagonal else DenseStateSpace(**values, **fields)


def _complex(trained: Trained, name: str) -> Any:
    return plain(trained, name) @ np.array([1, 1j])


def _stable(a: Any, options: Options) -> FloatArray:
    if not options["stable"]:
        return np.asarray(a)
    size = np.abs(a) if options["coupling"] == "diagonal" else np.linalg.norm(a, 2, (1, 2), keepdims=True)
    return np.asarray(a / np.maximum(size, 1))


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    h, n, q, p = channels, states, options["n_inputs"], options["n_outputs"]
    action, parts = options["reset_action"], (2,) if options["coupling"] == "diagonal" else ()
    a = (h, n, *parts) if parts else (h, n, n)
    found = {"a": a, "b": (h, n, q, *parts), "c": (h, p, n, *parts), "d": (h, p, q), "threshold_raw": (h, p)}
    if action in TARGETS:
        found["r"] = (h, n, 1 if action == "hard" else p, *parts)
    if action in ("scale", "linear"):
        found["m"] = (h, n) if action == "scale" else a
    if options["reset_condition"] == "magnitude":
        found["magnitude_raw"] = (h, n)
    return found


MODEL = NeuronModel(
    name="multi-output",
    summary="several inputs and outputs, any A; spike, reset and refractory period each by itself",
    equation="""
x <- A x + B a                       a: q synaptic sums
y = C x + D a                        p outputs; coupling = diagonal: Re(C x)
s[k] = spike(y[k]), 0 while refractory
x <- reset action(x, s)  where the reset condition holds
""",
    citation=(
        "Karilanova, Dey, Ozcelikkale, IEEE Journal of Selected Topics in Signal Processing 19(6), "
        "1172-1186, 2025, and State-space model inspired multiple-input multiple-output spiking neurons."
    ),
    chosen="""
- Everything is learned: A, B, C, D, thresholds (softplus), the value that the reset sets or subtracts, its matrix, its
  magnitude (softplus). A is free, stable or not. It starts with eigenvalues inside the unit circle (time constants of
  2 to 64 steps). Coupling `dense` adds a small random matrix, which puts an eigenvalue of some neurons slightly outside
  (at N = 4 in about 4 % of them, by at most some hundredths). With `stable`, an A whose spectral norm exceeds 1 is
  divided by it.
- Reset conditions: never; any own spike; each output's own; a state's magnitude; every `reset_period` steps. Actions:
  none; `hard` sets the states to r; `soft` subtracts r; `scale` multiplies each state; `linear` is M x - r.
  docs/arithmetic.md defines each, and lists the combinations without meaning, which are refused.
- The feedback of a spike, and of a magnitude that is exceeded, carries its surrogate gradient; silence does not.
- Ternary spikes are the difference of two Heaviside functions, each with its surrogate gradient. Graded ones are
  rounded to `graded_step` and clipped to `graded_bits` bits, straight-through inside the clip, with a surrogate
  gradient of the gate.
- Training runs step by step. Normalization acts on the synaptic sums and folds into the weights and the population's
  own input biases.
""",
    hardware="""
A population `dense_state_space`, whose products grow with N (N + q + p), or `state_space`, whose products grow with
N (q + p). A reset has as many products as its matrix. One step of latency. With an unstable A, saturation is part of
the dynamics. It is counted, and the calibration data must keep it bounded.
""",
    module="nmdeploy.models.modules.multi_output:MultiOutput",
    shapes=shapes,
    population=population,
    options=(
        Option("n_inputs", 1, "synaptic sums q per neuron", least=1),
        Option("n_outputs", 2, "outputs p per neuron", least=1),
        Option("coupling", "dense", "A: real N x N, or complex diagonal", ("dense", "diagonal")),
        Option("stable", False, "keep A stable"),
        Option("spike", "binary", "spiking function", ("binary", "ternary", "graded")),
        Option("graded_step", 0.125, "graded spikes: the value of one code", STEPS),
        Option("graded_bits", 8, "graded spikes: bits per code", tuple(range(2, 25))),
        Option("reset_condition", "any", "condition of the reset", ("never", "any", "each", "magnitude", "every")),
        Option("reset_action", "soft", "change that the reset makes", ("none", "hard", "soft", "scale", "linear")),
        Option("reset_period", 8, "condition every: steps from reset to reset", least=1),
        Option("refractory_steps", 0, "silent steps after a spike", least=0),
        Option("refractory_mode", "hold", "effect of silence on the states", ("hold", "mask", "mask-raw")),
    ),
    normalizes="current",
    inputs=lambda options: int(options["n_inputs"]),
    outputs=lambda options: int(options["n_outputs"]),
)
