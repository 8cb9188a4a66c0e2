"""What the models share: legal ranges of parameters, and S4D dynamics with their normalization folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.models.catalog import Option, Options, Trained, plain
from nmdeploy.neurons.base import FloatArray

APPROXIMATION = Option(
    "approximation",
    "none",
    "training: the exact recurrence, or the membrane that a convolution predicts, which "
    "nmdeploy.models.modules.predicted.fit must fit first; deployed is always the exact recurrence",
    ("none", "predicted"),
)
PREDICTED = """
- The paper predicts the membrane without its resets, by a network that a separate step has fitted, to train in
  parallel. That is approximate. Trained is the exact recurrence, the dynamics before it in parallel.
  `approximation="predicted"` offers the idea by name: a causal depthwise convolution of 16 steps, fitted by least
  squares to the exact membrane (`nmdeploy.models.modules.predicted.fit`, without which the network refuses to run);
  `spike_disagreement` there measures how many of its spikes differ. Deployed is always the exact recurrence."""


def sigmoid(x: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-x))``."""
    return np.exp(-np.logaddexp(0.0, -x))


def softplus(x: FloatArray) -> FloatArray:
    """``log(1 + exp(x))``."""
    return np.logaddexp(0.0, x)


def s4d_shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Tensors of S4D dynamics."""
    per_state = dict.fromkeys(("log_a_real", "a_imag"), (channels, states))
    return {**per_state, "log_dt": (channels,), "c": (channels, states, 2), "d": (channels,)}


def predictor_shapes(options: Options, channels: int) -> dict[str, tuple[int, ...]]:
    """Tensors of the fitted convolution, of approximation "predicted"."""
    if options["approximation"] != "predicted":
        return {}
    return {"predictor.weight": (channels, 17), "predictor.fitted": ()}


def s4d(trained: Trained) -> dict[str, Any]:
    """a, b, c, d and bias of a `StateSpace`: zero-order hold with B = 1, then ``scale * y + shift``."""
    continuous = -np.exp(plain(trained, "log_a_real")) + 1j * plain(trained, "a_imag")
    z = np.exp(plain(trained, "log_dt"))[:, None] * continuous
    c: npt.NDArray[np.complex128] = plain(trained, "c") @ np.array([1, 1j])
    return {
        "a": np.exp(z),
        "b": np.expm1(z) / continuous,
        "c": 2 * trained.scale[:, None] * c,
        "d": trained.scale * plain(trained, "d"),
        "bias": trained.shift,
    }


def leak(trained: Trained) -> FloatArray:
    """``1 - 1/tau``, (H,)."""
    return sigmoid(plain(trained, "leak_logit"))


def threshold(trained: Trained) -> FloatArray:
    """The positive threshold, (H,)."""
    return softplus(plain(trained, "threshold_raw"))


def per_channel(*names: str) -> Any:
    """Shapes of tensors (H,)."""
    return lambda channels, states, options: dict.fromkeys(names, (channels,))


def one_state(a: FloatArray, v_threshold: FloatArray, **reset: Any) -> dict[str, Any]:
    """A `DenseStateSpace` of one state that is the membrane itself, ``x <- a x + input``."""
    one = np.ones_like(a)
    return {
        "a": a[:, None, None],
        "b": one[:, None],
        "c": one[:, None],
        "d": 0 * one,
        "v_threshold": v_threshold,
        **reset,
    }
