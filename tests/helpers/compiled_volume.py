"""Comparison of many values of large random live networks in both backends, at every trace level."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from equal_runs import both, differences, engine_of, random_codes, random_lengths
from figures import Figures
from networks import Case, coverage
from networks_build import random_case
from networks_models import FAMILIES
from networks_neurons import DENSE_STATES, LIF, LOUD_LIF, STATE_SPACE
from networks_values import values_case
from networks_windowed import windowed_case

from nmdeploy.backends import compiled
from nmdeploy.recording.types import Recording

Maker = Callable[[int], Case]
TOTAL = 10**9
"""Values that the slow tests compare in all; the long ones compare `LONG` times as many."""
LONG = 10
NETWORKS = {"families": 12, "models": 4}
LESS = ("none", "spikes", None)
"""What every third network's last run is repeated with: the kernels that record less are other kernels."""
MOST = 4_000_000  # values per run, so that memory stays small
STEPS = (60, 150)
SIZES = (40, 160)


def large(families: Sequence[object], seed: int) -> Case:
    """Return a network of large populations; of LIF networks, one of three is loud."""
    return random_case(seed, families[seed % len(families)], sizes=SIZES)  # type: ignore[arg-type]


GENERAL: dict[str, Maker] = {
    "lif": partial(large, (LIF, LIF, LOUD_LIF)),
    "state_space": partial(large, (STATE_SPACE,)),
    "dense_state_space": partial(large, (DENSE_STATES,)),
    "windowed_state_space and gated_linear_unit": windowed_case,
    "filtered_integrator": values_case,
}
KINDS: dict[str, tuple[str, ...]] = {
    "lif": ("lif", "integrator"),
    "state_space": ("state_space", "integrator"),
    "dense_state_space": ("dense_state_space", "integrator"),
    "windowed_state_space and gated_linear_unit": (
        "windowed_state_space",
        "gated_linear_unit",
        "state_space",
        "integrator",
    ),
    "filtered_integrator": ("filtered_integrator", "lif"),
}
"""The integer populations that the networks of each maker have; `compare_many` counts them."""

NAMED: dict[str, Maker] = {family.name: partial(large, (family,)) for family in FAMILIES if family is not LIF}
NAMED |= {"lif": partial(large, (LOUD_LIF,)), "windowed-ssm": lambda seed: windowed_case(seed + 5000)}
SAME = {"cuba-lif": "lif", "lif-hard": "lif"}
"""Models with the populations of another name; `lif-hard` with another V_reset than 0 is a `DENSE_STATES` one."""


def share(part: str, times: int = 1) -> int:
    """Return the number of values per network of a part; each part compares half of the total."""
    makers = {"families": GENERAL, "models": NAMED}[part]
    return math.ceil(TOTAL * times / 2 / len(makers) / NETWORKS[part])


def compare_many(name: str, make: Maker, part: str, figures: Figures, times: int = 1) -> Counter[str]:
    """Compare networks of a maker, each until its share of values is done; print and return what they covered."""
    seen: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    compared, cases = 0, list(compilable(make, NETWORKS[part]))
    for seed, case in cases:
        compared += _compared(case, seed, share(part, times), seen, happened)
        seen.update({f"kind {neuron.kind}" for neuron in case.network.populations.values()})
    figures(f"{name}: {len(cases)} networks, {compared} values equal the reference's")
    figures(f"  in {name}: " + ", ".join(f"{number} {what}" for what, number in sorted(happened.items())))
    figures(f"  networks of {name}: " + ", ".join(f"{what}: {number}" for what, number in sorted(seen.items())))
    assert compared >= share(part, times) * len(cases) and len(cases) == NETWORKS[part]
    assert seen["alive"] >= math.ceil(0.9 * len(cases))
    return seen


def compilable(make: Maker, number: int) -> Iterator[tuple[int, Case]]:
    """Yield networks, each of which compiles, as every family of the package must."""
    for seed in range(number):
        case = make(seed)
        engine_of(case.network, "states")
        yield seed, case


def _compared(case: Case, seed: int, wanted: int, seen: Counter[str], happened: Counter[str]) -> int:
    """Compare runs and return the number of values.

    The first run has samples of unlike lengths, all others full ones. The coverage of the run with the most samples
    counts: the last one may have few.
    """
    network = case.network
    done, run, samples, most = 0, 0, 4, 0
    while done < wanted:
        steps = STEPS[run % 2]
        codes = random_codes(network, 1000 * seed + run, samples, steps)
        lengths = random_lengths(run, samples, steps) if run == 0 else None
        expected, values = both(network, codes, lengths)
        if samples >= most:
            largest, most = expected, samples
        done, run = done + values, run + 1
        each = values // samples // steps
        samples = max(0, min(MOST, wanted - done)) // (each * STEPS[run % 2]) + 1
        for name, neuron in network.populations.items():
            for flag in (*neuron.flags, "spikes"):
                happened[flag] += expected.total(name, flag)
    seen.update(coverage([case], [largest]))
    if trace := LESS[seed % 3]:
        _compare_less(case, codes, expected, trace)
    return done


def _compare_less(case: Case, codes: Any, expected: Recording, trace: str) -> None:
    """Compare a run at another trace level: the same outputs, the same counts, nothing else."""
    engine_of(case.network, trace)
    found = differences(without(expected, trace), compiled.run(case.network, codes, trace=trace))
    assert not found, (trace, found)


def without(recording: Recording, trace: str) -> Recording:
    """Return a recording with states as a run at another trace level would have left it."""
    spikes = {name: layer.spikes if trace == "spikes" else None for name, layer in recording.layers.items()}
    layers = {name: replace(layer, states={}, spikes=spikes[name]) for name, layer in recording.layers.items()}
    return replace(recording, layers=layers)
