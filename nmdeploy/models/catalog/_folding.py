"""Parts that the models share: parameter ranges, and S4D dynamics with its normalization folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.models.catalog import Option, Options, Trained, plain
from nmdeploy.neurons.base import FloatArray

APPROXIMATION = Option(
    "approximation",
    "none",
    "training: the exact recurrence, or a membrane predicted by a convolution, which "
    "nmdeploy.models.modules.predicted.fit must fit first; the exact recurrence is always deployed",
    ("none", "predicted"),
)
PREDICTED = """
- To train in parallel, the paper predicts the membrane without its resets, by a network that a separate step has
  fitted. That is approximate. Here the exact recurrence is trained, with the dynamics before it in parallel.
  `approximation="predicted"` offers the idea as an option: a causal depthwise convolution of 16 steps, fitted by least
  squares to the exact membrane. `nmdeploy.models.modules.predicted.fit` fits it; without the fit, the network refuses
  to run. `spike_disagreement` there measures the share of spikes that differ. The exact recurrence is always
  deployed."""


def sigmoid(x: FloatArray) -> FloatArray:
    """Return ``1 / (1 + exp(-x))``."""
    return np.exp(-np.logaddexp(0.0, -x))


def softplus(x: FloatArray) -> FloatArray:
    """Return ``log(1 + exp(x))``."""
    return np.logaddexp(0.0, x)


def s4d_shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of S4D dynamics, with their shapes."""
    per_state = dict.fromkeys(("log_a_real", "a_imag"), (channels, states))
    return {**per_state, "log_dt": (channels,), "c": (channels, states, 2), "d": (channels,)}


def predictor_shapes(options: Options, channels: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of the fitted convolution, which exist with approximation "predicted"."""
    if options["approximation"] != "predicted":
        return {}
    return {"predictor.weight": (channels, 17), "predictor.fitted": ()}


def s4d(trained: Trained) -> dict[str, Any]:
    """Return a, b, c, d and bias of a `StateSpace`: zero-order hold with B = 1, then ``scale * y + shift``."""
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
    """Return the leak ``1 - 1/tau``, (H,)."""
    return sigmoid(plain(trained, "leak_logit"))


def threshold(trained: Trained) -> FloatArray:
    """Return the positive threshold, (H,)."""
    return softplus(plain(trained, "threshold_raw"))


def per_channel(*names: str) -> Any:
    """Return a function that gives each named tensor the shape (H,)."""
    return lambda channels, states, options: dict.fromkeys(names, (channels,))


def one_state(a: FloatArray, v_threshold: FloatArray, **reset: Any) -> dict[str, Any]:
    """Return the fields of a `DenseStateSpace` whose one state is the membrane itself, ``x <- a x + input``."""
    one = np.ones_like(a)
    return {
        "a": a[:, None, None],
        "b": one[:, None],
        "c": one[:, None],
        "d": 0 * one,
        "v_threshold": v_threshold,
        **reset,
    }
