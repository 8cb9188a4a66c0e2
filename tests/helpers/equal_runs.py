"""Comparison of the compiled backend with the reference: every value, type, shape and count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from networks_build import Case

from nmdeploy.analysis.comparison import values
from nmdeploy.backends import compiled, reference
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording


def differences(expected: Recording, actual: Recording) -> list[str]:
    """Return the differences between two recordings, one per line."""
    found = [name for name in ("spiking", "latency") if getattr(expected, name) != getattr(actual, name)]
    found += _unlike("output", expected.output, actual.output)
    found += _unlike("lengths", expected.lengths, actual.lengths)
    if list(expected.layers) != list(actual.layers):
        return [*found, f"layers {list(expected.layers)} and {list(actual.layers)}"]
    for name, layer in expected.layers.items():
        other = actual.layers[name]
        for part in ("states", "counts"):
            mine, others = getattr(layer, part), getattr(other, part)
            if list(mine) != list(others):
                found.append(f"{name}: {part} {list(mine)} and {list(others)}")
            for key in [key for key in mine if key in others]:
                found += _unlike(f"{name} {key}", mine[key], others[key])
        found += _unlike(f"{name} spikes", layer.spikes, other.spikes)
    return found


def _unlike(what: str, a: Any, b: Any) -> Iterator[str]:
    if a is None or b is None:
        if a is not b:
            yield f"{what}: only one has them"
    elif a.dtype != b.dtype or a.shape != b.shape:
        yield f"{what}: {a.dtype} {a.shape} and {b.dtype} {b.shape}"
    elif not np.array_equal(a, b):
        where = tuple(int(i) for i in np.argwhere(a != b)[0])
        yield f"{what}: {int((a != b).sum())} of {a.size} differ, first {where}: {a[where]} and {b[where]}"


def engine_of(network: QuantizedNetwork, trace: str) -> Any:
    """Return the network's engine, so that no test passes because the reference ran in its place."""
    engine = compiled.engine(network, trace)
    assert engine.program.network is network
    return engine


def both(network: QuantizedNetwork, codes: Any, lengths: Any = None, trace: str = "states") -> tuple[Recording, int]:
    """Return the reference's recording, which the compiled backend's must equal, and the number of values compared."""
    engine_of(network, trace)
    actual = compiled.run(network, codes, lengths=lengths, trace=trace)
    expected = reference.run(network, codes, lengths=lengths, trace=trace)
    found = differences(expected, actual)
    assert not found, found
    return expected, sum(array.size for _, _, array in values(expected))


def random_codes(network: QuantizedNetwork, seed: int, samples: int, steps: int, share: float = 0.4) -> Any:
    """Return codes over the whole range of the input's format, a share of them not silent."""
    rng, form = np.random.default_rng(seed), network.input.format
    shape = (samples, steps, network.input.size)
    return rng.integers(form.min, form.max + 1, shape) * (rng.random(shape) < share)


def random_lengths(seed: int, samples: int, steps: int) -> Any:
    """Return lengths up to the number of steps; the first is whole, the last a single step."""
    lengths = np.random.default_rng(seed).integers(1, steps + 1, samples)
    lengths[-1], lengths[0] = 1, steps
    return lengths


def agree(case: Case, samples: int = 3, steps: int = 40, *, trace: str = "states", ragged: bool = True) -> Recording:
    """Run a network on random codes in both backends, and return the recording."""
    codes = random_codes(case.network, steps, samples, steps)
    lengths = random_lengths(steps, samples, steps) if ragged else None
    return both(case.network, codes, lengths, trace)[0]
