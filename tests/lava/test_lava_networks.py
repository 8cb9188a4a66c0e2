"""Whole networks in Lava against the tests' own simulator: every register, step and sample, bit for bit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import lava_models as m
import numpy as np
import pytest
from simulator import simulate

from nmdeploy.backends.lava_worker import LavaJob, run_jobs

pytestmark = pytest.mark.lava
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


def state_space_modes(rng: np.random.Generator, rounding: str, reset: str, mode: str, steps: int) -> Case:
    """One combination of the state-space neuron's modes, with narrow states that saturate."""
    options = {"rounding": rounding, "reset_action": reset, "refractory_mode": mode, "refractory_steps": steps}
    nodes = {
        "input": m.input_node(5, bits=4),
        "s0": m.dense(rng, 5, 8, exp=1),
        "x": m.state_space(rng, 8, 3, state_bits=12, **options),
        "s1": m.dense(rng, 8, 6, exp=3, bias=True),
        "y": m.state_space(rng, 6, 1, **options),
    }
    chain = ["input", "s0", "x", "s1", "y"]
    data = rng.integers(0, 16, (SAMPLES, STEPS, 5))
    return m.model(nodes, [[a, b, 0] for a, b in pairwise(chain)], "y"), data


def recurrent(rng: np.random.Generator) -> Case:
    """Recurrence within a population (LIF and state space), and a feedback loop over two of them."""
    nodes = {
        "input": m.input_node(6),
        "s0": m.dense(rng, 6, 9, bias=True),
        "l0": m.lif(rng, 9),
        "r0": m.dense(rng, 9, 9, exp=1, bias=True),
        "s1": m.dense(rng, 9, 8),
        "x": m.state_space(rng, 8, 2, refractory_steps=2, reset="soft"),
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
        "out": m.state_space(rng, 4, 2, rounding="per-sum", reset="hard"),
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


CASES = {
    "lif_chain": lif_chain,
    "lif_heterogeneous": lif_heterogeneous,
    "lif_overflow": lif_overflow,
    "recurrent": recurrent,
    "residual": residual,
    "single_step": single_step,
}
MODES = [
    (rounding, reset, mode, steps)
    for rounding in ("per-product", "per-sum")
    for reset in ("none", "hard", "soft")
    for mode, steps in (("hold", 0), ("hold", 2), ("mask", 3))
]
NAMES = [*CASES, *("-".join(map(str, mode)) for mode in MODES)]


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    made = {name: make(np.random.default_rng(7)) for name, make in CASES.items()}
    seeded = {"-".join(map(str, mode)): state_space_modes(np.random.default_rng(8), *mode) for mode in MODES}
    return {**made, **seeded}


@pytest.fixture(scope="module")
def recordings(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    jobs = [LavaJob(m.write(folder / f"{name}.nir", model), data, "states") for name, (model, data) in cases.items()]
    progress: list[tuple[int, int]] = []
    results = run_jobs(jobs, timeout=120, on_progress=lambda done, total: progress.append((done, total)))
    assert progress == [(done + 1, len(jobs)) for done in range(len(jobs))]
    return dict(zip(cases, results, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_equals_simulator(name: str, cases: dict[str, Case], recordings: dict[str, Any]) -> None:
    model, data = cases[name]
    for index, sample in enumerate(data.tolist()):
        expected, _ = simulate(model["nodes"], model["edges"], sample)
        assert set(expected) == set(recordings[name])
        for key, values in expected.items():
            np.testing.assert_array_equal(
                recordings[name][key][index], np.array(values), err_msg=f"{key}, sample {index}"
            )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "single_step"])
def test_networks_are_alive(name: str, recordings: dict[str, Any]) -> None:
    for key, values in recordings[name].items():
        if key.endswith("|spikes"):
            assert 0.01 < values.mean() < 0.95, f"{key}: rate {values.mean():.3f}"


def test_overflows_happen(recordings: dict[str, Any]) -> None:
    for population in ("l0", "l1"):
        assert np.abs(recordings["lif_overflow"][f"{population}|v"]).max() == 2**23 - 1
    states = recordings["per-sum-none-hold-0"]
    assert np.abs(states["x|re"]).max() == np.abs(states["x|im"]).max() == 2**11 - 1


def test_current_wraps(cases: dict[str, Case]) -> None:
    model, data = cases["lif_overflow"]
    _, overflows = simulate(model["nodes"], model["edges"], data[0].tolist())
    assert overflows["l0"]["u_wraps"] and overflows["l1"]["u_wraps"]


def test_output_is_int64(recordings: dict[str, Any]) -> None:
    assert all(array.dtype == np.int64 for result in recordings.values() for array in result.values())
