"""Networks for the Lava tests, with their inputs: (model, (samples, steps, channels))."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from typing import Any

import lava_models as m
import numpy as np

SAMPLES, STEPS = 3, 14
Case = tuple[dict[str, Any], np.ndarray]


def spikes(rng: np.random.Generator, channels: int, rate: float = 0.4) -> np.ndarray:
    return (rng.random((SAMPLES, STEPS, channels)) < rate).astype(np.int64)


def lif_chain(rng: np.random.Generator) -> Case:
    """Intel's LIFReset twice, biases in synapses and neurons, graded readout."""
    nodes = {
        "input": m.input_node(6),
        "s0": m.dense(rng, 6, 9, bias=True),
        "l0": m.lif(rng, 9),
        "s1": m.dense(rng, 9, 7, bits=4, exp=5),
        "l1": m.lif(rng, 7),
        "s2": m.dense(rng, 7, 3, bits=6, exp=-3),
        "out": m.integrator(rng, 3),
    }
    chain = ["input", "s0", "l0", "s1", "l1", "s2", "out"]
    return m.model(nodes, [[a, b, 0] for a, b in pairwise(chain)], "out"), spikes(rng, 6)


def lif_heterogeneous(rng: np.random.Generator) -> Case:
    """RefractoryLIF: parameters for each neuron, refractory period; one-signed weights of few bits."""
    nodes = {
        "input": m.input_node(5, bits=5, signed=True),
        "s0": m.dense(rng, 5, 9, mode="excitatory", bits=5, exp=1),
        "l0": m.lif(rng, 9, uniform=False, refractory=3),
        "s1": m.dense(rng, 9, 6, mode="inhibitory", bits=3, exp=-1, bias=True),
        "l1": m.lif(rng, 6, uniform=False),
    }
    nodes["l1"]["bias_mant"] = [abs(b) * 8 for b in nodes["l1"]["bias_mant"]]
    chain = ["input", "s0", "l0", "s1", "l1"]
    data = rng.integers(-16, 16, (SAMPLES, STEPS, 5))
    return m.model(nodes, [[a, b, 0] for a, b in pairwise(chain)], "l1"), data


def lif_overflow(rng: np.random.Generator) -> Case:
    """u wraps and v saturates, in Intel's LIFReset and in RefractoryLIF alike."""
    nodes = {
        "input": m.input_node(4, bits=8),
        "s0": m.dense(rng, 4, 8, exp=2),
        "l0": m.lif(rng, 8, vth=131071),
        "l1": m.lif(rng, 8, vth=131071, uniform=False),
        "s1": m.dense(rng, 4, 8, exp=2),
    }
    for name in ("l0", "l1"):
        nodes[name].update(du=[100] * 8, dv=[3] * 8)
    nodes["l1"].update(refractory_steps=1)
    edges = [["input", "s0", 0], ["s0", "l0", 0], ["input", "s1", 0], ["s1", "l1", 0]]
    return m.model(nodes, edges, "l0"), rng.integers(-128, 128, (SAMPLES, STEPS, 4))


def mechanisms(kind: str, soma: bool, condition: str, action: str, index: int) -> tuple[str, Case]:
    """One reset of one dynamics or soma; what else there is to choose goes round with `index`."""
    rng = np.random.default_rng(index)
    outputs, spike = 2, ("binary", "ternary", "graded", "stochastic")[index % 4]
    mode, steps = (("hold", 2), ("mask", 2), ("mask-raw", 2), ("hold", 0))[(index // 4 + index) % 4]
    unsigned = action == "modulo" or (condition == "any" and action in ("soft", "linear"))
    if unsigned:
        spike = ("binary", "stochastic")[index % 2]
    # Which output's reset would it be?
    if (condition == "each" and not soma and action != "soft") or (condition == "any" and action == "modulo"):
        outputs = 1
    node = {"state_space": m.state_space, "dense": m.dense_state_space}[kind](
        rng,
        4,
        3,
        inputs=2,
        outputs=outputs,
        soma=soma,
        adaptation=soma and index % 2 == 0,
        rectify=soma and index % 3 == 0,
        spike=spike,
        refractory_mode=mode,
        refractory_steps=steps,
        reset_condition=condition,
        reset_action=action,
        rounding=("per-product", "per-sum")[index // 2 % 2],
        state_bits=(12, 16, 24)[index % 3],
    )
    nodes = {"input": m.input_node(5, bits=4), "s": m.dense(rng, 5, 8, exp=0, bias=True), "x": node}
    name = "-".join((kind, "soma" if soma else "dynamics", condition, action, spike, f"{mode}{steps}"))
    case = m.model(nodes, [["input", "s", 0], ["s", "x", 0]], "x"), rng.integers(0, 16, (SAMPLES, STEPS, 5))
    return name, case


def resets() -> list[tuple[str, bool, str, str]]:
    """Every reset that has a meaning."""
    kinds, somas, actions = ("state_space", "dense"), (False, True), ("hard", "soft", "scale", "linear")
    found = list(product(kinds, somas, ("any", "each", "magnitude", "every"), actions))
    found += [(kind, soma, "never", "none") for kind in kinds for soma in somas]
    return [*found, *((kind, True, condition, "modulo") for kind in kinds for condition in ("any", "each"))]


def phase(rng: np.random.Generator) -> Case:
    """Spikes at zero crossings, several inputs, reset of the dynamics."""
    options = {"spike": "phase", "reset_condition": "any", "reset_action": "soft", "refractory_steps": 1}
    node = m.state_space(rng, 6, 1, inputs=2, vth=rng.integers(0, 40, (6, 1)).tolist(), **options)
    nodes = {"input": m.input_node(5, bits=4), "s": m.dense(rng, 5, 12, exp=0, bias=True), "x": node}
    data = rng.integers(0, 16, (SAMPLES, STEPS, 5))
    return m.model(nodes, [["input", "s", 0], ["s", "x", 0]], "x"), data


def windowed_chain(rng: np.random.Generator, steps: int = 13, send_once: bool = False) -> Case:
    """Windows, a gate, windows of other length, then neurons that count their own steps."""
    nodes = {
        "input": m.input_node(5, bits=4),
        "s0": m.dense(rng, 5, 6, exp=1, bias=True),
        "w": m.windowed(rng, 6, 2, 4, send_once=send_once, rounding="per-sum"),
        "s1": m.dense(rng, 6, 8, exp=1, bias=True),
        "g": m.gate(4, send_once=send_once, window=4),
        "s2": m.dense(rng, 4, 6, bias=True),
        "v": m.windowed(rng, 6, 2, 3, send_once=send_once),
        "s3": m.dense(rng, 6, 6),
        "x": m.state_space(rng, 6, 2, spike="stochastic", reset_condition="every", reset_action="linear"),
        "s4": m.dense(rng, 6, 3),
        "out": m.integrator(rng, 3),
    }
    data = rng.integers(0, 16, (SAMPLES, steps, 5))
    return m.model(nodes, [[a, b, 0] for a, b in pairwise(nodes)], "out"), data


def windowed_mixture(rng: np.random.Generator) -> Case:
    """Windows of several lengths into one gate, delayed edges out of windows, a recurrent one, an inserted delay."""
    nodes = {
        "input": m.input_node(5, bits=4),
        "s0": m.dense(rng, 5, 6, exp=1, bias=True),
        "w": m.windowed(rng, 6, 2, 3),
        "s1": m.dense(rng, 5, 4, exp=1),
        "v": m.windowed(rng, 4, 2, 5),
        "s2": m.dense(rng, 6, 8),
        "s3": m.dense(rng, 4, 8, exp=1),
        "skip": m.dense(rng, 5, 8),
        "g": m.gate(4),
        "s4": m.dense(rng, 4, 6),
        "l": m.lif(rng, 6),
        "late": m.dense(rng, 6, 6, exp=1),
        "back": m.dense(rng, 6, 6),
        "r": m.dense(rng, 6, 6, exp=1),
        "s5": m.dense(rng, 6, 6),
    }
    edges = [["input", "s0", 0], ["s0", "w", 0], ["input", "s1", 0], ["s1", "v", 0], ["w", "s2", 0], ["s2", "g", 0]]
    edges += [["v", "s3", 0], ["s3", "g", 0], ["input", "skip", 0], ["skip", "g", 0], ["g", "s4", 0], ["s4", "l", 0]]
    edges += [["w", "late", 2], ["late", "l", 0], ["w", "back", 3], ["back", "w", 0], ["l", "r", 1], ["r", "l", 0]]
    return m.model(nodes, [*edges, ["w", "s5", 0], ["s5", "l", 0]], "l"), rng.integers(0, 16, (SAMPLES, STEPS, 5))


def recurrent(rng: np.random.Generator) -> Case:
    """Recurrence within a population (LIF and state space), and a feedback loop over two of them."""
    nodes = {
        "input": m.input_node(6),
        "s0": m.dense(rng, 6, 9, bias=True),
        "l0": m.lif(rng, 9),
        "r0": m.dense(rng, 9, 9, exp=1, bias=True),
        "s1": m.dense(rng, 9, 8),
        "x": m.state_space(rng, 8, 2, refractory_steps=2, reset_condition="any", reset_action="soft"),
        "r1": m.dense(rng, 8, 8, exp=1),
        "back": m.dense(rng, 8, 9, exp=1),
    }
    edges = [["input", "s0", 0], ["s0", "l0", 0], ["l0", "r0", 1], ["r0", "l0", 0], ["l0", "s1", 0], ["s1", "x", 0]]
    return m.model(nodes, [*edges, ["x", "r1", 3], ["r1", "x", 0], ["x", "back", 2], ["back", "l0", 0]], "x"), spikes(
        rng, 6
    )


def residual(rng: np.random.Generator) -> Case:
    """Parallel paths of unequal depth summed before and after a synapse, graded values, a delay without a loop."""
    nodes = {
        "input": m.input_node(7, bits=3),
        "s0": m.dense(rng, 7, 7, exp=1),
        "l0": m.lif(rng, 7),
        "s1": m.dense(rng, 7, 7),
        "l1": m.lif(rng, 7),
        "s2": m.dense(rng, 7, 5, exp=0),
        "v": m.integrator(rng, 5, bits=16),
        "skip": m.dense(rng, 7, 5, exp=-1),
        "s3": m.dense(rng, 5, 4, exp=-4),
        "out": m.state_space(rng, 4, 2, rounding="per-sum", reset_condition="any", reset_action="hard"),
        "late": m.dense(rng, 7, 4, exp=3),
    }
    edges = [["input", "s0", 0], ["s0", "l0", 0], ["l0", "s1", 0], ["s1", "l1", 0], ["l1", "s2", 0], ["l0", "s2", 0]]
    edges += [["s2", "v", 0], ["input", "skip", 0], ["skip", "v", 0], ["v", "s3", 0], ["s3", "out", 0]]
    edges += [["l0", "late", 4], ["late", "out", 0], ["input", "s2", 2]]
    return m.model(nodes, edges, "out"), rng.integers(0, 8, (SAMPLES, STEPS, 7))


def single_step(rng: np.random.Generator) -> Case:
    """Samples of one step."""
    case, data = lif_chain(rng)
    return case, data[:, :1]


def sparse(make: Callable[[np.random.Generator], Case], rng: np.random.Generator) -> Case:
    """A case with sparse synapses."""
    model, data = make(rng)
    return m.sparse(model), data


CASES = {
    "lif_chain": lif_chain,
    "lif_heterogeneous": lif_heterogeneous,
    "lif_overflow": lif_overflow,
    "recurrent": recurrent,
    "residual": residual,
    "single_step": single_step,
    "phase": phase,
    "windowed_chain": windowed_chain,
    "windowed_chain_once": lambda rng: windowed_chain(rng, send_once=True),
    "windowed_chain_short": lambda rng: windowed_chain(rng, steps=2),
    "windowed_mixture": windowed_mixture,
    "sparse_heterogeneous": partial(sparse, lif_heterogeneous),
    "sparse_recurrent": partial(sparse, recurrent),
    "sparse_residual": partial(sparse, residual),
}


def everything() -> dict[str, Case]:
    """All cases by name."""
    made = {name: make(np.random.default_rng(7)) for name, make in CASES.items()}
    return made | dict(mechanisms(*reset, index) for index, reset in enumerate(resets()))
