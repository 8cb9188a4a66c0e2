"""No mutant of a neuron's integer step survives: each differs from Lava, or miscounts what overflowed.

Values are judged by Lava's traces. Overflow counts, which Lava does not have, are judged by the unbounded simulator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from edge_cases import edge_cases
from figures import Figures
from mutants import Mutant, installed, mutants
from networks import Case, lif_case, state_space_case
from requires_lava import require_lava
from simulated import simulated

from nmdeploy import families
from nmdeploy.backends import lava, reference
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse
from nmdeploy.verification import compare

# Every file that defines an integer family, whichever the folders hold, and the operations that they share.
MODULES = (
    "nmdeploy.neurons.ops",
    *sorted({family.__module__ for family in families.quantized_neurons().values()}),
    *sorted({family.__module__ for family in families.quantized_synapses().values()}),
)


class Judge:
    """Cases with their true traces and counts; the cases that killed most are asked first."""

    def __init__(self) -> None:
        cases = [*edge_cases(), *(lif_case(s) for s in range(6)), *(state_space_case(s) for s in range(6))]
        traces = lava.run_many([(case.network, case.inputs) for case in cases])
        self.cases = [(case, trace, simulated(case)[1]) for case, trace in zip(cases, traces, strict=True)]
        self.unmutated = [self.differs(*entry) for entry in self.cases]

    def differs(self, case: Case, trace: Any, overflows: Any) -> bool:
        """Whether the reference, as it is now, errs on a case."""
        try:
            with np.errstate(all="ignore"):
                found = reference.run(case.network, case.inputs, trace="states")
            if compare(trace, found).mismatches:
                return True
        except Exception:
            return True
        return any(
            found.total(name, flag) != overflows[name][flag]
            for name, neuron in case.network.populations.items()
            for flag in neuron.flags
        )

    def kills(self, mutant: Mutant) -> bool:
        """Whether a case shows the mutant."""
        with installed(mutant, MODULES) as modules:
            for index, (case, trace, overflows) in enumerate(self.cases):
                try:
                    mutated = replace(case, network=_mutated(case.network, modules))
                except Exception:
                    return True
                if self.differs(mutated, trace, overflows):
                    self.cases.insert(0, self.cases.pop(index))
                    return True
        return False


def _mutated(network: Any, modules: Any) -> Any:
    """The same network with its nodes' classes taken from the mutated modules."""
    nodes = {}
    for name, node in network.nodes.items():
        if isinstance(node, (QuantizedNeuron, QuantizedSynapse)):
            node = getattr(modules[type(node).__module__], type(node).__name__).from_json(node.to_json())
        nodes[name] = node
    return replace(network, nodes=nodes)


@pytest.fixture(scope="module")
def judge() -> Judge:
    require_lava()
    return Judge()


@pytest.mark.slow
def test_the_judge_accepts_the_original(judge: Judge) -> None:
    assert not any(judge.unmutated)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_no_mutant_survives(judge: Judge, module: str, figures: Figures) -> None:
    found = list(mutants(module))
    alive = [f"{m.module} line {m.line}: {m.change}" for m in found if not judge.kills(m)]
    figures(f"{module}: {len(found)} mutants, {len(alive)} survive")
    assert found
    assert not alive, "\n".join(alive)
