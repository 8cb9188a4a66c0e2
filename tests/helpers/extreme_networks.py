"""Random dense NIR networks with extreme values, for the tests of losses.

Outliers, rows of unlike magnitudes, long and short time constants, biases behind synaptic filters, weights of one sign,
and silent neurons. About half of the layers have none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from nmdeploy.importers import load
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network
from nmdeploy.samples.source import Data

Rng = np.random.Generator
DT = 1e-3
SAMPLES, STEPS = 8, 32
RATES = (0.02, 0.5)
"""Share of spikes of a layer that is not meant to be silent."""


def _outliers(rng: Rng, layer: dict[str, Any]) -> None:
    weight = layer["weight"]
    found = rng.random(weight.shape) < 2 / weight.size
    found.flat[rng.integers(weight.size)] = True
    weight[found] *= 2.0 ** rng.uniform(2, 9)


def _unlike_rows(rng: Rng, layer: dict[str, Any]) -> None:
    layer["weight"] *= 10.0 ** rng.uniform(-2.5, 0, (len(layer["weight"]), 1))


def _long_time_constants(rng: Rng, layer: dict[str, Any]) -> None:
    layer["tau_mem"] *= 10.0 ** rng.uniform(1, 3.5, layer["tau_mem"].size)


def _short_time_constants(rng: Rng, layer: dict[str, Any]) -> None:
    layer["tau_mem"] = DT * rng.uniform(1, 1.5, layer["tau_mem"].size)


def _bias(rng: Rng, layer: dict[str, Any]) -> None:
    layer["bias"] = rng.normal(size=len(layer["weight"])) * 10.0 ** rng.uniform(-3, 0)


def _one_sign(rng: Rng, layer: dict[str, Any]) -> None:
    layer["weight"] = np.abs(layer["weight"]) * (1 if rng.random() < 0.7 else -1)


def _silent_parts(rng: Rng, layer: dict[str, Any]) -> None:
    silent = rng.random(len(layer["weight"])) < rng.uniform(0.1, 0.6)
    if rng.random() < 0.5:
        layer["weight"][silent] = 0.0
    else:
        layer["v_threshold"][silent] *= 10.0 ** rng.uniform(2, 5)


EXTREMES: tuple[Callable[[Rng, dict[str, Any]], None], ...] = (
    _outliers,
    _unlike_rows,
    _long_time_constants,
    _short_time_constants,
    _bias,
    _one_sign,
    _silent_parts,
)


def extreme_network(seed: int) -> tuple[Network, Data]:
    """Return a network that was read from a NIR graph, and calibration samples of spikes."""
    import nir

    rng = np.random.default_rng(seed)
    inputs = int(rng.integers(8, 33))
    codes = (rng.random((SAMPLES, STEPS, inputs)) < rng.uniform(0.05, 0.4)).astype(np.int64)
    data = Data(codes, None, np.full(SAMPLES, STEPS, np.int64))
    layers: list[dict[str, Any]] = []
    for _ in range(int(rng.integers(1, 4))):
        before = inputs if not layers else len(layers[-1]["weight"])
        layers.append(_layer(rng, before, int(rng.integers(8, 41))))
        _make_alive(rng, inputs, layers, codes)
    graph = _graph(nir, inputs, layers, rng.normal(size=(4, len(layers[-1]["weight"]))))
    return load(graph, dt=DT), data


def _layer(rng: Rng, before: int, size: int) -> dict[str, Any]:
    layer = {
        "kind": str(rng.choice(["LIF", "CubaLIF", "IF"], p=[0.4, 0.4, 0.2])),
        "weight": rng.normal(rng.choice([0.0, 0.3]), 1, (size, before)),
        "tau_mem": DT * np.full(size, rng.uniform(3, 30)) * rng.choice([1.0, rng.uniform(0.7, 1.3)], size),
        "tau_syn": DT * np.full(size, rng.uniform(2, 10)),
        "v_threshold": np.ones(size),
        "bias": None,
    }
    if rng.random() < 0.5:
        for index in rng.choice(len(EXTREMES), int(rng.choice([1, 1, 2])), replace=False):
            EXTREMES[index](rng, layer)
    return layer


def _make_alive(rng: Rng, inputs: int, layers: list[dict[str, Any]], codes: Any) -> None:
    """Scale the weights and biases of the last layer until its rate is one of `RATES`, if any scale does it."""
    import nir

    layer = layers[-1]
    for _ in range(12):
        network = load(_graph(nir, inputs, layers, np.ones((1, len(layer["weight"])))), dt=DT)
        rate = run_float(network, codes).spikes[f"layer{len(layers) - 1}"].mean()
        if RATES[0] <= rate <= RATES[1]:
            return
        factor = 2.0 ** (rng.uniform(0.5, 1.5) * (1 if rate < RATES[0] else -1))
        layer["weight"] = layer["weight"] * factor
        layer["bias"] = None if layer["bias"] is None else layer["bias"] * factor


def _graph(nir: Any, inputs: int, layers: list[dict[str, Any]], readout: Any) -> Any:
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([inputs])})}
    for index, layer in enumerate(layers):
        nodes[f"fc{index}"] = _weights(nir, layer)
        nodes[f"layer{index}"] = _neurons(nir, layer)
    ones = np.ones(len(readout))
    nodes["fc_out"] = nir.Linear(weight=readout)
    nodes["out"] = nir.LI(tau=10 * DT * ones, r=10 * ones, v_leak=0 * ones)
    nodes["output"] = nir.Output({"output": np.array([len(readout)])})
    return nir.NIRGraph(nodes, list(pairwise(nodes)))


def _weights(nir: Any, layer: dict[str, Any]) -> Any:
    if layer["bias"] is None:
        return nir.Linear(weight=layer["weight"])
    return nir.Affine(weight=layer["weight"], bias=layer["bias"])


def _neurons(nir: Any, layer: dict[str, Any]) -> Any:
    threshold, tau = layer["v_threshold"], layer["tau_mem"]
    zero, ones = np.zeros_like(threshold), np.ones_like(threshold)
    if layer["kind"] == "IF":
        return nir.IF(r=ones / DT, v_threshold=threshold, v_reset=zero)
    if layer["kind"] == "LIF":
        return nir.LIF(tau=tau, r=tau / DT, v_leak=zero, v_threshold=threshold, v_reset=zero)
    taus = {"tau_mem": tau, "tau_syn": layer["tau_syn"]}
    return nir.CubaLIF(**taus, r=tau / DT, v_leak=zero, v_threshold=threshold, v_reset=zero, w_in=ones)
