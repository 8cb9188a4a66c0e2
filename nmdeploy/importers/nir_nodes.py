"""Meaning of each NIR type: its fields, and a population's step.

A type that is not in `NEEDED` is refused, and so is a field that is not in its row: nothing is dropped silently. NIR
gives metadata no meaning: it is not read.
Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024; nir 1.0.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import UnsupportedParameter
from nmdeploy.importers.meaning import Meaning
from nmdeploy.importers.nir_time import TAUS
from nmdeploy.importers.resets import Membrane, with_reset
from nmdeploy.neurons.base import FloatArray, Neuron
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.nir_io.tree import Tree

Values = dict[str, npt.NDArray[np.float64]]
Weights = tuple[FloatArray, "FloatArray | None"]

SPIKING = ("CubaLIF", "IF", "LIF", "Threshold")
SILENT = ("CubaLI", "I", "LI")
READ = {kind: f"{kind} with Threshold" for kind in SILENT}
"""Types of a population without spikes and the Threshold after it, as one."""
POPULATIONS = (*SPIKING, *SILENT, *READ.values())
SYNAPSES = ("Affine", "Linear", "Scale")
PORT = "port of a subgraph"
PASSING = ("Delay", "Flatten", PORT)
SUPPORTED = ("Input", "Output", *SYNAPSES, *SPIKING, *SILENT, "Delay", "Flatten", "NIRGraph")

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
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak"),
    "I": ("r",),
    "Threshold": ("threshold",),
}
"""Fields that a node of each type must have."""
DEFAULTS: dict[str, dict[str, float]] = {
    "LIF": {"v_reset": 0.0},
    "IF": {"v_reset": 0.0},
    "CubaLIF": {"v_reset": 0.0, "w_in": 1.0},
    "CubaLI": {"w_in": 1.0},
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

    neuron: Neuron
    scale: FloatArray


Make = Callable[[str, Values, Meaning], Population]


def population(name: str, make: Make, values: Values, how: Meaning) -> Population:
    """Return the population that a NIR node is under the rules of its file, its values of shape (H,)."""
    values = {key: how.time_scale * value if key in TAUS else value for key, value in values.items()}
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        made = make(name, values, how)
    held = {key: vars(made.neuron)[key] for key in vars(made.neuron).keys() & {"bias", "input_bias", "v_threshold"}}
    _finite(name, **held)
    return made


def _finite(name: str, **values: FloatArray) -> None:
    for key, value in values.items():
        if not np.isfinite(value).all():
            raise UnsupportedParameter(f"node {name!r}: its {key} overflows: rescale v_leak, v_reset and v_threshold")


def _fire(name: str, kind: str, p: Values, enters: FloatArray, leak: FloatArray, how: Meaning) -> Population:
    """Return a spiking population, its membrane counted from its start; shares of current and membrane per step."""
    v_leak, v_reset, start, rule = p.get("v_leak", np.zeros_like(leak)), p["v_reset"], how.start(p), how.reset(name)
    if rule != "zero" and (start != v_reset).any():
        raise UnsupportedParameter(
            f"node {name!r}: reset {rule!r} with a membrane that starts at v_leak, not at v_reset: give --reset zero"
        )
    threshold, bias = p["v_threshold"] - start, leak * (v_leak - start)
    _finite(name, bias=bias, v_threshold=threshold)
    membrane = Membrane(1 - enters, 1 - leak, threshold, bias, how.at_threshold, v_reset - start)
    return Population(with_reset(name, rule, membrane), how.gain(kind, p, enters, leak))


def _lif(name: str, p: Values, how: Meaning) -> Population:
    leak = how.share(p["tau"])
    return _fire(name, "LIF", p, np.ones_like(leak), leak, how)


def _cuba_lif(name: str, p: Values, how: Meaning) -> Population:
    return _fire(name, "CubaLIF", p, how.share(p["tau_syn"]), how.share(p["tau_mem"]), how)


def _if(name: str, p: Values, how: Meaning) -> Population:
    none = np.zeros_like(p["r"])
    return _fire(name, "IF", p, none + 1, none, how)


def _li(name: str, p: Values, how: Meaning) -> Population:
    leak = how.share(p["tau"])
    bias = leak * p["v_leak"]
    _finite(name, bias=bias)
    return Population(Integrator(beta=1 - leak, bias=bias), how.gain("LI", p, np.ones_like(leak), leak))


def _i(name: str, p: Values, how: Meaning) -> Population:
    one = np.ones_like(p["r"])
    return Population(Integrator(beta=one), how.gain("I", p, one, 0 * one))


MAKE: dict[str, Make] = {
    "LIF": _lif,
    "CubaLIF": _cuba_lif,
    "IF": _if,
    "LI": _li,
    "I": _i,
}


def _linear(name: str, values: Values) -> Weights:
    weight, bias = values["weight"], values.get("bias")
    # A batch of one sample leaves axes of length 1 at the front.
    weight = weight.reshape(weight.shape[-2:]) if weight.size == prod(weight.shape[-2:]) else weight
    bias = bias.ravel() if bias is not None and bias.size == bias.shape[-1] else bias
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
