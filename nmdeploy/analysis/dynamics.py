"""Numbers of each neuron that decide if it spikes: threshold, decays, and the gains of its membrane.

`DYNAMICS` has the function of each family, by its kind. A kind that is missing there is diagnosed by its synapses and
its activity alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.neurons.base import FloatArray, QuantizedNeuron

Array = npt.NDArray[Any]
Values = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Numbers of each neuron (H,) that decide if it spikes.

    Parameters
    ----------
    threshold : (H,) or None
        Smallest threshold of its outputs; None for a population that does not spike.
    decays : mapping of tensor to (H,)
        Factor per step of its slowest state, by the tensor that holds it.
    gain : (H,)
        Steady membrane per unit of the synaptic sum.
    bias_gain : (H,)
        Steady membrane per unit of the population's own bias.
    bound : (H,)
        Largest membrane per unit of the largest synaptic sum, whatever its course; infinite if it is not known.
    """

    threshold: FloatArray | None
    decays: Mapping[str, FloatArray]
    gain: FloatArray
    bias_gain: FloatArray
    bound: FloatArray


def dynamics(kind: str, values: Values, steps: int) -> Dynamics | None:
    """Return what decides if the neurons of a kind spike in `steps` steps, by tensors; None if it is not known."""
    family = DYNAMICS.get(kind)
    return None if family is None else family(values, steps)


def membrane_of(quantized: QuantizedNeuron) -> str | None:
    """Return the recorded state that is compared with the threshold, or sent; None for a kind that is not known."""
    held = MEMBRANES.get(quantized.kind)
    return "v" if held == "y" and "v" in quantized.recorded else held


def _lif_dynamics(v: Values, steps: int) -> Dynamics:
    leak = 1 / (1 - v["beta"] + 1 / steps)
    filtered = v["alpha"].any()
    decays = {"beta": v["beta"]} | ({"alpha": v["alpha"]} if filtered else {})
    gain = leak / (1 - v["alpha"] + 1 / steps if filtered else 1.0)
    return Dynamics(v["v_threshold"], decays, gain, leak, _steady(v["alpha"], steps) * _steady(v["beta"], steps))


def _integrator_dynamics(v: Values, steps: int) -> Dynamics:
    leak = 1 / (1 - v["beta"] + 1 / steps)
    return Dynamics(None, {"beta": v["beta"]}, leak, leak, _steady(v["beta"], steps))


def _filtered_dynamics(v: Values, steps: int) -> Dynamics:
    found = _lif_dynamics({**v, "v_threshold": v["beta"]}, steps)
    return replace(found, threshold=None)


def _steady(factor: Array, steps: int) -> FloatArray:
    """Return the sum of the first `steps` powers of a factor per step, of its magnitude."""
    size = np.minimum(np.abs(factor), 1 - 1e-12)
    return np.asarray(np.where(np.abs(factor) > 1, np.inf, (1 - size**steps) / (1 - size)))


def _coupled_dynamics(v: Values, steps: int) -> Dynamics:
    """Return the slowest state of each neuron, and its gain at frequency 0."""
    a, b, c, d = (v[name] for name in "abcd")
    if a.ndim == 2:
        radius = np.abs(a).max(1)
        through = np.einsum("hpn,hnq->hpq", c, b / (1 - a + 1 / steps)[..., None]).real
        most = np.einsum("hpn,hnq->hpq", np.abs(c), np.abs(b) * _steady(a, steps)[..., None])
    else:
        radius = np.abs(np.linalg.eigvals(a)).max(1)
        inner = np.eye(a.shape[1]) * (1 + 1 / steps) - a
        through = c @ np.linalg.pinv(inner) @ b
        one = a.shape[1] == 1
        most = np.abs(c) @ (np.abs(b) * _steady(a[..., 0], steps)[..., None]) if one else np.full(d.shape, np.inf)
    soma = 1 / (1 - v["leak"].min(1) + 1 / steps) if "leak" in v else np.ones(len(a))
    largest = np.take_along_axis(through + d, np.abs(through + d).argmax(1)[:, None], 1)[:, 0].mean(-1)
    decays = {"a": radius} | ({"leak": v["leak"].max(1)} if "leak" in v else {})
    bound = (most + np.abs(d)).max(1).sum(-1) * (_steady(v["leak"].max(1), steps) if "leak" in v else 1.0)
    return Dynamics(v["v_threshold"].min(1), decays, largest * soma, soma, bound)


def _windowed_dynamics(v: Values, steps: int) -> Dynamics:
    found = _coupled_dynamics({**v, "v_threshold": v["v_threshold"][:, None]}, steps)
    window = v["kernel"].sum(1)
    bound = found.bound * np.abs(v["kernel"]).sum(1)
    return replace(found, gain=found.gain * window, bias_gain=found.bias_gain * window, bound=bound)


DYNAMICS: dict[str, Callable[[Values, int], Dynamics]] = {
    "lif": _lif_dynamics,
    "integrator": _integrator_dynamics,
    "filtered_integrator": _filtered_dynamics,
    "state_space": _coupled_dynamics,
    "dense_state_space": _coupled_dynamics,
    "windowed_state_space": _windowed_dynamics,
}
MEMBRANES = {
    **dict.fromkeys(("lif", "integrator", "filtered_integrator"), "v"),
    **dict.fromkeys(("state_space", "dense_state_space"), "y"),
    "windowed_state_space": "u",
    "gated_linear_unit": "g",
}
