"""No mutant of a module of the integer step survives: each differs from Lava, or miscounts what overflowed.

Values are judged by Lava's traces. Overflow counts, which Lava does not have, are judged by the unbounded simulator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from edge_cases import edge_cases
from figures import Figures
from mutants import Mutant, installed, mutants, reached, step_modules
from networks import Case, dense_case, lif_case, state_space_case
from networks_values import values_case
from networks_windowed import windowed_case
from requires_lava import require_lava
from simulated import simulated

from nmdeploy.analysis.comparison import compare
from nmdeploy.backends import lava, reference

MODULES = step_modules()
# Changes that provably leave the function as it is: (the line, it from the change on or all of it) -> why.
EQUIVALENT = {
    ("if lanes.shape[-1] > 4:", ""): "chooses between two ways to the same sum",
    (
        'return (1 << (self.graded_bits - 1)) - 1 if self.spike == "graded" else 1',
        "1",
    ): "only graded codes have a limit",
    (
        'drawn = random16(self.seed, np.arange(h * p).reshape(1, h, p), now.step) if self.spike == "stochastic" else 0',
        "0",
    ): "only stochastic spikes look at it",
}


@dataclass(frozen=True)
class Judged:
    """A case with its true traces and overflow counts, and the modules that its step goes through."""

    case: Case
    trace: Any
    overflows: Any
    modules: frozenset[str]


class Judge:
    """Cases of all families; of each module, those that killed most are asked first."""

    def __init__(self) -> None:
        random = [make(seed) for make in (lif_case, state_space_case, dense_case, windowed_case) for seed in (0, 1)]
        cases = [*edge_cases(), *random, *map(values_case, range(6))]
        traces = lava.run_many([(case.network, case.inputs) for case in cases])
        self.judged = [
            Judged(case, trace, simulated(case)[1], _modules(case)) for case, trace in zip(cases, traces, strict=True)
        ]
        self.kills: Counter[tuple[str, str]] = Counter()

    def differs(self, judged: Judged) -> bool:
        """Whether the reference, as it is now, errs on a case."""
        case = judged.case
        try:
            with np.errstate(all="ignore"):
                found = reference.run(case.network, case.inputs, trace="states")
            if compare(judged.trace, found).mismatches:
                return True
        except Exception:
            return True
        return any(
            found.total(name, flag) != judged.overflows[name][flag]
            for name, neuron in case.network.populations.items()
            for flag in neuron.flags
        )

    def sees(self, mutant: Mutant) -> bool:
        """Whether a case shows the mutant."""
        asked = [judged for judged in self.judged if mutant.module in judged.modules]
        asked.sort(key=lambda judged: -self.kills[mutant.module, judged.case.name])
        with installed(mutant):
            for judged in asked:
                if self.differs(judged):
                    self.kills[mutant.module, judged.case.name] += 1
                    return True
        return False


def _modules(case: Case) -> frozenset[str]:
    kinds = {type(node).__module__ for node in case.network.nodes.values()}
    return frozenset(module for kind in kinds for module in reached(kind))


def _equivalent(mutant: Mutant) -> bool:
    return bool({(mutant.source, mutant.rest), (mutant.source, "")} & set(EQUIVALENT))


@pytest.fixture(scope="module")
def judge() -> Judge:
    require_lava()
    return Judge()


@pytest.mark.slow
def test_what_is_called_equivalent_still_exists() -> None:
    found = [m for module in MODULES for m in mutants(module)]
    assert not [key for key in EQUIVALENT if not any(key in ((m.source, m.rest), (m.source, "")) for m in found)]


@pytest.mark.slow
def test_the_judge_accepts_the_original(judge: Judge) -> None:
    assert not [judged.case.name for judged in judge.judged if judge.differs(judged)]


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_no_mutant_survives(judge: Judge, module: str, figures: Figures) -> None:
    found = list(mutants(module))
    asked = [m for m in found if not _equivalent(m)]
    alive = [f"{m.module} line {m.line}: {m.change}: {m.source}" for m in asked if not judge.sees(m)]
    same = len(found) - len(asked)
    figures(f"{module}: {len(found)} mutants, {same} of them change nothing, {len(alive)} survive")
    assert not alive, "\n".join(alive)
