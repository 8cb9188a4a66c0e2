"""Tables in float32 lanes: by permutations up to 64 entries, entry by entry beyond, from the first one to the last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equal_runs import both
from float32_lanes import SINGLE, formulas
from formula_neuron import formula_case

from nmdeploy.engine.llvm import machine, population
from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.lower.values import ENTRIES
from nmdeploy.neurons.ops import take


def case(entries: int, first: int, last: int, most: int = SINGLE - 1) -> Any:
    """Return a case whose indices are the numbers from `first` to `last`, of a table of that many entries."""
    table = np.random.default_rng(entries).integers(-most, most, entries, endpoint=True)
    table[0], table[-1] = most, -most

    def taken(e: Any) -> Any:
        return take(table, np.minimum(np.maximum(e.a[..., 0] * 7 + e.t, first), last)) + 0

    return formula_case({"taken": taken, **formulas().formulas}, 40, 3)


RANGES = [(1, 0, 0), (2, 0, 1), (33, 0, 32), (64, 0, 63), (65, 0, 63), (65, 1, 64), (65, 0, 64), (200, 100, 163),
          (200, 37, 100), (200, 100, 164), (200, 0, 199)]  # fmt: skip


@pytest.mark.parametrize(("entries", "first", "last"), RANGES)
def test_every_range_of_indices_equals_the_reference(entries: int, first: int, last: int) -> None:
    made = case(entries, first, last)
    both(made.network, made.inputs)
    permuted = population.PERMUTE in compile_network(made.network, "states").populations["n"].text
    few = 1 < last - first + 1 <= ENTRIES
    assert permuted == (few and machine.has("avx512f") and machine.can_set_rounding())


@pytest.mark.parametrize(("entries", "first", "last"), RANGES)
def test_a_processor_without_the_instruction(
    entries: int, first: int, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(population, "has", lambda feature: False)
    made = case(entries, first, last)
    both(made.network, made.inputs)
    assert population.PERMUTE not in compile_network(made.network, "states").populations["n"].text


@pytest.mark.parametrize("most", [SINGLE, SINGLE + 1, 1 << 40])
def test_values_at_24_bits_and_beyond(most: int) -> None:
    made = case(64, 0, 63, most)
    both(made.network, made.inputs)
    assert (population.PERMUTE in compile_network(made.network, "states").populations["n"].text) <= (most == SINGLE)
