"""A sample in pieces of steps: every state, output and count of the whole, whatever the length of a piece."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from equal_runs import random_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, dense_case, lif_case, state_space_case
from networks_windowed import windowed_case
from networks_wired import delayed_paths, looped, summed, two_way

from nmdeploy._util.frozen import same
from nmdeploy.backends import compiled, reference
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.pieces import Pieces, copied, cut, joined
from nmdeploy.recording.types import Recording, without_all_states

STEPS = 40


def of_membranes(case: Case) -> Case:
    """The same network with a readout of membranes, which needs all states of the output."""
    return Case(f"{case.name}-membrane", replace(case.network, readout="membrane-last"), case.inputs)


def wired(name: str, network: QuantizedNetwork) -> Case:
    return Case(name, network, random_codes(network, 1, 1, STEPS))


CASES = (
    *(lif_case(1), state_space_case(2), state_space_case(5), dense_case(3), of_membranes(lif_case(2))),
    *(windowed_case(seed, STEPS) for seed in (1, 4)),
    *(wired("two-way", two_way(1)), wired("delayed", delayed_paths(2)), wired("looped", looped(3, "ternary", 2))),
    wired("summed", summed(4, ("lif", "graded"))),
)


def inputs(case: Case, length: int) -> tuple[Any, Any]:
    codes = case.inputs[:1, :STEPS]
    return codes, np.array([min(length, codes.shape[1])])


def gathered(pieces: Pieces) -> tuple[dict[str, Any], Recording]:
    """All pieces of a run, joined, and the rest of it."""
    found: dict[str, list[Any]] = {}
    for states in pieces:
        for name, held in states.items():
            assert all(values.shape[1] for values in held.values())
            found.setdefault(name, []).append(copied(held))
    return {name: joined(held) for name, held in found.items()}, pieces.recording


@pytest.mark.parametrize("backend", [compiled, reference], ids=lambda module: module.NAMES[0])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@settings(max_examples=6, deadline=None)
@given(steps=st.integers(1, 45), length=st.integers(1, 40))
def test_pieces_are_the_whole(case: Case, backend: Any, steps: int, length: int) -> None:
    codes, lengths = inputs(case, length)
    whole = backend.run(case.network, codes, lengths=lengths, trace="states")
    states, rest = gathered(backend.run_pieces(case.network, codes, lengths=lengths, steps=steps))
    expected = {name: layer.states for name, layer in whole.layers.items() if layer.states}
    assert states.keys() == expected.keys()
    for name, held in expected.items():
        assert list(states[name]) == list(held)
        for key, values in held.items():
            assert np.array_equal(states[name][key], values) and states[name][key].dtype == values.dtype
    assert same(vars(rest), vars(without_all_states(whole)))
    again, cut_rest = gathered(Pieces(cut(whole, case.network.timing, steps)))
    assert same(again, states) and same(vars(cut_rest), vars(rest))


def test_the_rest_comes_last() -> None:
    case = CASES[0]
    codes, lengths = inputs(case, 5)
    pieces = reference.run_pieces(case.network, codes, lengths=lengths, steps=2)
    with pytest.raises(RuntimeError, match="after the last piece"):
        _ = pieces.recording


def test_some_cases_are_late_and_some_read_membranes() -> None:
    """Else a piece would never have other rows of one population than of the next."""
    assert any(case.network.timing.drain_steps for case in CASES)
    assert any(case.network.reads_membrane and case.network.populations[case.network.output].spiking for case in CASES)
