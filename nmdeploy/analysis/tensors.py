"""Tensors of integer populations and synapses as real numbers, in the units of the float network.

A family declares its tensors in `FAMILIES`, by its kind. A kind that is missing there has none, and is diagnosed by its
synapses and its activity alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network.graph import Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, Neuron, QuantizedNeuron
from nmdeploy.synapses.base import Synapse
from nmdeploy.synapses.dense import Dense
from nmdeploy.synapses.rows import DenseRows, SparseRows
from nmdeploy.synapses.sparse import Sparse

Array = npt.NDArray[Any]
FACTOR = 4096.0  # decays and factors of resets have 12 fraction bits


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the integers as real numbers.

    Parameters
    ----------
    values : array
        Values in the units of the float network, its first axis the neurons.
    unit : array or float
        Difference that one code makes, broadcastable to `values`.
    """

    values: Array
    unit: Any


Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Family:
    """Seam of a neuron family for a diagnosis.

    Parameters
    ----------
    tensors : callable
        ``(quantized, source) -> tensors`` by the names of the float population's fields; a dot leads to the field of a
        part. Without a source (None), states have the unit of the integers.
    dynamics : callable
        ``(values, steps) -> Dynamics`` of float tensors by name, as `values_of` returns them; None without a threshold
        or a decay.
    membrane : callable
        ``quantized -> name`` of the recorded state that is compared with the threshold, or sent.
    """

    tensors: Callable[[Any, Any], dict[str, Tensor]]
    dynamics: Callable[[Mapping[str, Array], int], Dynamics | None]
    membrane: Callable[[Any], str]


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


def dequantized(quantized: QuantizedNeuron, source: Neuron | None) -> dict[str, Tensor]:
    """Return the tensors of an integer population, by the names of the float population's fields."""
    family = FAMILIES.get(quantized.kind)
    return {} if family is None else family.tensors(quantized, source)


def values_of(neuron: Neuron, names: Tensors) -> dict[str, Array]:
    """Return the float population's own values of the tensors."""
    return {name: value_of(neuron, name) for name in names}


def value_of(neuron: Neuron, name: str) -> Array:
    """Return one tensor of a float population; a dot leads to the field of a part."""
    part, _, field = name.rpartition(".")
    return np.asarray(getattr(getattr(neuron, part) if part else neuron, field))


def with_values(neuron: Any, values: Mapping[str, Array]) -> Any:
    """Return a float population with some of its tensors replaced."""
    own = {name: value for name, value in values.items() if "." not in name}
    parts: dict[str, dict[str, Array]] = {}
    for name in values.keys() - own.keys():
        part, _, field = name.rpartition(".")
        parts.setdefault(part, {})[field] = values[name]
    return replace(neuron, **own, **{part: replace(getattr(neuron, part), **held) for part, held in parts.items()})


def membrane_of(quantized: QuantizedNeuron) -> str | None:
    """Return the recorded state that is compared with the threshold; None for a family that declares none."""
    family = FAMILIES.get(quantized.kind)
    return None if family is None else family.membrane(quantized)


def dynamics(population: Any, values: Mapping[str, Array], steps: int) -> Dynamics | None:
    """Return what decides if its neurons spike in `steps` steps; None for a family without tensors."""
    family = FAMILIES.get(population.kind)
    return None if family is None else family.dynamics(values, steps)


def _lif(q: Any, source: Any) -> dict[str, Tensor]:
    membrane = np.ldexp(1.0, -(q.frac_in + 6)) / q.scale
    return {
        "alpha": Tensor((4095 - q.du) / FACTOR, 1 / FACTOR),
        "beta": Tensor((4096 - q.dv) / FACTOR, 1 / FACTOR),
        "v_threshold": Tensor(q.vth * 64 * membrane, 64 * membrane),
        "bias": Tensor((q.bias_mant << q.bias_exp) * membrane, np.ldexp(membrane, q.bias_exp)),
    }


def _lif_dynamics(v: Mapping[str, Array], steps: int) -> Dynamics:
    leak = 1 / (1 - v["beta"] + 1 / steps)
    filtered = v["alpha"].any()
    decays = {"beta": v["beta"]} | ({"alpha": v["alpha"]} if filtered else {})
    gain = leak / (1 - v["alpha"] + 1 / steps if filtered else 1.0)
    return Dynamics(v["v_threshold"], decays, gain, leak, _steady(v["alpha"], steps) * _steady(v["beta"], steps))


def _integrator(q: Any, source: Any) -> dict[str, Tensor]:
    unit = np.ldexp(1.0, -q.frac_in) / q.scale
    return {"beta": Tensor((4096 - q.dv) / FACTOR, 1 / FACTOR), "bias": Tensor(q.bias * unit, unit)}


def _integrator_dynamics(v: Mapping[str, Array], steps: int) -> Dynamics:
    leak = 1 / (1 - v["beta"] + 1 / steps)
    return Dynamics(None, {"beta": v["beta"]}, leak, leak, _steady(v["beta"], steps))


def _steady(factor: Array, steps: int) -> FloatArray:
    """Return the sum of the first `steps` powers of a factor per step, of its magnitude."""
    size = np.minimum(np.abs(factor), 1 - 1e-12)
    return np.asarray(np.where(np.abs(factor) > 1, np.inf, (1 - size**steps) / (1 - size)))


def _state_space(q: Any, source: Any) -> dict[str, Tensor]:
    """Return the tensors of a diagonal population: real and imaginary codes are one complex tensor."""

    def joined(name: str) -> Array:
        return np.asarray(getattr(q, f"{name}_re") + 1j * getattr(q, f"{name}_im"))

    return _coupled(q, source, *(joined(name) for name in "abcrm"))


def _dense_state_space(q: Any, source: Any) -> dict[str, Tensor]:
    return _coupled(q, source, q.a, q.b, q.c, q.r, q.m)


def _coupled(q: Any, source: Any, a: Array, b: Array, c: Array, r: Array, m: Array) -> dict[str, Tensor]:
    """Undo `nmdeploy.neurons.state_space.scales`: states count x / unit, their scale is the smallest of the inputs'."""
    h, n, inputs, _ = q.dims
    unit = np.ones((h, 1)) if source is None else np.broadcast_to(source.unit(), (h, n) if np.ndim(a) == 2 else (h, 1))
    scales = q.scale.reshape(h, inputs)
    scale = scales.min(1)[:, None]
    state = np.ldexp(1.0, -q.frac_x) / scale * unit
    y = np.ldexp(1.0, -q.frac_y)
    enters = (state * scale)[..., None] * np.ldexp(1.0, q.frac_in - q.frac_b) * (scales / scale)[:, None]
    leaves = np.ldexp(1.0, -q.frac_c) * y[..., None] / state[:, None]
    feeds = np.ldexp(1.0, q.frac_in - q.frac_d) * y[..., None] * scales[:, None]
    units = {
        "a": (a, np.ldexp(1.0, -q.frac_a)),
        "b": (b, enters),
        "c": (c, leaves),
        "d": (q.d, feeds),
        "v_threshold": (q.vth, y),
        "bias": (q.bias, y),
        "input_bias": (q.input_bias, np.ldexp(1.0, -q.frac_in) / scales),
    }
    if q.soma:
        units |= {"leak": (q.leak, 1 / FACTOR), "soma_r": (q.soma_r, y), "soma_m": (q.soma_m, 1 / FACTOR)}
    elif q.reset_action != "none":
        units |= {"r": (r, state[..., None]), "m": (m, 1 / FACTOR)}
    if q.adaptation:
        units |= {"adaptation_leak": (q.adaptation_leak, 1 / FACTOR), "adaptation_jump": (q.adaptation_jump, y)}
    return {name: Tensor(codes * unit, np.abs(unit)) for name, (codes, unit) in units.items()}


def _coupled_dynamics(v: Mapping[str, Array], steps: int) -> Dynamics:
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


def _windowed(q: Any, source: Any) -> dict[str, Tensor]:
    """Return the tensors of the dynamics, whose spikes are unused, and of the window."""
    inner = _state_space(q.dynamics, None if source is None else source.dynamics)
    found = {f"dynamics.{name}": tensor for name, tensor in inner.items() if name not in ("v_threshold", "r", "m")}
    unit = np.ldexp(1.0, -q.frac_u)
    step = np.ldexp(1.0, q.dynamics.frac_y[:, 0] - q.frac_k - q.frac_u)[:, None]
    return found | {"kernel": Tensor(q.kernel * step, step), "v_threshold": Tensor(q.vth * unit, unit)}


def _windowed_dynamics(v: Mapping[str, Array], steps: int) -> Dynamics:
    inner = {name.removeprefix("dynamics."): value for name, value in v.items()}
    found = _coupled_dynamics(inner | {"v_threshold": v["v_threshold"][:, None]}, steps)
    window = v["kernel"].sum(1)
    decays = {f"dynamics.{name}": value for name, value in found.decays.items()}
    bound = found.bound * np.abs(v["kernel"]).sum(1)
    return Dynamics(v["v_threshold"], decays, found.gain * window, found.bias_gain * window, bound)


def _soma_or_y(q: Any) -> str:
    return "v" if q.soma else "y"


FAMILIES: dict[str, Family] = {
    "lif": Family(_lif, _lif_dynamics, lambda q: "v"),
    "integrator": Family(_integrator, _integrator_dynamics, lambda q: "v"),
    "state_space": Family(_state_space, _coupled_dynamics, _soma_or_y),
    "dense_state_space": Family(_dense_state_space, _coupled_dynamics, _soma_or_y),
    "windowed_state_space": Family(_windowed, _windowed_dynamics, lambda q: "u"),
    "gated_linear_unit": Family(lambda q, source: {}, lambda v, steps: None, lambda q: "g"),
}


@dataclass(frozen=True, eq=False)
class Weights:
    """Real weights of synapses: entries by output, and the bias.

    `unit` (outputs,) is the difference that one code makes, 0 for weights that are no codes.
    """

    rows: SparseRows
    bias: FloatArray
    unit: FloatArray
    bias_unit: FloatArray

    @property
    def outputs(self) -> int:
        """Number of rows."""
        return self.rows.outputs

    def by_row(self, entries: Array) -> FloatArray:
        """(outputs,) sums of values that lie as the entries do."""
        return np.asarray(np.bincount(self.rows.targets, entries, self.outputs), np.float64)

    @property
    def norms(self) -> FloatArray:
        """(outputs,) Euclidean norm of each row."""
        return np.asarray(np.sqrt(self.by_row(self.rows.codes**2)))


def weights_of(synapse: Synapse) -> Weights:
    """Return the weights of float synapses."""
    held = FLOAT_ROWS.get(synapse.kind)
    rows = held(synapse) if held else _rows_by_response(synapse.apply, synapse.shape[1])
    outputs = synapse.shape[0]
    bias = np.zeros(outputs) if synapse.bias is None else synapse.bias
    return Weights(rows, bias, np.zeros(outputs), np.zeros(outputs))


def dequantized_weights(network: QuantizedNetwork, name: str) -> Weights:
    """Return the weights of integer synapses, in the units of the float network: what an event really adds."""
    synapse, neuron = network.synapses[name], network.populations[network.target[name]]
    held = CODES.get(synapse.kind)
    if held is None:
        rows = _rows_by_response(synapse.dequantize, synapse.shape[1])
        rows = replace(rows, codes=rows.codes / neuron.scale[rows.targets])
        bias = synapse.dequantize(np.zeros((1, synapse.shape[1])))[0] / neuron.scale
        return Weights(rows, bias, np.zeros(rows.outputs), np.zeros(rows.outputs))
    code, bias_code = held(synapse, source_frac(network, name), neuron.frac_in)
    unit, bias_unit = code / neuron.scale, bias_code / neuron.scale
    rows = synapse.rows.sparse()
    bias = np.zeros(rows.outputs) if synapse.bias is None else synapse.bias * bias_unit
    return Weights(replace(rows, codes=rows.codes * unit[rows.targets]), bias, unit, bias_unit)


def source_frac(network: QuantizedNetwork, synapse: str) -> int:
    """Return the fraction bits of the codes that arrive at integer synapses."""
    source = network.nodes[network.incoming[synapse][0].source]
    assert isinstance(source, (Input, QuantizedNeuron))
    return source.output_frac


def _codes(synapse: Any, arriving_frac: int, frac_in: int) -> tuple[float, float]:
    """Return the part of a synaptic sum that one code of a weight adds, and one of a bias."""
    return 2.0 ** (synapse.weight_exp + arriving_frac - frac_in), 2.0 ** (synapse.bias_exp - frac_in)


def _dense_rows(synapse: Any) -> SparseRows:
    return DenseRows(synapse.weight.T).sparse()


def _sparse_rows(synapse: Any) -> SparseRows:
    return SparseRows(synapse.offsets, synapse.targets, synapse.weight, synapse.outputs).sparse()


FLOAT_ROWS: dict[str, Callable[[Any], SparseRows]] = {"dense": _dense_rows, "sparse": _sparse_rows}
CODES: dict[str, Callable[[Any, int, int], tuple[float, float]]] = {"dense": _codes, "sparse": _codes}


def _rows_by_response(respond: Callable[[Array], Array], inputs: int) -> SparseRows:
    """Return the rows of synapses of any other family by their response to one event of each input."""
    return DenseRows(np.asarray(respond(np.eye(inputs)) - respond(np.zeros((1, inputs))))).sparse()


def synapse_with(source: Synapse, weights: Weights) -> Synapse:
    """Return float synapses of the weights: dense ones in place of dense ones, else sparse ones."""
    bias = weights.bias if weights.bias.any() else None
    if source.kind == "dense":
        return Dense(weights.rows.matrix(np.asarray), bias)
    rows = weights.rows
    return Sparse(rows.offsets, rows.targets, rows.codes, rows.outputs, bias)
