"""Networks with one planted fault, in the float network or in the integers, and their unspoilt twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy import pipeline
from nmdeploy.analysis import finding as f
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.samples.source import Data

CHANNELS, SIZES, CLASSES, SAMPLES, STEPS = 20, (24, 16), 4, 8, 60
DRIVE = 2.0
"""Mean steady membrane of a neuron, in thresholds."""
SPOILT = "hidden1"


def neuron(seed: int, size: int, rng: np.random.Generator) -> Any:
    """Current-based LIF, LIF and soft-reset neurons by turns, with small biases and unlike decays."""
    beta = rng.uniform(0.85, 0.93, size)
    bias = rng.normal(0, 0.01, size)
    if seed % 3 == 2:
        soft: dict[str, Any] = {"reset_condition": "each", "reset_action": "soft", "r": 1.0}
        ones = np.ones((size, 1))
        return DenseStateSpace(
            a=beta[:, None, None], b=ones, c=ones, d=0.0, v_threshold=np.ones(size), input_bias=bias[:, None], **soft
        )
    alpha = rng.uniform(0.5, 0.6, size) if seed % 3 == 0 else np.zeros(size)
    return LIF(alpha=alpha, beta=beta, v_threshold=np.ones(size), bias=bias)


def network(seed: int, mean: float = 0.6) -> Network:
    """Two hidden populations and a readout; weights are positive on average, so that most neurons fire."""
    rng = np.random.default_rng(seed)
    builder = NetworkBuilder(1e-3)
    before, width = builder.input(CHANNELS), CHANNELS
    for index, size in enumerate(SIZES):
        name = builder.population(neuron(seed, size, rng), f"hidden{index + 1}")
        weight, rate = rng.normal(mean, 0.7, (size, width)), 0.25 if index == 0 else 0.15
        gain = 10 / (0.45 if seed % 3 == 0 else 1)
        builder.connect(before, name, weight * (DRIVE / (gain * rate * 0.6 * width)))
        before, width = name, size
    out = builder.population(Integrator(beta=np.full(CLASSES, 0.95)), "out")
    builder.connect(before, out, rng.normal(0, 1, (CLASSES, width)))
    return builder.build()


def samples(seed: int) -> Data:
    """Random spikes."""
    codes = (np.random.default_rng(seed + 1000).random((SAMPLES, STEPS, CHANNELS)) < 0.25).astype(np.int64)
    return Data(codes, None, np.full(SAMPLES, STEPS))


@dataclass(frozen=True)
class Case:
    """A spoilt model, the network to compare it with, and what is to be named first."""

    model: QuantizedNetwork
    source: Network
    data: Data
    population: str
    fault: str


def _replaced(graph: Any, name: str, **fields: Any) -> Any:
    return replace(graph, nodes={**graph.nodes, name: replace(graph.nodes[name], **fields)})


def _at(values: Any, index: int, value: Any) -> Any:
    changed = np.array(values)
    changed[index] = value
    return changed


def _decay(node: Any, index: Any, factor: float) -> dict[str, Any]:
    field = "beta" if node.kind == "lif" else "a"
    return {field: _at(getattr(node, field), index, factor)}


def spoil_floats(fault: str, seed: int, found: Network) -> Network:
    """Plant a fault in one neuron of the float network (odd seeds) or in all neurons of a population (even seeds)."""
    index: Any = 5 if seed % 2 else slice(None)
    name, synapse = SPOILT, f"{SPOILT}.synapse"
    node, weight = found.nodes[name], np.array(found.nodes[synapse].weight)  # type: ignore[union-attr]
    if fault == f.ROW_SCALED:
        weight[5] *= 30 if seed % 2 else 1 / 40
        return _replaced(found, synapse, weight=weight)
    if fault == f.SIGN_FLIPPED:
        weight[index] *= -1
        return _replaced(found, synapse, weight=weight)
    if fault == f.OUT_OF_REACH:
        return _replaced(found, name, v_threshold=_at(node.v_threshold, index, 60.0))  # type: ignore[union-attr]
    if fault == f.TAU_UNDER_DT:
        return _replaced(found, name, **_decay(node, index, np.exp(-1 / 0.3)))
    if fault == f.DECAY_OFF:
        return _replaced(found, name, **_decay(node, 5, 0.9995 if seed % 2 else 0.4))
    field = "bias" if node.kind == "lif" else "input_bias"  # type: ignore[union-attr]
    sign = 0.6 if seed % 4 == 1 else -0.6
    return _replaced(found, name, **{field: _at(getattr(node, field), index, sign)})


def spoil_integers(fault: str, seed: int, found: QuantizedNetwork) -> QuantizedNetwork:
    """Plant the same faults in the integers."""
    index: Any = 5 if seed % 2 else slice(None)
    name, synapse = SPOILT, f"{SPOILT}.synapse"
    node: Any = found.nodes[name]
    weight = np.array(found.nodes[synapse].weight)  # type: ignore[union-attr]
    if fault == f.ROW_SCALED:
        weight[5] = weight[5] // 8 if seed % 2 else np.clip(weight[5] * 4, -128, 127)
        return _replaced(found, synapse, weight=weight)
    if fault == f.SIGN_FLIPPED:
        weight[index] = np.clip(-weight[index], -128, 127)
        return _replaced(found, synapse, weight=weight)
    if fault == f.OUT_OF_REACH:
        high = np.minimum(node.vth * 60, (1 << 17) - 1) if node.kind == "lif" else node.vth * 60
        return _replaced(found, name, vth=_at(node.vth, index, high[index]))
    decays = {f.TAU_UNDER_DT: 0.03, f.DECAY_OFF: 0.99 if seed % 2 else 0.6}
    if fault in decays:
        if node.kind == "lif":
            return _replaced(found, name, dv=_at(node.dv, index, round(4096 * (1 - decays[fault]))))
        return _replaced(found, name, a=_at(node.a, index, round(decays[fault] * 2**node.frac_a)))
    if node.kind == "lif":
        codes, exps = _at(node.bias_mant, index, -4000), _at(node.bias_exp, index, 7)
        return _replaced(found, name, bias_mant=codes, bias_exp=exps)
    return _replaced(found, name, input_bias=_at(node.input_bias, index, -round(0.6 * 2**node.frac_in)))


FAULTS = (f.ROW_SCALED, f.OUT_OF_REACH, f.TAU_UNDER_DT, f.SIGN_FLIPPED, f.BIAS_OFF, f.DECAY_OFF)
Spoil = Callable[[str, int], Case]


def in_floats(fault: str, seed: int) -> Case:
    """The float network is spoilt, exported, and the model compared with it."""
    data, spoilt = samples(seed), spoil_floats(fault, seed, network(seed))
    return Case(pipeline.quantize(spoilt, data=data), spoilt, data, SPOILT, fault)


def in_integers(fault: str, seed: int) -> Case:
    """The integers are spoilt, and the network that they came from is good."""
    data, good = samples(seed), network(seed)
    return Case(spoil_integers(fault, seed, pipeline.quantize(good, data=data)), good, data, SPOILT, fault)


def unspoilt(seed: int) -> Case:
    """The twin of both."""
    data, good = samples(seed), network(seed)
    return Case(pipeline.quantize(good, data=data), good, data, "", "")
