"""Model files for the Lava tests, built by hand from the schema."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Node = dict[str, Any]
RANGES = {
    "mixed": lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1)),
    "excitatory": lambda bits: (0, 2**bits),
    "inhibitory": lambda bits: (1 - 2**bits, 1),
}


def write(path: Path, model: Node) -> Path:
    content = json.dumps(model)
    digest = hashlib.sha256(content.encode()).hexdigest()
    with h5py.File(path, "w") as file:
        file["node/metadata/nmdeploy"] = f'{content[:-1]},"sha256":"{digest}"}}'
    return path


def model(nodes: dict[str, Node], edges: list[list[Any]], output: str) -> Node:
    head = {"format": "nmdeploy-model", "version": 2, "dt": 0.001, "profile": "loihi2", "readout": "last"}
    return {**head, "output": output, "nodes": nodes, "edges": edges}


def input_node(channels: int, bits: int = 1, signed: bool = False) -> Node:
    return {"kind": "input", "shape": [channels], "format": {"bits": bits, "frac": 0, "signed": signed}}


def dense(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    *,
    bits: int = 8,
    mode: str = "mixed",
    exp: int = 2,
    bias: bool = False,
) -> Node:
    low, high = RANGES[mode](bits)
    weight = rng.integers(low, high, (outputs, inputs))
    codes = rng.integers(*RANGES["mixed"](bits), outputs).tolist() if bias else None
    return {
        "kind": "dense",
        "weight": weight.tolist(),
        "bits": bits,
        "frac": 7,
        "sign_mode": mode,
        "weight_exp": exp,
        "bias": codes,
        "bias_frac": 0,
        "bias_exp": exp + 1,
    }


def sparse(model: Node) -> Node:
    """The model with every other weight of its dense synapses gone, and the others listed by input."""
    nodes = {name: _sparse(node) if node["kind"] == "dense" else node for name, node in model["nodes"].items()}
    return {**model, "nodes": nodes}


def _sparse(node: Node) -> Node:
    weight = np.array(node["weight"])
    weight[(np.add.outer(*map(np.arange, weight.shape)) % 2).astype(bool)] = 0
    columns = [np.flatnonzero(column) for column in weight.T]
    entries = {
        "offsets": np.cumsum([0, *map(len, columns)]).tolist(),
        "targets": np.concatenate(columns).tolist(),
        "codes": np.concatenate([column[column != 0] for column in weight.T]).tolist(),
        "outputs": len(weight),
    }
    return {**{key: value for key, value in node.items() if key != "weight"}, **entries, "kind": "sparse"}


def mechanisms(rng: np.random.Generator, neurons: int, outputs: int = 1, *, magnitudes: int = 1) -> Node:
    """Every field that follows the dynamics: one binary threshold, and numbers for what `changes` may turn on."""
    shape = (neurons, outputs)
    return {
        "vth": rng.integers(100, 800, shape).tolist(),
        "spike": "binary",
        "graded_shift": 4,
        "graded_bits": 6,
        "seed": 7,
        "soma": False,
        "leak": rng.integers(2000, 4097, shape).tolist(),
        "rectify": False,
        "adaptation": False,
        "adaptation_leak": rng.integers(2000, 4097, shape).tolist(),
        "adaptation_jump": rng.integers(0, 200, shape).tolist(),
        "refractory_steps": 0,
        "refractory_mode": "hold",
        "reset_condition": "never",
        "reset_period": 3,
        "reset_magnitude": rng.integers(200, 2000, (neurons, magnitudes)).tolist(),
        "reset_action": "none",
        "soma_r": rng.integers(-500, 500, shape).tolist(),
        "soma_m": rng.integers(-4096, 4097, shape).tolist(),
        "modulo_exp": rng.integers(5, 9, shape).tolist(),
    }


def fractions() -> Node:
    return {
        "rounding": "per-product",
        "state_bits": 24,
        "coefficient_bits": 16,
        "frac_a": 12,
        "frac_b": 10,
        "frac_c": 12,
        "frac_d": 8,
    }


def diagonal(rng: np.random.Generator, neurons: int, states: int, inputs: int, outputs: int) -> Node:
    """Decaying oscillators."""
    shape = (neurons, states)
    angle, radius = rng.uniform(0.05, 1.5, shape), rng.uniform(0.8, 0.99, shape)
    node = fractions() | {
        "a_re": np.round(4096 * radius * np.cos(angle)).astype(int).tolist(),
        "a_im": np.round(4096 * radius * np.sin(angle)).astype(int).tolist(),
        "d": rng.integers(-300, 300, (neurons, outputs, inputs)).tolist(),
        "bias": rng.integers(-50, 50, (neurons, outputs)).tolist(),
        "input_bias": rng.integers(-5, 6, (neurons, inputs)).tolist(),
    }
    for part in ("re", "im"):
        node[f"b_{part}"] = rng.integers(-2000, 2000, (*shape, inputs)).tolist()
        node[f"c_{part}"] = rng.integers(-4000, 4000, (neurons, outputs, states)).tolist()
    return node


def state_space(
    rng: np.random.Generator, neurons: int, states: int, *, inputs: int = 1, outputs: int = 1, **changes: Any
) -> Node:
    """Oscillators whose output crosses its threshold every few steps."""
    node = {"kind": "state_space"} | diagonal(rng, neurons, states, inputs, outputs)
    magnitudes = outputs if changes.get("soma") else states
    node |= mechanisms(rng, neurons, outputs, magnitudes=magnitudes)
    for part in ("re", "im"):
        node[f"r_{part}"] = rng.integers(-500, 500, (neurons, states, outputs)).tolist()
        node[f"m_{part}"] = rng.integers(-3000, 3000, (neurons, states)).tolist()
    return {**node, **changes}


def dense_state_space(
    rng: np.random.Generator, neurons: int, states: int, *, inputs: int = 1, outputs: int = 1, **changes: Any
) -> Node:
    """Real states with a dense, contracting coupling."""
    shape = (neurons, states, states)
    rotation = np.linalg.qr(rng.normal(size=shape))[0]
    node = {"kind": "dense_state_space"} | fractions()
    node |= mechanisms(rng, neurons, outputs, magnitudes=outputs if changes.get("soma") else states)
    node |= {
        "a": np.round(4000 * rotation).astype(int).tolist(),
        "b": rng.integers(-2000, 2000, (neurons, states, inputs)).tolist(),
        "c": rng.integers(-4000, 4000, (neurons, outputs, states)).tolist(),
        "d": rng.integers(-300, 300, (neurons, outputs, inputs)).tolist(),
        "bias": rng.integers(-50, 50, (neurons, outputs)).tolist(),
        "input_bias": rng.integers(-5, 6, (neurons, inputs)).tolist(),
        "r": rng.integers(-500, 500, (neurons, states, outputs)).tolist(),
        "m": rng.integers(-1500, 1500, shape).tolist(),
        "rectify_states": False,
    }
    return {**node, **changes}


def windowed(rng: np.random.Generator, neurons: int, states: int, window: int, **changes: Any) -> Node:
    """Oscillators whose output is summed over windows."""
    node = {"kind": "windowed_state_space"} | diagonal(rng, neurons, states, 1, 1)
    node |= {
        "window": window,
        "kernel": rng.integers(-2000, 4000, (neurons, window)).tolist(),
        "frac_k": 10,
        "vth": rng.integers(-200, 200, neurons).tolist(),
        "send_once": False,
    }
    return {**node, **changes}


def gate(neurons: int, **changes: Any) -> Node:
    """Sigmoid gates; value and gate have 6 fraction bits, the output 4."""
    table = np.round(2**15 / (1 + np.exp(-np.arange(-8, 8.1, 0.25)))).astype(int).tolist()
    node = {"kind": "gated_linear_unit", "neurons": neurons, "table": table, "gate_shift": 17, "output_bits": 8}
    return {**node, "frac_in": 6, "frac_out": 4, "send_once": False, "window": 1, **changes}


def lif(rng: np.random.Generator, neurons: int, *, uniform: bool = True, refractory: int = 0, vth: int = 400) -> Node:
    size = 1 if uniform else neurons

    def values(low: int, high: int) -> list[int]:
        return np.broadcast_to(rng.integers(low, high, size), neurons).tolist()

    return {
        "kind": "lif",
        "rule": "loihi",
        "du": values(500, 4096),
        "dv": values(0, 1000),
        "vth": values(vth // 2, vth),
        "bias_mant": rng.integers(-300, 300, neurons).tolist(),
        "bias_exp": rng.integers(0, 5, neurons).tolist(),
        "refractory_steps": refractory,
    }


def integrator(rng: np.random.Generator, neurons: int, *, bits: int = 24) -> Node:
    return {
        "kind": "integrator",
        "dv": rng.choice([0, 1, 100, 4096], neurons).tolist(),
        "bias": rng.integers(-20, 20, neurons).tolist(),
        "state_bits": bits,
    }


def chain(node: Node, **synapse: Any) -> Node:
    """One synapse, with its fields changed by `synapse`, and one population."""
    rng = np.random.default_rng(1)
    nodes = {"input": input_node(4), "s": {**dense(rng, 4, 4), **synapse}, "n": node}
    return model(nodes, [["input", "s", 0], ["s", "n", 0]], "n")
