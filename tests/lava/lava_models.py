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
    head = {"format": "nmdeploy-model", "version": 1, "dt": 0.001, "profile": "loihi2", "readout": "last"}
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


def state_space(rng: np.random.Generator, neurons: int, states: int, **changes: Any) -> Node:
    """Decaying oscillators whose output crosses its threshold every few steps."""
    angle, radius = rng.uniform(0.05, 1.5, (neurons, states)), rng.uniform(0.8, 0.99, (neurons, states))
    node: Node = {
        "kind": "state_space",
        "rounding": "per-product",
        "state_bits": 24,
        "coefficient_bits": 16,
        "frac_a": 12,
        "frac_b": 10,
        "frac_c": 12,
        "frac_d": 8,
        "a_re": np.round(4096 * radius * np.cos(angle)).astype(int).tolist(),
        "a_im": np.round(4096 * radius * np.sin(angle)).astype(int).tolist(),
        "b_re": rng.integers(-2000, 2000, (neurons, states)).tolist(),
        "b_im": rng.integers(-2000, 2000, (neurons, states)).tolist(),
        "c_re": rng.integers(-4000, 4000, (neurons, states)).tolist(),
        "c_im": rng.integers(-4000, 4000, (neurons, states)).tolist(),
        "d": rng.integers(-300, 300, neurons).tolist(),
        "bias": rng.integers(-50, 50, neurons).tolist(),
        "vth": rng.integers(100, 800, neurons).tolist(),
        "reset_action": "none",
        "r_re": rng.integers(-500, 500, (neurons, states)).tolist(),
        "r_im": rng.integers(-500, 500, (neurons, states)).tolist(),
        "refractory_steps": 0,
        "refractory_mode": "hold",
    }
    return {**node, **changes}


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
