"""Populations with float32 lanes, made of formulas, and which values are computed in them."""

from __future__ import annotations

from typing import Any

from equal_runs import both
from formula_neuron import FormulaNeuron
from networks_build import Case

from nmdeploy.engine.llvm.planning import program
from nmdeploy.neurons.ops import rz

SINGLE = 1 << 24


def held(case: Case) -> dict[str, str]:
    """In which lanes each formula's value is kept, in a case whose runs agree."""
    both(case.network, case.inputs)
    population = program(case.network, "states").populations["n"]
    names = [*case.network.populations["n"].formulas]  # type: ignore[attr-defined]
    return dict(zip(names, (register.kind for register in population.layout.registers[2:]), strict=True))


def formulas(**found: Any) -> FormulaNeuron:
    """With a rounding of something small, for the sake of which the population has float32 lanes."""
    return FormulaNeuron(1, 1, {"rounded": lambda e: rz(e.y * 3, 1), **found}, inputs=1)
