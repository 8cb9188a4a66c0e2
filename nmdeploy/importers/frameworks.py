"""The meaning of the NIR files of each framework, where it differs from NIR's equations.

A framework's exporter writes a discrete network as one in continuous time. With a step dt, decays and the gain g of the
synaptic sum follow as below; ``leak`` is the share of the membrane that a step loses, ``enters`` that of the current.

    NIR           g = leak r (LIF, LI), enters w_in leak r (CubaLIF), dt r (IF, I)
    snnTorch      as NIR, dt = 1e-4: tau = dt / (1 - beta), r = tau / dt; g = r (IF, which it does not write); the
                  threshold is subtracted one step late
    Norse         g = leak r (LIF, LI), w_in leak r (CubaLIF: the file lacks w_in = tau_syn / dt), r (IF); times in the
                  file are multiplied by the dt that `to_nir` was given
    Sinabs        dt = 1, exponential decays: g = leak r (LIF: norm_input), r (LI, IF); the threshold is subtracted;
                  spikes at >=
    Rockpool      exponential decays, r = tau exp(-dt / tau) / dt: g = 1 (LIF), exp(-dt / tau_syn) (CubaLIF),
                  exp(-dt / tau) (LI); the threshold is subtracted; spikes at >=
    spikingjelly  as NIR, dt = 1e-4; spikes at >=

Source: the exporters of snnTorch 1.0.0, Norse 1.1.0, Sinabs 3.1.3, Rockpool 3.1.0 and spikingjelly 2.0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nmdeploy.neurons.base import FloatArray

Values = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Step:
    """One population's share of the current that enters, and of the membrane that leaks, per step; and dt."""

    enters: FloatArray
    leak: FloatArray
    dt: float


Gain = Callable[[Values, Step], FloatArray]


@dataclass(frozen=True)
class Framework:
    """One framework's meaning of the files that it exports.

    Parameters
    ----------
    title : str
    dt : float, optional
        Seconds per step that its exporter assumes; None if the file's numbers hold it.
    reset : str
        One of `nmdeploy.network.read_options.RESETS`.
    decay : {"euler", "exponential"}
    at_threshold : bool
        True if a membrane that equals its threshold spikes.
    gains : mapping of NIR type to function
        Factor on the synaptic sum, where it is not NIR's.
    times_scaled : bool
        True if its exporter multiplies time constants by dt.
    """

    title: str
    dt: float | None
    reset: str
    decay: str
    at_threshold: bool
    gains: Mapping[str, Gain] = field(default_factory=dict)
    times_scaled: bool = False


def _resistance(p: Values, step: Step) -> FloatArray:
    return p["r"]


def _kept(p: Values, step: Step) -> FloatArray:
    return 1 - step.leak


BY_NAME: dict[str, Framework] = {
    "snntorch": Framework("snnTorch", 1e-4, "subtract-delayed", "euler", False, {"IF": _resistance}),
    "norse": Framework(
        "Norse",
        1e-3,
        "zero",
        "euler",
        False,
        {"IF": _resistance, "CubaLIF": lambda p, step: p["w_in"] * step.leak * p["r"]},
        times_scaled=True,
    ),
    "sinabs": Framework("Sinabs", 1.0, "subtract", "exponential", True, {"IF": _resistance, "LI": _resistance}),
    "rockpool": Framework(
        "Rockpool",
        None,
        "subtract",
        "exponential",
        True,
        {
            "LIF": lambda p, step: np.ones_like(step.leak),
            "CubaLIF": lambda p, step: 1 - step.enters,
            "LI": _kept,
        },
    ),
    "spikingjelly": Framework("spikingjelly", 1e-4, "zero", "euler", True),
}
"""By the value of --from."""

NIR_GAINS: dict[str, Gain] = {
    "LIF": lambda p, step: step.leak * p["r"],
    "LI": lambda p, step: step.leak * p["r"],
    "CubaLIF": lambda p, step: step.enters * p["w_in"] * step.leak * p["r"],
    "CubaLI": lambda p, step: step.enters * p["w_in"] * step.leak * p["r"],
    "IF": lambda p, step: step.dt * p["r"],
    "I": lambda p, step: step.dt * p["r"],
}
"""NIR's own gain of each type."""
