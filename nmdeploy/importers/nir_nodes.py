"""Meaning of each NIR type: its fields, and a population's Euler step.

A type that is not in `NEEDED` is refused, and so is a field that is not in its row: nothing is dropped silently. NIR
gives metadata no meaning: it is not read.
Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.neurons.base import FloatArray
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.nir_io.tree import Tree

Values = dict[str, npt.NDArray[np.float64]]
Weights = tuple[FloatArray, "FloatArray | None"]

SPIKING = ("CubaLIF", "IF", "LIF")
SILENT = ("I", "LI")
POPULATIONS = (*SPIKING, *SILENT)
SYNAPSES = ("Affine", "Linear", "Scale")
PORT = "port of a subgraph"
PASSING = ("Delay", "Flatten", PORT)
SUPPORTED = ("Input", "Output", *SYNAPSES, *POPULATIONS, "Delay", "Flatten", "NIRGraph")

NEEDED: dict[str, tuple[str, ...]] = {
    "Input": ("shape",),
    "Output": ("shape",),
    PORT: ("shape",),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Delay": ("delay",),
    "Flatten": ("start_dim", "end_dim"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "I": ("r",),
}
"""Fields that a node of each type must have."""
DEFAULTS: dict[str, dict[str, float]] = {
    "LIF": {"v_reset": 0.0},
    "IF": {"v_reset": 0.0},
    "CubaLIF": {"v_reset": 0.0, "w_in": 1.0},
}
"""Fields that may be missing, with the value that nir gives them."""
UNUSED = {"Flatten": ("input_type",)}
"""Fields that only repeat the shapes of other nodes."""

DIAGONAL_MAX = 4096
ROUNDING = 1e-6
"""Relative error allowed between a file's float32 time constants and dt."""


def numbers(name: str, fields: Tree) -> Values:
    """Return a node's fields as float64 arrays, each known, numeric and finite.

    Missing fields get nir's defaults, if nir has them.
    """
    kind = fields["type"]
    if kind not in NEEDED:
        raise UnsupportedParameter(
            f"node {name!r}: type {kind!r} is not supported, only {', '.join(SUPPORTED)}: replace the node, or load "
            "the checkpoint it came from"
        )
    defaults, unused = DEFAULTS.get(kind, {}), UNUSED.get(kind, ())
    for field in sorted(fields.keys() - {"type", "metadata", *NEEDED[kind], *defaults, *unused}):
        raise UnsupportedParameter(f"node {name!r}: {field!r} is no field of {kind}: remove it")
    for field in NEEDED[kind]:
        if field not in fields:
            raise UnsupportedParameter(f"node {name!r}: {kind} without {field!r}: export the file again")
    given = {key: _numeric(name, key, fields[key]) for key in (*NEEDED[kind], *defaults) if key in fields}
    return {key: np.asarray(value, np.float64) for key, value in defaults.items()} | given


def _numeric(name: str, key: str, value: object) -> npt.NDArray[np.float64]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.size == 0:
        raise UnsupportedParameter(f"node {name!r}: {key} holds no numbers: export the file again")
    array = value.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        raise UnsupportedParameter(
            f"node {name!r}: {key} = {array[~finite].flat[0]} in {int((~finite).sum())} of {array.size} places: "
            "only finite values have a meaning: train or export it again"
        )
    return array


def integers(name: str, key: str, values: Values, low: int = 1, high: int = 1 << 24) -> tuple[int, ...]:
    """Return a field that holds a shape or a dimension, as integers within limits."""
    array = values[key].ravel()
    if (array != np.floor(array)).any() or array.min() < low or array.max() > high or array.size > 8:
        raise UnsupportedParameter(
            f"node {name!r}: {key} = {array[:8].tolist()}: takes up to 8 whole numbers from {low} to {high}"
        )
    return tuple(int(value) for value in array)


@dataclass(frozen=True)
class Population:
    """A population's neuron without the bias of its synapses, and the factor on its incoming weights."""

    neuron: LIF | Integrator
    scale: FloatArray


def population(name: str, kind: str, values: Values, dt: float) -> Population:
    """Return the population that a NIR node is under Euler with step `dt` (seconds), its values of shape (H,)."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        made = MAKE[kind](name, values, dt)
    for key in ("bias", "v_threshold") if isinstance(made.neuron, LIF) else ("bias",):
        if not np.isfinite(getattr(made.neuron, key)).all():
            raise UnsupportedParameter(f"node {name!r}: its {key} overflows: rescale v_leak, v_reset and v_threshold")
    return made


def _euler(name: str, key: str, p: Values, dt: float) -> FloatArray:
    """Return ``dt / tau``, refused outside of (0, 1]."""
    tau = p[key]
    if (tau <= 0).any():
        raise UnsupportedParameter(
            f"node {name!r}: {key} = {tau.min():g}: a time constant is over 0 s: export it again"
        )
    if (dt > tau * (1 + ROUNDING)).any():
        raise UnsupportedParameter(
            f"node {name!r}: {key} = {tau.min():g} s is shorter than dt = {dt:g} s, so that Euler's step overshoots: "
            "give the --dt that the network was trained with"
        )
    return np.minimum(dt / tau, 1.0)


def _fire(name: str, p: Values, alpha: FloatArray, leak: FloatArray, scale: FloatArray) -> Population:
    """Return a spiking population, its membrane counted from `v_reset`; `leak` is dt/tau_mem."""
    v_leak, v_reset = p.get("v_leak", np.zeros_like(leak)), p["v_reset"]
    other = (v_reset != 0) & (v_reset != v_leak)
    if other.any():
        raise UnsupportedParameter(
            f"node {name!r}: v_reset = {v_reset[other][0]:g} with v_leak = {v_leak[other][0]:g}: rule 'loihi' starts "
            "and resets at 0, to which only v_reset = 0 or v_reset = v_leak can be moved: retrain with one of these"
        )
    lif = LIF(alpha=alpha, beta=1 - leak, v_threshold=p["v_threshold"] - v_reset, bias=leak * (v_leak - v_reset))
    return Population(lif, scale)


def _lif(name: str, p: Values, dt: float) -> Population:
    leak = _euler(name, "tau", p, dt)
    return _fire(name, p, np.zeros_like(leak), leak, leak * p["r"])


def _cuba_lif(name: str, p: Values, dt: float) -> Population:
    enters, leak = _euler(name, "tau_syn", p, dt), _euler(name, "tau_mem", p, dt)
    return _fire(name, p, 1 - enters, leak, enters * p["w_in"] * leak * p["r"])


def _if(name: str, p: Values, dt: float) -> Population:
    none = np.zeros_like(p["r"])
    return _fire(name, p, none, none, dt * p["r"])


def _li(name: str, p: Values, dt: float) -> Population:
    leak = _euler(name, "tau", p, dt)
    return Population(Integrator(beta=1 - leak, bias=leak * p["v_leak"]), leak * p["r"])


def _i(name: str, p: Values, dt: float) -> Population:
    return Population(Integrator(beta=np.ones_like(p["r"])), dt * p["r"])


MAKE: dict[str, Callable[[str, Values, float], Population]] = {
    "LIF": _lif,
    "CubaLIF": _cuba_lif,
    "IF": _if,
    "LI": _li,
    "I": _i,
}


def _linear(name: str, values: Values) -> Weights:
    weight, bias = values["weight"], values.get("bias")
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = f"{weight.shape}" if bias is None else f"{weight.shape} with bias {bias.shape}"
        raise UnsupportedParameter(f"node {name!r}: weight {shapes}: give (outputs, inputs), bias (outputs,)")
    return weight, bias


def _scale(name: str, values: Values) -> Weights:
    return one_to_one(name, values["scale"])


def one_to_one(name: str, scale: FloatArray) -> Weights:
    """Return synapses from each channel to the one of the same number."""
    if scale.size > DIAGONAL_MAX:
        raise UnsupportedParameter(
            f"node {name!r}: {scale.size} one-to-one synapses: {DIAGONAL_MAX} are supported: split it"
        )
    return np.diag(scale.ravel()), None


WEIGHTS: dict[str, Callable[[str, Values], Weights]] = {"Linear": _linear, "Affine": _linear, "Scale": _scale}
