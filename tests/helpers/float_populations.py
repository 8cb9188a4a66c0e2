"""Random float populations of every family and mechanism, and their run in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nmdeploy.engine.run.float_population import FloatKernel
from nmdeploy.engine.trace.float_step import EXTREME
from nmdeploy.neurons.base import Neuron, StepTime
from nmdeploy.neurons.state_space.dense import DenseStateSpace
from nmdeploy.neurons.state_space.diagonal import StateSpace
from tests.helpers.family_examples import examples
from tests.helpers.mechanisms import Mechanisms, legal

SIZES = ((5, 2, 1), (17, 6, 2), (40, 9, 3))
"""Neurons, states and inputs per neuron: blocks that are not full, states with and without a loop."""


def with_mechanisms(m: Mechanisms, seed: int) -> Neuron:
    """Return a float state-space population with these mechanisms, and random parameters that make it spike."""
    rng, p = np.random.default_rng(seed), m.outputs
    h, n, q = SIZES[seed % len(SIZES)]
    n = m.states if m.spike == "phase" else n
    fields: dict[str, Any] = {
        "d": rng.normal(size=(h, p, q)),
        "bias": rng.normal(size=(h, p)) * 0.2,
        "input_bias": rng.normal(size=(h, q)) * 0.1,
        "v_threshold": 2.0 ** rng.integers(-1, 2, (h, p)),
        "graded_step": 0.25,
        "refractory_steps": int(rng.integers(0, 3)),
        "reset_period": 3,
        "reset_magnitude": rng.uniform(0.5, 2, (h, p if m.soma else n)),
        "leak": rng.uniform(0.5, 1, (h, p)),
        "adaptation_leak": rng.uniform(0.5, 1, (h, p)),
        "adaptation_jump": rng.uniform(0, 0.5, (h, p)),
        "soma_r": rng.uniform(0, 1, (h, p)),
        "soma_m": rng.uniform(0, 1, (h, p)),
        "seed": 7,
        **m.fields,
    }
    if m.kind == "dense_state_space":
        a = np.linalg.qr(rng.normal(size=(h, n, n)))[0] * 0.9
        return DenseStateSpace(
            a=a,
            b=rng.normal(size=(h, n, q)),
            c=rng.normal(size=(h, p, n)) / np.sqrt(n),
            r=rng.normal(size=(h, n, p)) * 0.3,
            m=np.eye(n) * rng.uniform(0, 1, (h, n, n)),
            **fields,
        )
    return StateSpace(
        a=np.exp(-rng.uniform(0.01, 0.5, (h, n)) + 1j * rng.uniform(0, 3, (h, n))),
        b=rng.normal(size=(h, n, q)) + 1j * rng.normal(size=(h, n, q)),
        c=(rng.normal(size=(h, p, n)) + 1j * rng.normal(size=(h, p, n))) / np.sqrt(n),
        r=(rng.normal(size=(h, n, p)) + 1j * rng.normal(size=(h, n, p))) * 0.3,
        m=rng.uniform(0, 1, (h, n)) + 0j,
        **fields,
    )


def populations(every: int) -> Iterator[tuple[str, Neuron]]:
    """Yield the examples of all families, and each `every`-th combination of mechanisms."""
    for index, neuron in enumerate(examples()):
        yield f"{neuron.kind}-{index}", neuron
    for index, m in enumerate(sorted(legal(), key=lambda m: m.name)[::every]):
        yield m.name, with_mechanisms(m, index)


def sums_of(neuron: Neuron, seed: int, samples: int, steps: int) -> Any:
    """Return random sums (samples, steps, input_size)."""
    rng = np.random.default_rng([seed, neuron.input_size])
    return rng.normal(0.2, 1, (samples, steps, neuron.input_size)) * (rng.random((samples, steps, 1)) < 0.6)


def in_numpy(neuron: Neuron, sums: Any) -> Iterator[tuple[int, Any, Any, Any]]:
    """Yield each step with the states before and after it, and its output, (samples, ...)."""
    samples, steps = sums.shape[:2]
    state, nothing = neuron.start(samples), np.zeros_like(sums[:, 0])
    ends: Any = np.full((samples, 1), steps) if neuron.output_latency else steps
    for step in range(steps + neuron.output_latency):
        before = state
        state, output = neuron.step(state, sums[:, step] if step < steps else nothing, StepTime(step, ends))
        yield step, before, state, output


def registers(kernel: FloatKernel) -> list[tuple[str, str, Any]]:
    """Return name, part ("", "real" or "imag") and place of each register that holds a state."""
    found = []
    for name, held in zip(kernel.names, kernel.layout.registers, strict=True):
        if not name.startswith(EXTREME):
            key, _, part = name.partition(".")
            found.append((key, part, held))
    return found


def part_of(values: Any, part: str) -> Any:
    """Return the real or the imaginary part of values, or themselves."""
    return getattr(values, part) if part else values
